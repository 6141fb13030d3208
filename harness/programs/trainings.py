"""Whole trainings of two programs: do their schedules differ, and their quality beyond seeds?"""

from __future__ import annotations

import math

import numpy as np

from harness.adapter import Array
from harness.analysis.stats import exact_ends
from harness.differences import finite
from harness.errors import UsageError
from harness.programs.batches import MOST_NUMBERS, DataSource, arrays_for, kind_of
from harness.programs.initializers import fresh_weights, initializer_of
from harness.programs.process import OpenProgram
from harness.tasks.metrics import METRICS
from harness.tasks.programs import Description
from harness.tasks.spec import Frozen, Initializer

EPOCHS, BATCH = 5, 32
ROWS = 2048
"""Synthetic training rows; a quarter as many for testing."""


class Trainings(Frozen):
    """Both programs trained with several seeds. With each seed both begin with the same weights
    and, if both shuffle, see the rows in the same order.

    The weights are drawn by `initializer`, A's. Where that is None it is unknown: then they are A's
    weights, the entries of every tensor in another order. `values` are the quality of A and B by
    seed, None where a training diverged. `low` and `high` bound the median difference, B less A;
    None where there is no bound. `differ` says whether 0 lies outside; None with fewer than six
    seeds. `steps` are the updates of each.
    """

    metric: str
    values: tuple[tuple[float | None, ...], tuple[float | None, ...]]
    steps: tuple[int, int]
    low: float | None = None
    high: float | None = None
    differ: bool | None = None
    initializer: Initializer | None = None


def trained(a: OpenProgram, b: OpenProgram, data: DataSource | None, seeds: int) -> Trainings:
    arrays = arrays_for(a, b, data, ROWS)
    metric = "mse" if kind_of(a.description, b.description) == "real" else "accuracy"
    initializer = initializer_of(a.description, a.weights)
    values: tuple[list[float], list[float]] = ([], [])
    steps = [0, 0]
    for seed in range(seeds):
        weights = fresh_weights(a.weights, initializer, seed)
        for index, program in enumerate((a, b)):
            order = _order(program.description, len(arrays.x_train), seed)
            outputs = program.train(weights, {**arrays._asdict(), "order": order})
            with np.errstate(all="ignore"):
                value = METRICS[metric].function(outputs, arrays.y_test)
            values[index].append(math.inf if math.isnan(value) else value)
            steps[index] = len(order)
    # Two trainings that both diverged do not differ.
    differences = [0.0 if x == y else y - x for x, y in zip(*values, strict=True)]
    ends = exact_ends(sorted(differences))
    low, high = map(finite, ends or (math.inf, math.inf))
    return Trainings(
        metric=metric,
        values=(tuple(map(finite, values[0])), tuple(map(finite, values[1]))),
        steps=(steps[0], steps[1]),
        low=low,
        high=high,
        differ=None if ends is None else not ends[0] <= 0 <= ends[1],
        initializer=initializer,
    )


def _order(description: Description, rows: int, seed: int) -> Array:
    """Row numbers of every step, (steps, batch); the last batch of an epoch is filled with −1."""
    random = np.random.default_rng([seed, 1])
    batch, epochs = min(description.batch_size or BATCH, rows), description.epochs or EPOCHS
    if epochs * rows > MOST_NUMBERS:
        raise UsageError(f"--train: {epochs:,} epochs of {rows:,} rows are too many")
    filling, orders = np.full(-rows % batch, -1), []
    for _ in range(epochs):
        order = np.arange(rows) if description.shuffle is False else random.permutation(rows)
        orders.append(np.concatenate([order, filling]).reshape(-1, batch))
    return np.concatenate(orders)


def schedule_differences(a: Description, b: Description) -> tuple[str, ...]:
    """How the training loops differ, in words, where both programs say: no step shows that."""
    lines = []
    for field, unit in (("batch_size", "rows a batch"), ("epochs", "epochs")):
        one, other = getattr(a, field), getattr(b, field)
        if None not in (one, other) and one != other:
            lines.append(f"A trains with {one:,} {unit}, B with {other:,}")
    if None not in (a.shuffle, b.shuffle) and a.shuffle != b.shuffle:
        one, other = ("A", "B") if a.shuffle else ("B", "A")
        lines.append(f"{one} shuffles the rows, {other} does not")
    return tuple(lines)
