"""Where a series of runs changes its level: binary segmentation, as of a warm-up's readings.

Unlike these, runs are independent, and a level may come back. So the noise is estimated from the
differences of neighbours, of which a few steps move only a few.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence

import numpy as np

from harness.analysis.steadiness import split
from harness.tasks.frozen import Frozen

NORMAL = statistics.NormalDist().inv_cdf(0.75)
"""The median of the absolute value of a standard normal variable."""
FEWEST = 8
"""Points without which nothing is said, of the whole and of every part that is split again."""


class Change(Frozen):
    """From the point at `place` (from 0) on, the level is `factor` times what it was before."""

    place: int
    factor: float


def changes(values: Sequence[float]) -> tuple[Change, ...]:
    """Every change of level of a series of positive values, in order (Scott & Knott 1974)."""
    logs = [math.log(it) for it in values]
    places = [0, *_places(logs, 0, _variance(logs)), len(logs)]
    levels = [float(np.median(logs[begin:end])) for begin, end in itertools.pairwise(places)]
    return tuple(
        Change(place=place, factor=math.exp(after - before))
        for place, before, after in zip(places[1:-1], levels, levels[1:], strict=False)
    )


def _places(logs: Sequence[float], first: int, variance: float) -> list[int]:
    if len(logs) < FEWEST or not (place := split(np.asarray(logs), variance)):
        return []
    before, after = logs[:place], logs[place:]
    return [
        *_places(before, first, variance),
        first + place,
        *_places(after, first + place, variance),
    ]


def _variance(logs: Sequence[float]) -> float:
    """Of independent noise, from the median of the absolute differences of neighbours."""
    differences = [abs(one - other) for one, other in itertools.pairwise(logs)]
    return (statistics.median(differences) / NORMAL) ** 2 / 2 if differences else 0.0
