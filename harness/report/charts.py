"""What every figure of a report shows, as plain data: a summary in, charts out."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from harness.analysis.noise import GroupNoise, Strip
from harness.analysis.quality import QUARTILES_FROM, Band, QualityRow, QualityTable
from harness.analysis.sentences import unknown
from harness.analysis.startup import BreakEven
from harness.analysis.stats import Interval
from harness.analysis.summary import CellRow, Summary, Table
from harness.analysis.sweeps import Sweep, sweeps
from harness.analysis.verdicts import Pair
from harness.cells import LATENCY, PHASES, THROUGHPUT, Phase, Setup
from harness.certificates import Certificate
from harness.report import format as fmt
from harness.report.chart import Chart, Crossing, Curve, Curves, Dots, Key, Mark
from harness.report.noise_sections import strips
from harness.report.proof_sections import grouped, largest
from harness.report.safe_text import line
from harness.report.sections import PEAKS, STAGES, amount, counted_peaks, stage_times
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


def make_charts(summary: Summary, certificates: Iterable[Certificate] = ()) -> list[Chart]:
    """Every chart that has something to show."""
    places = Places.of(summary)
    makers = (
        *(ratios, throughput, crossover, sweep, efficiency, latency),
        *(quality, phase_times, break_even, memory, drift),
    )
    charts = [*(make(summary, places) for make in makers), divergence(certificates)]
    return [it for it in charts if it.panels]


# Helpers of all charts.


def _groups(summary: Summary, phases: tuple[Phase, ...] = THROUGHPUT) -> list[list[Table]]:
    """The tables of `phases`, by group and lane."""
    groups: dict[tuple[object, ...], list[Table]] = defaultdict(list)
    for table in summary.tables:
        if table.phase in phases:
            groups[table.rows[0].cell.setup.ranking].append(table)
    return list(groups.values())


def _tables(summary: Summary, phases: tuple[Phase, ...] = THROUGHPUT) -> list[Table]:
    return [table for group in _groups(summary, phases) for table in group]


def _keys(setups: Iterable[Setup]) -> tuple[Key, ...]:
    """A legend of setups, by name; the marker stands on a piece of the setup's line."""
    by_name = {label(it): it for it in setups}
    yardsticks = {name for name, it in by_name.items() if is_reference(it)}
    marks = dict.fromkeys(yardsticks if len(yardsticks) < len(by_name) else (), " (yardstick)")
    return tuple(
        Key(name + marks.get(name, ""), look(by_name[name]), line=True) for name in sorted(by_name)
    )


def _task_title(table: Table | QualityTable, places: Places) -> str:
    lane = table.lane if isinstance(table, Table) else table.rows[0].setup.lane
    shown = "" if lane == "identical" else lane
    return ", ".join(filter(None, (line(table.task.name), shown, places.differing(table))))


def _title(table: Table, places: Places) -> str:
    return f"{_task_title(table, places)} · {table.phase}"


def _scope(table: Table) -> Scope:
    return scope(table.rows[0].cell.setup)


def _mark(shown: Look, it: Interval, words: str, bounds: str, text: str = "") -> Mark:
    return Mark(shown, it.estimate, it.low, it.high, text=text, words=words, bounds=bounds)


# Speed.


def ratios(summary: Summary, places: Places) -> Chart:
    return Chart(
        name="ratios",
        section="speed",
        title="Times as fast as the baseline, with its interval",
        alt="Forest plot on a log axis of the ratio of every setup to the baseline, for every task "
        "and phase, with intervals and with the band that counts as no difference; the tables of "
        "this section hold the same numbers.",
        panels=tuple(_forest(it, places) for it in _tables(summary, PHASES) if it.pairs),
        overview=True,
        inline=False,
    )


def _forest(table: Table, places: Places) -> Dots:
    """The ratios of one table; the baseline itself is at 1."""
    pairs = {it.label: it for it in table.pairs}
    return Dots(
        title=_title(table, places),
        axis=f"× as fast as {line(table.baseline)}",
        unit="ratio",
        rows=tuple((label(row.cell.setup), _ratio(table, row, pairs)) for row in table.rows),
        log=True,
        scope=_scope(table),
        around=1.0,
        band=(1 / (1 + table.margin), 1 + table.margin),
    )


