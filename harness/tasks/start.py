"""The shared start: initial weights and batch order, made once in NumPy for every framework.

A user's own first weights are kept under the digest that their task carries, in the folder
`weights` of the data directory, so that a task says which weights it means and no path of a
machine.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError, UsageError
from harness.tasks.mnist import data_directory
from harness.tasks.spec import Initializer, Task
from harness.whole_files import write_whole

WEIGHTS, ORDER = 0, 1  # streams of one seed: drawing more of one never moves the other

Float64 = NDArray[np.float64]
Weights = dict[str, Float64]


@dataclass(frozen=True)
class Start:
    """Where a training begins and in which order it sees the data.

    `weights` maps `layer0.weight` (shape (in, out)) and `layer0.bias` (shape (out,)), and so on
    from inputs to outputs, to float64 arrays; an adapter casts them to its cell's dtype.
    """

    task: Task
    seed: int
    weights: Weights

    def epoch_order(self, epoch: int) -> NDArray[np.int64]:
        """Row indices of every batch of an epoch (from 0), shape (steps, batch)."""
        steps, batch = self.task.steps_per_epoch, self.task.batch
        rows = np.arange(self.task.data.shape.train)
        if self.task.shuffle:
            rows = _generator(self.seed, ORDER, epoch).permutation(rows)
        return rows[: steps * batch].reshape(steps, batch)


def make_start(task: Task, seed: int) -> Start:
    """Draw the initial weights of a task from a seed (any integer ≥ 0), or read the user's own.

    Raises DataError where these are not on this machine.
    """
    if task.model.weights is not None:
        return Start(task, seed, kept_weights(task))
    generator = _generator(seed, WEIGHTS)
    weights: Weights = {}
    for index, shape in enumerate(task.layers):
        drawn = draw_layer(task.model.initializer, generator, *shape)
        weights[f"layer{index}.weight"], weights[f"layer{index}.bias"] = drawn
    return Start(task, seed, weights)


def draw_layer(
    initializer: Initializer, generator: np.random.Generator, fan_in: int, fan_out: int
) -> tuple[Float64, Float64]:
    """The weight and the bias of one layer."""
    reach = limit(initializer, fan_in, fan_out)
    weight = generator.uniform(-reach, reach, (fan_in, fan_out))
    if initializer == "fan-in-uniform":
        return weight, generator.uniform(-reach, reach, fan_out)
    return weight, np.zeros(fan_out)


def limit(initializer: Initializer, fan_in: int, fan_out: int) -> float:
    squared = {
        "glorot-uniform": 6 / (fan_in + fan_out),
        "he-uniform": 6 / fan_in,
        "fan-in-uniform": 1 / fan_in,
    }
    return float(np.sqrt(squared[initializer]))


def _generator(seed: int, *stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *stream])))


def digest_of(weights: Weights) -> str:
    """16 hex digits over names, shapes and float64 values."""
    content = hashlib.sha256()
    for name in sorted(weights):
        values = np.ascontiguousarray(weights[name], "<f8")
        content.update(f"{name} {values.shape}\n".encode())
        content.update(values.tobytes())
    return content.hexdigest()[:16]


def read_weights(path: Path) -> Weights:
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


def fitting_weights(task: Task, weights: Weights, where: str) -> Weights:
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


def keep_weights(weights: Weights) -> str:
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
    weights = {} if known else read_weights(Path(source))
    made = []
    for task in tasks:
        digest = str(source) if known else keep_weights(fitting_weights(task, weights, str(source)))
        model = task.model.model_copy(update={"weights": digest})
        made.append(task.model_copy(update={"model": model}))
    return made


def kept_weights(task: Task) -> Weights:
    """The first weights of a task that names its own. Raises DataError where they are not here."""
    digest = task.model.weights
    assert digest is not None
    path = _place(digest)
    if not path.is_file():
        raise DataError(
            f"task {task.name} starts from weights {digest}, which are not on this machine; "
            "give their file once more: run --weights FILE"
        )
    weights = fitting_weights(task, read_weights(path), path.name)
    if digest_of(weights) != digest:
        raise DataError(f"{path}: not the weights that its name promises")
    return weights


def _place(digest: str) -> Path:
    if (directory := data_directory(None)) is None:
        raise DataError("there is no data directory to keep weights in; set SAMESTEP_DATA")
    return directory / "weights" / f"{digest}.npz"
