"""Time to the target over seeds, where some trainings never reach it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from harness.analysis.intervals import Method, exact_ends, too_few
from harness.tasks.frozen import Frozen


class TimeToTarget(Frozen):
    """Seconds of training until the target was first met: the median over `n` seeds.

    Not reached is ∞ and counts. `estimate` is None where the median is ∞; so are `low` and `high`
    where `method` names an interval: `high` None is then an interval without end. With method
    `none` there is no interval, for the `reason`, but `least` and `most`, the range: `most` is None
    where a training did not arrive. `reached` of the n trainings met the target.
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

    @property
    def endless(self) -> bool:
        """Whether there is an interval and it reaches to infinity."""
        return self.method != "none" and self.high is None


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
