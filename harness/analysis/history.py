"""One number of a cell over many runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

from harness.analysis.cell_metrics import Amount
from harness.analysis.changepoints import LevelChange, changes
from harness.analysis.stats import Interval
from harness.analysis.summary import Summary
from harness.analysis.tables import CellRow
from harness.cells import Cell
from harness.tasks.spec import Frozen

Counts = Literal["seconds", "examples/s", "times", "bytes"]


class Metric(NamedTuple):
    """What of a row is shown; `read` gives None where it was not measured."""

    title: str
    counts: Counts
    read: Callable[[CellRow], Interval | Amount | None]


class Point(Frozen):
    """One run; `low` and `high` are the ends of its interval, where it has one."""

    run: str
    commit: str | None
    value: float
    low: float | None = None
    high: float | None = None


class Series(Frozen):
    """A cell over the runs of one machine, oldest first; `places` of changes count its points."""

    cell: Cell
    points: tuple[Point, ...]
    changes: tuple[LevelChange, ...]


METRICS: Mapping[str, Metric] = {
    "step": Metric("Time of a step", "seconds", lambda it: it.step),
    "throughput": Metric("Throughput", "examples/s", lambda it: it.examples_per_second),
    "products": Metric(
        "A step, in times of its bare matrix products",
        "times",
        lambda it: it.efficiency.over_products,
    ),
    "memory": Metric(
        "Incremental peak resident memory", "bytes", lambda it: it.peaks.incremental_rss
    ),
    "peak": Metric("Logical peak memory", "bytes", lambda it: it.peaks.logical),
}


def series(runs: Iterable[tuple[str, str | None, Summary]], metric: Metric) -> list[Series]:
    """Every cell that any of the runs measured; a run is its name, commit and summary."""
    points: dict[Cell, list[Point]] = defaultdict(list)
    for name, commit, summary in runs:
        for row in (row for table in summary.tables for row in table.rows):
            of = metric.read(row)
            if of is None:
                continue
            value = of.bytes if isinstance(of, Amount) else of.estimate
            if value is not None:
                point = Point(run=name, commit=commit, value=value, low=of.low, high=of.high)
                points[row.cell].append(point)
    return [
        Series(cell=cell, points=tuple(of_cell), changes=changes([it.value for it in of_cell]))
        for cell, of_cell in points.items()
    ]
