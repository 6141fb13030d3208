"""Where a series changes its level: in a history of runs, and in the warm-up of a worker.

Both are least-squares binary segmentation (Scott & Knott 1974). Runs are independent, and a level
may come back, so the noise of a history is estimated from the differences of neighbours. Readings
of a warm-up are correlated, and the steady state is what follows the last change.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.analysis.pairs import Entry, Steps
from harness.analysis.stats import Interval, interval_of
from harness.cells import Phase
from harness.tasks.spec import Frozen

NORMAL = statistics.NormalDist().inv_cdf(0.75)
"""The median of the absolute value of a standard normal variable."""
LEAST_RUNS = 8
"""The fewest points of a series, and of every part that is split again."""


class LevelChange(Frozen):
    """From the point at `place` (from 0) on, the level is `factor` times what it was before."""

    place: int
    factor: float


def changes(values: Sequence[float]) -> tuple[LevelChange, ...]:
    """Every change of level of a series, in order (Scott & Knott 1974); none of one with a zero."""
    if min(values, default=0) <= 0:
        return ()
    logs = [math.log(it) for it in values]
    # Noise is independent: its variance follows from the median difference of neighbours.
    differences = [abs(one - other) for one, other in itertools.pairwise(logs)]
    variance = (statistics.median(differences) / NORMAL) ** 2 / 2 if differences else 0.0
    places = [0, *_places(logs, 0, variance), len(logs)]
    levels = [float(np.median(logs[begin:end])) for begin, end in itertools.pairwise(places)]
    return tuple(
        LevelChange(place=place, factor=math.exp(after - before))
        for place, before, after in zip(places[1:-1], levels, levels[1:], strict=False)
    )


def _places(logs: Sequence[float], first: int, variance: float) -> list[int]:
    place = split(np.asarray(logs), variance) if len(logs) >= LEAST_RUNS else None
    if not place:
        return []
    before = _places(logs[:place], first, variance)
    return [*before, first + place, *_places(logs[place:], first + place, variance)]


Vector = NDArray[np.float64]

BINS = 40
"""A warm-up is divided into so many equal parts at most; each counts by its median."""
FEWEST = 10
"""The fewest readings of a warm-up."""
MATTERS = 0.02
"""A change of level, or a drift over a block, that is smaller is none."""
CRITICAL = 14.0
"""How large a split's gain must be, in variances of a bin, to be a change: the largest of 40
correlated χ² values exceeds it in a few per cent of flat series (see the tests)."""
LAST = 0.25
"""A change within the last quarter of the readings leaves too little to call steady."""

SteadyVerdict = Literal["steady", "trend", "never steady", "cannot tell"]


class Steadiness(Frozen):
    """How one cell comes to its steady state, and how it stays there.

    Of `blocks` with a warm-up that is long enough, `settled` reached a steady state, after
    `readings` of the `warmup_readings` (medians; first and second call not counted). `trend` is by
    how much a step gets slower from a block's first round to its last (0.03: 3 %), the median over
    blocks; None with fewer than three rounds.

    `never steady`: at least half of the warm-ups ended while the times still changed. `trend`: its
    interval lies on one side of 0 and its estimate matters. All blocks are kept and count.
    """

    blocks: int
    settled: int
    readings: int | None
    warmup_readings: int | None
    trend: Interval | None
    verdict: SteadyVerdict

    @property
    def sentence(self) -> str:
        if self.verdict == "never steady":
            return f"never steady in {self.blocks - self.settled} of {self.blocks} blocks"
        if self.verdict == "cannot tell":
            return "too few readings to tell"
        start = f"steady after {self.readings} calls" if self.readings else "steady from the start"
        if self.verdict == "trend" and self.trend:
            way = "slower" if self.trend.estimate > 0 else "faster"
            start += f", {100 * abs(self.trend.estimate):.0f} % {way} by the end of a block"
        return start


def steadiness(entry: Entry, phase: Phase) -> Steadiness:
    phases = [it for record in entry.blocks.values() if (it := record.phase(phase))]
    warmups = [it.warmup for it in phases if len(it.warmup) >= FEWEST]
    starts = [start for it in warmups if (start := steady_from(it)) is not None]
    trend = _trend(entry.steps[phase])
    verdict: SteadyVerdict = "steady" if warmups else "cannot tell"
    if warmups and 2 * len(starts) <= len(warmups):
        verdict = "never steady"
    elif trend and trend.side(0.0) and abs(trend.estimate) >= MATTERS:
        verdict = "trend"
    return Steadiness(
        blocks=len(warmups),
        settled=len(starts),
        readings=round(statistics.median(starts)) if starts else None,
        warmup_readings=round(statistics.median(map(len, warmups))) if warmups else None,
        trend=trend,
        verdict=verdict,
    )


def steady_from(readings: Sequence[float]) -> int | None:
    """How many of at least FEWEST positive readings came before a steady state; None if none did.

    The logarithms are summed up in at most BINS equal parts by their medians, so that single
    outliers count for nothing. While the rest of the series splits into two levels that differ,
    what is before the split is dropped (Scott & Knott 1974), which follows a slow warm-up step by
    step.
    """
    size = max(1, math.ceil(len(readings) / BINS))
    bins = len(readings) // size
    # What does not fill a bin is left out at the start, which a bin more or less does not change.
    left_out = len(readings) - bins * size
    logs = np.log(np.asarray(readings[left_out:], dtype=np.float64))
    levels: Vector = np.median(logs.reshape(bins, size), axis=1) if size > 1 else logs
    begin = 0
    while place := split(levels[begin:]):
        begin += place
    if begin > (1 - LAST) * bins:
        return None
    return begin * size + (left_out if begin else 0)


def split(levels: Vector, variance: float | None = None) -> int | None:
    """Where a series splits best into two levels, if they differ by what matters; else None.

    Unless the variance of its noise is known, it is estimated from the rest around the two levels.
    """
    n = len(levels)
    if n < 4:
        return None
    before = np.arange(1, n)
    sums = np.cumsum(levels)
    lefts = sums[:-1] / before
    rights = (sums[-1] - sums[:-1]) / (n - before)
    gains = (lefts - rights) ** 2 * before * (n - before) / n
    place = int(np.argmax(gains))
    if abs(lefts[place] - rights[place]) < MATTERS:
        return None
    if variance is None:
        variance = _long_run_variance(levels[: place + 1], levels[place + 1 :])
    if gains[place] <= CRITICAL * variance:
        return None
    return place + 1


def _long_run_variance(*parts: Vector) -> float:
    """Variance of correlated deviations, as it counts for the means of many.

    The deviations are from a straight line through each part: a trend is no noise. A correlation ρ
    of neighbours makes the means of an AR(1) series vary (1 + ρ)/(1 − ρ) times as much.
    """
    rests = [_without_line(it) for it in parts]
    squares = math.fsum(float(it @ it) for it in rests)
    if squares == 0:
        return 0.0
    products = math.fsum(float(it[1:] @ it[:-1]) for it in rests)
    n, lines = sum(map(len, rests)), len(rests)
    # What is left around a line is less correlated than the noise: by (2 + 4ρ) ÷ length (Kendall
    # 1954, with a mean and a slope taken off).
    correlation = (products / squares + 2 * lines / n) / max(1 - 4 * lines / n, 0.2)
    correlation = min(max(correlation, 0.0), 0.9)
    return squares / max(1, n - 2 * lines) * (1 + correlation) / (1 - correlation)


def _without_line(values: Vector) -> Vector:
    places = np.arange(len(values)) - (len(values) - 1) / 2
    rest: Vector = values - values.mean()
    if len(values) > 2:
        rest -= places * (places @ rest) / (places @ places)
    return rest


def _trend(blocks: Steps) -> Interval | None:
    """The relative change of a step from a block's first round to its last: a slope a block."""
    return interval_of(
        math.expm1(slope * (max(steps) - min(steps)))
        for steps in blocks.values()
        if len(steps) >= 3
        and (slope := theil_sen(list(steps), [math.log(it) for it in steps.values()])) is not None
    )


def theil_sen(places: Sequence[float], values: Sequence[float]) -> float | None:
    """The median slope over all pairs of points (Theil 1950, Sen 1968); None of equal places."""
    points = zip(places, values, strict=True)
    slopes = [
        (late[1] - early[1]) / (late[0] - early[0])
        for early, late in itertools.combinations(points, 2)
        if late[0] != early[0]
    ]
    return statistics.median(slopes) if slopes else None
