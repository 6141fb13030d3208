"""Data of one's own: the same numbers from every format, and one clear line for every mistake."""

from __future__ import annotations

import io
import os
import string
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import DataError, UsageError
from harness.records import Unavailable
from harness.runs.config import resolve
from harness.runs.plan import make_plan
from harness.tasks import data_files
from harness.tasks.data_files import MAX_BYTES, FileRequest, read_data_file
from harness.tasks.datasets import FILES_READ, Arrays, load, missing
from harness.tasks.spec import FileData, Task
from harness.tasks.variants import parse_settings, read_task_file, variants
from tests.tasks.test_datasets import NOWHERE, check_promises

TABLE = pd.DataFrame(
    {
        "rooms": [3, 1, 4, 1, 5, 9, 2, 6, 5, 3],
        "area": [31.5, 41.0, 59.25, 26.5, 35.0, 89.0, 79.0, 32.0, 38.0, 46.0],
        "zone": ["b", "a", "b", "c", "a", "a", "b", "c", "a", "b"],
        "garden": [True, False] * 5,
        "price": [10, 12, 14, 11, 13, 19, 18, 15, 17, 16],
        "rent": [1.5, 1.25, 1.0, 2.0, 1.75, 2.5, 3.0, 2.25, 2.75, 0.5],
        "grade": [10, 20, 40] * 3 + [10],
        "word": ["low", "high"] * 5,
    }
)
TARGETS = ("price", "rent", "grade", "word")
ENTRY = """\
[[task]]
name = "{name}"
data = {data}
model = {{ hidden = [8] }}
loss = "{loss}"
optimizer = {{ name = "sgd" }}
batch_size = {batch}
epochs = 1
"""


def entry(data: str, loss="mse", batch=4, name="houses") -> str:
    return ENTRY.format(data=data, loss=loss, batch=batch, name=name)


def read(folder: Path, table: pd.DataFrame | None = None, **said: Any) -> tuple[FileData, Arrays]:
    """What a CSV of this table gives; other columns that could be a target are left out."""
    table = TABLE if table is None else table
    table.to_csv(folder / "houses.csv", index=False)
    wanted = {"target": "price", "kind": "real", "file": "houses.csv", **said}
    one = wanted["target"]
    targets = {one} if isinstance(one, str) else {*one}
    wanted.setdefault("ignore", tuple(it for it in table if it in {*TARGETS} - targets))
    data = read_data_file(FileRequest.model_validate(wanted), folder)
    arrays = load(data, NOWHERE)
    check_promises(data, arrays)
    return data, arrays


# What a file becomes


def test_columns_categories_and_a_target(tmp_path):
    data, arrays = read(tmp_path, standardise=False)
    assert data.shape == (6, 1, 8, 2, "real")
    order = np.random.Generator(np.random.PCG64(np.random.SeedSequence(0))).permutation(10)
    rows = TABLE.iloc[order]
    zones = [rows.zone == it for it in "abc"]
    expected = np.column_stack([rows.rooms, rows.area, *zones, rows.garden]).astype(np.float32)
    assert np.array_equal(np.concatenate([arrays.x_train, arrays.x_test]), expected)
    assert np.array_equal(np.concatenate([arrays.y_train, arrays.y_test])[:, 0], rows.price)


def test_standardised_by_the_training_rows_constants_left_alone(tmp_path):
    table = TABLE.assign(same=0.1)
    _, arrays = read(tmp_path, table)
    for numbers in (arrays.x_train[:, :-1], arrays.y_train):
        assert np.abs(numbers.mean(axis=0, dtype=np.float64)).max() < 1e-6
        assert np.abs(numbers.std(axis=0, dtype=np.float64) - 1).max() < 1e-6
    assert np.abs(arrays.x_train[:, -1]).max() < 1e-6


def test_several_targets(tmp_path):
    data, arrays = read(tmp_path, target=["price", "rent"], standardise=False)
    assert data.outputs == 2
    assert {*arrays.y_train[:, 1], *arrays.y_test[:, 1]} == {*TABLE.rent}