def _ratio(table: Table, row: CellRow, pairs: Mapping[str, Pair]) -> tuple[Mark, ...]:
    setup = row.cell.setup
    if setup.label == table.baseline:
        return (Mark(look(setup), 1.0, text=fmt.SAME, name="baseline", words=fmt.SAME),)
    pair = pairs.get(setup.label)
    if pair is None:
        return ()
    words, bounds = fmt.ratio_interval(pair.speed)
    mark = _mark(look(setup), pair.speed, words, bounds, text=words)
    return (replace(mark, hollow=pair.verdict not in ("faster", "slower"), name=pair.verdict),)


def throughput(summary: Summary, places: Places) -> Chart:
    def speed(row: CellRow) -> Mark:
        text, bounds = fmt.number_interval(row.examples_per_second)
        words = f"{text} examples/s"
        return _mark(look(row.cell.setup), row.examples_per_second, words, bounds, text)

    def panel(table: Table) -> Dots:
        rows = tuple((label(row.cell.setup), (speed(row),)) for row in table.rows)
        axis = "examples/s, more is better"
        return Dots(_title(table, places), axis, "examples/s", rows, scope=_scope(table))

    return Chart(
        name="throughput",
        section="speed",
        title="Throughput, with its interval over blocks",
        alt="Dot plot of examples per second for every task and phase, in the order of the "
        "tables, with intervals; the tables of this section hold the same numbers.",
        panels=tuple(panel(it) for it in _tables(summary)),
    )


def latency(summary: Summary, places: Places) -> Chart:
    def panel(table: Table) -> Dots:
        rows = tuple((label(row.cell.setup), _latencies(row)) for row in table.rows)
        title, axis = _title(table, places), "time of a single step"
        return Dots(title, axis, "seconds", rows, lanes=2, log=True, scope=_scope(table))

    return Chart(
        name="latency",
        section="speed",
        title="Latency: every step timed by itself",
        alt="Dot plot on a log axis of the median and the 99th percentile of single steps for "
        "every task; the tables of this section hold the same numbers.",
        panels=tuple(panel(it) for it in _tables(summary, LATENCY)),
        legend=(Key("median", PLAIN), Key("99th percentile", PLAIN, hollow=True)),
    )


def _latencies(row: CellRow) -> tuple[Mark, ...]:
    steps = (row.latency.p50, row.latency.p99) if row.latency else ()
    return tuple(
        replace(
            _mark(look(row.cell.setup), it, *fmt.seconds_interval(it)), hollow=hollow, name=name
        )
        for it, name, hollow in zip(
            steps, ("median", "99th percentile"), (False, True), strict=False
        )
        if it is not None
    )


def efficiency(summary: Summary, places: Places) -> Chart:
    """The share of the device’s peak that each setup's matrix products reach."""

    def panel(table: Table) -> Dots:
        peak = "" if table.peak is None else f" of {fmt.number(table.peak.flops.estimate / 1e9)}"
        rows = tuple((label(it.cell.setup), _share(it)) for it in table.rows)
        axis = f"share{peak} GFLOP/s"
        return Dots(_title(table, places), axis, "share", rows, scope=_scope(table))

    return Chart(
        name="efficiency",
        section="speed",
        title="How much of the device’s peak the matrix products reach",
        alt="Dot plot of the floating-point operations of the task's matrix products, as a share "
        "of what the device reaches in one large product, for every task and phase, with "
        "intervals; the tables of this section hold the same shares.",
        panels=tuple(
            panel(table)
            for table in _tables(summary)
            if any(row.efficiency.of_peak for row in table.rows)
        ),
    )


def _share(row: CellRow) -> tuple[Mark, ...]:
    it = row.efficiency.of_peak
    if it is None:
        return ()
    text, bounds = fmt.of_peak(it.estimate), ""
    if it.low is not None and it.high is not None:
        bounds = f"({fmt.of_peak(it.low)}–{fmt.of_peak(it.high)})"
    bounds = fmt.NOT_KNOWN if bounds and unknown(it) else bounds
    return (_mark(look(row.cell.setup), it, text, bounds, text),)


