"""The numbers themselves: data sets read, drawn or computed, and staged for the workers.

Nothing is fetched here (`harness.tasks.fetch` does that). A worker that opens staged arrays neither
imports scikit-learn nor unzips anything. Data sets that come with scikit-learn are read from the
files that it installs, as its import takes seconds; a release that keeps its files elsewhere is
asked by its own functions. Synthetic classes are drawn from a seed: a random network labels
standard normal inputs. A user's own file is read with the task file (`harness.tasks.data_files`).
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.tasks import mnist
from harness.tasks.mnist import data_directory as data_directory
from harness.tasks.spec import DOWNLOADED, Data, FileData, Known, Teacher
from harness.whole_files import write_whole

SPLIT_SEED = 0
MANIFEST = "arrays.json"

Float32 = NDArray[np.float32]
Array = NDArray[Any]


class Arrays(NamedTuple):
    """A data set, split.

    Inputs are (rows, features) float32. Targets are (rows,) int64 class indices for kind `classes`,
    else (rows, outputs) float32: 0 or 1 for `binary`. Where the task is to reproduce the inputs,
    they are the very same array as the inputs.
    """

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array


FILES_READ: dict[str, Arrays] = {}
"""Users' own data that this process has read together with their task file, by their `content`."""
NOT_READ = "no task file that was read has these data; name the one that has with --task-file"


def missing(data: Data, directory: Path | None) -> str | None:
    """None where the data can be loaded, else one line with the command that gets them.

    Looks for files only; `load` may still find one of them corrupt.
    """
    if isinstance(data, FileData):
        return None if data.content in FILES_READ else f"{data.file}: {NOT_READ}"
    return mnist.absent(data.name, directory) if data.name in DOWNLOADED else None


def load(data: Data, directory: Path | None) -> Arrays:
    """The arrays of a task's data, in the shapes that `data.shape` promises.

    Raises DataError, in one line, where a file is absent, truncated or not the published one.
    """
    if isinstance(data, Teacher):
        return Arrays(*draw(data))
    if isinstance(data, FileData):
        if data.content not in FILES_READ:
            raise DataError(f"{data.file}: {NOT_READ}")
        return FILES_READ[data.content]
    arrays = _images(data.name, directory) if data.name in DOWNLOADED else _embedded(data.name)
    if data.target == "inputs":
        arrays = arrays._replace(y_train=arrays.x_train, y_test=arrays.x_test)
    _check_sizes(data, arrays)
    return arrays


def _images(name: str, directory: Path | None) -> Arrays:
    place = mnist.needed(directory)
    train, train_labels, test, test_labels = (
        mnist.read(name, place, file) for file in mnist.PUBLISHED[name].files
    )
    return Arrays(
        _scaled(train, 255),
        train_labels.astype(np.int64),
        _scaled(test, 255),
        test_labels.astype(np.int64),
    )


def _embedded(name: str) -> Arrays:
    """A data set that comes with scikit-learn."""
    columns, target = read(name)
    if name == "digits":
        return split(_scaled(columns, 16), target.astype(np.int64))
    x_train, y_train, x_test, y_test = split(columns, target[:, None])
    x_train, x_test = standardised(x_train, x_test)
    if name == "diabetes":
        y_train, y_test = standardised(y_train, y_test)
    return Arrays(x_train, y_train.astype(np.float32), x_test, y_test.astype(np.float32))


def _scaled(pixels: Array, largest: int) -> Float32:
    scaled = pixels.reshape(len(pixels), -1).astype(np.float32)
    scaled /= largest
    return scaled


