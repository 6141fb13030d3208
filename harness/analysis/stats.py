"""Intervals, exact tests and corrections: values in, numbers out. `verdicts` interprets them.

The block is the unit of statistics, never the sample. One sample of values has the exact
order-statistic interval of its median, and exact sign tests. `tests/analysis/test_rates.py`
simulates every interval and test.

Two runs are two independent samples: nothing is paired, their spreads may differ, and blocks may
resemble the ones before them where the machine drifts. A rank-sum test assumes one shape and
independent blocks; without them it misses up to one time in five. Here each median has its exact
interval, widened by what its blocks have in common with their neighbours (`dependence`). Both are
combined as those of a mean over tasks (Zou & Donner 2008): with medians a in (la, ua) and b in
(lb, ub) the shift b − a reaches down by √((b − lb)² + (ua − a)²), and up likewise. The p values are
the levels from which on the interval excludes what is tested. All of it is taken on logarithms,
where a shift is a ratio. Welch's t on the same logarithms is the cross-check.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from harness.tasks.spec import Frozen

CONFIDENCE = 0.95
LEVEL = 1 - CONFIDENCE
LEAST_EXACT = 6
"""Values from which on an exact interval at CONFIDENCE exists. Of fewer the range is shown: no
interval of 2 to 5 values holds its rate on a coarse grid (results/studies/rates.md)."""

FEWEST = 3
"""Values without which nothing is claimed of their side; see `reach`."""

WIDEST = math.log(2)
"""Half the width, on the logarithmic scale, from which on a ratio or a time counts as not known: it
may be twice as large as its middle, or half of it. Reports then give no bounds."""

Method = Literal["order-statistic", "rank-sum", "student-t", "combined", "none"]

Ends = tuple[float, float]
"""The lower and the upper end of an interval or of a range."""


class Interval(Frozen):
    """A median over `n` blocks with its confidence interval.

    `low` and `high` are None where there is none, with the reason in `reason`; `least` and `most`
    are then the range of the values. The method `student-t` of a median stands in older files only.
    """

    estimate: float
    low: float | None
    high: float | None
    n: int
    method: Method
    reason: str = ""
    least: float | None = None
    most: float | None = None

    @classmethod
    def of(
        cls,
        estimate: float,
        ends: Ends | None,
        n: int,
        method: Method,
        reason: str = "",
        span: Ends | None = None,
    ) -> Interval:
        """With these ends; else with the range `span`, and the reason why there are none."""
        content: dict[str, Any] = {"estimate": estimate, "n": n}
        if ends:
            return cls(low=ends[0], high=ends[1], method=method, **content)
        least, most = span or (None, None)
        return cls(
            low=None, high=None, method="none", reason=reason, least=least, most=most, **content
        )

    @property
    def ends(self) -> Ends | None:
        return None if self.low is None or self.high is None else (self.low, self.high)

    def side(self, value: float = 1.0) -> int:
        """1 if the interval lies above the value, −1 if below it; 0 if neither is sure."""
        low, high = self.ends or (value, value)
        return (low > value) - (high < value)

    def mapped(self, function: Callable[[float], float]) -> Interval:
        """The interval of a monotonic function of the quantity, increasing or decreasing."""
        changes = {"estimate": function(self.estimate)}
        for names in (("low", "high"), ("least", "most")):
            bounds = [getattr(self, name) for name in names]
            if None not in bounds:
                changes |= zip(names, sorted(map(function, bounds)), strict=True)
        return self.model_copy(update=changes)

    def inverted(self, factor: float = 1.0) -> Interval:
        """The interval of `factor` ÷ the (positive) quantity: a time becomes a throughput."""
        return self.mapped(lambda value: factor / value)


def median_interval(
    values: Sequence[float], confidence: float = CONFIDENCE, of: str = "blocks"
) -> Interval:
    """The median of any finite numbers, one for each `of` these, with its interval.

    The exact order-statistic interval (Hahn & Meeker 1991, section 5.2): the narrowest pair of
    ordered values whose binomial coverage is at least `confidence`. Without such a pair, of 2 to 5
    values at 95 %, there is the range. Raises ValueError for no values.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    n, middle = len(ordered), statistics.median(ordered)
    ends, span = exact_ends(ordered, confidence), (ordered[0], ordered[-1])
    reason = too_few(n, confidence, of)
    return Interval.of(middle, ends, n, "order-statistic", reason, span if n > 1 else None)