@pytest.mark.parametrize(
    ("target", "kind", "values"),
    [
        ("grade", "classes", {10: 0, 20: 1, 40: 2}),
        ("word", "classes", {"high": 0, "low": 1}),
        ("word", "binary", {"high": 0, "low": 1}),
        ("garden", "binary", {False: 0, True: 1}),
    ],
)
def test_classes_are_numbered_in_their_order(tmp_path, target, kind, values):
    data, arrays = read(tmp_path, target=target, kind=kind)
    assert data.outputs == (len(values) if kind == "classes" else 1)
    order = np.random.Generator(np.random.PCG64(np.random.SeedSequence(0))).permutation(10)
    found = np.concatenate([arrays.y_train, arrays.y_test]).ravel()
    assert found.tolist() == [values[it] for it in TABLE[target].iloc[order]]


def test_numbers_may_be_named_as_categories(tmp_path):
    data, _ = read(tmp_path, categories=["rooms"])
    assert data.features == 6 - 1 + TABLE.rooms.nunique()


def test_a_test_set_of_its_own(tmp_path):
    numbers = np.arange(24.0).reshape(12, 2)
    np.savez(
        tmp_path / "own.npz",
        x=numbers[:8],
        y=["a", "b"] * 4,
        x_test=numbers[8:].astype(np.uint8),
        y_test=["c", "b", "c", "a"],
    )
    data = read_data_file(FileRequest(file="own.npz", kind="classes", standardise=False), tmp_path)
    arrays = load(data, NOWHERE)
    check_promises(data, arrays)
    assert (data.outputs, data.seed) == (3, None)
    assert np.array_equal(arrays.x_test, numbers[8:])
    assert arrays.y_test.tolist() == [2, 1, 2, 0]
    with pytest.raises(DataError, match="test: the file has test rows of its own"):
        read_data_file(FileRequest(file="own.npz", kind="classes", test=0.5), tmp_path)


# The digest


def test_whatever_changes_the_numbers_changes_the_digest_and_names_do_not(tmp_path):
    first, _ = read(tmp_path)
    other = TABLE.copy()
    other.loc[7, "area"] += 1e-12
    changed = [
        read(tmp_path, other),
        read(tmp_path, TABLE.iloc[::-1]),
        read(tmp_path, seed=1),
        read(tmp_path, test=0.3),
        read(tmp_path, standardise=False),
        read(tmp_path, target="rent"),
        read(tmp_path, ignore=["zone", *set(TARGETS) - {"price"}]),
    ]
    assert len({first.content, *(data.content for data, _ in changed)}) == len(changed) + 1
    renamed, _ = read(tmp_path, TABLE.rename(columns={"area": "size"}))
    assert renamed == first


