"""The samples behind every cell, block by block."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from harness.analysis.compare import step_times
from harness.cells import Cell
from harness.records import Record


class BlockSamples(NamedTuple):
    """Seconds per step of one cell in one block, in the order of its rounds."""

    times: tuple[float, ...]
    median: float


def samples(records: Iterable[Record]) -> dict[Cell, dict[int, BlockSamples]]:
    """By cell and block, of every trial that ended well."""
    found: dict[Cell, dict[int, BlockSamples]] = defaultdict(dict)
    for record in sorted(records, key=lambda it: it.block):
        for phase in record.phases if record.status == "ok" else ():
            times = tuple(step_times(record, phase.phase).values())
            if times:
                cell = Cell(setup=record.setup, phase=phase.phase)
                found[cell][record.block] = BlockSamples(times, statistics.median(times))
    return found
