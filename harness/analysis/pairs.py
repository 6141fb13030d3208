"""Ratios of two setups that took turns in the same blocks."""

from __future__ import annotations

import functools
import math
import statistics
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from operator import truediv
from typing import Literal

from harness.analysis import contention
from harness.analysis.contention import Disturbance
from harness.analysis.verdicts import LEAST_MARGIN, Pair, compare_blocks, mean_ratio, training_ratio
from harness.cells import LATENCY, PHASES, Phase, Setup
from harness.records import Record

BASELINE = "pytorch:eager"
"""The baseline of ratios where it takes part; else the first setup by name."""

Blocks = Mapping[int, Record]
"""One setup's records by block, good ones only."""
Steps = Mapping[int, Mapping[int, float]]
"""Seconds per iteration of one setup in one phase, by block and round."""

Of = Literal["step_seconds", "mean_seconds"]


@dataclass(frozen=True)
class Entry:
    """All good trials of one setup, and the disturbed blocks of its group."""

    setup: Setup
    blocks: Blocks
    steps: Mapping[Phase, Steps]
    disturbed: Mapping[int, Disturbance] = field(default_factory=dict)

    @property
    def records(self) -> list[Record]:
        return list(self.blocks.values())

    @functools.cached_property
    def means(self) -> Mapping[Phase, Steps]:
        """Mean times like `steps`: of a latency phase these are medians."""
        return {
            phase: steps(self.blocks, phase, "mean_seconds") if phase in LATENCY else blocks
            for phase, blocks in self.steps.items()
        }

    @functools.cached_property
    def steady(self) -> Mapping[Phase, Mapping[int, float]]:
        """The median step of every phase by block, in seconds."""
        return {
            phase: {block: statistics.median(it.values()) for block, it in blocks.items()}
            for phase, blocks in self.steps.items()
        }


def entries(records: Iterable[Record]) -> dict[Setup, Entry]:
    """Every setup that ended a trial well, A/A copies included, in the order of the records.

    `records` are all of a group: whether a block was disturbed depends on all of them.
    """
    groups: dict[object, list[Record]] = defaultdict(list)
    blocks: dict[Setup, dict[int, Record]] = defaultdict(dict)
    for record in records:
        groups[record.setup.group].append(record)
        if record.status == "ok":
            blocks[record.setup][record.block] = record
    disturbed = {
        group: {block: it for block, it in contention.by_block(every).items() if it.cause}
        for group, every in groups.items()
    }
    return {
        setup: Entry(
            setup, good, {phase: steps(good, phase) for phase in PHASES}, disturbed[setup.group]
        )
        for setup, good in blocks.items()
    }


def baseline_of(labels: Collection[str]) -> str:
    """The label that ratios are taken to; raises ValueError where there is none at all."""
    return BASELINE if BASELINE in labels else min(labels)


def pair_of(
    ours: Entry, theirs: Entry, phase: Phase, margin: float = LEAST_MARGIN, disturbed: str = ""
) -> Pair | None:
    """The speed ratio over the blocks that both finished, judged by itself; None without any.

    `disturbed` says why the whole table is not judged; a pair may also be disturbed by itself.
    """
    logs = log_ratios(ours.steps[phase], theirs.steps[phase])
    if not logs:
        return None
    return compare_blocks(
        ours.setup.label,
        theirs.setup.label,
        list(logs.values()),
        margin,
        disturbed or contention.reason(logs, ours.disturbed),
        mean_ratio(ours.means[phase], theirs.means[phase]),
        training_ratio(ours.blocks, theirs.blocks) if phase == "train" else None,
    )


def steps(blocks: Blocks, phase: Phase, of: Of = "step_seconds") -> Steps:
    """The step times of the blocks that have any."""
    return {block: it for block, record in blocks.items() if (it := step_times(record, phase, of))}


def step_times(record: Record, phase: Phase, of: Of = "step_seconds") -> dict[int, float]:
    """Seconds per iteration by round."""
    measured = record.phase(phase)
    return {it.round: getattr(it, of) for it in measured.samples} if measured else {}


def log_ratios(ours: Steps, theirs: Steps) -> dict[int, float]:
    """By block in common: log(their step time ÷ ours), above 0 where ours is faster."""
    return {
        block: -ratio
        for block in sorted(ours.keys() & theirs.keys())
        if (ratio := _median_log(ours[block], theirs[block])) is not None
    }


def _median_log(ours: Mapping[int, float], theirs: Mapping[int, float]) -> float | None:
    ratios: Iterable[float]
    if [*ours] == [*theirs]:  # as in most blocks; without a look-up each it takes a quarter
        ratios = map(truediv, ours.values(), theirs.values())
    else:
        ratios = (it / theirs[round_] for round_, it in ours.items() if round_ in theirs)
    logs = [*map(math.log, ratios)]
    return statistics.median(logs) if logs else None
