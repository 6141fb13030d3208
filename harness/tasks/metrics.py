"""Quality of a model's outputs on the test rows: one function a metric, name → function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def accuracy(outputs: Array, targets: Array) -> float:
    """Share of rows whose largest output, or the sign of whose one logit, is right (0 to 1)."""
    if outputs.shape[1] == 1:
        return float(np.mean((outputs > 0) == (targets > 0.5)))
    return float(np.mean(outputs.argmax(axis=1) == targets))


def mse(outputs: Array, targets: Array) -> float:
    """Mean over rows and outputs of the squared error, in the targets' (scaled) units."""
    return float(np.mean(np.square(outputs.astype(np.float64) - targets)))


METRICS: dict[str, Callable[[Array, Array], float]] = {"accuracy": accuracy, "mse": mse}
