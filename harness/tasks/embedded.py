"""Data sets that come with scikit-learn, read from the files that it installs.

Its import takes seconds, which every run and every proof would wait for. A release that keeps its
files elsewhere is asked by its own functions.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Source(NamedTuple):
    """Files of columns and target, or one whose last column is the target; and a `function` of
    scikit-learn that returns the same, asked this `how`."""

    files: tuple[str, ...]
    function: str
    how: tuple[tuple[str, bool], ...] = ()
    delimiter: str | None = None
    head: int = 0


SOURCES = {
    "digits": Source(("digits.csv.gz",), "load_digits", delimiter=","),
    "cancer": Source(("breast_cancer.csv",), "load_breast_cancer", delimiter=",", head=1),
    # Not scaled: scikit-learn's own scaling has seen the test rows.
    "diabetes": Source(
        ("diabetes_data_raw.csv.gz", "diabetes_target.csv.gz"),
        "load_diabetes",
        (("scaled", False),),
    ),
}


def read(name: str) -> tuple[Array, Array]:
    """Columns (rows, features) and target (rows,) of a set, float64.

    Raises ModuleNotFoundError where scikit-learn is not installed.
    """
    try:
        folder, source = _folder(), SOURCES[name]
        tables = [
            np.loadtxt(folder / it, delimiter=source.delimiter, skiprows=source.head, ndmin=2)
            for it in source.files
        ]
    except (OSError, ValueError):
        return _asked(name)
    *columns, last = tables
    return (columns[0], last[:, 0]) if columns else (last[:, :-1], last[:, -1])


def _folder() -> Path:
    found = importlib.util.find_spec("sklearn")
    if found is None or found.origin is None:
        raise FileNotFoundError("scikit-learn is not installed")
    return Path(found.origin).parent / "datasets" / "data"


def _asked(name: str) -> tuple[Array, Array]:
    source, datasets = SOURCES[name], importlib.import_module("sklearn.datasets")
    columns, target = getattr(datasets, source.function)(return_X_y=True, **dict(source.how))
    return columns, target.astype(np.float64)
