"""A summary → its charts: what each figure shows of it.

Charts of memory: kinds that are never mixed, beside the least that the mathematics needs.

Charts of what stands behind the speed: how near to the device’s peak, and when a start pays.

The figure of the proof: how far each setup goes from the reference, step by step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from harness.analysis.quality import QUARTILES_FROM, Band, QualityRow, QualityTable
from harness.analysis.sentences import unknown
from harness.analysis.startup import BreakEven
from harness.analysis.summary import CellRow, Summary, Table
from harness.analysis.verdicts import Pair
from harness.cells import LATENCY, PHASES, THROUGHPUT, Setup
from harness.certificates import Certificate
from harness.report import format as fmt
from harness.report.chart import (
    Chart,
    Curve,
    Curves,
    Dots,
    Key,
    Mark,
    Spot,
    arenas,
    keys,
    panel_title,
    side_by_side,
    table_scope,
    task_title,
)
from harness.report.charts_noise import drift
from harness.report.charts_sweeps import crossover, sweep
from harness.report.format import Unit
from harness.report.proof_sections import grouped, largest
from harness.report.safe_text import line
from harness.report.sections import PEAKS, STAGES, amount, counted_peaks, stage_times
from harness.report.style import PLAIN, Places, label, lane_mark, look, place, scope
from harness.tasks.metrics import METRICS

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
    unit: Unit = "accuracy" if METRICS[metric].unit == "percent" else "error"
    over_epochs = [_curve(row, by_epoch=True) for row in table.rows]
    over_seconds = [_curve(row, by_epoch=False) for row in table.rows]
    title, where = task_title(table, places), scope(table.rows[0].setup)
    up = METRICS[metric].title
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


def memory(summary: Summary, places: Places) -> Chart:
    """Every kind of peak in a panel of its own, and the least possible below each."""
    steady = [it for it in summary.tables if it.phase in THROUGHPUT]
    shown = counted_peaks([row for table in steady for row in table.rows])
    return Chart(
        name="memory",
        section="memory",
        title="Peaks of memory: each kind has its own axis",
        alt="Dot plots of the peaks of memory, each kind apart, for every task, train filled and "
        "predict hollow, above the least that the mathematics needs; the tables of this section "
        "hold the same numbers.",
        panels=tuple(
            tuple(_panel(tables, peak, places, first=peak == shown[0]) for peak in shown)
            for tables in arenas(summary)
        ),
        legend=(Key("train", PLAIN), Key("predict", PLAIN, hollow=True)),
    )


def _panel(tables: list[Table], peak: str, places: Places, *, first: bool) -> Dots:
    cells: dict[Setup, list[Mark]] = {}
    for row in sorted(
        (row for table in tables for row in table.rows),
        key=lambda it: (it.cell.setup.label, PHASES.index(it.cell.phase)),
    ):
        value, setup = amount(row.peaks, peak), row.cell.setup
        marks = cells.setdefault(setup, [])
        if value is not None:
            hollow = row.cell.phase != "train"
            text, name = fmt.memory(value), row.cell.phase
            told = (text, "")
            marks.append(Mark(look(setup), value, text=text, hollow=hollow, name=name, told=told))
    rows = [(label(setup), tuple(marks)) for setup, marks in cells.items()]
    rows.append(("least possible", tuple(_least(it) for it in tables)))
    return Dots(
        title=task_title(tables[0], places) if first else "",
        axis=PEAKS[peak],
        unit="bytes",
        rows=tuple(rows),
        lanes=len(tables),
        names=first,
        scope=table_scope(tables[0]),
    )


def _least(table: Table) -> Mark:
    """What a phase needs whatever the framework, beside every kind of peak."""
    least, hollow = table.rows[0].peaks.least, table.phase != "train"
    text = fmt.memory(least)
    return Mark(PLAIN, least, text=text, hollow=hollow, name=table.phase, told=(text, ""))


POINTS = 6
"""In each decade of a line, which log axes bend."""


def efficiency(summary: Summary, places: Places) -> Chart:
    """The share of the device’s peak that each setup's matrix products reach."""
    tables = [[it for it in arena if _measured(it)] for arena in arenas(summary)]
    return Chart(
        name="efficiency",
        section="speed",
        title="How much of the device’s peak the matrix products reach",
        alt="Dot plot of the floating-point operations of the task's matrix products, as a share "
        "of what the device reaches in one large product, for every task and phase, with "
        "intervals; the tables of this section hold the same shares.",
        panels=side_by_side([[_shares(it, places) for it in arena] for arena in tables if arena]),
    )


def _measured(table: Table) -> bool:
    return any(it.efficiency.of_peak for it in table.rows)


def _shares(table: Table, places: Places) -> Dots:
    peak = "" if table.peak is None else f" of {fmt.number(table.peak.flops.estimate / 1e9)}"
    rows = tuple((label(it.cell.setup), _share(it)) for it in table.rows)
    where = table_scope(table)
    return Dots(panel_title(table, places), f"share{peak} GFLOP/s", "share", rows, scope=where)


def _share(row: CellRow) -> tuple[Mark, ...]:
    it = row.efficiency.of_peak
    if it is None:
        return ()
    text, bounds = fmt.of_peak(it.estimate), ""
    if it.low is not None and it.high is not None:
        bounds = f"({fmt.of_peak(it.low)}–{fmt.of_peak(it.high)})"
        bounds = fmt.NOT_KNOWN if unknown(it) else bounds
    return (
        Mark(look(row.cell.setup), it.estimate, it.low, it.high, text=text, told=(text, bounds)),
    )