# Sweeps: a parameter of the task, or the number of threads, takes several values.

UNDECIDED = Look(FAINT, "o", ())
Points = dict[tuple[int, ...], Table]


def sweep(summary: Summary, _: Places) -> Chart:
    """Throughput over the parameter with the most values; the others have their own panels."""
    swept = [(it, _swept(it, summary)) for it in sweeps(summary.tables)]
    setups = (row.cell.setup for _, points in swept for it in points.values() for row in it.rows)
    return Chart(
        name="sweeps",
        section="speed",
        title="Throughput over what was varied",
        alt="Lines on log axes of examples per second over a parameter of the task or the number "
        "of threads, one for every setup, with intervals over blocks; the tables of this section "
        "hold the same numbers.",
        panels=tuple(panel for it in swept for panel in _sweep_panels(*it)),
        legend=_keys(setups),
        overview=True,
    )


def _swept(it: Sweep, summary: Summary) -> Points:
    return {values: summary.tables[number] for values, number in it.points}


def _sweep_panels(it: Sweep, points: Points) -> Iterator[Curves]:
    """A panel for every combination of all parameters but the first."""
    (name, values), *_ = it.axes
    panels: dict[tuple[int, ...], Points] = defaultdict(dict)
    for position, table in points.items():
        panels[position[1:]][position] = table
    for others, tables in sorted(panels.items()):
        labels = sorted({row.cell.setup.label for table in tables.values() for row in table.rows})
        yield Curves(
            title=_sweep_title(it, others, 1),
            axis=_words(name),
            unit="setting",
            up="examples/s",
            up_unit="examples/s",
            curves=tuple(_sweep_curve(setup, name, tables) for setup in labels),
            log_x=True,
            log_y=True,
            thin=True,
            scope=_sweep_scope(it),
            at=tuple(map(float, values)),
        )


def _sweep_curve(name: str, axis: str, points: Points) -> Curve:
    rows = [
        (position[0], row)
        for position, table in sorted(points.items())
        for row in table.rows
        if row.cell.setup.label == name
    ]
    setup = rows[0][1].cell.setup
    speeds = [(value, row.examples_per_second) for value, row in rows]
    return Curve(
        look(setup),
        tuple((float(value), it.estimate) for value, it in speeds),
        name=label(setup),
        bounds=tuple(
            None if it.low is None or it.high is None else (it.low, it.high) for _, it in speeds
        ),
        tips=tuple(
            (f"{label(setup)}, {_words(axis)} {value:,}", f"{words} examples/s", bounds)
            for value, it in speeds
            for words, bounds in (fmt.number_interval(it),)
        ),
    )


def crossover(summary: Summary, _: Places) -> Chart:
    """The fastest setup at every combination of the two parameters with the most values."""
    swept = [(it, _swept(it, summary)) for it in sweeps(summary.tables)]
    winners = (
        row.cell.setup
        for _, points in swept
        for table in points.values()
        for row in table.rows
        if row.cell.setup.label == table.winner
    )
    keys = tuple(replace(it, line=False) for it in _keys(winners))
    return Chart(
        name="crossover",
        section="speed",
        title="Which setup is fastest where",
        alt="A map of the fastest setup at every value of what was varied, with a ring where no "
        "setup is faster than all others; the tables of this section say the same.",
        panels=tuple(panel for it in swept for panel in _maps(*it)),
        legend=(*keys, Key("no winner", UNDECIDED, hollow=True)),
        overview=True,
    )


def _maps(it: Sweep, points: Points) -> Iterator[Dots]:
    """A panel for every combination of all parameters but the first two; a row for each value."""
    (name, values), *others = it.axes
    panels: dict[tuple[int, ...], dict[tuple[int, ...], list[Mark]]] = defaultdict(dict)
    for position, table in sorted(points.items()):
        row = panels[position[2:]].setdefault(position[1:2], [])
        row.append(_fastest(table, name, position[0]))
    for rest, rows in panels.items():
        yield Dots(
            title=_sweep_title(it, rest, 2),
            axis=_words(name),
            unit="setting",
            rows=tuple(
                (f"{_words(others[0][0])} {second[0]:,}" if second else "fastest", tuple(marks))
                for second, marks in rows.items()
            ),
            log=True,
            scope=_sweep_scope(it),
            at=tuple(map(float, values)),
            level=True,
        )


