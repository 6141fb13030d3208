"""Intervals over blocks. The block is the unit of statistics, never the sample."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence
from typing import Literal

from harness.analysis.student import quantile
from harness.tasks.frozen import Frozen

CONFIDENCE = 0.95
LEAST_EXACT = 6
"""Blocks from which on an exact interval at CONFIDENCE exists."""

WIDEST = math.log(2)
"""Half the width, on the logarithmic scale, from which on a ratio or a time counts as not known: it
may be twice as large as its middle, or half of it. Reports then give no bounds."""

Method = Literal["order-statistic", "rank-sum", "student-t", "combined", "none"]


class Interval(Frozen):
    """A median over `n` blocks with its confidence interval.

    `low` and `high` are None where there is none, with the reason in `reason`.
    """

    estimate: float
    low: float | None
    high: float | None
    n: int
    method: Method
    reason: str = ""

    def scaled(self, factor: float) -> Interval:
        """The interval of the quantity times a positive factor."""
        return self._mapped(self.estimate * factor, self.low, self.high, factor)

    def inverted(self, factor: float = 1.0) -> Interval:
        """The interval of `factor` ÷ the (positive) quantity: a time becomes a throughput."""
        low = None if self.high is None else 1 / self.high
        high = None if self.low is None else 1 / self.low
        return self._mapped(factor / self.estimate, low, high, factor)

    def _mapped(
        self, estimate: float, low: float | None, high: float | None, factor: float
    ) -> Interval:
        return Interval(
            estimate=estimate,
            low=None if low is None else low * factor,
            high=None if high is None else high * factor,
            n=self.n,
            method=self.method,
            reason=self.reason,
        )


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The median of positive values, one a block, with its interval.

    From 6 values on, the exact order-statistic interval (Hahn & Meeker 1991, section 5.2): the
    narrowest pair of ordered values whose binomial coverage is at least `confidence`. For 2 to 5
    values no such pair exists: Student's t on the logarithms. Raises ValueError for no values.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    n, middle = len(ordered), statistics.median(ordered)
    if n == 1:
        reason = "one block says nothing of the spread"
        return Interval(estimate=middle, low=None, high=None, n=1, method="none", reason=reason)
    place = rank(n, confidence)
    if place is None:
        mean, half = _student([math.log(value) for value in ordered], confidence)
        # With so few values the median may lie outside the interval of the mean.
        return Interval(
            estimate=middle,
            low=min(exp(mean - half), middle),
            high=max(exp(mean + half), middle),
            n=n,
            method="student-t",
            reason=f"fewer than {LEAST_EXACT} blocks",
        )
    low, high = ordered[place - 1], ordered[n - place]
    return Interval(estimate=middle, low=low, high=high, n=n, method="order-statistic")


def ratio_interval(logs: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The same of ratios that are given by their logarithms.

    The middle of an even number is the geometric mean of two. So a ratio and its inverse agree,
    whichever of the two setups is the baseline; arithmetic means could both exceed 1.
    """
    found = median_interval([math.exp(it) for it in logs], confidence)
    if len(logs) % 2:
        return found
    middle = math.exp(statistics.median(logs))
    low, high = found.low, found.high
    if found.method == "student-t" and low is not None and high is not None:
        mean, half = _student(logs, confidence)
        low, high = min(math.exp(mean - half), middle), max(math.exp(mean + half), middle)
    return found.model_copy(update={"estimate": middle, "low": low, "high": high})


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """The geometric mean of positive values with Student's t on their logarithms; None for one.

    It assumes what the exact interval does not, normal logarithms, and so serves as its check.
    """
    if len(values) < 2:
        return None
    mean, half = _student([math.log(value) for value in values], confidence)
    return Interval(
        estimate=exp(mean),
        low=exp(mean - half),
        high=exp(mean + half),
        n=len(values),
        method="student-t",
    )


def exp(log: float) -> float:
    """Of a bound: two blocks may put it where no float is, or so near zero that it has no log."""
    return math.exp(max(-600.0, min(log, 600.0)))


def variance(values: Sequence[float]) -> float:
    """Of two values or more. The exact fractions of statistics.variance take ten times as long."""
    mean = math.fsum(values) / len(values)
    return math.fsum((it - mean) ** 2 for it in values) / (len(values) - 1)


def half_width(interval: Interval) -> float | None:
    """Half the width of a ratio's interval on the logarithmic scale: 0.02 is ±2 %."""
    if interval.low is None or interval.high is None:
        return None
    return (math.log(interval.high) - math.log(interval.low)) / 2


def too_wide(low: float, high: float) -> bool:
    """Whether the size between two bounds counts as not known; see WIDEST."""
    if low <= 0 <= high:  # it may be anything down to nothing
        return low < high
    return abs(math.log(high / low)) >= 2 * WIDEST


def log_half_width(logs: Sequence[float], confidence: float = CONFIDENCE) -> float | None:
    """What `half_width` says of the ratios with these logarithms, without the way round."""
    if len(logs) < 2:
        return None
    place = rank(len(logs), confidence)
    if place is None:
        return _student(logs, confidence)[1]
    ordered = sorted(logs)
    return (ordered[-place] - ordered[place - 1]) / 2


@functools.lru_cache(maxsize=1024)
def rank(n: int, confidence: float = CONFIDENCE) -> int | None:
    """The largest r for which [x(r), x(n+1−r)] covers the median with at least `confidence`.

    It misses with twice the chance that fewer than r of n fair coins fall heads. None where even
    the extremes cover too little: 5 values at 95 %, 4 at 90 %.
    """
    place, tail = 0, 1
    while 1 - 2 * tail / 2**n >= confidence:
        place += 1
        tail += math.comb(n, place)
    return place or None


def _student(logs: Sequence[float], confidence: float) -> tuple[float, float]:
    """The mean and the half-width of Student's interval around it."""
    n = len(logs)
    mean, error = math.fsum(logs) / n, math.sqrt(variance(logs) / n)
    return mean, quantile(n - 1, (1 + confidence) / 2) * error
