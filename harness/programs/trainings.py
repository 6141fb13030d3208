"""Two programs trained to the end with several seeds: is their quality different, beyond seeds?"""

from __future__ import annotations

import numpy as np

from harness.adapter import Array
from harness.analysis.stats import median_interval
from harness.programs.batches import DataSource, arrays_of, dense_widths, kind_of, synthetic
from harness.programs.process import OpenProgram
from harness.tasks.metrics import METRICS
from harness.tasks.programs import Description
from harness.tasks.spec import Frozen, Kind

EPOCHS, BATCH = 5, 32
ROWS = 2048
"""Synthetic training rows; a quarter as many for testing."""


class Trainings(Frozen):
    """`values` of A and B by seed, paired: both begin with A's weights, drawn anew for every seed,
    and see the rows in one order. `low` and `high` bound the median difference, B less A; None with
    fewer than six seeds. `steps` are those that each makes."""

    metric: str
    values: tuple[tuple[float, ...], tuple[float, ...]]
    steps: tuple[int, int]
    low: float | None = None
    high: float | None = None

    @property
    def differ(self) -> bool | None:
        """Whether the difference is more than seeds make; None where that cannot be told."""
        return None if self.low is None or self.high is None else not self.low <= 0 <= self.high


def trained(a: OpenProgram, b: OpenProgram, data: DataSource | None, seeds: int) -> Trainings:
    kind = kind_of(a.description, b.description)
    arrays = _arrays(data, *dense_widths(a.description), kind)
    metric = "mse" if kind == "real" else "accuracy"
    values: tuple[list[float], list[float]] = ([], [])
    steps = [0, 0]
    for seed in range(seeds):
        weights = _redrawn(a.weights, seed)
        for index, program in enumerate((a, b)):
            order = _order(program.description, len(arrays["x"]), seed)
            outputs = program.train(weights, {**arrays, "order": order})
            values[index].append(METRICS[metric].function(outputs, arrays["y_test"]))
            steps[index] = len(order)
    difference = median_interval([y - x for x, y in zip(*values, strict=True)], of="seeds")
    return Trainings(
        metric=metric,
        values=(tuple(values[0]), tuple(values[1])),
        steps=(steps[0], steps[1]),
        low=difference.low,
        high=difference.high,
    )


def _arrays(data: DataSource | None, features: int, outputs: int, kind: Kind) -> dict[str, Array]:
    if data is None:
        x, y = synthetic(features, outputs, kind, ROWS, 1)
        x_test, y_test = synthetic(features, outputs, kind, ROWS // 4, 2)
        return {"x": x, "y": y, "x_test": x_test, "y_test": y_test}
    names = ("x", "y", "x_test", "y_test")
    return dict(zip(names, arrays_of(data, features, outputs, kind), strict=True))


def _redrawn(weights: dict[str, Array], seed: int) -> dict[str, Array]:
    """Weights of the same distribution: the entries of each tensor in another order."""
    random = np.random.default_rng(seed)
    return {k: random.permutation(it.ravel()).reshape(it.shape) for k, it in weights.items()}


def _order(description: Description, rows: int, seed: int) -> Array:
    """Row numbers of every step, (steps, batch); the last batch of an epoch is filled with −1."""
    random = np.random.default_rng([seed, 1])
    batch = min(description.batch_size or BATCH, rows)
    filling = np.full(-rows % batch, -1)
    epochs = []
    for _ in range(description.epochs or EPOCHS):
        order = np.arange(rows) if description.shuffle is False else random.permutation(rows)
        epochs.append(np.concatenate([order, filling]).reshape(-1, batch))
    return np.concatenate(epochs)
