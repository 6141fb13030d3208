"""How good a model's outputs on the test rows are: one registry, `METRICS`.

A new metric is one entry. Its name stands in CSV, JSON and their schemas; tables, figures and
sentences take everything else from the entry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


class QualityMetric(NamedTuple):
    """One measure of quality, for tasks with one of the `losses`.

    `function` takes outputs and targets. A value in `percent` is a share of one, and shown as such.
    `margin` makes no difference in practice: so much more or less, or, where `relative`, so large a
    share of the other value. It is a convention of the analysis and no part of a task's digest.
    `word` and `plural` stand in tables and sentences, `title` on axes.
    """

    function: Callable[[Array, Array], float]
    losses: tuple[str, ...]
    higher_is_better: bool
    unit: Literal["percent", "number"]
    margin: float
    relative: bool
    word: str
    plural: str
    title: str


def accuracy(outputs: Array, targets: Array) -> float:
    """Share of rows whose largest output, or the sign of whose one logit, is right (0 to 1)."""
    if outputs.shape[1] == 1:
        return float(((outputs > 0) == (targets > 0.5)).mean())
    return float((outputs.argmax(axis=1) == targets).mean())


def mse(outputs: Array, targets: Array) -> float:
    """Mean over rows and outputs of the squared error, in the targets' (scaled) units."""
    return float(((outputs.astype("float64") - targets) ** 2).mean())


METRICS: dict[str, QualityMetric] = {
    "accuracy": QualityMetric(
        function=accuracy,
        losses=("cross-entropy", "cross-entropy-of-probabilities", "binary-cross-entropy"),
        higher_is_better=True,
        unit="percent",
        margin=0.005,
        relative=False,
        word="accuracy",
        plural="accuracies",
        title="accuracy",
    ),
    "mse": QualityMetric(
        function=mse,
        losses=("mse",),
        higher_is_better=False,
        unit="number",
        margin=0.05,
        relative=True,
        word="error",
        plural="errors",
        title="mean squared error",
    ),
}


def metric_of(loss: str) -> str:
    """The metric of tasks with this loss: the last entry that names it."""
    return next(name for name, it in reversed(METRICS.items()) if loss in it.losses)