def test_the_task_of_a_file(tmp_path):
    """Its path may be any; the name of the file is kept, and is no part of the digest."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    line = '{{ file = "{}.csv", target = "price", kind = "real" }}'
    numbers = TABLE[["rooms", "area", "price"]]
    for name in ("houses", "copy"):
        numbers.to_csv(tmp_path / f"{name}.csv", index=False)
    path = tmp_path / "deep" / "er" / "tasks.toml"
    path.write_text(
        entry(line.format("../../houses")) + entry(line.format(tmp_path / "copy"), name="two")
    )
    one, two = read_task_file(path)
    assert (one.data.file, two.data.file) == ("houses.csv", "copy.csv")
    assert one.digest == two.digest
    for task in (one, *variants(one, parse_settings(["width=8,9"]))):
        stored = task.model_dump_json()
        assert not [it for it in (str(tmp_path), "rooms", "area", "price") if it in stored]
        assert Task.model_validate_json(task.model_dump_json()) == task
        assert missing(task.data, None) is None
        assert load(task.data, None) is FILES_READ[one.data.content]
    absent = one.data.model_copy(update={"content": "0" * 16})
    assert "--task-file" in missing(absent, None)
    with pytest.raises(DataError, match=r"houses\.csv: no task file"):
        load(absent, None)


NAMES = st.text(string.ascii_letters + " äß,\"'\n;", min_size=1, max_size=6).filter(
    lambda it: (
        it.strip().lower() not in ("true", "false", "nan", "inf", "null")
        and it.strip() != ""
        and "infinity".startswith(it.strip().lower()) is False
    )
)
FLOATS = st.floats(-1e6, 1e6).filter(lambda it: not 0 < abs(it) < 1e-9)
FLOATS |= st.sampled_from([0.1, -0.0, 1 / 3, 1e-9])


@st.composite
def tables(draw) -> pd.DataFrame:
    rows = draw(st.integers(5, 12))
    kinds = draw(st.lists(st.sampled_from(["float", "int", "bool", "text"]), max_size=3))
    names = draw(st.lists(NAMES, min_size=len(kinds) + 1, max_size=len(kinds) + 1, unique=True))
    values = {
        "float": FLOATS,
        "int": st.integers(-(2**40), 2**40),
        "bool": st.booleans(),
        "text": NAMES,
    }
    columns = {
        name: draw(st.lists(values[kind], min_size=rows, max_size=rows))
        for name, kind in zip(names, ["float", *kinds], strict=True)
    }
    for name, kind in zip(names[1:], kinds, strict=True):
        if kind == "text":  # other texts in all rows would be refused
            columns[name][-1] = columns[name][0]
    kind = draw(st.sampled_from(["real", "classes", "words"]))
    columns["the target"] = {
        "real": [0.1 + it for it in range(rows)],
        "classes": [(7 * it) % 5 for it in range(rows)],
        "words": ["xyz"[it % 3] for it in range(rows)],
    }[kind]
    return pd.DataFrame(columns)


@settings(max_examples=40)
@given(table=tables(), seed=st.integers(0, 9), standardise=st.booleans())
def test_every_format_gives_the_same_arrays_and_digest(tmp_path_factory, table, seed, standardise):
    """The NPZ holds what the rules say that the table is."""
    folder = tmp_path_factory.mktemp("table")
    table.to_csv(folder / "a.csv", index=False)
    table.to_parquet(folder / "a.parquet", index=False)
    inputs = [
        np.stack([table[name] == word for word in sorted(table[name].unique())], axis=1)
        if pd.api.types.is_string_dtype(table[name].dtype)
        else np.asarray(table[name], np.float64)[:, None]
        for name in table.columns[:-1]
    ]
    last = table["the target"]
    texts = pd.api.types.is_string_dtype(last.dtype)
    np.savez(
        folder / "a.npz",
        x=np.concatenate(inputs, axis=1).astype(np.float64),
        y=np.asarray(last, str if texts else None),
    )
    kind = "real" if last.dtype == np.float64 else "classes"
    made = []
    for name, target in (("a.csv", ("the target",)), ("a.parquet", ("the target",)), ("a.npz", ())):
        request = FileRequest(
            file=name, target=target, kind=kind, seed=seed, standardise=standardise
        )
        data = read_data_file(request, folder)
        made.append((data.content, data.shape, FILES_READ.pop(data.content)))
    for content, shape, arrays in made[1:]:
        assert (content, shape) == made[0][:2]
        for one, two in zip(arrays, made[0][2], strict=True):
            assert one.dtype == two.dtype
            assert np.array_equal(one, two)


# Refusals


def packed(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def parquet(**columns: Any) -> bytes:
    return pd.DataFrame(columns).to_parquet(index=False)


def lying() -> bytes:
    """An array of a petabyte, by its header."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        head = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 125000000), }"
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head)
        archive.writestr("y.npy", b"")
    return file.getvalue()


ROWS = "".join(f"{it},{it % 3},w{it % 2}\n" for it in range(20))
GOOD = f"price,size,word\n{ROWS}"
X = np.arange(40.0).reshape(20, 2)
Y = np.arange(20.0)
CSV = 'file = "d.csv", target = "price", kind = "real"'
NPZ = 'file = "d.npz", kind = "real"'
PARQUET = 'file = "d.parquet", target = "price", kind = "real"'
CLASSES = 'file = "d.npz", kind = "classes"'


def at(row: int, text: str) -> str:
    """A good table, but for one line."""
    lines = GOOD.splitlines()
    lines[row] = text
    return "\n".join(lines)


