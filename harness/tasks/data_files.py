"""A user's own data: CSV, Parquet or NPZ, as the `data` of a task file.

data = { file = "houses.csv", target = "price", kind = "real" }

The rules, by which every file gives the same arrays wherever it is read:

- A column of numbers is an input; true and false are 1 and 0.
- A column of texts, none of which is a number, is a category: one input of 0 and 1 for each of its
  texts, in the order of their code points. So is every column that is named in `categories`. Texts
  that differ in every row are refused unless they are named there.
- A column that mixes numbers and texts is refused, and so are missing values, NaN and infinities.
- Classes are whole numbers or texts, numbered from 0 in their order; of two texts of a `binary`
  target the later one is 1.
- `test` is the share of rows for testing, drawn with `seed`, unless an NPZ file brings its own.
- With `standardise`, inputs and real targets have the mean 0 and the deviation 1 over the training
  rows. A column that is constant there is not divided.

The file is read once, with its task file. Row 1 is the first row below the header.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from harness.errors import DataError, DataFileAbsent, in_one_line, unknown
from harness.privacy import clean
from harness.tasks.datasets import FILES_READ, Array, Arrays, split, standardised
from harness.tasks.spec import MAX_COLUMNS, FileData, Frozen, Kind

if TYPE_CHECKING:
    import pyarrow

MAX_BYTES = 2**30
"""Of a file, of what it unpacks to, and of its numbers as float64."""
LARGEST = float(np.finfo(np.float32).max)
MAX_CATEGORIES = 1000
"""Texts in one column of inputs; with more it is probably a name, an address or a date."""
NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
UNNAMED = re.compile(r"|__index_level_\d+__")
"""What pandas calls the column of its row labels, in CSV and in Parquet."""
MEANING = 1
"""Raised when a rule above changes, so that old digests no longer match."""

Float64 = NDArray[np.float64]


class FileRequest(Frozen):
    """A data file as a task file describes it; the rules are above."""

    file: Annotated[str, Field(min_length=1)]
    kind: Kind
    target: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    separator: Annotated[str, Field(pattern=r"^[^\r\n\"]$")] = ","
    test: Annotated[float, Field(gt=0, lt=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    standardise: bool = True

    @field_validator("target", mode="before")
    @classmethod
    def _one_or_several(cls, target: object) -> object:
        return (target,) if isinstance(target, str) else target


class FileColumn(NamedTuple):
    """Numbers, or numbers of `words` where it holds texts; `name` is that of messages."""

    name: str
    values: Float64
    words: tuple[str, ...] = ()


class FileContent(NamedTuple):
    """Inputs (rows, features) with the name of each feature, and the columns of the target.

    `test_rows` of them, the last ones, are those that the file itself keeps for testing.
    """

    inputs: Float64
    names: Sequence[str]
    targets: Sequence[FileColumn]
    test_rows: int = 0


class _Problem(Exception):
    """A fault of a file; the message does not name the file."""


def read_data_file(request: FileRequest, folder: Path) -> FileData:
    """Read and check a file whose path is relative to `folder`, and keep its arrays for `load`.

    Raises DataFileAbsent where there is no such file, else DataError with row and column.
    """
    path = folder / request.file
    try:
        read = READERS.get(path.suffix.lower())
        if read is None:
            raise _Problem(f"not one of {', '.join(READERS)}")
        _refuse_large(_size(path), "the file")
        return _made(request, clean(path.name)[:255], read(path, request))
    except _Problem as problem:
        raise DataError(f"{request.file}: {problem}") from None
    except (FileNotFoundError, NotADirectoryError):
        raise DataFileAbsent(f"{request.file}: no such file") from None
    except OSError as error:
        raise DataError(f"{request.file}: {error.strerror or error}") from None
    except MemoryError:
        raise DataError(f"{request.file}: too large for this machine's memory") from None


def _size(path: Path) -> int:
    try:
        if not path.is_file() and path.exists():
            raise _Problem("not a file")
        return path.stat().st_size
    except ValueError:
        raise _Problem("no valid path") from None


def _refuse_large(count: int, what: str) -> None:
    if count > MAX_BYTES:
        raise _Problem(f"{what}: {count:,} bytes; at most {MAX_BYTES:,}")


def _made(request: FileRequest, name: str, content: FileContent) -> FileData:
    """The arrays of a file's content, kept for `load`, and what defines them."""
    inputs, kind = content.inputs, request.kind
    _refuse_strange(content)
    targets, outputs = _targets(kind, content.targets)
    arrays = _divided(request, content, targets)
    _refuse_constant(kind, content.targets, arrays.y_train)
    x, y = (arrays.x_train, arrays.x_test), (arrays.y_train, arrays.y_test)
    scaled = standardised if request.standardise else _single
    with np.errstate(all="ignore"):  # what overflows is refused by its column
        x = scaled(*x)
        if kind == "real":
            y = scaled(*y)
    for part in x:
        _refuse_infinite(content.names, part)
    for part in y:
        _refuse_infinite([it.name for it in content.targets], part)
    defining = {
        "kind": kind,
        "features": inputs.shape[1],
        "outputs": outputs,
        "train": len(arrays.x_train),
        "test": len(arrays.x_test),
        "seed": None if content.test_rows else request.seed or 0,
        "standardise": request.standardise,
    }
    digest = hashlib.sha256(json.dumps([MEANING, defining], sort_keys=True).encode())
    for numbers in (inputs, targets):
        digest.update((numbers + 0.0).astype("<f8").tobytes())  # −0 becomes 0
    data = FileData(file=name, content=digest.hexdigest()[:16], **defining)
    FILES_READ[data.content] = Arrays(x_train=x[0], y_train=y[0], x_test=x[1], y_test=y[1])
    return data