def interval_of(values: Iterable[float | None], of: str = "blocks") -> Interval | None:
    """`median_interval` of what was counted; None where nothing was."""
    counted = [value for value in values if value is not None]
    return median_interval(counted, of=of) if counted else None


class TimeToTarget(Frozen):
    """Seconds of training until the target was first met: the median over `n` seeds.

    A training that did not reach it counts as ∞; `reached` of the n did. What is ∞ is None:
    `estimate`, and where `method` names an interval `low` and `high`. With method `none` there is
    no interval, for the `reason`, but `least` and `most`, the range.
    """

    estimate: float | None
    low: float | None
    high: float | None
    n: int
    reached: int
    method: Method
    reason: str = ""
    least: float | None = None
    most: float | None = None


def time_to_target(times: Sequence[float]) -> TimeToTarget:
    """The median of positive times, of which some may be infinite, with its interval.

    Order statistics need no finite values. Raises ValueError for no times.
    """
    if not times:
        raise ValueError("no times")
    ordered = sorted(times)
    n, reached = len(ordered), sum(map(math.isfinite, ordered))
    ends = exact_ends(ordered)
    low, high = ends or (None, None)
    least, most = (None, None) if ends or n == 1 else (ordered[0], ordered[-1])
    return TimeToTarget(
        estimate=_finite(statistics.median(ordered)),
        low=_finite(low),
        high=_finite(high),
        n=n,
        reached=reached,
        method="order-statistic" if ends else "none",
        reason="" if ends else too_few(n, of="seeds"),
        least=_finite(least),
        most=_finite(most),
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def exact_ends(ordered: Sequence[float], confidence: float = CONFIDENCE) -> Ends | None:
    """The two of the ordered values that hold their median; None of too few."""
    place = rank(len(ordered), confidence)
    return (ordered[place - 1], ordered[-place]) if place else None


def reach(low: float, high: float, n: int) -> Ends | None:
    """Where counts with this range lie, to decide on which side of another; None of too few.

    Of LEAST_EXACT counts the range is enough, whatever the distribution. Of fewer it is made three
    times as wide. All of LEAST_EXACT counts below all of another's have a chance of 0.2 % if the
    two are the same; wide ranges of three lie apart with at most 0.6 % (simulated for normal,
    lognormal, uniform and Cauchy counts), and to one side of zero with 4 %.
    """
    if n < FEWEST:
        return None
    slack = 0 if n >= LEAST_EXACT else high - low
    return low - slack, high + slack


def too_few(n: int, confidence: float = CONFIDENCE, of: str = "blocks") -> str:
    """Why so few values have no interval."""
    if n == 1:
        return f"one {of.removesuffix('s')} says nothing of the spread"
    return f"fewer than {least_exact(confidence)} {of}"


def ratio_interval(logs: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The same of ratios that are given by their logarithms.

    The middle of an even number is the geometric mean of two, so that a ratio and its inverse
    agree.
    """
    interval = median_interval([math.exp(it) for it in logs], confidence)
    return interval.model_copy(update={"estimate": math.exp(statistics.median(logs))})


@functools.lru_cache(maxsize=4096)
def quantile(freedom: float, probability: float) -> float:
    """The quantile of Student's t. SciPy is imported here: it takes a third of a second."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """The geometric mean of positive values with Student's t on their logarithms: the check of the
    exact interval, under the assumption of normal logarithms; None without that."""
    n = len(values)
    if rank(n, confidence) is None:
        return None
    logs = [math.log(value) for value in values]
    mean = math.fsum(logs) / n
    half = quantile(n - 1, (1 + confidence) / 2) * math.sqrt(variance(logs) / n)
    return Interval.of(exp(mean), (exp(mean - half), exp(mean + half)), n, "student-t")


def median_of(values: Iterable[float | None]) -> float | None:
    """The median of what was counted; None where nothing was."""
    counted = [value for value in values if value is not None]
    return statistics.median(counted) if counted else None


def exp(log: float) -> float:
    """A bound from its logarithm, kept where floats and their logarithms exist."""
    return math.exp(max(-600.0, min(log, 600.0)))


def variance(values: Sequence[float]) -> float:
    """Of two values or more. The exact fractions of statistics.variance take ten times as long."""
    mean = math.fsum(values) / len(values)
    return math.fsum((it - mean) ** 2 for it in values) / (len(values) - 1)


def half_width(interval: Interval) -> float | None:
    """Half the width of a ratio's interval on the logarithmic scale: 0.02 is ±2 %."""
    if interval.ends is None:
        return None
    low, high = map(math.log, interval.ends)
    return (high - low) / 2


def too_wide(low: float, high: float) -> bool:
    """Whether the size between two bounds counts as not known; see WIDEST."""
    if low <= 0 <= high:  # it may be anything down to nothing
        return low < high
    return abs(math.log(high / low)) >= 2 * WIDEST


def log_half_width(logs: Sequence[float], confidence: float = CONFIDENCE) -> float | None:
    """`half_width` of the ratios with these logarithms, computed directly."""
    ends = exact_ends(sorted(logs), confidence)
    return (ends[1] - ends[0]) / 2 if ends else None


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


@functools.lru_cache(maxsize=64)
def least_exact(confidence: float = CONFIDENCE) -> int:
    """The fewest values with an exact interval: 6 at 95 %."""
    return next(n for n in itertools.count(1) if rank(n, confidence))


def sign_p(logs: Sequence[float]) -> float:
    """The exact two-sided sign test of a median of 0; a tie counts for neither side."""
    against = min(sum(it <= 0 for it in logs), sum(it >= 0 for it in logs))
    return min(1.0, 2 * tail(len(logs), against))


def below_p(logs: Sequence[float], bound: float) -> float:
    """The exact one-sided sign test of a median of `bound` or more."""
    return tail(len(logs), sum(it >= bound for it in logs))


def equivalence_p(logs: Sequence[float], margin: float) -> float:
    """The larger p of two exact one-sided sign tests: of a median ≤ −ln(1+δ), and ≥ ln(1+δ)."""
    bound = math.log1p(margin)
    return max(below_p(logs, bound), below_p([-it for it in logs], bound))


def holm(values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values, in the order given: reject where at most LEVEL."""
    adjusted, largest = [0.0] * len(values), 0.0
    for place, number in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - place) * values[number]))
        adjusted[number] = largest
    return adjusted


@functools.lru_cache(maxsize=4096)
def tail(n: int, k: int) -> float:
    """The chance that at most k of n fair coins fall heads."""
    return sum(math.comb(n, it) for it in range(k + 1)) / (1 << n)


def few_bad_p(n: int, bad: int, share: float) -> float:
    """The chance that at most `bad` of n values are bad if a `share` of all values is."""
    return sum(math.comb(n, it) * share**it * (1 - share) ** (n - it) for it in range(bad + 1))


def least_blocks_for(rows: int) -> int:
    """The fewest blocks that decide any of so many rows although one block disagrees.

    9 for one row, 10 for two, 11 for three or four, 12 for up to seven, 13 for up to fourteen.
    With one block fewer a single outlier would leave the largest difference undecided.
    """
    if not rows:
        return 0
    return next(n for n in itertools.count(1) if 2 * tail(n, 1) <= LEVEL / rows)


def percent(share: float) -> str:
    """A bound in percent with two digits, rounded up so that it stays one: 0.0132 is `1.4 %`."""
    if share <= 0:
        return "0 %"
    places = max(0, 1 - math.floor(math.log10(100 * share)))
    # What a float adds far behind the comma is no reason to round up.
    scaled = round(100 * share * 10**places, 6)
    return f"{math.ceil(scaled) / 10**places:g} %"


Logs = Sequence[float]
"""Logarithms of speeds, one a block, in the order of blocks."""
STRONGEST = 0.9
"""The largest correlation of neighbours that an interval is widened for."""


def shift_interval(before: Logs, after: Logs, confidence: float = CONFIDENCE) -> Interval:
    """How many times as fast the second sample is; `n` is the smaller number of blocks.

    Raises ValueError for an empty sample.
    """
    if not before or not after:
        raise ValueError("no blocks")
    middle = exp(statistics.median(after) - statistics.median(before))
    n, ends = min(len(before), len(after)), shift_ends(before, after, confidence)
    reason = too_few(n) if n == 1 else "too few blocks for an interval"
    return Interval.of(middle, ends and (exp(ends[0]), exp(ends[1])), n, "combined", reason)


def shift_ends(before: Logs, after: Logs, confidence: float) -> Ends | None:
    """The ends of the interval of the second median less the first; None of too few values."""
    early, early_median, early_wider = _ordered(tuple(before))
    late, late_median, late_wider = _ordered(tuple(after))
    first, second = exact_ends(early, confidence), exact_ends(late, confidence)
    if first is None or second is None:
        return None
    gap = late_median - early_median
    below = late_wider * (late_median - second[0]), early_wider * (first[1] - early_median)
    above = late_wider * (second[1] - late_median), early_wider * (early_median - first[0])
    return gap - math.hypot(*below), gap + math.hypot(*above)


@functools.lru_cache(maxsize=256)
def _ordered(values: tuple[float, ...]) -> tuple[tuple[float, ...], float, float]:
    """The values in order, their median, and their `dependence`."""
    return tuple(sorted(values)), statistics.median(values), dependence(values)


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
    seen = sum(one * other for one, other in itertools.pairwise(ranks)) / squares
    correlation = min(max(seen + (3.5 + 4 * seen) / n, 0.0), STRONGEST)
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
    ends = exp(gap - half), exp(gap + half)
    return Interval.of(exp(gap), ends, min(len(before), len(after)), "student-t")


def shift_p(before: Logs, after: Logs) -> float:
    """Of the two-sided test that neither is faster."""
    return _smallest_level(before, after, lambda low, high: not low <= 0 <= high)


def shift_below_p(before: Logs, after: Logs, bound: float) -> float:
    """Of the one-sided test of a shift of `bound` or more."""
    return _one_sided(_smallest_level(before, after, lambda _, high: high < bound))


def shift_equivalence_p(before: Logs, after: Logs, margin: float) -> float:
    """The larger p of two one-sided tests: of a shift ≤ −ln(1+δ), and of one ≥ ln(1+δ)."""
    bound = math.log1p(margin)
    within = _smallest_level(before, after, lambda low, high: -bound < low <= high < bound)
    return _one_sided(within)


def _one_sided(level: float) -> float:
    return level / 2 if level < 1 else 1.0


def _smallest_level(before: Logs, after: Logs, lies: Callable[[float, float], bool]) -> float:
    """The smallest level whose interval lies where it is asked to; 1 where none does."""
    smallest = 1.0
    for level in _levels(len(before), len(after)):
        ends = shift_ends(before, after, 1 - level)
        if ends is None or not lies(*ends):
            break
        smallest = level
    return smallest


@functools.lru_cache(maxsize=256)
def _levels(m: int, n: int) -> tuple[float, ...]:
    """At which the interval of one of the samples takes another pair of values, large first."""
    levels = {2 * tail(size, k) for size in (m, n) for k in range(size // 2)}
    return tuple(sorted((it for it in levels if it < 1), reverse=True))
