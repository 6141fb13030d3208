"""Intervals of quantities that may be zero or negative: differences, drifts, quality."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from harness.analysis.intervals import CONFIDENCE, LEAST_EXACT, Interval, rank
from harness.analysis.student import below, quantile


def signed_interval(
    values: Sequence[float], confidence: float = CONFIDENCE, of: str = "blocks"
) -> Interval:
    """The median of any finite numbers with its interval; `of` names what they are one for each.

    As `median_interval`, but Student's t for 2 to 5 values stands on the values themselves, since
    they may have no logarithm. Raises ValueError for no values.
    """
    if not values:
        raise ValueError("no values")
    n, middle = len(values), statistics.median(values)
    if n == 1:
        reason = f"one of the {of} says nothing of the spread"
        return Interval(estimate=middle, low=None, high=None, n=1, method="none", reason=reason)
    if place := rank(n, confidence):
        ordered = sorted(values)
        low, high = ordered[place - 1], ordered[n - place]
        return Interval(estimate=middle, low=low, high=high, n=n, method="order-statistic")
    mean = student(values)
    half = mean.half_width(confidence)
    # With so few values the median may lie outside the interval of the mean.
    return Interval(
        estimate=middle,
        low=min(mean.center - half, middle),
        high=max(mean.center + half, middle),
        n=n,
        method="student-t",
        reason=f"fewer than {LEAST_EXACT} {of}" if n < LEAST_EXACT else f"too few {of} for ranks",
    )


class Student(NamedTuple):
    """The mean of `n` values and its standard error, at least 2 of them."""

    center: float
    error: float
    n: int

    def half_width(self, confidence: float = CONFIDENCE) -> float:
        """Half the width of Student's interval of the mean."""
        return quantile(self.n - 1, (1 + confidence) / 2) * self.error

    def p_value(self, center: float = 0.0) -> float:
        """Two-sided: how surprising the mean is if the true one were `center`."""
        distance = abs(self.center - center)
        if self.error == 0:
            return 1.0 if distance == 0 else 0.0
        return 2 * below(self.n - 1, -distance / self.error)

    def p_equivalent(self, margin: float) -> float:
        """The larger p of two one-sided t tests that the mean lies beyond ± margin (Schuirmann
        1987): at most 5 % if and only if the 90 % interval lies within it."""
        inside = margin - abs(self.center)
        if self.error == 0:
            return 0.0 if inside > 0 else 1.0
        return below(self.n - 1, -inside / self.error)


def student(values: Sequence[float], resolution: float = 0.0) -> Student:
    """Mean and standard error of at least 2 values.

    `resolution` is the grid on which they can lie: their deviation is taken to be at least that of
    rounding to it, resolution/√12 (Sheppard 1898), for equal values on a coarse grid are not
    certainty.
    """
    deviation = max(statistics.stdev(values), resolution / math.sqrt(12))
    return Student(statistics.fmean(values), deviation / math.sqrt(len(values)), len(values))