def _refuse_strange(content: FileContent) -> None:
    """Refuse missing values, and numbers beyond the range of float32."""
    own_tests = len(content.inputs) - content.test_rows
    for names, numbers in (
        (content.names, content.inputs),
        *(((it.name,), it.values[:, None]) for it in content.targets),
    ):
        fits = np.abs(numbers) <= LARGEST
        if not fits.all():
            row, column = np.argwhere(~fits)[0]
            value = numbers[row, column]
            what = "no value" if np.isnan(value) else f"{value:g} is no number that float32 has"
            where = f"row {row + 1}" if row < own_tests else f"test row {row + 1 - own_tests}"
            raise _Problem(f"{where}, {names[column]}: {what}")


def _single(train: Array, test: Array) -> tuple[Array, Array]:
    return train.astype(np.float32), test.astype(np.float32)


def _divided(request: FileRequest, content: FileContent, targets: Array) -> Arrays:
    """Training and test rows, not yet scaled."""
    rows = len(content.inputs)
    if content.test_rows:
        for field in ("test", "seed"):
            if getattr(request, field) is not None:
                raise _Problem(f"{field}: the file has test rows of its own; leave it out")
        train = rows - content.test_rows
        return Arrays(
            content.inputs[:train], targets[:train], content.inputs[train:], targets[train:]
        )
    share = 0.2 if request.test is None else request.test
    test = round(rows * share)
    if not 0 < test < rows:
        raise _Problem(f"{rows} rows: too few to keep {share:g} of them for testing")
    return split(content.inputs, targets, rows - test, request.seed or 0)