def break_even(summary: Summary, places: Places) -> Chart:
    """The time since the start over the steps that are done, start and all."""
    tables = [[it for it in arena if _lines(it)] for arena in arenas(summary)]
    found = [it for arena in tables for it in arena]
    return Chart(
        name="break-even",
        section="phases",
        title="When a slower start has paid: time since the start over steps done",
        alt="Lines on log axes of the time since a process began, its start and so many steps "
        "together, for every task and setup; rings mark where one overtakes the baseline, with "
        "the interval of that step. The tables of this section hold starts, steps and crossings.",
        panels=side_by_side([[_race(it, places) for it in arena] for arena in tables if arena]),
        legend=keys((row.cell.setup for it in found for row, *_ in _lines(it)), line=True),
    )


def _lines(table: Table) -> list[tuple[CellRow, float, float]]:
    """Each row that has a start of its own with it, and its step, in seconds."""
    return [
        (row, start.total.estimate, start.step.estimate)
        for row in table.rows
        if row.starts and (start := row.starts[0]).total and start.step
    ]


def _race(table: Table, places: Places) -> Curves:
    lines, met = _lines(table), [it for it in table.break_evens if it.steps and not it.cold]
    training = table.task.epochs * table.task.steps_per_epoch
    crossings = [it.steps.high or it.steps.estimate for it in met if it.steps]
    decades = math.ceil(math.log10(max(2.0 * max(crossings, default=0), training, 1000)))
    return Curves(
        title=panel_title(table, places),
        axis="steps done",
        unit="step",
        up="time since the start",
        up_unit="seconds",
        curves=tuple(_line(*it, decades) for it in lines),
        log=True,
        log_over=True,
        thin=True,
        scope=table_scope(table),
        spots=tuple(spot for it in met if (spot := _crossing(it))),
    )


def _line(row: CellRow, start: float, step: float, decades: int) -> Curve:
    done = [10 ** (n / POINTS) for n in range(decades * POINTS + 1)]
    points = [(n, start + n * step) for n in done if start + n * step > 0]
    return Curve(
        look(row.cell.setup),
        tuple(points),
        name=label(row.cell.setup),
        told=_told(row, points),
    )


def _told(row: CellRow, points: Sequence[tuple[float, float]]) -> tuple[tuple[str, ...], ...]:
    """A decade's first point says what it is."""
    return tuple(
        (label(row.cell.setup), fmt.seconds(at), f"after {fmt.count(round(n), 'step')}")
        if math.log10(n).is_integer()
        else ()
        for n, at in points
    )


def _crossing(it: BreakEven) -> Spot | None:
    if it.steps is None or it.seconds is None or it.steps.estimate <= 0:
        return None
    verb = "overtakes" if it.verdict == "overtakes" else "is overtaken by"
    steps, bounds = fmt.number_interval(it.steps)
    low = it.steps.low if it.steps.low else None
    said = f"{line(it.label)} {verb} {line(it.baseline)} after {steps} steps"
    return Spot(
        PLAIN,
        it.steps.estimate,
        it.seconds.estimate,
        max(low, 1.0) if low else None,
        it.steps.high,
        ("break-even", said, bounds),
    )


FLOOR = 1e-17
"""Stands for no difference at all: a log axis has no zero, and float64 nothing this small."""
LEAST_STEPS = 2


def divergence_chart(certificates: Iterable[Certificate]) -> Chart | None:
    """One panel an arena and lane; None where nothing was compared over steps."""
    groups = [_stepped(group) for group in grouped(certificates)]
    panels = [_divergence_panel(group) for group in groups if group]
    if not panels:
        return None
    setups = {label(it.setup): look(it.setup) for group in groups for it in group}
    rows = [panels[n : n + 2] for n in range(0, len(panels), 2)]
    return Chart(
        name="divergence",
        section="sameness",
        title="Largest relative difference from the float64 reference, step by step",
        alt="Curves over training steps, on a log axis, of the largest relative difference of any "
        "loss, output, gradient, weight or slot from the reference; the tables of this section "
        "hold the largest of each kind.",
        panels=tuple((*row, *[None] * (min(len(panels), 2) - len(row))) for row in rows),
        legend=tuple(Key(name, setups[name], line=True) for name in sorted(setups)),
    )


def _stepped(group: Sequence[Certificate]) -> list[Certificate]:
    return [it for it in group if len(_divergence_points(it)) >= LEAST_STEPS]


def _divergence_panel(group: Sequence[Certificate]) -> Curves:
    setup = group[0].setup
    return Curves(
        title=f"{line(setup.task)}{lane_mark(setup.lane)} · {place(setup)}",
        axis="step",
        unit="step",
        up="relative difference",
        up_unit="relative difference",
        curves=tuple(
            Curve(look(it.setup), _divergence_points(it), name=label(it.setup)) for it in group
        ),
        log=True,
        scope=scope(setup),
    )


def _divergence_points(certificate: Certificate) -> tuple[tuple[float, float], ...]:
    found = ((it.step, largest(it)) for it in certificate.divergence)
    return tuple((float(step), max(value, FLOOR)) for step, value in found if value is not None)