def _fastest(table: Table, axis: str, value: int) -> Mark:
    winner = next((it for it in table.rows if it.cell.setup.label == table.winner), None)
    return Mark(
        look(winner.cell.setup) if winner else UNDECIDED,
        float(value),
        text="" if winner else "?",
        hollow=winner is None,
        name=f"{_words(axis)} {value:,}: {label(winner.cell.setup) if winner else 'no winner'}",
        words=line(table.sentence),
    )


def _sweep_title(it: Sweep, others: tuple[int, ...], skipped: int) -> str:
    fixed = [
        f"{_words(name)} {value:,}"
        for (name, _), value in zip(it.axes[skipped:], others, strict=True)
    ]
    return ", ".join((f"{line(it.task)} · {it.phase}{lane_mark(it.lane)}", *fixed))


def _words(name: str) -> str:
    return name.replace("_", " ")


def _sweep_scope(it: Sweep) -> Scope:
    """Without a task: the panel shows several tasks with different names."""
    return Scope("", it.device, it.lane)


# Quality.


def quality(summary: Summary, places: Places) -> Chart:
    return Chart(
        name="quality",
        section="quality",
        title=f"Quality on the test rows: medians over seeds, bands {_band_words(summary)}",
        alt="Curves of accuracy or error over epochs and over training seconds for every task, "
        "with bands over seeds and the target as a horizontal line; the tables of this section "
        "hold the final values.",
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
    if all(it.quartiles for it in bands):
        return "from quartile to quartile"
    if any(it.quartiles for it in bands):
        return f"from worst to best, of {QUARTILES_FROM} or more from quartile to quartile"
    return "from the worst to the best"


def _quality_panel(table: QualityTable, places: Places, *, by_epoch: bool) -> Curves:
    metric = METRICS[table.task.metric]
    return Curves(
        title=_task_title(table, places),
        axis="epoch" if by_epoch else "training time",
        unit="epoch" if by_epoch else "seconds",
        up=metric.title,
        up_unit="accuracy" if metric.unit == "percent" else "error",
        curves=tuple(_quality_curve(row, by_epoch=by_epoch) for row in table.rows),
        target=table.task.target,
        scope=scope(table.rows[0].setup),
    )


def _quality_curve(row: QualityRow, *, by_epoch: bool) -> Curve:
    def x(it: Band) -> float:
        return float(it.epoch) if by_epoch else it.seconds

    several = len(row.trainings) > 1
    return Curve(
        look(row.setup),
        tuple((x(it), it.quality) for it in row.bands),
        name=label(row.setup),
        band=tuple((x(it), it.low, it.high) for it in row.bands) if several else (),
    )


# Phase times.


def phase_times(summary: Summary, places: Places) -> Chart:
    def panel(table: Table) -> Dots:
        cells = sorted(table.rows, key=lambda row: row.cell.setup.label)
        times = zip(*(stage_times(row) for row in cells), strict=True)
        rows = tuple(
            (stage, _stage_marks(cells, values))
            for stage, values in zip(STAGES, times, strict=True)
        )
        title, lanes = _title(table, places), len(cells)
        return Dots(title, "time", "seconds", rows, lanes, log=True, scope=_scope(table))

    keys = _keys(row.cell.setup for table in summary.tables for row in table.rows)
    return Chart(
        name="phase-times",
        section="phases",
        title="From import to the steady step",
        alt="Dot plot on a log axis of the times of import, build, first call, second call and "
        "steady step for every task and phase; the tables of this section hold the same numbers.",
        panels=tuple(panel(it) for it in _tables(summary)),
        legend=tuple(replace(it, line=False) for it in keys),
    )


def _stage_marks(cells: list[CellRow], values: tuple[float | None, ...]) -> tuple[Mark, ...]:
    # A log axis cannot show a zero.
    return tuple(
        Mark(look(setup), value, name=label(setup), words=fmt.seconds(value))
        for setup, value in zip((row.cell.setup for row in cells), values, strict=True)
        if value is not None and value > 0
    )


POINTS = 6
"""Points in each decade of a straight line, which log axes bend."""


def break_even(summary: Summary, places: Places) -> Chart:
    """The time since the start of the process over the number of steps."""
    tables = [it for it in _tables(summary) if len(_starts(it)) > (len(it.rows) > 1)]
    return Chart(
        name="break-even",
        section="phases",
        title="When a slower start has paid: time since the start over steps done",
        alt="Lines on log axes of the time since a process began, its start and so many steps "
        "together, for every task and setup; rings mark where one overtakes the baseline, with "
        "the interval of that step. The tables of this section hold starts, steps and crossings.",
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
        axis="steps done",
        unit="step",
        up="time since the start",
        up_unit="seconds",
        curves=tuple(_race_line(*it, decades) for it in _starts(table)),
        log_x=True,
        log_y=True,
        thin=True,
        scope=_scope(table),
        crossings=tuple(spot for it in met if (spot := _crossing(it))),
    )


def _race_line(row: CellRow, start: float, step: float, decades: int) -> Curve:
    """Only the first point of each decade has a tip."""
    name = label(row.cell.setup)
    steps = [10 ** (n / POINTS) for n in range(decades * POINTS + 1)]
    points = [(n, start + n * step) for n in steps if start + n * step > 0]
    tips = (
        (name, fmt.seconds(time), f"after {fmt.count(round(n), 'step')}")
        if math.log10(n).is_integer()
        else ()
        for n, time in points
    )
    return Curve(look(row.cell.setup), tuple(points), name=name, tips=tuple(tips))


def _crossing(it: BreakEven) -> Crossing | None:
    if it.steps is None or it.seconds is None or it.steps.estimate <= 0:
        return None
    verb = "overtakes" if it.verdict == "overtakes" else "is overtaken by"
    steps, bounds = fmt.number_interval(it.steps)
    words = f"{line(it.label)} {verb} {line(it.baseline)} after {steps} steps"
    low = max(it.steps.low, 1.0) if it.steps.low else None
    tip = ("break-even", words, bounds)
    return Crossing(it.steps.estimate, it.seconds.estimate, low, it.steps.high, tip)


# Memory.


def memory(summary: Summary, places: Places) -> Chart:
    """Every kind of peak in its own panel, with the least that the mathematics needs."""
    shown = counted_peaks([row for table in _tables(summary) for row in table.rows])
    return Chart(
        name="memory",
        section="memory",
        title="Peaks of memory: each kind has its own axis",
        alt="Dot plots of the peaks of memory, one for each kind and task, train filled and "
        "predict hollow, above the least that the mathematics needs; the tables of this section "
        "hold the same numbers.",
        panels=tuple(
            _memory_panel(tables, peak, places) for tables in _groups(summary) for peak in shown
        ),
        legend=(Key("train", PLAIN), Key("predict", PLAIN, hollow=True)),
    )


def _memory_panel(tables: list[Table], peak: str, places: Places) -> Dots:
    rows: dict[str, list[Mark]] = {}
    for row in sorted(
        (row for table in tables for row in table.rows),
        key=lambda it: (it.cell.setup.label, PHASES.index(it.cell.phase)),
    ):
        marks = rows.setdefault(label(row.cell.setup), [])
        marks += _bytes(look(row.cell.setup), amount(row.peaks, peak), row.cell.phase)
    rows["least possible"] = [
        mark for it in tables for mark in _bytes(PLAIN, it.rows[0].peaks.least, it.phase)
    ]
    return Dots(
        title=_task_title(tables[0], places),
        axis=PEAKS[peak],
        unit="bytes",
        rows=tuple((name, tuple(marks)) for name, marks in rows.items()),
        lanes=len(tables),
        scope=_scope(tables[0]),
    )


def _bytes(shown: Look, value: float | None, phase: Phase) -> list[Mark]:
    if value is None:
        return []
    text = fmt.memory(value)
    return [Mark(shown, value, text=text, words=text, hollow=phase != "train", name=phase)]


# Noise: how each ratio changed from block to block.

MANY = 1500
"""Points of a run above which none has a tip: the table has the values."""
DOTTED = (1.5, 1.5)
"""The dashes of a setup that is compared with itself."""


def drift(summary: Summary, _: Places) -> Chart:
    """One panel for every group, lane and phase; one point for each block, in their order."""
    rows = [(noise, lines) for noise in summary.noise for lines in strips(noise)]
    tips = sum(len(it.points) for _, lines in rows for it in lines) <= MANY
    looks = {line(it.label): _drift_look(noise, it) for noise, lines in rows for it in lines}
    return Chart(
        name="drift",
        section="noise",
        title="Drift: every ratio block by block, against its own median",
        alt="Lines over blocks in their order of how far the ratio of each setup to its baseline, "
        "and of a setup to itself, lay from its median over blocks; the tables of this section "
        "hold the same numbers.",
        panels=tuple(_drift_panel(*it, tips=tips) for it in rows),
        legend=tuple(Key(name, it, line=True) for name, it in sorted(looks.items())),
    )


def _drift_panel(noise: GroupNoise, lines: list[Strip], *, tips: bool) -> Curves:
    first = lines[0]
    where = f"{noise.device}, {fmt.count(noise.threads, 'thread')}, {noise.dtype}"
    return Curves(
        title=f"{line(noise.task)} · {first.phase}{lane_mark(first.lane)} · {where}",
        axis="block",
        unit="block",
        up="drift",
        up_unit="change",
        curves=tuple(
            Curve(
                _drift_look(noise, it),
                tuple((float(block), math.expm1(log)) for block, log in it.points),
                name=f"{line(it.label)} ÷ {line(it.baseline)}",
                tips=() if tips else ((),) * len(it.points),
            )
            for it in lines
        ),
        target=0.0,
        target_name="",
        thin=True,
        flat=True,
        scope=Scope(line(noise.task), noise.device, first.lane),
    )


def _drift_look(noise: GroupNoise, strip: Strip) -> Look:
    """That of the setup; dotted for a setup compared with itself."""
    name, _, again = strip.label.partition(" ")
    framework, _, mode = name.partition(":")
    shown = look(
        Setup(
            task=noise.task,
            digest=noise.digest,
            framework=framework,
            mode=mode,
            lane=strip.lane,
        )
    )
    return replace(shown, dashes=DOTTED) if again else shown


# The proof: the difference of each setup from the reference, step by step.

FLOOR = 1e-17
"""Stands for no difference: a log axis has no zero, and float64 has no difference this small."""
LEAST_STEPS = 2


def divergence(certificates: Iterable[Certificate]) -> Chart:
    """One panel for each group and lane that was compared over several steps."""
    groups = [
        stepped
        for group in grouped(certificates)
        if (stepped := [it for it in group if len(_differences(it)) >= LEAST_STEPS])
    ]
    return Chart(
        name="divergence",
        section="sameness",
        title="Largest relative difference from the float64 reference, step by step",
        alt="Curves over training steps, on a log axis, of the largest relative difference of any "
        "loss, output, gradient, weight or slot from the reference; the tables of this section "
        "hold the largest of each kind.",
        panels=tuple(_divergence_panel(it) for it in groups),
        legend=_keys(it.setup for group in groups for it in group),
    )


def _divergence_panel(group: Sequence[Certificate]) -> Curves:
    setup = group[0].setup
    return Curves(
        title=f"{line(setup.task)}{lane_mark(setup.lane)} · {place(setup)}",
        axis="step",
        unit="step",
        up="relative difference",
        up_unit="relative difference",
        curves=tuple(Curve(look(it.setup), _differences(it), name=label(it.setup)) for it in group),
        log_y=True,
        scope=scope(setup),
    )


def _differences(certificate: Certificate) -> tuple[tuple[float, float], ...]:
    steps = ((it.step, largest(it)) for it in certificate.divergence)
    return tuple((float(step), max(value, FLOOR)) for step, value in steps if value is not None)
