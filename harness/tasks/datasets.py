"""The numbers themselves: data sets read, drawn or computed, and staged for the workers.

Nothing is fetched here (`harness.tasks.fetch` does that), and a worker that opens staged arrays
neither imports scikit-learn nor unzips anything.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.tasks import embedded, images
from harness.tasks.data import DOWNLOADED, Data, Known, Teacher
from harness.tasks.images import data_directory as data_directory
from harness.tasks.teacher import draw

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


def missing(data: Data, directory: Path | None) -> str | None:
    """None where the data can be loaded, else one line with the command that gets them.

    Looks for files only; `load` may still find one of them corrupt.
    """
    return images.absent(data.name, directory) if data.name in DOWNLOADED else None


def load(data: Data, directory: Path | None) -> Arrays:
    """The arrays of a task's data, in the shapes that `data.shape` promises.

    Raises DataError, in one line, where a file is absent, truncated or not the published one.
    """
    if isinstance(data, Teacher):
        return Arrays(*draw(data))
    arrays = _images(data.name, directory) if data.name in DOWNLOADED else EMBEDDED[data.name]()
    if data.target == "inputs":
        arrays = arrays._replace(y_train=arrays.x_train, y_test=arrays.x_test)
    _check_sizes(data, arrays)
    return arrays


def _images(name: str, directory: Path | None) -> Arrays:
    place = images.needed(directory)
    train, train_labels, test, test_labels = (
        images.read(name, place, file) for file in images.FILES[name]
    )
    return Arrays(
        _scaled(train, 255),
        train_labels.astype(np.int64),
        _scaled(test, 255),
        test_labels.astype(np.int64),
    )


def _digits() -> Arrays:
    pixels, labels = embedded.read("digits")
    return _split(_scaled(pixels, 16), labels.astype(np.int64))


def _cancer() -> Arrays:
    columns, labels = embedded.read("cancer")
    arrays = _split(columns, labels.astype(np.float32)[:, None])
    x_train, x_test = _standardised(arrays.x_train, arrays.x_test)
    return arrays._replace(x_train=x_train, x_test=x_test)


def _diabetes() -> Arrays:
    columns, target = embedded.read("diabetes")
    arrays = _split(columns, target[:, None])
    x_train, x_test = _standardised(arrays.x_train, arrays.x_test)
    y_train, y_test = _standardised(arrays.y_train, arrays.y_test)
    return Arrays(x_train, y_train, x_test, y_test)


EMBEDDED: dict[str, Callable[[], Arrays]] = {
    "digits": _digits,
    "cancer": _cancer,
    "diabetes": _diabetes,
}
"""Data sets that come with scikit-learn."""


def _scaled(pixels: Array, largest: int) -> Float32:
    scaled = pixels.reshape(len(pixels), -1).astype(np.float32)
    scaled /= largest
    return scaled


def _split(inputs: Array, targets: Array) -> Arrays:
    """The first 80 % of one fixed permutation for training, the rest for testing."""
    seed = np.random.SeedSequence(SPLIT_SEED)
    rows = np.random.Generator(np.random.PCG64(seed)).permutation(len(inputs))
    train, test = np.split(rows, [len(rows) * 4 // 5])
    return Arrays(inputs[train], targets[train], inputs[test], targets[test])


def _standardised(train: Array, test: Array) -> tuple[Float32, Float32]:
    """Both minus the mean of `train`, divided by its deviation, column by column."""
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    scaled = ((rows - mean) / deviation for rows in (train, test))
    first, second = (rows.astype(np.float32) for rows in scaled)
    return first, second


def _check_sizes(data: Known, arrays: Arrays) -> None:
    """The embedded sets are another project's: a release with other rows must not pass unseen."""
    shape = data.shape
    expected = ((shape.train, shape.features), (shape.test, shape.features))
    found = (arrays.x_train.shape, arrays.x_test.shape)
    if found != expected:
        raise DataError(f"{data.name}: inputs of shapes {found}, not the expected {expected}")


def write_staged(arrays: Arrays, directory: Path) -> None:
    """Write arrays as plain `.npy` files, each whole or not at all; a shared array only once.

    The manifest goes first and comes last, so a directory with a manifest is complete. Raises
    DataError where the directory cannot be written.
    """
    files: dict[str, str] = {}
    written: dict[int, str] = {}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / MANIFEST).unlink(missing_ok=True)
        for field, array in arrays._asdict().items():
            if id(array) not in written:
                written[id(array)] = f"{field}.npy"
                _replace(directory / written[id(array)], array)
            files[field] = written[id(array)]
        _replace(directory / MANIFEST, json.dumps(files).encode())
    except OSError as error:
        raise DataError(f"{directory}: cannot stage data: {error.strerror or error}") from None


def _replace(path: Path, content: Array | bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
        try:
            if isinstance(content, bytes):
                file.write(content)
            else:
                np.save(file, content, allow_pickle=False)
            file.flush()
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def open_staged(directory: Path) -> Arrays:
    """Arrays that `write_staged` wrote, mapped read-only into memory and shared between processes.

    Raises DataError where they are absent or malformed.
    """
    try:
        files = json.loads((directory / MANIFEST).read_bytes())
        if not isinstance(files, dict) or set(files) != set(Arrays._fields):
            raise ValueError(f"{MANIFEST} does not name the four arrays")
        opened = {name: _open(directory, name) for name in dict.fromkeys(files.values())}
        arrays = Arrays(*(opened[files[field]] for field in Arrays._fields))
        _check_staged(arrays)
    except FileNotFoundError as error:
        raise DataError(f"{directory}: no staged data: {error.filename} is absent") from None
    except (OSError, ValueError, EOFError, TypeError) as error:
        raise DataError(f"{directory}: malformed staged data: {_line(error)}") from None
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


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0]