def _targets(kind: Kind, columns: Sequence[FileColumn]) -> tuple[Array, int]:
    """Targets as the adapters take them, in float64 where they are real, and how many outputs."""
    if kind == "real":
        for column in columns:
            if column.words:
                raise _Problem(
                    f"row 1, {column.name}: {column.words[int(column.values[0])]!r} "
                    "is no number, and the targets are of kind 'real'"
                )
        return np.stack([it.values for it in columns], axis=1), len(columns)
    if len(columns) > 1:
        raise _Problem(f"kind {kind!r} has one column of targets, not {len(columns)}")
    (column,) = columns
    if not column.words and (broken := column.values % 1 != 0).any():
        row = int(broken.argmax())
        raise _Problem(
            f"row {row + 1}, {column.name}: {column.values[row]:g} is no class; "
            "classes are whole numbers or texts"
        )
    classes, targets = np.unique(column.values, return_inverse=True)
    if len(classes) == 1:
        raise _Problem(f"{column.name}: one class only")
    if kind == "classes":
        if len(classes) > MAX_COLUMNS:
            raise _Problem(f"{column.name}: {len(classes):,} classes; at most {MAX_COLUMNS:,}")
        return targets.astype(np.int64), len(classes)
    if len(classes) > 2:
        raise _Problem(f"{column.name}: {len(classes):,} classes; kind 'binary' has two")
    return targets.astype(np.float32)[:, None], 1


def _refuse_constant(kind: Kind, columns: Sequence[FileColumn], train: Array) -> None:
    for number, column in enumerate(columns):
        values = train.reshape(len(train), -1)[:, number]
        if values.min() == values.max():
            what = "constant" if kind == "real" else "of one class"
            raise _Problem(f"{column.name}: the target is {what} in the training rows")


def _refuse_infinite(names: Sequence[str], part: Array) -> None:
    finite = np.isfinite(part)
    if not finite.all():
        column = names[int(finite.reshape(len(part), -1).all(axis=0).argmin())]
        raise _Problem(f"{column}: its numbers are too close to each other to be standardised")


# Tables


def _read_csv(path: Path, request: FileRequest) -> FileContent:
    with path.open("rb") as file:
        beginning = file.read(2)
    if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise _Problem("UTF-16, not UTF-8 text; save it as UTF-8")
    return _from_table(_parsed(path, request), request)


