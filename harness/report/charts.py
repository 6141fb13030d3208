"""What every figure of a report shows, as plain data: a summary in, charts out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from harness.analysis.noise import GroupNoise, Strip
from harness.analysis.quality import QUARTILES_FROM, Band, QualityRow, QualityTable
from harness.analysis.startup import BreakEven
from harness.analysis.stats import Interval
from harness.analysis.summary import CellRow, Summary, Table
from harness.analysis.tables import Sweep, sweeps
from harness.cells import LATENCY, PHASES, THROUGHPUT, Phase, Setup
from harness.certificates import Certificate
from harness.report import format as fmt
from harness.report.chart import Axis, Chart, Curve, Curves, Dots, Key, Mark
from harness.report.columns import PEAKS, CellOf, Column, cells, grouped, shown_in
from harness.report.format import Unit
from harness.report.noise_sections import strips
from harness.report.proof_sections import by_ranking, largest
from harness.report.safe_text import line
from harness.report.sections import OVERTAKES, counted_peaks
from harness.report.style import (
    FAINT,
    PLAIN,
    Look,
    Places,
    Scope,
    is_reference,
    label,
    lane_mark,
    look,
    place,
    scope,
)
from harness.tasks.metrics import METRICS

NUMBERS = "the tables of this section hold the same numbers."


def make_charts(summary: Summary, certificates: Iterable[Certificate] = ()) -> list[Chart]:
    """Every chart that has something to show."""
    places = Places(summary)
    charts = [
        *(make(summary, places) for make in (ratios, throughput, crossover, sweep, efficiency)),
        *(make(summary, places) for make in (latency, quality, phase_times, break_even, memory)),
        drift(summary),
        divergence(certificates),
    ]
    return [it for it in charts if it.panels]


def _tables(summary: Summary, phases: Sequence[Phase] = THROUGHPUT) -> list[Table]:
    """The tables of `phases`; those of one group and lane stand together."""
    return [it for it in summary.tables if it.phase in phases]


def _setup(table: Table | QualityTable) -> Setup:
    return table.rows[0].cell.setup if isinstance(table, Table) else table.rows[0].setup


def _task_title(table: Table | QualityTable, places: Places) -> str:
    task = line(table.task.name) + lane_mark(_setup(table).lane)
    return ", ".join(filter(None, (task, places.differing(table))))


def _title(table: Table, places: Places) -> str:
    return f"{_task_title(table, places)} · {table.phase}"


def _dots(
    table: Table,
    places: Places,
    axis: Axis,
    marks: Callable[[CellOf], Iterable[Mark]],
    **more: Any,
) -> Dots:
    rows = tuple((label(it.setup), tuple(marks(it))) for it in cells(table))
    return Dots(_title(table, places), axis, rows, scope(_setup(table)), **more)


def mark(shown: Look, content: Interval | float, unit: Unit, **more: Any) -> Mark:
    """A mark with its interval in words, and its value as its text."""
    entry = fmt.value(content, unit)
    words = f"{entry.text} examples/s" if unit == "examples/s" else entry.text
    texts: dict[str, Any] = {"text": entry.text, "words": words, "bounds": entry.detail}
    low, high = entry.ends or (None, None)
    return Mark(shown, entry.raw or 0.0, low, high, **texts | more)


def _keys(setups: Iterable[Setup]) -> tuple[Key, ...]:
    """A legend of setups, by name."""
    by_name = {label(it): it for it in setups}
    frameworks = not all(map(is_reference, by_name.values()))
    return tuple(
        Key(f"{name} (yardstick)" if is_reference(it) and frameworks else name, look(it))
        for name, it in sorted(by_name.items())
    )


# Speed.


def ratios(summary: Summary, places: Places) -> Chart:
    return Chart(
        name="ratios",
        section="speed",
        title="Times as fast as the baseline, with its interval",
        alt="Forest plot on a log axis: the ratio of every setup to the baseline with its interval "
        f"and the band that counts as no difference; {NUMBERS}",
        panels=tuple(_forest(it, places) for it in _tables(summary, PHASES) if it.pairs),
        overview=True,
        inline=False,
    )


def _forest(table: Table, places: Places) -> Dots:
    def marks(cell: CellOf) -> Iterator[Mark]:
        if cell.is_baseline:
            yield mark(look(cell.setup), 1.0, "ratio", name="baseline")
        elif pair := cell.pair:
            hollow = pair.verdict not in ("faster", "slower")
            yield mark(look(cell.setup), pair.speed, "ratio", hollow=hollow, name=pair.verdict)

    axis = Axis(f"× as fast as {line(table.baseline)}", "ratio", log=True)
    band = (1 / (1 + table.margin), 1 + table.margin)
    return _dots(table, places, axis, marks, band=band)


def throughput(summary: Summary, places: Places) -> Chart:
    def marks(cell: CellOf) -> Iterator[Mark]:
        yield mark(look(cell.setup), cell.row.examples_per_second, "examples/s")

    axis = Axis("examples/s, more is better", "examples/s")
    return Chart(
        name="throughput",
        section="speed",
        title="Throughput, with its interval over blocks",
        alt=f"Dot plot of examples per second, with intervals; {NUMBERS}",
        panels=tuple(_dots(it, places, axis, marks) for it in _tables(summary)),
    )


def latency(summary: Summary, places: Places) -> Chart:
    def marks(cell: CellOf) -> Iterator[Mark]:
        for column in shown_in("terminal latency"):
            if column.unit == "seconds" and (time := column.get(cell)):
                hollow, name = column.title == "p99", column.title
                yield mark(look(cell.setup), time, "seconds", text="", hollow=hollow, name=name)

    axis = Axis("time of a single step", "seconds", log=True)
    return Chart(
        name="latency",
        section="speed",
        title="Latency: every step timed by itself",
        alt=f"Dot plot on a log axis: median and 99th percentile of single steps; {NUMBERS}",
        panels=tuple(_dots(it, places, axis, marks) for it in _tables(summary, LATENCY)),
        legend=(Key("p50", PLAIN), Key("p99", PLAIN, hollow=True)),
    )


def efficiency(summary: Summary, places: Places) -> Chart:
    def marks(cell: CellOf) -> Iterator[Mark]:
        if share := cell.row.efficiency.of_peak:
            yield mark(look(cell.setup), share, "share")

    def axis(table: Table) -> Axis:
        peak = "" if table.peak is None else f" of {fmt.number(table.peak.flops.estimate / 1e9)}"
        return Axis(f"share{peak} GFLOP/s", "share")

    return Chart(
        name="efficiency",
        section="speed",
        title="How much of the device’s peak the matrix products reach",
        alt="Dot plot of the rate of the task's matrix products, as a share of that of one large "
        f"product, with intervals; {NUMBERS}",
        panels=tuple(
            _dots(table, places, axis(table), marks)
            for table in _tables(summary)
            if any(row.efficiency.of_peak for row in table.rows)
        ),
    )


# Sweeps: a parameter of the task, or the number of threads, takes several values.

UNDECIDED = Look(FAINT, "o", ())


def sweep(summary: Summary, _: Places) -> Chart:
    """Throughput over the parameter with the most values; the others have their own panels."""
    tables = summary.tables
    return Chart(
        name="sweeps",
        section="speed",
        title="Throughput over what was varied",
        alt="Lines on log axes: examples per second over a parameter of the task or the number of "
        f"threads, with intervals; {NUMBERS}",
        panels=tuple(panel for it in sweeps(tables) for panel in _sweep_panels(it, tables)),
        legend=_keys(row.cell.setup for it in _swept(tables) for row in it.rows),
        overview=True,
    )


def _swept(tables: Sequence[Table]) -> Iterator[Table]:
    return (tables[number] for it in sweeps(tables) for _, number in it.points)


def _sweep_panels(sweep: Sweep, tables: Sequence[Table]) -> Iterator[Curves]:
    """A panel for every combination of all parameters but the first."""
    name, values = sweep.axes[0]
    for points in grouped(sorted(sweep.points), lambda it: it[0][1:]):
        rows = [(settings[0], row) for settings, number in points for row in tables[number].rows]
        rows.sort(key=lambda it: it[1].cell.setup.label)
        yield Curves(
            title=_sweep_title(sweep, points[0][0], 1),
            x=_sweep_axis(name, values),
            y=Axis("examples/s", "examples/s", log=True),
            curves=tuple(map(_sweep_curve, grouped(rows, lambda it: it[1].cell.setup.label))),
            scope=_sweep_scope(sweep),
        )


def _sweep_curve(rows: Sequence[tuple[int, CellRow]]) -> Curve:
    setup = rows[0][1].cell.setup
    speeds = [fmt.value(row.examples_per_second, "examples/s") for _, row in rows]
    points = tuple((float(value), row.examples_per_second.estimate) for value, row in rows)
    return Curve(look(setup), points, label(setup), tuple(it.ends for it in speeds))


def crossover(summary: Summary, _: Places) -> Chart:
    """The fastest setup at every combination of the two parameters with the most values."""
    tables = summary.tables
    winners = filter(None, map(_winner, _swept(tables)))
    return Chart(
        name="crossover",
        section="speed",
        title="Which setup is fastest where",
        alt="A map of the fastest setup at every value of what was varied, with a ring where no "
        "setup is faster than all others; the tables of this section say the same.",
        panels=tuple(panel for it in sweeps(tables) for panel in _maps(it, tables)),
        legend=(*_keys(winners), Key("no winner", UNDECIDED, hollow=True)),
        overview=True,
    )


def _winner(table: Table) -> Setup | None:
    setups = (row.cell.setup for row in table.rows)
    return next((it for it in setups if it.label == table.winner), None)


def _maps(sweep: Sweep, tables: Sequence[Table]) -> Iterator[Dots]:
    """A panel for every combination of all parameters but the first two; a row for each value."""
    (name, values), *others = sweep.axes
    for points in grouped(sorted(sweep.points), lambda it: it[0][2:]):
        rows = [
            (
                f"{_words(others[0][0])} {row[0][0][1]:,}" if others else "fastest",
                tuple(_fastest(tables[number], name, at[0]) for at, number in row),
            )
            for row in grouped(points, lambda it: it[0][1:2])
        ]
        yield Dots(
            title=_sweep_title(sweep, points[0][0], 2),
            x=_sweep_axis(name, values),
            rows=tuple(rows),
            scope=_sweep_scope(sweep),
            level=True,
        )


def _fastest(table: Table, axis: str, value: int) -> Mark:
    winner = _winner(table)
    return Mark(
        look(winner) if winner else UNDECIDED,
        float(value),
        text="" if winner else "?",
        hollow=winner is None,
        name=f"{_words(axis)} {value:,}: {label(winner) if winner else 'no winner'}",
        words=line(table.sentence),
    )


def _sweep_title(sweep: Sweep, settings: Sequence[int], skipped: int) -> str:
    fixed = [*zip(sweep.axes, settings, strict=True)][skipped:]
    values = [f"{_words(name)} {value:,}" for (name, _), value in fixed]
    return ", ".join((f"{line(sweep.task)} · {sweep.phase}{lane_mark(sweep.lane)}", *values))


def _sweep_axis(name: str, values: Iterable[int]) -> Axis:
    return Axis(_words(name), "setting", log=True, at=tuple(map(float, values)))


def _words(name: str) -> str:
    return name.replace("_", " ")


def _sweep_scope(sweep: Sweep) -> Scope:
    """Without a task: the panel shows several tasks with different names."""
    return Scope("", sweep.device, sweep.lane)


# Quality.


def quality(summary: Summary, places: Places) -> Chart:
    return Chart(
        name="quality",
        section="quality",
        title=f"Quality on the test rows: medians over seeds, bands {_band_words(summary)}",
        alt="Curves of accuracy or error over epochs and over training time, with bands over seeds "
        "and the target as a line; the tables of this section hold the final values.",
        panels=tuple(
            _quality_panel(it, places, by_epoch=by_epoch)
            for it in summary.qualities
            for by_epoch in (True, False)
        ),
        legend=_keys(row.setup for it in summary.qualities for row in it.rows),
    )


def _band_words(summary: Summary) -> str:
    """What a band contains, which depends on the number of seeds."""
    bands = [it for table in summary.qualities for row in table.rows for it in row.bands]
    quartiles = {it.quartiles for it in bands}
    if quartiles == {True}:
        return "from quartile to quartile"
    few = "from the worst to the best"
    return (
        f"{few}, of {QUARTILES_FROM} or more from quartile to quartile"
        if len(quartiles) > 1
        else few
    )


def _quality_panel(table: QualityTable, places: Places, *, by_epoch: bool) -> Curves:
    def x(band: Band) -> float:
        return float(band.epoch) if by_epoch else band.seconds

    def curve(row: QualityRow) -> Curve:
        points = tuple((x(it), it.quality) for it in row.bands)
        several = len(row.trainings) > 1
        bounds = tuple((it.low, it.high) for it in row.bands if several)
        return Curve(look(row.setup), points, label(row.setup), bounds, band=several)

    metric = METRICS[table.task.metric]
    return Curves(
        title=_task_title(table, places),
        x=Axis("epoch", "epoch") if by_epoch else Axis("training time", "seconds"),
        y=Axis(metric.title, "accuracy" if metric.unit == "percent" else "error"),
        curves=tuple(map(curve, table.rows)),
        target=table.task.target,
        scope=scope(_setup(table)),
    )


# Phase times.


def phase_times(summary: Summary, places: Places) -> Chart:
    return Chart(
        name="phase-times",
        section="phases",
        title="From import to the steady step",
        alt=f"Dot plot on a log axis of the times of a start and of a steady step; {NUMBERS}",
        panels=tuple(it for table in _tables(summary) if (it := _stages(table, places)).rows),
        legend=_keys(row.cell.setup for it in summary.tables for row in it.rows),
    )


def _stages(table: Table, places: Places) -> Dots:
    """A row for every time in the table of starts; a log axis cannot show a zero."""
    ordered = sorted(cells(table), key=lambda it: it.setup.label)

    def marks(stage: Column[CellOf]) -> Iterator[Mark]:
        for cell in ordered:
            time: Interval | None = stage.get(cell)
            if time and time.estimate > 0:
                name = label(cell.setup)
                yield mark(look(cell.setup), time.estimate, "seconds", text="", name=name)

    rows = tuple((it.title, row) for it in shown_in("stages") if (row := tuple(marks(it))))
    axis = Axis("time", "seconds", log=True)
    return Dots(_title(table, places), axis, rows, scope(_setup(table)))


POINTS = 6
"""Points in each decade of a straight line, which log axes bend."""


def break_even(summary: Summary, places: Places) -> Chart:
    tables = [it for it in _tables(summary) if len(_starts(it)) > (len(it.rows) > 1)]
    return Chart(
        name="break-even",
        section="phases",
        title="When a slower start has paid: time since the start over steps done",
        alt="Lines on log axes: the time of a start and of so many steps; rings mark where a setup "
        f"overtakes the baseline, with the interval of that step; {NUMBERS}",
        panels=tuple(_race(it, places) for it in tables),
        legend=_keys(row.cell.setup for it in tables for row, *_ in _starts(it)),
    )


def _starts(table: Table) -> list[tuple[CellRow, float, float]]:
    """Each row that has its start and its step, in seconds."""
    return [
        (row, start.total.estimate, start.step.estimate)
        for row in table.rows
        if row.starts and (start := row.starts[0]).total and start.step
    ]


def _race(table: Table, places: Places) -> Curves:
    met = [it for it in table.break_evens if it.steps and not it.cold]
    training = table.task.epochs * table.task.steps_per_epoch
    ends = [it.steps.high or it.steps.estimate for it in met if it.steps]
    decades = math.ceil(math.log10(max(2.0 * max(ends, default=0), training, 1000)))
    return Curves(
        title=_title(table, places),
        x=Axis("steps done", "step", log=True),
        y=Axis("time since the start", "seconds", log=True),
        curves=tuple(_race_line(*it, decades) for it in _starts(table)),
        scope=scope(_setup(table)),
        rings=tuple(filter(None, map(_ring, met))),
    )


def _race_line(row: CellRow, start: float, step: float, decades: int) -> Curve:
    steps = sorted({round(10 ** (n / POINTS)) for n in range(decades * POINTS + 1)})
    points = tuple((float(n), start + n * step) for n in steps if start + n * step > 0)
    return Curve(look(row.cell.setup), points, label(row.cell.setup))


def _ring(pair: BreakEven) -> tuple[float, Mark] | None:
    if pair.steps is None or pair.seconds is None or pair.steps.estimate <= 0:
        return None
    names = f" {OVERTAKES[pair.verdict]} ".join(map(line, (pair.label, pair.baseline)))
    words = f"{names} after {fmt.number(pair.steps.estimate)} steps"
    ring = mark(PLAIN, pair.steps, "step", hollow=True, name="break-even", words=words)
    return pair.seconds.estimate, ring


# Memory.


def memory(summary: Summary, places: Places) -> Chart:
    tables = _tables(summary)
    shown = counted_peaks([row for it in tables for row in it.rows])
    return Chart(
        name="memory",
        section="memory",
        title="Peaks of memory: each kind has its own axis",
        alt="Dot plots of the peaks of memory, train filled and predict hollow, and the least that "
        f"the mathematics needs; {NUMBERS}",
        panels=tuple(
            panel
            for group in grouped(tables, lambda it: _setup(it).ranking)
            for panel in _memory_panels(group, shown, places)
        ),
        legend=(Key("train", PLAIN), Key("predict", PLAIN, hollow=True)),
    )


def _memory_panels(tables: Sequence[Table], kinds: Iterable[str], places: Places) -> Iterator[Dots]:
    measured = [row for it in tables for row in it.rows]
    measured.sort(key=lambda it: (it.cell.setup.label, PHASES.index(it.cell.phase)))
    for kind in kinds:
        rows: dict[str, list[Mark]] = {label(it.cell.setup): [] for it in measured}
        for row in measured:
            setup, size = row.cell.setup, getattr(row.peaks, kind).bytes
            rows[label(setup)] += _bytes(look(setup), size, row.cell.phase)
        rows["least possible"] = [
            mark for it in tables for mark in _bytes(PLAIN, it.rows[0].peaks.least, it.phase)
        ]
        yield Dots(
            title=_task_title(tables[0], places),
            x=Axis(PEAKS[kind], "bytes"),
            rows=tuple((name, tuple(marks)) for name, marks in rows.items()),
            scope=scope(_setup(tables[0])),
        )


def _bytes(shown: Look, value: float | None, phase: Phase) -> list[Mark]:
    if value is None:
        return []
    return [mark(shown, value, "bytes", hollow=phase != "train", name=phase)]


# Noise: how each ratio changed from block to block.

DOTTED = (1.5, 1.5)
"""The dashes of a setup that is compared with itself."""


def drift(summary: Summary) -> Chart:
    """One panel for every group, lane and phase; one point for each block, in their order."""
    rows = [(noise, group) for noise in summary.noise for group in strips(noise)]
    by_name = {line(it.label): _drift_look(noise, it) for noise, group in rows for it in group}
    return Chart(
        name="drift",
        section="noise",
        title="Drift: every ratio block by block, against its own median",
        alt=f"Lines over blocks: how far each ratio lay from its own median; {NUMBERS}",
        panels=tuple(_drift_panel(*it) for it in rows),
        legend=tuple(Key(*it) for it in sorted(by_name.items())),
    )


def _drift_panel(noise: GroupNoise, group: Sequence[Strip]) -> Curves:
    phase, lane = group[0].phase, group[0].lane
    return Curves(
        title=f"{line(noise.task)} · {phase}{lane_mark(lane)} · {place(noise)}",
        x=Axis("block", "block"),
        y=Axis("drift", "change"),
        curves=tuple(
            Curve(
                _drift_look(noise, it),
                tuple((float(block), math.expm1(log)) for block, log in it.points),
                name=f"{line(it.label)} ÷ {line(it.baseline)}",
            )
            for it in group
        ),
        flat=True,
        scope=Scope(line(noise.task), noise.device, lane),
    )


def _drift_look(noise: GroupNoise, strip: Strip) -> Look:
    """That of the setup; dotted for a setup compared with itself."""
    setups = {(it.setup.label, it.setup.lane): it.setup for it in noise.setups}
    setup = setups[strip.label, strip.lane]
    return replace(look(setup), dashes=DOTTED) if setup.twin else look(setup)


# The proof: the difference of each setup from the reference, step by step.

FLOOR = 1e-17
"""Stands for no difference: a log axis has no zero, and float64 has no difference this small."""
LEAST_STEPS = 2


def divergence(certificates: Iterable[Certificate]) -> Chart:
    """One panel for each group and lane that was compared over several steps."""
    groups = [
        stepped
        for group in by_ranking(certificates)
        if (stepped := [it for it in group if len(_differences(it)) >= LEAST_STEPS])
    ]
    return Chart(
        name="divergence",
        section="sameness",
        title="Largest relative difference from the float64 reference, step by step",
        alt="Curves over training steps, on a log axis: the largest relative difference of any "
        "quantity; the tables of this section hold the largest of each kind.",
        panels=tuple(map(_divergence_panel, groups)),
        legend=_keys(it.setup for group in groups for it in group),
    )


def _divergence_panel(group: Sequence[Certificate]) -> Curves:
    setup = group[0].setup
    return Curves(
        title=f"{line(setup.task)}{lane_mark(setup.lane)} · {place(setup)}",
        x=Axis("step", "step"),
        y=Axis("relative difference", "relative difference", log=True),
        curves=tuple(Curve(look(it.setup), _differences(it), name=label(it.setup)) for it in group),
        scope=scope(setup),
    )


def _differences(certificate: Certificate) -> tuple[tuple[float, float], ...]:
    steps = ((it.step, largest([it])) for it in certificate.divergence)
    return tuple((float(step), max(value, FLOOR)) for step, value in steps if value is not None)
