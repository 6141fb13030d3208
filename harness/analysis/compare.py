"""Ratios of two setups that took turns in the same blocks, and what may be said of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Literal

from harness.analysis.intervals import Interval, median_interval
from harness.cells import Phase
from harness.records import Record
from harness.tasks.frozen import Frozen

Verdict = Literal["faster", "slower", "cannot tell"]
Blocks = Mapping[int, Record]
"""One setup's records by block, good ones only."""


class Pair(Frozen):
    """How many times as fast one setup is as another; above 1 it is faster."""

    label: str
    baseline: str
    speed: Interval
    verdict: Verdict


def compare(label: str, ours: Blocks, baseline: str, theirs: Blocks, phase: Phase) -> Pair | None:
    """The pair's speed ratio over the blocks that both finished; None where there is none."""
    ratios = [
        math.exp(-log_ratio)
        for block in sorted(ours.keys() & theirs.keys())
        if (log_ratio := block_log_ratio(ours[block], theirs[block], phase)) is not None
    ]
    if not ratios:
        return None
    speed = median_interval(ratios)
    return Pair(label=label, baseline=baseline, speed=speed, verdict=verdict(speed))


def block_log_ratio(ours: Record, theirs: Record, phase: Phase) -> float | None:
    """Median over rounds of log(our step time ÷ theirs); None without a round in common."""
    our_steps, their_steps = step_times(ours, phase), step_times(theirs, phase)
    logs = [
        math.log(our_steps[round_] / their_steps[round_])
        for round_ in our_steps.keys() & their_steps.keys()
    ]
    return statistics.median(logs) if logs else None


def step_times(record: Record, phase: Phase) -> dict[int, float]:
    """Seconds per iteration by round."""
    measured = record.phase(phase)
    return {it.round: it.step_seconds for it in measured.samples} if measured else {}


def verdict(speed: Interval) -> Verdict:
    """What the interval of a speed ratio allows one to say."""
    if speed.low is None or speed.high is None:
        return "cannot tell"
    if speed.low > 1:
        return "faster"
    return "slower" if speed.high < 1 else "cannot tell"