def _parsed(path: Path, request: FileRequest, threads: bool = True) -> pyarrow.Table:
    """With several threads the reader does not know the number of a wrong row, so the file is read
    again with one."""
    from pyarrow import csv

    try:
        table = csv.read_csv(
            path,
            read_options=csv.ReadOptions(use_threads=threads),
            parse_options=csv.ParseOptions(delimiter=request.separator, newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(request.categories, "string"),
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
        _ = table.column_names  # decodes the header
    except UnicodeDecodeError:
        raise _Problem("the header is not UTF-8 text") from None
    except (OSError, ValueError) as error:
        if threads and isinstance(error, ValueError):
            return _parsed(path, request, threads=False)
        raise _Problem(_ragged(error) or _malformed("CSV", error)) from None
    return table


def _ragged(error: Exception) -> str:
    match = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", str(error))
    if match is None:
        return ""
    line, expected, actual = map(int, match.groups())
    return f"row {line - 1}: the header has {expected} fields, the row {actual}"


def _read_parquet(path: Path, request: FileRequest) -> FileContent:
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(path) as file:
            _refuse_large(8 * file.metadata.num_rows * file.metadata.num_columns, "its numbers")
            groups = map(file.metadata.row_group, range(file.metadata.num_row_groups))
            _refuse_large(sum(it.total_byte_size for it in groups), "its content")
            table = file.read(use_threads=False)
    except (OSError, ValueError, ArrowException) as error:
        raise _Problem(_malformed("Parquet", error)) from None
    return _from_table(table, request)


def _malformed(kind: str, error: Exception) -> str:
    return f"malformed {kind}: {in_one_line(error, 160, named=False)}"


def _from_table(table: pyarrow.Table, request: FileRequest) -> FileContent:
    names = table.column_names
    _check_names(names, request)
    if table.num_rows == 0:
        raise _Problem("no row below the header")
    chosen = [name for name in names if name not in (*request.target, *request.ignore)]
    if not chosen:
        raise _Problem("no column is left as an input")
    columns = [_column(table, name, name in request.categories) for name in chosen]
    for name, column in zip(chosen, columns, strict=True):
        if len(column.words) > MAX_CATEGORIES:
            raise _Problem(
                f"{column.name}: {len(column.words):,} different texts, at most "
                f"{MAX_CATEGORIES:,} are categories; {_leave_out(name)}"
            )
        if len(column.words) == table.num_rows and name not in request.categories:
            raise _Problem(
                f"{column.name}: another text in every row, as names have; {_leave_out(name)}"
            )
    targets = [_column(table, name, category=False) for name in request.target]
    widths = [len(it.words) or 1 for it in columns]
    _refuse_wide(sum(widths), table.num_rows)
    inputs = [
        np.eye(len(it.words))[it.values.astype(np.int64)] if it.words else it.values[:, None]
        for it in columns
    ]
    labels = [it.name for it, width in zip(columns, widths, strict=True) for _ in range(width)]
    return FileContent(np.concatenate(inputs, axis=1), labels, targets)


def _check_names(names: Sequence[str], request: FileRequest) -> None:
    """Every column that is named exists, and no two have the same name."""
    if not request.target:
        raise _Problem("target: name the column that is to be predicted")
    for field in ("target", "categories", "ignore"):
        for name in getattr(request, field):
            if name not in names:
                raise _Problem(f"{unknown('column', name, names)}{_hint(names, request)}")
    if both := set(request.target) & {*request.categories, *request.ignore}:
        raise _Problem(f"{_named(min(both))} is a target, so it cannot be anything else")
    if len(set(request.target)) < len(request.target):
        raise _Problem("target: the same column twice")
    for number, name in enumerate(names, 1):
        if name in names[: number - 1]:
            raise _Problem(f"two columns have the name {name!r}")
        if UNNAMED.fullmatch(name) and name not in request.ignore:
            raise _Problem(f"column {number} holds row labels or has no name; {_leave_out(name)}")


def _hint(names: Sequence[str], request: FileRequest) -> str:
    """If a whole line became one column, its separator is another one."""
    other = next((it for it in ";\t|" if len(names) == 1 and it in names[0]), "")
    return f"; is the separator {other!r}?" if other and other != request.separator else ""


def _refuse_wide(features: int, rows: int) -> None:
    if features > MAX_COLUMNS:
        raise _Problem(f"{features:,} inputs; at most {MAX_COLUMNS:,}")
    _refuse_large(8 * features * rows, "its numbers")


def _named(column: str) -> str:
    return f"column {column!r}"


def _leave_out(column: str) -> str:
    return f"leave it out with ignore = [{json.dumps(column)}]"


def _column(table: pyarrow.Table, name: str, category: bool) -> FileColumn:
    from pyarrow import ArrowException, compute, types

    values, label = table.column(name), _named(name)
    if types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if values.null_count:
        row = compute.index(values.is_null(), True).as_py()
        raise _Problem(f"row {row + 1}, {label}: no value")
    if category and (types.is_integer(values.type) or types.is_boolean(values.type)):
        values = values.cast("string")
    if types.is_string(values.type) or types.is_large_string(values.type):
        return _texts(label, values, category)
    if types.is_binary(values.type):
        raise _Problem(f"row {_undecodable(values) + 1}, {label}: not UTF-8 text")
    of_numbers = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
    if category or not any(it(values.type) for it in of_numbers):
        due = "texts or whole numbers" if category else "numbers or texts"
        raise _Problem(f"{label} holds {values.type}, not {due}; {_leave_out(name)}")
    try:
        numbers = values.cast("float64", safe=False).to_numpy()
    except ArrowException as error:
        raise _Problem(f"{label}: {_malformed('column', error)}") from None
    return FileColumn(label, numbers)


def _texts(label: str, values: pyarrow.ChunkedArray, category: bool) -> FileColumn:
    """A column of texts: a category, or numbers that are written as texts."""
    import pyarrow
    from pyarrow import compute

    words = sorted(compute.unique(values).to_pylist())
    known = pyarrow.array(words, type=values.type)
    codes = compute.index_in(values, value_set=known).to_numpy()
    strange = np.array([not NUMBER.fullmatch(it) for it in words])
    if category or strange.all():
        return FileColumn(label, codes.astype(np.float64), tuple(words))
    if not strange.any():
        return FileColumn(label, np.array([float(it) for it in words])[codes])
    row = int(strange[codes].argmax())
    raise _Problem(
        f"row {row + 1}, {label}: {words[codes[row]][:60]!r} is no number, and others are; "
        "a column of categories is named in categories = [...]"
    )


def _undecodable(values: pyarrow.ChunkedArray) -> int:
    for row, value in enumerate(values):
        try:
            value.as_py().decode()
        except UnicodeDecodeError:
            return row
    return 0


# Arrays


def _read_npz(path: Path, request: FileRequest) -> FileContent:
    for field in ("target", "categories", "ignore"):
        if getattr(request, field):
            raise _Problem(f"{field}: an NPZ file has its inputs in x and its targets in y")
    arrays = _arrays(path)
    given = [it for it in ("x_test", "y_test") if it in arrays]
    if len(given) == 1:
        raise _Problem(f"{given[0]} alone; give both x_test and y_test, or none")
    pairs = [("x", "y"), *([("x_test", "y_test")] if given else [])]
    for x, y in pairs:
        _check_pair(arrays, x, y)
    inputs = np.concatenate([arrays[x] for x, _ in pairs]).astype(np.float64)
    targets = np.concatenate([arrays[y] for _, y in pairs])
    targets = targets.reshape(len(targets), -1)
    names = [f"column {number} of x" for number in range(1, inputs.shape[1] + 1)]
    columns = [
        _named_column("y" if targets.shape[1] == 1 else f"column {number} of y", values)
        for number, values in enumerate(targets.T, 1)
    ]
    return FileContent(inputs, names, columns, len(arrays["x_test"]) if given else 0)


def _arrays(path: Path) -> dict[str, Array]:
    try:
        with zipfile.ZipFile(path) as packed:
            _refuse_large(sum(it.file_size for it in packed.infolist()), "its content")
        with np.load(path, allow_pickle=False) as file:
            for name in ("x", "y"):
                if name not in file:
                    raise _Problem(f"no array {name!r}; it has: {', '.join(file)[:200] or 'none'}")
            wanted = [it for it in ("x", "y", "x_test", "y_test") if it in file]
            return {name: np.asarray(file[name]) for name in wanted}
    # An encrypted file is a RuntimeError.
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise _Problem(_malformed("NPZ", error)) from None


def _check_pair(arrays: dict[str, Array], x: str, y: str) -> None:
    inputs, targets = arrays[x], arrays[y]
    if inputs.ndim != 2 or not inputs.size or inputs.shape[1] != arrays["x"].shape[1]:
        due = f"(rows, {arrays['x'].shape[1]})" if x == "x_test" else "(rows, features)"
        raise _Problem(f"{x} has the shape {inputs.shape}, not {due}")
    if targets.ndim not in (1, 2) or not targets.size or targets.shape[1:] != arrays["y"].shape[1:]:
        raise _Problem(f"{y} has the shape {targets.shape}, not (rows,) or (rows, outputs)")
    if len(inputs) != len(targets):
        raise _Problem(f"{x} has {len(inputs):,} rows, {y} has {len(targets):,}")
    _refuse_wide(inputs.shape[1], len(inputs))
    for name, array, kinds in ((x, inputs, "biuf"), (y, targets, "biufU")):
        if array.dtype.kind not in kinds:
            raise _Problem(f"{name} holds {array.dtype}, not numbers")
    if (targets.dtype.kind == "U") != (arrays["y"].dtype.kind == "U"):
        raise _Problem(f"{y} holds {targets.dtype}, y holds {arrays['y'].dtype}")


def _named_column(name: str, values: Array) -> FileColumn:
    if values.dtype.kind != "U":
        return FileColumn(name, values.astype(np.float64))
    words, codes = np.unique(values, return_inverse=True)
    return FileColumn(name, codes.astype(np.float64), tuple(map(str, words)))


READERS: dict[str, Callable[[Path, FileRequest], FileContent]] = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".npz": _read_npz,
}
