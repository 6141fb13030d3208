"""Speed: this code and the older one in turns, or this code alone beside its matrix products."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.analysis.pairs import Blocks, log_ratios, step_times, steps
from harness.analysis.verdicts import (
    CHECKPOINTS,
    Slowdown,
    slowdown_between_runs,
    slowdown_in_blocks,
)
from harness.cells import Phase, Setup
from harness.frameworks import phases_of
from harness.gate.baseline import Timed
from harness.gate.judging import Line, TaskSetup, failure
from harness.records import Record
from harness.runs.block import Block, Step
from harness.runs.config import RunConfig
from harness.runs.engines import LocalEngine
from harness.tasks.spec import Data, Task

Report = Callable[[str], None]
"""Shows between blocks what goes on."""


@dataclass
class SideKeeper:
    """An observer of blocks that keeps the records of each setup."""

    config: RunConfig
    engine: LocalEngine
    data: Mapping[Data, Path]
    report: Report
    blocks: dict[Setup, dict[int, Record]] = field(default_factory=lambda: defaultdict(dict))

    def started(self, trial: str, block: Block, setup: Setup) -> None: ...

    def ended(self, record: Record) -> None:
        self.blocks[record.setup][record.block] = record

    def progress(self, block: Block, step: Step, setup: Setup | None, done: float) -> None: ...

    def run(self, task: Task, setups: tuple[Setup, ...], number: int) -> None:
        """One block. Raises CellsFailed; NotComparable where only the older code failed."""
        block = Block(
            name=f"gate/b{number:03}",
            number=number,
            attempt=1,
            task=task,
            setups=setups,
            phases=self.config.phases,
            rounds=self.config.rounds,
            seed=number,
            trains=False,
            alone=len(setups) == 1,
            data=str(self.data[task.data]),
            sample_seconds=self.config.sample_seconds,
            warmup_seconds=self.config.warmup_seconds,
        )
        self.engine.run(block, self)
        for setup in sorted(setups, key=lambda it: it.twin):
            record = self.blocks[setup].get(number)
            if record and record.status != "ok":
                raise failure(setup, record.status, record.error, older=setup.twin)


def older(setup: Setup) -> Setup:
    """The same setup with the older code: in a block it is the twin."""
    return setup.model_copy(update={"twin": True})


def compared(
    pairs: Sequence[TaskSetup],
    keeper: SideKeeper,
    threshold: float,
    checkpoints: Sequence[int] = CHECKPOINTS,
) -> Iterator[Line]:
    """Blocks of both codes until every question is answered, or the last checkpoint is reached."""
    phases = keeper.config.phases
    family = len(pairs) * len(phases) * len(checkpoints)
    undecided, done = list(pairs), 0
    slowdowns: dict[Setup, dict[Phase, Slowdown]] = {}
    for checkpoint in checkpoints:
        for number in range(done, checkpoint):
            step = f"block {number + 1} of {checkpoint}, both codes, {len(undecided)} setup(s)"
            keeper.report(step)
            for task, setup in undecided:
                keeper.run(task, (setup, older(setup)), number)
        done = checkpoint
        for _, setup in undecided:
            now, before = keeper.blocks[setup], keeper.blocks[older(setup)]
            slowdowns[setup] = {
                phase: slowdown_in_blocks(_growth(now, before, phase), threshold, family)
                for phase in phases_of(setup.framework, phases)
            }
        undecided = [
            (task, setup)
            for task, setup in undecided
            if any(it.outcome == "cannot tell" for it in slowdowns[setup].values())
        ]
        if not undecided:
            break
    for setup, by_phase in slowdowns.items():
        for phase, slowdown in by_phase.items():
            yield line(setup, phase, slowdown)


def _growth(now: Blocks, before: Blocks, phase: Phase) -> list[float]:
    """log(time now ÷ time before) of every block that both finished."""
    return [-it for it in log_ratios(steps(now, phase), steps(before, phase)).values()]


def timed(pairs: Sequence[TaskSetup], keeper: SideKeeper) -> dict[Setup, dict[Phase, Timed]]:
    """This code alone, each block with the bare matrix products that are its anchor."""
    config = keeper.config
    for number in range(config.blocks):
        keeper.report(f"block {number + 1} of {config.blocks}, {len(pairs)} setup(s)")
        for task, setup in pairs:
            keeper.run(task, (setup,), number)
    return {setup: timed_of(keeper.blocks[setup], config.phases) for _, setup in pairs}


def timed_of(blocks: Blocks, phases: Sequence[Phase]) -> dict[Phase, Timed]:
    """Of records, by phase; those without a reading of both are left out."""
    timed = {phase: _timed(blocks, phase) for phase in phases}
    return {phase: it for phase, it in timed.items() if it.steps}


def _timed(blocks: Blocks, phase: Phase) -> Timed:
    both = [
        (statistics.median(times.values()), products)
        for record in blocks.values()
        if (times := step_times(record, phase))
        and record.limits
        and (products := record.limits.product_seconds.get(phase))
    ]
    return Timed(steps=tuple(it for it, _ in both), products=tuple(it for _, it in both))


def stored(
    now: Mapping[Setup, Mapping[Phase, Timed]],
    before: Mapping[Setup, Mapping[Phase, Timed]],
    threshold: float,
) -> Iterator[Line]:
    """Stored figures: a step relative to its bare products. What a machine does to both cancels."""
    shared = [
        (setup, phase)
        for setup, phases in now.items()
        for phase in phases
        if phase in before.get(setup, {})
    ]
    for setup, phase in shared:
        earlier, later = (_anchored(it[setup][phase]) for it in (before, now))
        slowdown = slowdown_between_runs(earlier, later, threshold, len(shared))
        yield line(setup, phase, slowdown)


def _anchored(timed: Timed) -> list[float]:
    return [math.log(a / b) for a, b in zip(timed.steps, timed.products, strict=True)]


def line(setup: Setup, phase: Phase, slowdown: Slowdown) -> Line:
    ratio = slowdown.ratio
    change = ratio.mapped(lambda times: times - 1)
    return Line(
        setup=setup,
        phase=phase,
        what="speed",
        outcome=slowdown.outcome,
        change=change.estimate,
        low=change.low,
        high=change.high,
        threshold=slowdown.threshold,
        detail="; ".join(filter(None, (f"{ratio.n} blocks", ratio.reason))),
    )
