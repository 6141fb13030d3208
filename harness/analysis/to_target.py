"""Time to the target over seeds, where some trainings never reach it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from harness.analysis.intervals import Method, median_interval, rank
from harness.tasks.frozen import Frozen


class TimeToTarget(Frozen):
    """Seconds of training until the target was first met: the median over `n` seeds.

    Not reached is ∞ and counts. `estimate` is None where the median is ∞; so are `low` and `high`
    where `method` names an interval: `high` None is then an interval without end. With method
    `none` there is no interval, for the `reason`. `reached` of the n trainings met the target.
    """

    estimate: float | None
    low: float | None
    high: float | None
    n: int
    reached: int
    method: Method
    reason: str = ""

    @property
    def endless(self) -> bool:
        """Whether there is an interval and it reaches to infinity."""
        return self.method != "none" and self.high is None


def time_to_target(times: Sequence[float]) -> TimeToTarget:
    """The median of positive times, of which some may be infinite, with its interval.

    Order statistics need no finite values. With 5 times no two of them make an interval, yet the
    least and ∞ do: all five lie above the median with a chance of 1/32 only. Fewer than 5 allow
    none where one of them is infinite; Student's t on the logarithms where none is. Raises
    ValueError for no times.
    """
    if not times:
        raise ValueError("no times")
    ordered = sorted(times)
    n, reached = len(ordered), sum(map(math.isfinite, ordered))
    low, high = math.inf, math.inf
    method: Method = "order-statistic"
    reason = ""
    if place := rank(n):
        low, high = ordered[place - 1], ordered[n - place]
    elif reached == n:
        interval = median_interval(ordered)
        low, high = interval.low or math.inf, interval.high or math.inf
        method = interval.method
        reason = "one seed says nothing of the spread" if n == 1 else "fewer than 6 seeds"
    elif n == 5:
        low, reason = ordered[0], "5 seeds, not all of which reached it: bounded below only"
    else:
        method, reason = "none", f"{reached} of {n} seeds reached it: too few for an interval"
    return TimeToTarget(
        estimate=_finite(statistics.median(ordered)),
        low=_finite(low),
        high=_finite(high),
        n=n,
        reached=reached,
        method=method,
        reason=reason,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