def split(
    inputs: Array, targets: Array, train_rows: int | None = None, seed: int = SPLIT_SEED
) -> Arrays:
    """The first rows of one permutation for training, by default 80 %, the rest for testing."""
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    rows = generator.permutation(len(inputs))
    train, test = np.split(rows, [len(rows) * 4 // 5 if train_rows is None else train_rows])
    return Arrays(inputs[train], targets[train], inputs[test], targets[test])


def standardised(train: Array, test: Array) -> tuple[Float32, Float32]:
    """Both minus the mean of `train`, divided by its deviation, column by column.

    A column that is constant in `train` is not divided.
    """
    constant = train.min(axis=0) == train.max(axis=0)
    mean, deviation = train.mean(axis=0), np.where(constant, 1, train.std(axis=0))
    scaled = ((rows - mean) / deviation for rows in (train, test))
    first, second = (rows.astype(np.float32) for rows in scaled)
    return first, second


def _check_sizes(data: Known, arrays: Arrays) -> None:
    """The embedded sets are another project's: a release with other rows must not pass unseen."""
    shape = data.shape
    expected = ((shape.train, shape.features), (shape.test, shape.features))
    actual = (arrays.x_train.shape, arrays.x_test.shape)
    if actual != expected:
        raise DataError(f"{data.name}: inputs of shapes {actual}, not the expected {expected}")


def write_staged(arrays: Arrays, directory: Path) -> None:
    """Write arrays as plain `.npy` files, each whole or not at all; a shared array only once.

    The manifest goes first and comes last, so a directory with a manifest is complete. Raises
    DataError where the directory cannot be written.
    """
    files: dict[str, str] = {}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / MANIFEST).unlink(missing_ok=True)
        for field, array in arrays._asdict().items():
            first = next(it for it in Arrays._fields if getattr(arrays, it) is array)
            files[field] = f"{first}.npy"
            if first == field:
                save = partial(np.save, arr=array, allow_pickle=False)
                write_whole(directory / files[field], save)
        write_whole(directory / MANIFEST, json.dumps(files).encode())
    except OSError as error:
        raise DataError(f"{directory}: cannot stage data: {error.strerror or error}") from None


def open_staged(directory: Path) -> Arrays:
    """Arrays that `write_staged` wrote, mapped read-only into memory and shared between processes.

    Raises DataError where they are absent or malformed.
    """
    try:
        files = json.loads((directory / MANIFEST).read_bytes())
        if not isinstance(files, dict) or set(files) != set(Arrays._fields):
            raise ValueError(f"{MANIFEST} does not name the four arrays")
        opened = {name: _open(directory, name) for name in dict.fromkeys(files.values())}
        arrays = Arrays(**{field: opened[name] for field, name in files.items()})
        _check_staged(arrays)
    except FileNotFoundError as error:
        raise DataError(f"{directory}: no staged data: {error.filename} is absent") from None
    except (OSError, ValueError, EOFError, TypeError) as error:
        why = str(error).partition("\n")[0]
        raise DataError(f"{directory}: malformed staged data: {why}") from None
    return arrays


def _open(directory: Path, name: str) -> Array:
    if name not in {f"{field}.npy" for field in Arrays._fields}:
        raise ValueError(f"{MANIFEST} names {name!r}")
    array = np.load(directory / name, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{name} is no single array")
    # A plain view: every batch taken from a np.memmap would be one too, and pay for it.
    return np.asarray(array)


def _check_staged(arrays: Arrays) -> None:
    for inputs, targets in (arrays[:2], arrays[2:]):
        if inputs.ndim != 2 or inputs.dtype.name != "float32":
            raise ValueError(f"inputs of shape {inputs.shape} and type {inputs.dtype}")
        known = {1: "int64", 2: "float32"}.get(targets.ndim)
        if len(targets) != len(inputs) or targets.dtype.name != known:
            raise ValueError(f"targets of shape {targets.shape} and type {targets.dtype}")


class PackagedSet(NamedTuple):
    """Files of columns and target, or one whose last column is the target; and a `function` of
    scikit-learn that returns the same with these `options`."""

    files: tuple[str, ...]
    function: str
    options: tuple[tuple[str, bool], ...] = ()
    delimiter: str | None = None
    head: int = 0


SOURCES = {
    "digits": PackagedSet(("digits.csv.gz",), "load_digits", delimiter=","),
    "cancer": PackagedSet(("breast_cancer.csv",), "load_breast_cancer", delimiter=",", head=1),
    # Not scaled: scikit-learn's own scaling has seen the test rows.
    "diabetes": PackagedSet(
        ("diabetes_data_raw.csv.gz", "diabetes_target.csv.gz"),
        "load_diabetes",
        (("scaled", False),),
    ),
}


def read(name: str) -> tuple[Array, Array]:
    """Columns (rows, features) and target (rows,) of a set, float64.

    Raises ModuleNotFoundError where scikit-learn is not installed.
    """
    source = SOURCES[name]
    try:
        *columns, last = (
            np.loadtxt(_folder() / it, delimiter=source.delimiter, skiprows=source.head, ndmin=2)
            for it in source.files
        )
    except (OSError, ValueError):
        function = getattr(importlib.import_module("sklearn.datasets"), source.function)
        inputs, target = function(return_X_y=True, **dict(source.options))
        return inputs, target.astype(np.float64)
    return (columns[0], last[:, 0]) if columns else (last[:, :-1], last[:, -1])


def _folder() -> Path:
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("scikit-learn is not installed")
    return Path(spec.origin).parent / "datasets" / "data"


NETWORK, CALIBRATION, TRAIN, TEST = range(4)  # streams of one seed: none moves another
CALIBRATION_ROWS = 4096
CHUNK = 2**22  # float64 numbers in one temporary: 32 MiB, however many rows there are

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


class Network(NamedTuple):
    """logits = tanh(x·hidden + bias)·output + offset, for x of shape (rows, features)."""

    hidden: Float64
    bias: Float64
    output: Float64
    offset: Float64


def draw(data: Teacher) -> tuple[Float32, Int64, Float32, Int64]:
    """Training inputs (rows, features), their classes (rows,), then the same for testing.

    The network depends on neither number of rows, so more rows of one seed are more of the same
    problem. Labels are computed in float64: rounding, which differs between machines, would have to
    meet a tie of 1 in 10¹² to change one.
    """
    network = _network(data)
    train = _inputs(data, TRAIN, data.train)
    test = _inputs(data, TEST, data.test)
    return train, _classes(network, train), test, _classes(network, test)


def _network(data: Teacher) -> Network:
    """Random weights, each logit centred and scaled over a sample so that classes are balanced."""
    generator = _generator(data, NETWORK)
    hidden = generator.standard_normal((data.features, data.teacher_width))
    hidden /= np.sqrt(data.features)
    bias = generator.standard_normal(data.teacher_width)
    output = generator.standard_normal((data.teacher_width, data.classes))
    raw = Network(hidden, bias, output, np.zeros(data.classes))
    rows = CALIBRATION_ROWS
    total, squares = np.zeros(data.classes), np.zeros(data.classes)
    for _, logits in _logits(raw, _inputs(data, CALIBRATION, rows)):
        total += logits.sum(axis=0)
        squares += np.square(logits).sum(axis=0)
    mean = total / rows
    deviation = np.sqrt(squares / rows - mean**2)
    return raw._replace(output=output / deviation, offset=-mean / deviation)


def _classes(network: Network, inputs: Float32) -> Int64:
    classes = np.empty(len(inputs), np.int64)
    for rows, logits in _logits(network, inputs):
        np.argmax(logits, axis=1, out=classes[rows])
    return classes


def _logits(network: Network, inputs: Float32) -> Iterator[tuple[slice, Float64]]:
    """The network's outputs, as many rows at a time as one temporary may hold."""
    step = max(1, CHUNK // max(*network.hidden.shape, len(network.offset)))
    for first in range(0, len(inputs), step):
        rows = slice(first, first + step)
        inner = inputs[rows].astype(np.float64) @ network.hidden
        inner += network.bias
        np.tanh(inner, out=inner)
        logits = inner @ network.output
        logits += network.offset
        yield rows, logits


def _inputs(data: Teacher, stream: int, rows: int) -> Float32:
    return _generator(data, stream).standard_normal((rows, data.features), dtype=np.float32)


def _generator(data: Teacher, stream: int) -> np.random.Generator:
    # A spawn key keeps these streams apart from those of the shared start with the same seed.
    return np.random.Generator(
        np.random.PCG64(np.random.SeedSequence(data.seed, spawn_key=(stream,)))
    )
