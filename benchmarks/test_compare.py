"""Comparing two runs takes time in proportion to their cells, be they shared or not."""

from __future__ import annotations

import time

from harness.analysis.run_comparison import CellBlocks, compare_runs
from tests.builders import make_info, make_setup, make_task

FEW, MANY = 500, 4000
MOST = 3.0
"""Times as long as among few; were each held against every other it would be 8."""


def cells(count: int, threads: int) -> list[CellBlocks]:
    """So many cells, half of them with so many threads, as no cell of another run may have."""
    task = make_task()
    return [
        CellBlocks(
            setup=make_setup(
                task.model_copy(update={"name": f"task-{number}"}),
                f"pytorch:mode-{number}",
                threads=threads if number % 2 else 1,
            ),
            phase="train",
            step_seconds=(1e-3, 1.1e-3, 1.2e-3, 1.3e-3, 1.4e-3, 1.5e-3),
            baseline="pytorch:mode-0",
            ratios=(),
            margin=0.01,
        )
        for number in range(count)
    ]


def seconds_per_cell(count: int) -> float:
    ours, theirs = cells(count, 2), cells(count, 3)
    begin = time.process_time()
    found = compare_runs(make_info(), ours, make_info(), theirs)
    assert len(found.apart) == count
    return (time.process_time() - begin) / count


def test_a_cell_takes_no_longer_among_many(benchmark):
    few = min(seconds_per_cell(FEW) for _ in range(3))
    many = benchmark.pedantic(seconds_per_cell, args=(MANY,), rounds=1)
    assert many < MOST * few