HOSTILE = [
    # what the task file says
    (CSV, GOOD, "data: target: Input should be a valid tuple (got 3)", '"price"', "3"),
    (CSV, GOOD, "data: kind: Input should be 'classes', 'binary' or 'real'", '"real"', '"ral"'),
    (CSV, GOOD, "data: path: Extra inputs are not permitted", "file", 'path = "x", file'),
    (CSV, GOOD, "unknown column 'prize'; did you mean 'price'?", '"price"', '"prize"'),
    (
        CSV,
        GOOD,
        "unknown column 'x'; choose from: price, size, word",
        "file",
        'ignore = ["x"], file',
    ),
    (CSV, GOOD, "column 'price' is a target", "file", 'ignore = ["price"], file'),
    (CSV, GOOD, "name the column that is to be predicted", 'target = "price",', ""),
    (CSV, GOOD, "no column is left", "file", 'ignore = ["size", "word"], file'),
    (CSV, GOOD, "not one of .csv, .parquet, .npz", "d.csv", "d.xlsx"),
    (CSV, GOOD, "../../nowhere.csv: no such file", "d.csv", "../../nowhere.csv"),
    (CSV, GOOD, "no valid path", "d.csv", "a\\u0000b.csv"),
    (CSV, GOOD, "batch_size: 21 is more than the 16 training examples of d.csv", "batch", "21"),
    (NPZ, packed(x=X, y=Y), "an NPZ file has its inputs in x", "file", 'target = "y", file'),
    # files that are none
    (CSV, "", "malformed CSV: Empty CSV file"),
    (CSV, b"\x89PNG\r\n\x1a\n\0\0,\xff\n\0", "row 2: the header has 1"),
    (CSV, GOOD.encode("utf-16"), "UTF-16, not UTF-8 text"),
    (CSV, "größe,price\n1,2\n".encode("latin-1"), "the header is not UTF-8 text"),
    (CSV, at(7, "7,1,wä").encode("latin-1"), "row 7, column 'word': not UTF-8 text"),
    (CSV, b"PK\3\4" + bytes(100), ""),
    (NPZ, b"PK\3\4" + bytes(100), "malformed NPZ"),
    (NPZ, packed(x=X, y=np.array([{}] * 20)), "malformed NPZ: Object arrays cannot be loaded"),
    (NPZ, packed(x=X, y=Y)[:-30], "malformed NPZ"),
    (NPZ, lying(), ""),
    (PARQUET, b"PAR1" + bytes(40) + b"PAR1", "malformed Parquet"),
    # tables
    (CSV, at(5, "5,1"), "row 5: the header has 3 fields, the row 2"),
    (CSV, at(5, "5,1,x,y"), "row 5: the header has 3 fields, the row 4"),
    (CSV, "price,size,word\n", "no row below the header"),
    (CSV, "price,size,word\n1,2,w\n2,3,w\n", "2 rows: too few"),
    (CSV, GOOD.replace("size", "price"), "two columns have the name 'price'"),
    (CSV, GOOD.replace("size", ""), "column 2 holds row labels or has no name; leave it out"),
    (CSV, GOOD.replace(",", ";"), "is the separator ';'?"),
    (CSV, at(9, "9,,w"), "row 9, column 'size': no value"),
    (CSV, at(9, "9,nan,w"), "row 9, column 'size': no value"),
    (CSV, at(9, "9,inf,w"), "row 9, column 'size': inf is no number that float32 has"),
    (CSV, at(9, "9,n/a,w"), "row 9, column 'size': 'n/a' is no number, and others are"),
    (CSV, at(9, "cheap,1,w"), "row 9, column 'price': 'cheap' is no number"),
    (CSV, GOOD, "row 1, column 'word': 'w0' is no number", '"price"', '"word"'),
    (CSV, at(9, "9,1e300,w"), "row 9, column 'size': 1e+300 is no number that float32"),
    (CSV, GOOD + "".join(f"1,1,name {it}\n" for it in range(1001)), "1,003 different texts"),
    (CSV, "price,id\n" + "".join(f"{it},n{it}\n" for it in range(20)), "another text in every row"),
    (CSV, "price,size\n" + "1,2\n" * 20, "column 'price': the target is constant"),
    (PARQUET, parquet(price=Y, day=pd.date_range("2020", periods=20)), "column 'day' holds timest"),
    (PARQUET, parquet(price=Y, many=[[1, 2]] * 20), "column 'many' holds list"),
    (PARQUET, parquet(price=Y, size=[1, None] * 10), "row 2, column 'size': no value"),
    # arrays
    (NPZ, packed(a=X, y=Y), "no array 'x'; it has: a, y"),
    (NPZ, packed(x=X.ravel(), y=Y), "x has the shape (40,), not (rows, features)"),
    (NPZ, packed(x=X, y=Y[:9]), "x has 20 rows, y has 9"),
    (NPZ, packed(x=X, y=Y, x_test=X), "x_test alone"),
    (
        NPZ,
        packed(x=X, y=Y, x_test=X[:, :1], y_test=Y),
        "x_test has the shape (20, 1), not (rows, 2)",
    ),
    (NPZ, packed(x=X * 1j, y=Y), "x holds complex128, not numbers"),
    (NPZ, packed(x=np.where(X == 7, np.nan, X), y=Y), "row 4, column 2 of x: no value"),
    (CLASSES, packed(x=X, y=Y / 2), "row 2, y: 0.5 is no class"),
    (CLASSES, packed(x=X, y=Y * 0), "y: one class only"),
    (CLASSES, packed(x=X, y=np.eye(20)), "kind 'classes' has one column of targets, not 20"),
    (NPZ.replace("real", "binary"), packed(x=X, y=Y), "y: 20 classes; kind 'binary' has two"),
    (NPZ, packed(x=X * 1e-200, y=Y), "column 1 of x: its numbers are too close"),
    (NPZ, packed(x=X, y=Y, x_test=X + np.inf, y_test=Y), "test row 1, column 1 of x: inf is no"),
]


