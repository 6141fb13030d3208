"""Two runs against each other: two independent samples of blocks, none of them paired.

Within a run the blocks of two setups are pairs and the sign test judges their ratios (`verdicts`).
Between two runs nothing is paired. The exact rank-sum test (Wilcoxon 1945; Mann & Whitney 1947)
asks only that both samples have one shape, apart from a shift; of its dual, the ordered differences
between every value of one and every value of the other, come the estimate (Hodges & Lehmann 1963)
and the interval (Hollander, Wolfe & Chicken 2014, section 4.3). All of it is taken on logarithms,
where a shift is a ratio. With m and n blocks p is never below 2/C(m+n, m): four in each run are the
fewest that can tell a difference at 5 %. Welch's t on the same logarithms is the cross-check.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence

from harness.analysis.intervals import CONFIDENCE, Interval, exp, variance
from harness.analysis.student import quantile
from harness.analysis.verdicts import LEVEL

Logs = Sequence[float]
"""Logarithms of speeds, one a block."""


def shift_interval(before: Logs, after: Logs, confidence: float = CONFIDENCE) -> Interval:
    """How many times as fast the second sample is, with its exact interval.

    Where the blocks are too few for an exact one it is Welch's, and with one block in a sample
    there is none. `n` is the smaller number of blocks. Raises ValueError for an empty sample.
    """
    if not before or not after:
        raise ValueError("no blocks")
    gaps = sorted(late - early for late in after for early in before)
    middle, n = math.exp(statistics.median(gaps)), min(len(before), len(after))
    place = _place(len(before), len(after), confidence)
    if place is not None:
        low, high = math.exp(gaps[place - 1]), math.exp(gaps[-place])
        return Interval(estimate=middle, low=low, high=high, n=n, method="rank-sum")
    mean = welch_interval(before, after, confidence)
    if mean is None or mean.low is None or mean.high is None:
        reason = "one block says nothing of the spread"
        return Interval(estimate=middle, low=None, high=None, n=n, method="none", reason=reason)
    return Interval(
        estimate=middle,
        # With so few values the median may lie outside the interval of the mean.
        low=min(mean.low, middle),
        high=max(mean.high, middle),
        n=n,
        method="student-t",
        reason="too few blocks for an exact interval",
    )


def welch_interval(before: Logs, after: Logs, confidence: float = CONFIDENCE) -> Interval | None:
    """The ratio of geometric means with Welch's t (Welch 1947); None with one block in a sample."""
    if len(before) < 2 or len(after) < 2:
        return None
    gap = math.fsum(after) / len(after) - math.fsum(before) / len(before)
    errors = [variance(it) / len(it) for it in (before, after)]
    total = sum(errors)
    half = 0.0
    if total:
        parts = zip(errors, (before, after), strict=True)
        freedom = total**2 / sum(error**2 / (len(it) - 1) for error, it in parts)
        half = quantile(freedom, (1 + confidence) / 2) * math.sqrt(total)
    return Interval(
        estimate=exp(gap),
        low=exp(gap - half),
        high=exp(gap + half),
        n=min(len(before), len(after)),
        method="student-t",
    )


def rank_sum_p(before: Logs, after: Logs) -> float:
    """The exact two-sided test that neither is faster; a tie counts for neither side."""
    gaps = [late - early for late in after for early in before]
    against = min(sum(it <= 0 for it in gaps), sum(it >= 0 for it in gaps))
    return min(1.0, 2 * tail(len(before), len(after), against))


def shift_equivalence_p(before: Logs, after: Logs, margin: float) -> float:
    """The larger p of two exact one-sided tests: of a shift ≤ −ln(1+δ), and of one ≥ ln(1+δ)."""
    bound = math.log1p(margin)
    gaps = [late - early for late in after for early in before]
    against = max(sum(it <= -bound for it in gaps), sum(it >= bound for it in gaps))
    return tail(len(before), len(after), against)


def decidable(m: int, n: int) -> bool:
    """Whether so many blocks can tell any difference at all."""
    return _place(m, n, 1 - LEVEL) is not None


@functools.lru_cache(maxsize=4096)
def tail(m: int, n: int, k: int) -> float:
    """The chance that at most k of the m·n differences of two equal samples are on one side."""
    counts = _counts(m, n)
    return sum(counts[: k + 1]) / math.comb(m + n, m)


@functools.lru_cache(maxsize=64)
def _counts(m: int, n: int) -> tuple[int, ...]:
    """In how many orders of m + n values u of the differences are on one side, by u.

    The coefficients of the Gaussian binomial: the product over i = 1…m of (1 − xⁿ⁺ⁱ)/(1 − xⁱ).
    """
    counts = [1] + [0] * (m * n)
    for i in range(1, m + 1):
        for u in range(m * n, n + i - 1, -1):
            counts[u] -= counts[u - n - i]
        for u in range(i, m * n + 1):
            counts[u] += counts[u - i]
    return tuple(counts)


@functools.lru_cache(maxsize=1024)
def _place(m: int, n: int, confidence: float) -> int | None:
    """The largest r for which the r-th smallest and r-th largest differences cover the shift."""
    counts, whole = _counts(m, n), math.comb(m + n, m)
    place, outside = 0, counts[0]
    while place < m * n and 2 * outside / whole <= 1 - confidence + 1e-12:
        place += 1
        outside += counts[place] if place < len(counts) else 0
    return place or None
