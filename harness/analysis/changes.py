"""Where a series of runs changes its level: binary segmentation, as of a warm-up's readings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from harness.analysis.steadiness import split
from harness.tasks.frozen import Frozen

FEWEST = 8
"""Points without which nothing is said, of the whole and of every part that is split again."""


class Change(Frozen):
    """From the point at `place` (from 0) on, the level is `factor` times what it was before."""

    place: int
    factor: float


def changes(values: Sequence[float]) -> tuple[Change, ...]:
    """Every change of level of a series of positive values, in order (Scott & Knott 1974)."""
    logs = [math.log(it) for it in values]
    places = [0, *_places(logs, 0), len(logs)]
    levels = [float(np.median(logs[begin:end])) for begin, end in itertools.pairwise(places)]
    return tuple(
        Change(place=place, factor=math.exp(after - before))
        for place, before, after in zip(places[1:-1], levels, levels[1:], strict=False)
    )


def _places(logs: Sequence[float], first: int) -> list[int]:
    if len(logs) < FEWEST or not (place := split(np.asarray(logs))):
        return []
    before, after = logs[:place], logs[place:]
    return [*_places(before, first), first + place, *_places(after, first + place)]