@pytest.mark.parametrize("case", HOSTILE, ids=lambda it: str(it[2])[:50] or "no crash")
def test_a_bad_file_is_refused_in_one_line_that_says_where(tmp_path, case):
    said, content, expected, *change = case
    batch = 4
    if change[:1] == ["batch"]:
        batch = int(change[1])
    elif change:
        assert change[0] in said
        said = said.replace(*change)
    for name in ("d.csv", "d.npz", "d.parquet"):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    kind = said.rpartition('kind = "')[2].partition('"')[0]
    loss = {"classes": "cross-entropy", "binary": "binary-cross-entropy"}.get(kind, "mse")
    path = tmp_path / "tasks.toml"
    path.write_text(entry(f"{{ {said} }}", loss, batch), encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read_task_file(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: task 1: ")
    assert expected in message
    assert message.isprintable()
    assert len(message) < 400 + len(str(path))


def test_a_file_over_the_limit_is_not_opened(tmp_path):
    with (tmp_path / "d.csv").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(DataError, match=r"d\.csv: the file: 1,073,741,825 bytes; at most"):
        read_data_file(FileRequest(file="d.csv", target=("price",), kind="real"), tmp_path)


@pytest.mark.parametrize("name", ["d.npz", "d.parquet"])
def test_what_unpacks_to_more_than_the_limit_is_not_unpacked(tmp_path, monkeypatch, name):
    content = packed(x=X, y=Y) if name == "d.npz" else parquet(price=Y, **{"a" * 9: Y})
    (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(data_files, "_size", lambda path: 1)
    monkeypatch.setattr(data_files, "MAX_BYTES", 300)
    target = ("price",) if name == "d.parquet" else ()
    with pytest.raises(DataError, match=r"its (content|numbers): [\d,]+ bytes; at most 300"):
        read_data_file(FileRequest(file=name, target=target, kind="real"), tmp_path)


def test_no_folder_and_no_pipe_is_read(tmp_path):
    (tmp_path / "d.csv").mkdir()
    os.mkfifo(tmp_path / "e.csv")
    for name in ("d.csv", "e.csv"):
        with pytest.raises(DataError, match="not a file"):
            read_data_file(FileRequest(file=name, target=("price",), kind="real"), tmp_path)


def test_a_data_file_that_is_gone_leaves_the_other_tasks(tmp_path):
    (tmp_path / "d.csv").write_text(GOOD)
    gone = CSV.replace("d.csv", "not/here/gone.csv")
    path = tmp_path / "tasks.toml"
    path.write_text(entry(f"{{ {CSV} }}") + entry(f"{{ {gone} }}", name="lost"))
    asked = {"task_file": str(path), "frameworks": ["reference"], "threads": [1]}
    plan = make_plan(resolve(None, {**asked, "tasks": ["houses", "lost"]}))
    assert [it.name for it in plan.tasks] == ["houses"]
    (left_out,) = plan.unavailable
    assert left_out == Unavailable(what="task lost", reason="gone.csv: no such file")
    with pytest.raises(DataError, match=r"task 'lost' is unavailable: gone\.csv: no such file"):
        make_plan(resolve(None, {**asked, "tasks": ["lost"]}))
