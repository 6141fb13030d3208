"""A summary → its charts: what each figure shows of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.analysis.quality import QUARTILES_FROM, Band, QualityRow, QualityTable
from harness.analysis.summary import CellRow, Summary, Table
from harness.analysis.verdicts import Pair
from harness.cells import LATENCY, PHASES
from harness.report import format as fmt
from harness.report.arrange import (
    arenas,
    keys,
    panel_title,
    side_by_side,
    table_scope,
    task_title,
)
from harness.report.chart import Chart, Curve, Curves, Dots, Key, Mark
from harness.report.charts_memory import memory
from harness.report.charts_noise import drift
from harness.report.charts_speed import break_even, efficiency
from harness.report.charts_sweeps import crossover, sweep
from harness.report.details import STAGES, stage_times
from harness.report.format import Unit
from harness.report.inert import line
from harness.report.looks import PLAIN, Places, label, look, scope

PLENTY = 1200
"""Ratios to other baselines that a page can draw."""


def make_charts(summary: Summary) -> list[Chart]:
    """Every chart that has something to show."""
    places = Places.of(summary)
    makers = (
        *(_ratios, _throughput, crossover, sweep, efficiency, _latency),
        *(_quality, _phase_times, break_even, memory, drift),
    )
    charts = (it(summary, places) for it in makers)
    return [it for it in charts if it.panels]


def _ratios(summary: Summary, places: Places) -> Chart:
    tables = [[it for it in arena if it.pairs] for arena in arenas(summary, PHASES)]
    return Chart(
        name="ratios",
        section="speed",
        title="Times as fast as the baseline, with its interval",
        alt="Forest plot on a log axis of the ratio of every setup to the baseline, for every task "
        "and phase, with intervals and with the band that counts as no difference; the tables of "
        "this section hold the same numbers.",
        panels=side_by_side([[forest(it, places) for it in arena] for arena in tables if arena]),
    )


def make_forests(
    summary: Summary, others: Sequence[tuple[Table, ...]]
) -> dict[str, dict[str, Dots]]:
    """The ratios of each table that has any, by the anchor of its section and their baseline.

    Of very many the other baselines are left out: tables say the same in a tenth of the space.
    """
    places = Places.of(summary)
    if sum(len(it.pairs) for rebased in others for it in rebased) > PLENTY:
        others = [()] * len(others)
    return {
        f"speed-{number}": {line(it.baseline): forest(it, places) for it in (table, *rebased)}
        if table.pairs
        else {}
        for number, (table, rebased) in enumerate(zip(summary.tables, others, strict=True), 1)
    }


def forest(table: Table, places: Places) -> Dots:
    """The ratios of one table; the baseline itself stands at 1."""
    pairs = {it.label: it for it in table.pairs}
    rows = tuple((label(row.cell.setup), _ratio_marks(table, row, pairs)) for row in table.rows)
    return Dots(
        title=panel_title(table, places),
        axis=f"× as fast as {line(table.baseline)}",
        unit="ratio",
        rows=rows,
        log=True,
        scope=table_scope(table),
        around=1.0,
        band=(1 / (1 + table.margin), 1 + table.margin),
    )


def _ratio_marks(table: Table, row: CellRow, pairs: Mapping[str, Pair]) -> tuple[Mark, ...]:
    setup = row.cell.setup
    if setup.label == table.baseline:
        return (Mark(look(setup), 1.0, text=fmt.SAME, name="baseline", told=(fmt.SAME, "")),)
    pair = pairs.get(setup.label)
    if pair is None:
        return ()
    it, told = pair.speed, fmt.ratio_interval(pair.speed)
    return (
        Mark(
            look(setup),
            it.estimate,
            it.low,
            it.high,
            text=told[0],
            hollow=pair.verdict not in ("faster", "slower"),
            name=pair.verdict,
            told=told,
        ),
    )


def _throughput(summary: Summary, places: Places) -> Chart:
    def panel(table: Table) -> Dots:
        rows = tuple((label(row.cell.setup), (_speed_mark(row),)) for row in table.rows)
        return Dots(
            panel_title(table, places),
            "examples/s, more is better",
            "examples/s",
            rows,
            scope=table_scope(table),
        )

    return Chart(
        name="throughput",
        section="speed",
        title="Throughput, with its interval over blocks",
        alt="Dot plot of examples per second for every task and phase, in the order of the "
        "tables, with intervals; the tables of this section hold the same numbers.",
        panels=side_by_side([[panel(it) for it in tables] for tables in arenas(summary)]),
    )


def _latency(summary: Summary, places: Places) -> Chart:
    def panel(table: Table) -> Dots:
        rows = tuple((label(row.cell.setup), _latency_marks(row)) for row in table.rows)
        title = panel_title(table, places)
        where = table_scope(table)
        return Dots(title, "time of a single step", "seconds", rows, 2, log=True, scope=where)

    return Chart(
        name="latency",
        section="speed",
        title="Latency: every step timed by itself",
        alt="Dot plot on a log axis of the median and the 99th percentile of single steps for "
        "every task; the tables of this section hold the same numbers.",
        panels=side_by_side([[panel(it) for it in tables] for tables in arenas(summary, LATENCY)]),
        legend=(Key("median", PLAIN), Key("99th percentile", PLAIN, hollow=True)),
    )


def _latency_marks(row: CellRow) -> tuple[Mark, ...]:
    shares = (row.latency.p50, row.latency.p99) if row.latency else ()
    return tuple(
        Mark(
            look(row.cell.setup),
            it.estimate,
            it.low,
            it.high,
            hollow=place > 0,
            name=name,
            told=fmt.seconds_interval(it),
        )
        for place, (name, it) in enumerate(zip(("median", "99th percentile"), shares, strict=False))
        if it is not None
    )


def _speed_mark(row: CellRow) -> Mark:
    speed = row.examples_per_second
    text, bounds = fmt.number_interval(speed)
    told = (f"{text} examples/s", bounds)
    return Mark(look(row.cell.setup), speed.estimate, speed.low, speed.high, text, told=told)


def _phase_times(summary: Summary, places: Places) -> Chart:
    def panel(table: Table) -> Dots:
        cells = sorted(table.rows, key=lambda row: row.cell.setup.label)
        times = zip(*(stage_times(row) for row in cells), strict=True)
        rows = tuple(
            (stage, _stage_marks(cells, values))
            for stage, values in zip(STAGES, times, strict=True)
        )
        title = panel_title(table, places)
        return Dots(title, "time", "seconds", rows, len(cells), log=True, scope=table_scope(table))

    setups = (row.cell.setup for table in summary.tables for row in table.rows)
    return Chart(
        name="phase-times",
        section="phases",
        title="From import to the steady step",
        alt="Dot plot on a log axis of the times of import, build, first call, second call and "
        "steady step for every task and phase; the tables of this section hold the same numbers.",
        panels=side_by_side([[panel(it) for it in tables] for tables in arenas(summary)]),
        legend=keys(setups),
    )


def _stage_marks(cells: list[CellRow], values: tuple[float | None, ...]) -> tuple[Mark, ...]:
    # A log axis has no place for a zero.
    return tuple(
        Mark(
            look(row.cell.setup),
            value,
            name=label(row.cell.setup),
            told=(fmt.seconds(value), ""),
        )
        for row, value in zip(cells, values, strict=True)
        if value is not None and value > 0
    )


def _quality(summary: Summary, places: Places) -> Chart:
    return Chart(
        name="quality",
        section="quality",
        title=f"Quality on the test rows: medians over seeds, bands {_banded(summary)}",
        alt="Curves of accuracy or error over epochs and over training seconds for every task, "
        "with bands over seeds and the target as a horizontal line; the tables of this section "
        "hold the final values.",
        panels=tuple(_quality_panels(it, places) for it in summary.qualities),
        legend=keys((row.setup for it in summary.qualities for row in it.rows), line=True),
    )


def _banded(summary: Summary) -> str:
    """What a band holds, which depends on how many seeds there are."""
    bands = [it for table in summary.qualities for row in table.rows for it in row.bands]
    if all(it.quartiles for it in bands):
        return "from quartile to quartile"
    if any(it.quartiles for it in bands):
        return f"from worst to best, of {QUARTILES_FROM} or more from quartile to quartile"
    return "from the worst to the best"


def _quality_panels(table: QualityTable, places: Places) -> tuple[Curves, Curves]:
    metric, target = table.task.metric, table.task.target
    unit: Unit = "accuracy" if metric == "accuracy" else "error"
    over_epochs = [_curve(row, by_epoch=True) for row in table.rows]
    over_seconds = [_curve(row, by_epoch=False) for row in table.rows]
    title, where = task_title(table, places), scope(table.rows[0].setup)
    up = "accuracy" if metric == "accuracy" else "mean squared error"
    return (
        Curves(title, "epoch", "epoch", up, unit, tuple(over_epochs), target, scope=where),
        Curves("", "training time", "seconds", up, unit, tuple(over_seconds), target, scope=where),
    )


def _curve(row: QualityRow, *, by_epoch: bool) -> Curve:
    def x(it: Band) -> float:
        return float(it.epoch) if by_epoch else it.seconds

    several = len(row.trainings) > 1
    return Curve(
        look(row.setup),
        tuple((x(it), it.quality) for it in row.bands),
        name=label(row.setup),
        band=tuple((x(it), it.low, it.high) for it in row.bands) if several else (),
    )
