"""Intervals over blocks. The block is the unit of statistics, never the sample."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Literal

# Not scipy.stats, which takes half a second to import.
from scipy import special

from harness.tasks.frozen import Frozen

CONFIDENCE = 0.95

Method = Literal["order-statistic", "student-t", "none"]


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
    rank = _rank(n, confidence)
    if rank is None:
        return _student(ordered, middle, confidence)
    low, high = ordered[rank - 1], ordered[n - rank]
    return Interval(estimate=middle, low=low, high=high, n=n, method="order-statistic")


def _rank(n: int, confidence: float) -> int | None:
    """The largest r for which [x(r), x(n+1−r)] covers the median with at least `confidence`.

    It misses with twice the chance that fewer than r of n fair coins fall heads.
    """
    rank, tail = 0, 1
    while 1 - 2 * tail / 2**n >= confidence:
        rank += 1
        tail += math.comb(n, rank)
    return rank or None


def _student(ordered: list[float], middle: float, confidence: float) -> Interval:
    logs = [math.log(value) for value in ordered]
    error = statistics.stdev(logs) / math.sqrt(len(logs))
    half = float(special.stdtrit(len(logs) - 1, (1 + confidence) / 2)) * error
    mean = statistics.fmean(logs)
    low, high = math.exp(mean - half), math.exp(mean + half)
    # With so few values the median may lie outside the interval of the mean.
    return Interval(
        estimate=middle,
        low=min(low, middle),
        high=max(high, middle),
        n=len(logs),
        method="student-t",
        reason="fewer than 6 blocks",
    )
