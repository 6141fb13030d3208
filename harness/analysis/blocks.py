"""Cells as another run can be compared with them: one value a block, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import Field

from harness.analysis.compare import Entry, entries, log_ratios
from harness.analysis.memory import MemoryKind, scarce
from harness.analysis.summary import Summary, Table
from harness.cells import Phase, Setup
from harness.records import Positive, Run
from harness.tasks.frozen import Frozen


class CellBlocks(Frozen):
    """One cell of a run, one value a block, in the order of its blocks.

    `step_seconds` are medians over rounds; `ratios` say how many times as fast the cell was as
    `baseline` in the blocks that both finished, and are empty for the baseline itself. `peaks` are
    bytes of the memory that is `scarce` there, in the phase that the process began with; empty in
    any other. `unranked` says why the cell may not be ranked, empty where it may; `margin` is its
    table's δ.
    """

    setup: Setup
    phase: Phase
    step_seconds: Annotated[tuple[Positive, ...], Field(min_length=1)]
    baseline: str
    ratios: tuple[Positive, ...]
    margin: Annotated[float, Field(ge=0, le=1e100)]
    unranked: str = ""
    scarce: MemoryKind = "total_rss"
    peaks: tuple[Annotated[int, Field(ge=1, lt=2**63)], ...] = ()

    @property
    def table(self) -> tuple[object, ...]:
        return (*self.setup.ranking, self.phase)

    @property
    def key(self) -> tuple[object, ...]:
        """What a cell of another run must share. Names of tasks do not count, digests do."""
        return (*self.table[1:], self.setup.label)


def cell_blocks(run: Run, summary: Summary) -> tuple[CellBlocks, ...]:
    """Every cell of a run's tables, one value a block."""
    good = entries(run.records)
    return tuple(it for table in summary.tables for it in _of_table(table, good))


def cell_name(cell: CellBlocks) -> str:
    """A cell in words, e.g. `digits-mlp train, pytorch:eager, identical, cpu, 2 threads`."""
    it = cell.setup
    threads = f"{it.threads} thread" + ("s" if it.threads != 1 else "")
    return ", ".join(
        (f"{it.task} {cell.phase}", it.label, it.lane, it.device, threads, str(it.dtype))
    )


def _of_table(table: Table, good: Mapping[Setup, Entry]) -> Iterator[CellBlocks]:
    of_label = {row.cell.setup.label: good[row.cell.setup] for row in table.rows}
    baseline = of_label[table.baseline]
    kind = scarce(table.device, [row.peaks for row in table.rows if not row.unranked])
    for row in table.rows:
        setup = row.cell.setup
        timed = of_label[setup.label].steps[table.phase]
        ratios = (
            {} if setup.label == table.baseline else log_ratios(timed, baseline.steps[table.phase])
        )
        yield CellBlocks(
            setup=setup,
            phase=table.phase,
            step_seconds=tuple(of_label[setup.label].steady[table.phase].values()),
            baseline=table.baseline,
            ratios=tuple(map(math.exp, ratios.values())),
            margin=table.margin,
            unranked=row.unranked,
            scarce=kind,
            peaks=tuple(_peaks(of_label[setup.label], table.phase, kind)),
        )


def _peaks(entry: Entry, phase: Phase, kind: MemoryKind) -> Iterator[int]:
    for record in entry.records:
        began = next(iter(record.phases), None)  # none where it was only trained
        if began and began.phase == phase and began.memory:
            count = {
                "total_rss": began.memory.total_peak_rss,
                "device_allocated": began.memory.device_peak_allocated,
            }[kind]
            yield from [count] if count else []
