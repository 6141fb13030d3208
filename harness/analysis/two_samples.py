"""Two runs against each other: two independent samples of blocks, none of them paired.

Within a run the blocks of two setups are pairs and the sign test judges their ratios (`verdicts`).
Between two runs nothing is paired, their spreads may differ, and blocks may resemble the ones
before them where the machine drifts. A rank-sum test assumes one shape and independent blocks; it
misses up to one time in five without them. Here each median has its exact interval, made wider by
what its blocks have in common with their neighbours (`dependence`). Both are combined as those of a
mean over tasks (Zou & Donner 2008, see `aggregate`): with medians a in (la, ua) and b in (lb, ub)
the shift b − a reaches down by √((b − lb)² + (ua − a)²), and up likewise. The p values are those
levels from which on the interval excludes what is tested. All of it is taken on logarithms, where a
shift is a ratio. It takes 6 blocks in each run. Welch's t on the same logarithms is the
cross-check. `tests/analysis/test_rates.py` simulates all of it. That the whole of a run was made on
a slower machine is in no interval.
"""

from __future__ import annotations

import bisect
import functools
import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from harness.analysis.intervals import CONFIDENCE, LEVEL, Interval, exact_ends, exp, rank, tail, variance
from harness.analysis.student import quantile

Logs = Sequence[float]
"""Logarithms of speeds, one a block, in the order of blocks."""
STRONGEST = 0.9
"""The largest correlation of neighbours that an interval is widened for."""


def shift_interval(before: Logs, after: Logs, confidence: float = CONFIDENCE) -> Interval:
    """How many times as fast the second sample is, with its interval.

    `n` is the smaller number of blocks. Raises ValueError for an empty sample.
    """
    if not before or not after:
        raise ValueError("no blocks")
    middle = exp(statistics.median(after) - statistics.median(before))
    n, ends = min(len(before), len(after)), shift_ends(before, after, confidence)
    if ends is None:
        few = "one block says nothing of the spread"
        reason = few if n == 1 else "too few blocks for an interval"
        return Interval(estimate=middle, low=None, high=None, n=n, method="none", reason=reason)
    low, high = map(exp, ends)
    return Interval(estimate=middle, low=low, high=high, n=n, method="combined")


def shift_ends(before: Logs, after: Logs, confidence: float) -> tuple[float, float] | None:
    """The ends of the interval of the second median less the first; None of too few values."""
    early, late = _reach(before, confidence), _reach(after, confidence)
    if early is None or late is None:
        return None
    gap = _ordered(tuple(after)).median - _ordered(tuple(before)).median
    return gap - math.hypot(late[0], early[1]), gap + math.hypot(late[1], early[0])


def _reach(values: Logs, confidence: float) -> tuple[float, float] | None:
    """How far the median may lie below and above the one that was found."""
    sample = _ordered(tuple(values))
    ends = exact_ends(sample.values, confidence)
    if ends is None:
        return None
    return sample.wider * (sample.median - ends[0]), sample.wider * (ends[1] - sample.median)


class _Ordered(NamedTuple):
    values: tuple[float, ...]
    median: float
    wider: float


@functools.lru_cache(maxsize=256)
def _ordered(values: tuple[float, ...]) -> _Ordered:
    """What the ends at every level are made of."""
    return _Ordered(tuple(sorted(values)), statistics.median(values), dependence(values))


def dependence(values: tuple[float, ...]) -> float:
    """How many times as wide an interval has to be for values that resemble their neighbours.

    √((1 + ρ) ÷ (1 − ρ)), as for the mean of an AR(1) series. ρ is the correlation of ranks of
    neighbours, less its bias of (1 + 4ρ) ÷ n (Kendall 1954), and a little more, for in few values
    it is hardly seen. So an interval of 12 independent blocks becomes 1.4 times as wide.
    """
    n, ordered = len(values), sorted(values)
    ranks = [
        bisect.bisect_left(ordered, it) + bisect.bisect_right(ordered, it) - n for it in values
    ]
    squares = sum(it * it for it in ranks)
    if not squares:
        return 1.0
    found = sum(one * other for one, other in pairwise(ranks)) / squares
    correlation = min(max(found + (3.5 + 4 * found) / n, 0.0), STRONGEST)
    return math.sqrt((1 + correlation) / (1 - correlation))


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


def shift_p(before: Logs, after: Logs) -> float:
    """The smallest level whose interval excludes that neither is faster."""
    found = 1.0
    for level in _levels(len(before), len(after)):
        ends = shift_ends(before, after, 1 - level)
        if ends is None or ends[0] <= 0 <= ends[1]:
            break
        found = level
    return found


def shift_equivalence_p(before: Logs, after: Logs, margin: float) -> float:
    """The larger p of two one-sided tests: of a shift ≤ −ln(1+δ), and of one ≥ ln(1+δ)."""
    bound, found = math.log1p(margin), 1.0
    for level in _levels(len(before), len(after)):
        ends = shift_ends(before, after, 1 - level)
        if ends is None or not -bound < ends[0] <= ends[1] < bound:
            break
        found = level / 2
    return found


def decidable(m: int, n: int) -> bool:
    """Whether so many blocks can tell any difference at all."""
    return rank(min(m, n), 1 - LEVEL) is not None


@functools.lru_cache(maxsize=256)
def _levels(m: int, n: int) -> tuple[float, ...]:
    """At which the interval of one of the samples takes another pair of values, large first."""
    levels = {2 * tail(size, k) for size in (m, n) for k in range(size // 2)}
    return tuple(sorted((it for it in levels if it < 1), reverse=True))
