"""What a median hides, pauses above all: the mean time of a step, and whole trainings.

The test of a ratio is that of the median over rounds, which stands what a busy machine does to a
few of them. It also stands a pause of the framework's own at every fiftieth step. So two witnesses
are heard beside it: the ratio of mean times over the same rounds, and the ratio of the times of
full trainings in the same blocks. Where one of them contradicts a verdict, there is none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from harness.analysis.intervals import Interval, ratio_interval, reach
from harness.records import Record

Witness = Literal["", "mean", "trainings"]
WHERE: Mapping[Witness, str] = {
    "mean": "in the mean of all steps",
    "trainings": "in whole trainings",
}
_OF_MEDIAN = {"faster": "faster", "slower": "slower", "equivalent": "no different"}


def mean_ratio(
    ours: Mapping[int, Mapping[int, float]], theirs: Mapping[int, Mapping[int, float]]
) -> Interval | None:
    """Their mean time ÷ ours over the rounds that both have, block by block; None without any."""
    logs = []
    for block in sorted(ours.keys() & theirs.keys()):
        rounds = ours[block].keys() & theirs[block].keys()
        if rounds:
            mine, others = (
                math.fsum(it[block][round_] for round_ in rounds) for it in (ours, theirs)
            )
            logs.append(math.log(others / mine))
    return ratio_interval(logs) if logs else None


def training_ratio(ours: Mapping[int, Record], theirs: Mapping[int, Record]) -> Interval | None:
    """Their time of a full training ÷ ours, block by block; None where no two are alike."""
    logs = [
        math.log(other / own)
        for block in sorted(ours.keys() & theirs.keys())
        if (own := _trained(ours[block])) and (other := _trained(theirs[block]))
        if _epochs(ours[block]) == _epochs(theirs[block])
    ]
    return ratio_interval(logs) if logs else None


def _epochs(record: Record) -> int:
    return len(record.quality.epochs) if record.quality else 0


def _trained(record: Record) -> float:
    """Seconds of the full training; 0 where there was none."""
    return math.fsum(it.seconds for it in record.quality.epochs) if record.quality else 0.0


def contradicts(verdict: str, speed: Interval, other: Interval | None, margin: float) -> bool:
    """Whether a witness denies a verdict beyond both intervals.

    An overlap denies nothing: the interval of a mean is the wider one. Nor does a witness that
    comes to the same verdict with another size.
    """
    ends, own = ends_of(other) if other else None, ends_of(speed)
    if not ends or not own:
        return False
    low, high = ends
    if verdict == "faster":
        return high < own[0] and low <= 1
    if verdict == "slower":
        return low > own[1] and high >= 1
    return verdict == "equivalent" and (high < 1 / (1 + margin) or low > 1 + margin)


def ends_of(ratio: Interval) -> tuple[float, float] | None:
    """Between which bounds a ratio lies; of 3 to 5 values by their range, see `reach`."""
    if ratio.low is not None and ratio.high is not None:
        return ratio.low, ratio.high
    if ratio.least is None or ratio.most is None:
        return None
    ends = reach(math.log(ratio.least), math.log(ratio.most), ratio.n)
    return (math.exp(ends[0]), math.exp(ends[1])) if ends else None


def denied(verdict: str, witnesses: Sequence[tuple[Witness, Interval]]) -> str:
    """What to say of a verdict and those that contradict it, the last of them for all."""
    name, ratio = witnesses[-1]
    ends = ends_of(ratio) or (ratio.estimate, ratio.estimate)
    there = "slower" if ends[1] < 1 else "faster" if ends[0] > 1 else "no different"
    why = ": pauses" if any(it == "mean" for it, _ in witnesses) else ""
    return f"{_OF_MEDIAN[verdict]} in the median step, {there} {WHERE[name]}{why}"
