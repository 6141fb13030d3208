"""What both programs are fed: rows of a data set, or synthetic ones that fit the first program."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.adapter import Array
from harness.errors import UsageError, unknown
from harness.programs.formulas import Batch
from harness.tasks.datasets import Arrays, load
from harness.tasks.mnist import data_directory
from harness.tasks.programs import Description
from harness.tasks.spec import KNOWN, Kind, Known

ROWS = 32
SMALLER = 2
"""The batch, from 0, that has a quarter fewer rows: what depends on their number then shows."""
MOST_NUMBERS = 50_000_000
"""That both programs show in all their steps: 400 MB."""


def dense_widths(description: Description) -> tuple[int, int]:
    """Features and outputs of a program, by its dense layers."""
    dense = [it.options for it in description.layers if it.kind == "dense"]
    if not dense:
        raise UsageError("the program has no dense layer")
    return int(str(dense[0]["inputs"])), int(str(dense[-1]["outputs"]))


def kind_of(*programs: Description) -> Kind:
    """What the targets are, by the first loss that tells; with one output 0 or 1, else classes."""
    for it in programs:
        if it.loss is not None and it.loss.kind is not None:
            return it.loss.kind
    return "classes" if dense_widths(programs[0])[1] > 1 else "binary"


def synthetic(features: int, outputs: int, kind: Kind, rows: int, seed: int) -> Batch:
    """Standard normal inputs with targets that a random linear map of them gives."""
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(rows, features))
    # One map for all rows of any seed, so that there is something to learn.
    scores = inputs @ np.random.default_rng(0).normal(size=(features, outputs))
    if kind == "classes":
        return inputs, scores.argmax(axis=1)
    if kind == "binary":
        return inputs, (scores > 0).astype(np.float64)
    return inputs, scores / np.sqrt(features)


def arrays_of(name: str, features: int, outputs: int) -> Arrays:
    """A data set of the catalogue, where its widths fit. Raises UsageError."""
    if name not in KNOWN:
        raise unknown("data", name, KNOWN)
    shape = KNOWN[name]
    target = "inputs" if outputs == shape.features != shape.outputs else "labels"
    data = Known.model_validate({"name": name, "target": target})
    if (data.shape.features, data.shape.outputs) != (features, outputs):
        raise UsageError(
            f"data {name} has {shape.features} features and {shape.outputs} outputs; the programs "
            f"have {features} and {outputs}"
        )
    return load(data, data_directory(None))


def batches_for(
    a: Description, b: Description, data: str | None, steps: int, rows: int | None, seed: int
) -> list[Batch]:
    """As many batches as steps, all of `rows` rows but one that is smaller."""
    features, outputs = dense_widths(a)
    rows = rows or min(a.batch_size or ROWS, 256)
    if data is None:
        x, y = synthetic(features, outputs, kind_of(a, b), rows * steps, seed)
    else:
        arrays = arrays_of(data, features, outputs)
        order = np.random.default_rng(seed).integers(0, len(arrays.x_train), rows * steps)
        x, y = arrays.x_train[order].astype(np.float64), arrays.y_train[order]
    made = []
    for step in range(steps):
        count = rows - rows // 4 if step == SMALLER else rows
        first = step * rows
        made.append((x[first : first + count], y[first : first + count]))
    return made


def affordable(weights: Mapping[str, Array]) -> int:
    """How many steps can be kept of a program with these weights."""
    size = sum(it.size for it in weights.values())
    return max(3, MOST_NUMBERS // (8 * size))
