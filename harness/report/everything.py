"""All cells of a run in one table, and every sample behind each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.analysis.samples import BlockSamples, samples
from harness.analysis.summary import CellRow, Summary, Table
from harness.cells import Cell, Phase, Setup
from harness.records import Record, Run
from harness.report import format as fmt
from harness.report import values
from harness.report.content import Column, Everything, Grid, Raw, Value
from harness.report.details import INCREMENTAL, TOTAL
from harness.report.inert import line
from harness.report.looks import label, place, scope
from harness.report.sections import judgement

MANY = 20_000
"""Samples that a page can hold; of more it shows what each block spans."""
COLUMNS = (
    Column("framework:mode", "name"),
    Column("task", "text"),
    Column("phase", "text"),
    Column("examples/s"),
    Column("median step"),
    Column("× as fast"),
    Column("as", "text"),
    Column("verdict", "text"),
    INCREMENTAL,
    TOTAL,
    Column("blocks"),
    Column("lane", "text"),
    Column("where", "text"),
    Column("behind it", "text"),
)


def everything(run: Run, summary: Summary) -> Everything:
    """One row a cell, in the order of the tables."""
    cells = [(table, row) for table in summary.tables for row in table.rows]
    numbers = {row.cell: n for n, (_, row) in enumerate(cells, start=1)}
    return Everything(
        cells=Grid(COLUMNS, tuple(_row(*it, numbers[it[1].cell]) for it in cells)),
        scopes=tuple(scope(row.cell.setup) for _, row in cells),
        raws=_raws(run.records, numbers),
    )


def _row(table: Table, row: CellRow, number: int) -> tuple[Value, ...]:
    setup = row.cell.setup
    return (
        Value(label(setup)),
        Value(line(setup.task)),
        Value(row.cell.phase),
        values.measured(row.examples_per_second),
        values.timed(row.step),
        *_judged(table, row),
        values.memory(row.memory.incremental_peak_rss),
        values.memory(row.memory.total_peak_rss),
        values.count(row.step.n),
        Value(setup.lane),
        Value(place(setup)),
        Value("samples", anchor=f"raw-{number}"),
    )


def _judged(table: Table, row: CellRow) -> tuple[Value, Value, Value]:
    ratio, verdict = judgement(table, row)
    return ratio, Value(line(table.baseline)), verdict


def _raws(records: Iterable[Record], numbers: Mapping[Cell, int]) -> tuple[Raw, ...]:
    found = samples(records)
    total = sum(len(it.times) for cell in numbers for it in found[cell].values())
    return tuple(_raw(it, found[it], n, whole=total <= MANY) for it, n in numbers.items())


def _raw(cell: Cell, blocks: Mapping[int, BlockSamples], number: int, *, whole: bool) -> Raw:
    unit, name = fmt.time_unit(min(it.median for it in blocks.values()))
    columns = (
        Column("block"),
        Column(f"median, {name}"),
        Column(f"{'samples in their order' if whole else 'from – to'}, {name}", "text"),
    )
    rows = tuple(
        (
            values.count(block),
            Value(_short(it.median / unit), raw=it.median),
            Value(_samples([time / unit for time in it.times], whole=whole)),
        )
        for block, it in blocks.items()
    )
    count = sum(len(it.times) for it in blocks.values())
    return Raw(
        anchor=f"raw-{number}",
        title=f"{label(cell.setup)}, {line(cell.setup.task)} {_in(cell.phase, cell.setup)}: "
        f"{fmt.count(count, 'sample')} in {fmt.count(len(blocks), 'block')}",
        scope=scope(cell.setup),
        grid=Grid(columns, rows),
        note="" if whole else "Too many to show: the store, samestep.sqlite, holds every sample.",
    )


def _in(phase: Phase, setup: Setup) -> str:
    lane = "" if setup.lane == "identical" else f"{setup.lane}, "
    return f"{phase} ({lane}{place(setup)})"


def _samples(times: Sequence[float], *, whole: bool) -> str:
    if whole:
        return " ".join(map(_short, times))
    return f"{_short(min(times))} – {_short(max(times))} ({len(times)})"


def _short(value: float) -> str:
    """Four digits: a sample is read beside its neighbours, which differ in the third."""
    return f"{value:.4g}" if value < 10_000 else f"{value:.0f}"
