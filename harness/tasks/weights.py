"""A user's own first weights, kept under the digest that their task carries.

They lie in the folder `weights` of the data directory (`SAMESTEP_DATA`, else the user's cache), so
that a task says which weights it means and no path of a machine.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError, UsageError
from harness.tasks.mnist import data_directory
from harness.whole_files import write_whole

if TYPE_CHECKING:
    from harness.tasks.spec import Task

Float64 = NDArray[np.float64]


def digest_of(weights: Mapping[str, NDArray[Any]]) -> str:
    """16 hex digits over names, shapes and float64 values."""
    content = hashlib.sha256()
    for name in sorted(weights):
        values = np.ascontiguousarray(weights[name], "<f8")
        content.update(f"{name} {values.shape}\n".encode())
        content.update(values.tobytes())
    return content.hexdigest()[:16]


def read(path: Path) -> dict[str, Float64]:
    """The weights of an npz file, in float64. Raises UsageError in one line."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or 'not an npz file'}") from None
    except Exception:  # whatever zipfile and NumPy make of a broken file
        raise UsageError(f"{path}: not a readable npz file of numbers") from None
    for name, values in arrays.items():
        if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
            raise UsageError(f"{path}: {name} holds something that is no finite number")
    return {name: it.astype(np.float64) for name, it in arrays.items()}


def fitting(task: Task, weights: Mapping[str, Float64], where: str) -> dict[str, Float64]:
    """The weights in the order of the task's. Raises UsageError for others than the task has."""
    shapes: dict[str, tuple[int, ...]] = {}
    for index, (fan_in, fan_out) in enumerate(task.layers):
        shapes |= {f"layer{index}.weight": (fan_in, fan_out), f"layer{index}.bias": (fan_out,)}
    for name in sorted(shapes.keys() ^ weights.keys()):
        has = "has no" if name in shapes else "has a strange"
        raise UsageError(f"{where} {has} {name!r}; task {task.name} needs {', '.join(shapes)}")
    for name, shape in shapes.items():
        if weights[name].shape != shape:
            given = weights[name].shape
            raise UsageError(f"{where}: {name} has shape {given}; task {task.name} needs {shape}")
    return {name: weights[name] for name in shapes}


def keep(weights: Mapping[str, Float64]) -> str:
    """Keep weights for later runs; returns their digest. Raises DataError."""
    digest = digest_of(weights)
    path = _place(digest)
    try:
        write_whole(path, lambda file: np.savez(file, **weights))  # type: ignore[arg-type]
    except OSError as error:
        raise DataError(f"{path.parent}: weights cannot be kept: {error.strerror}") from None
    return digest


def started_from(source: str | Path, tasks: Iterable[Task]) -> list[Task]:
    """The tasks, each with the weights of a file as its start, which are kept; or with weights that
    are kept already, where `source` is their digest.

    Raises UsageError where they do not fit a task.
    """
    known = re.fullmatch(r"[0-9a-f]{16}", str(source)) and not Path(source).exists()
    weights = {} if known else read(Path(source))
    made = []
    for task in tasks:
        digest = str(source) if known else keep(fitting(task, weights, str(source)))
        model = task.model.model_copy(update={"weights": digest})
        made.append(task.model_copy(update={"model": model}))
    return made


def kept(task: Task) -> dict[str, Float64]:
    """The first weights of a task that names its own. Raises DataError where they are not here."""
    digest = task.model.weights
    assert digest is not None
    path = _place(digest)
    if not path.is_file():
        raise DataError(
            f"task {task.name} starts from weights {digest}, which are not on this machine; "
            "give their file once more: run --weights FILE"
        )
    weights = fitting(task, read(path), path.name)
    if digest_of(weights) != digest:
        raise DataError(f"{path}: not the weights that its name promises")
    return weights


def _place(digest: str) -> Path:
    if (directory := data_directory(None)) is None:
        raise DataError("there is no data directory to keep weights in; set SAMESTEP_DATA")
    return directory / "weights" / f"{digest}.npz"
