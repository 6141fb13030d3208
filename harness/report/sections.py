"""One table of the summary → one section of the report.

What stands behind a table's ratios: starts and break-even, and all kinds of memory.

What every worker really ran with, side by side.

Two views across tables: what idiom gains over the identical lane, and means over tasks.

All cells of a run in one table, and every sample behind each of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from harness.adapter import Setting
from harness.analysis.cell_metrics import Amount, MemoryPeaks
from harness.analysis.sentences import by_how_much, listed, width
from harness.analysis.settings import SettingRow, side_by_side
from harness.analysis.startup import BreakEven, Startup
from harness.analysis.stats import Interval
from harness.analysis.summary import Aggregate, CellRow, Gain, Summary, Table
from harness.analysis.tables import BlockSamples, samples
from harness.cells import LATENCY, Cell, Phase, Setup
from harness.records import Record, Run
from harness.report import format as fmt
from harness.report import values
from harness.report.content import Column, Everything, Grid, Raw, Scope, Section, Value, explained
from harness.report.safe_text import line
from harness.report.style import Places, label, lane_mark, place, scope
from harness.report.values import NOTHING

NAME = Column("framework:mode", "name")


def speed(
    table: Table,
    number: int,
    places: Places,
    *,
    probes: bool = True,
    others: tuple[Table, ...] = (),
) -> Section:
    """Throughput and step time, or the distribution of single steps, and the ratio to the baseline.

    `probes` says whether to add what the task probes and what columns mean: once a task is enough.
    `others` are the same
    table against other baselines.
    """
    single = table.phase in LATENCY
    columns = (
        NAME,
        *(SINGLE if single else STEADY),
        Column(f"× as fast as {line(table.baseline)}", role="ratio"),
        Column("verdict", "text", role="verdict"),
        Column("blocks"),
    )
    rows = tuple(
        _speed_row(table, row, _single(row) if single else _steady(row)) for row in table.rows
    )
    return Section(
        anchor=f"speed-{number}",
        task=line(table.task.name),
        phase=table.phase + lane_mark(table.lane),
        place=places.differing(table),
        lead=f"{line(table.sentence)} {trust(table)}",
        grid=Grid(columns, rows),
        notes=(
            *((*_probes(table), *explained(columns)) if probes else ()),
            *_sizes(table),
            *_unranked(table),
            *_reasons(table),
        ),
        scope=scope(table.rows[0].cell.setup),
        baseline=line(table.baseline),
        others=tuple(speed(it, number, places, probes=probes) for it in others),
    )


PRODUCTS = Column(
    "bare products",
    description="The matrix products of one step alone, in the same framework, each called by "
    "itself. That costs one dispatch a product, and as much as the framework’s dispatch does: "
    "where a step is compiled as a whole, its bare products may take longer than the step. "
    "Compare them with the step of their own row only.",
)
STEADY = (
    Column("examples/s"),
    Column("median step"),
    Column("GFLOP/s"),
    PRODUCTS,
    Column("CPU"),
)
SINGLE = tuple(map(Column, ("p50", "p95", "p99", "maximum", "readings")))


def _steady(row: CellRow) -> tuple[Value, ...]:
    of_peak, products = row.efficiency.of_peak, row.efficiency.products
    return (
        values.measured(row.examples_per_second),
        values.timed(row.step),
        values.number(
            row.gflops,
            "" if of_peak is None else f"{fmt.of_peak(of_peak.estimate)} of peak",
        ),
        values.seconds(products.estimate if products else None),
        values.share(row.cpu_share),
    )


def _single(row: CellRow) -> tuple[Value, ...]:
    it = row.latency
    if it is None:
        return (NOTHING,) * len(SINGLE)
    return (
        *(values.timed(share) for share in (it.p50, it.p95, it.p99)),
        values.seconds(it.maximum),
        values.count(it.readings),
    )


def _speed_row(table: Table, row: CellRow, measured: tuple[Value, ...]) -> tuple[Value, ...]:
    name = row.cell.setup.label
    mark = "fastest" if name == table.winner else "yardstick" if name in table.yardsticks else ""
    return (
        Value(label(row.cell.setup), mark),
        *measured,
        *judgement(table, row),
        values.count(row.step.n),
    )


def judgement(table: Table, row: CellRow) -> tuple[Value, Value]:
    """A row's ratio to the table's baseline, and its verdict."""
    name = row.cell.setup.label
    pair = next((it for it in table.pairs if it.label == name), None)
    ratio, judged = NOTHING, Value(fmt.NONE, "no block in common")
    if name == table.baseline:
        ratio, judged = Value(fmt.SAME, raw=1.0), Value("baseline")
    elif pair is not None:
        ratio, judged = values.ratio(pair.speed), Value(pair.verdict)
    return ratio, Value("not ranked") if row.unranked else judged


def trust(table: Table) -> str:
    """How far a table's verdict may be trusted: the noise floor of its phase, and the proofs."""
    floors = [it.floor for it in table.floors if it.floor is not None]
    proven, rows = sum(not it.proof for it in table.rows), len(table.rows)
    everyone = "both" if rows == 2 else f"all {rows}"
    proofs = f"{everyone} proven" if proven == rows > 1 else f"{proven} of {rows} proven"
    floor = width(max(floors)).removeprefix("±") if floors else ""
    return f"(Noise floor {floor}; {proofs}.)" if floors else f"({proofs}.)"


def _probes(table: Table) -> tuple[str, ...]:
    probes = line(table.task.probes).rstrip(".")
    return (f"Probes {probes}.",) if probes else ()


def _sizes(table: Table) -> tuple[str, ...]:
    told = by_how_much(table.pairs, table.precision)
    return (line(told),) if told else ()


def _unranked(table: Table) -> tuple[str, ...]:
    """Why rows stand outside the ranking, and why a verdict is not what its interval suggests."""
    rows = [f"{label(it.cell.setup)}: {line(it.unranked)}." for it in table.rows if it.unranked]
    told = {it.cell.setup.label for it in table.rows if it.unranked}
    reasons: dict[str, list[str]] = {}
    for it in table.pairs:
        if it.reason and it.label not in told:
            reasons.setdefault(f"{it.verdict}, {line(it.reason)}", []).append(line(it.label))
    pairs = [f"{listed(labels)}: {why}." for why, labels in reasons.items()]
    doubted = [
        f"{line(it.label)}: Student’s t on the same ratios does not agree with the exact interval."
        for it in table.pairs
        if not it.agrees
    ]
    steady = [
        f"{label(it.cell.setup)}: {line(it.steadiness.sentence)}."
        for it in table.rows
        if it.steadiness.verdict in ("never steady", "trend")
    ]
    return (*rows, *pairs, *doubted, *steady)


def _reasons(table: Table) -> tuple[str, ...]:
    """Why intervals are missing or of another kind, each reason once."""
    intervals = [row.step for row in table.rows] + [it.speed for it in table.pairs]
    return tuple(dict.fromkeys(it for interval in intervals if (it := _why(interval))))


def _why(interval: Interval) -> str:
    return f"No interval: {interval.reason}." if interval.method == "none" else ""


STAGES = ("import", "build", "first call", "second call", "steady step")
WHOLE = (
    "The whole start is import, build and both calls, less the two steps that these make; the "
    "lines of the figure begin there and rise by a steady step."
)
INCREMENTAL = Column(
    "peak RSS, incremental",
    description="What the phase’s first steps add to the resident memory of the process; the "
    "framework itself is in there before.",
)
TOTAL = Column(
    "peak RSS, total",
    description="The resident memory of the whole process, with Python and the framework.",
)
PEAKS = {
    "incremental_rss": INCREMENTAL.title,
    "total_rss": TOTAL.title,
    "logical": "logical peak",
    "device_allocated": "device peak, allocated",
    "device_reserved": "device peak, reserved",
}


def phases(table: Table, number: int, places: Places) -> Section:
    """From import to the steady step, and when a slower start has paid."""
    columns = (NAME, *(Column(it) for it in STAGES), Column("whole start"), Column("starts alone"))
    rows = [
        (
            Value(label(row.cell.setup), "cold cache" if start.cold else ""),
            *(values.timed(it) for it in (*_stages(start), start.total)),
            values.count(start.n),
        )
        for row in table.rows
        for start in row.starts
    ]
    notes = tuple(break_even(it) for it in table.break_evens)
    if any(start.total for row in table.rows for start in row.starts):
        notes = (*notes, WHOLE)
    return _plain("phases", table, number, places, columns, rows, notes)


def _stages(start: Startup) -> tuple[Interval | None, ...]:
    return (
        start.import_seconds,
        start.build_seconds,
        start.first_call,
        start.second_call,
        start.step,
    )


def stage_times(row: CellRow) -> tuple[float | None, ...]:
    """Seconds of each of `STAGES`, with a warm compile cache where both were seen."""
    if not row.starts:
        return (None,) * (len(STAGES) - 1) + (row.step.estimate,)
    return tuple(None if it is None else it.estimate for it in _stages(row.starts[0]))


def break_even(it: BreakEven) -> str:
    """After how many steps a row overtakes the baseline, in a sentence."""
    names = f"{line(it.label)} and {line(it.baseline)}"
    cold = ", compiling with a cold cache" if it.cold else ""
    if it.verdict == "from the first step":
        ahead = f"{line(it.label)} is ahead of {line(it.baseline)} throughout"
        return f"Counting its start, {ahead}{cold}."
    if it.verdict == "never":
        return f"Counting its start, {line(it.label)} never overtakes {line(it.baseline)}{cold}."
    if it.verdict == "cannot tell" or it.steps is None or it.seconds is None:
        return f"Break-even of {names}: cannot tell, {line(it.reason)}{cold}."
    if it.steps.estimate == 0:  # the median start is no handicap, but it may be one
        first, other = (it.label, it.baseline)[:: 1 if it.verdict == "overtakes" else -1]
        ahead = f"{line(first)} seems to be ahead of {line(other)} throughout"
        return f"Counting its start, {ahead}, which is not sure{cold}."
    steps, seconds = fmt.number_interval(it.steps), fmt.seconds_interval(it.seconds)
    verb = "overtakes" if it.verdict == "overtakes" else "is overtaken by"
    told = f"{' '.join(steps).strip()} steps, {' '.join(seconds).strip()}"
    return f"Counting its start, {line(it.label)} {verb} {line(it.baseline)} after {told}{cold}."


def counted_peaks(rows: Sequence[CellRow]) -> list[str]:
    """The kinds to show: all but those of a device where it has none."""
    return [
        it
        for it in PEAKS
        if not it.startswith("device") or any(amount(row.peaks, it) is not None for row in rows)
    ]


def amount(peaks: MemoryPeaks, kind: str) -> int | None:
    """Bytes of one kind; None where nothing was counted."""
    found = getattr(peaks, kind)
    assert isinstance(found, Amount)
    return found.bytes


def memory(table: Table, number: int, places: Places) -> Section:
    """The peaks, each kind in its own column, beside the least that the mathematics needs."""
    peaks = counted_peaks(table.rows)
    known = {"incremental_rss": INCREMENTAL, "total_rss": TOTAL}
    columns = (
        NAME,
        *(known.get(it, Column(PEAKS[it])) for it in peaks),
        Column("least possible"),
    )
    rows = [
        (
            Value(label(row.cell.setup)),
            *(_peak(row, it) for it in peaks),
            values.memory(row.peaks.least),
        )
        for row in table.rows
    ]
    reasons = {
        f"No {PEAKS[it]} of {label(row.cell.setup)}: {line(getattr(row.peaks, it).reason)}."
        for row in table.rows
        for it in peaks
        if amount(row.peaks, it) is None and getattr(row.peaks, it).reason
    }
    notes = explained(columns) if number == 1 else ()
    return _plain("memory", table, number, places, columns, rows, (*notes, *sorted(reasons)))


def _peak(row: CellRow, kind: str) -> Value:
    over = row.peaks.logical_over_least if kind == "logical" else None
    detail = "" if over is None else f"{over:.2f} × the least"
    return values.memory(amount(row.peaks, kind), detail)


def _plain(
    kind: str,
    table: Table,
    number: int,
    places: Places,
    columns: Sequence[Column],
    rows: Sequence[tuple[Value, ...]],
    notes: tuple[str, ...],
) -> Section:
    return Section(
        anchor=f"{kind}-{number}",
        task=line(table.task.name),
        phase=table.phase + lane_mark(table.lane),
        place=places.differing(table),
        lead="",
        grid=Grid(tuple(columns), tuple(rows)),
        notes=notes,
        scope=scope(table.rows[0].cell.setup),
    )


def sections(run: Run) -> tuple[Section, ...]:
    """One section an arena and lane whose workers told their settings."""
    groups: dict[tuple[object, ...], dict[str, list[Record]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for it in run.records:
        if it.status == "ok" and it.settings and not it.setup.twin:
            groups[it.setup.ranking][it.setup.label].append(it)
    return tuple(_section(by_label, n) for n, by_label in enumerate(groups.values(), start=1))


def _section(by_label: dict[str, list[Record]], number: int) -> Section:
    labels = sorted(by_label)
    setup = by_label[labels[0]][0].setup
    rows = side_by_side({label: by_label[label] for label in labels})
    columns = (
        Column("setting", "name"),
        *(Column(line(label), "text") for label in labels),
        Column("alike", "text"),
        Column("meaning", "text"),
    )
    broken = [line(it.name) for it in rows if it.differs and it.must_agree]
    return Section(
        anchor=f"settings-{number}",
        task=line(setup.task),
        phase=f"settings{lane_mark(setup.lane)}",
        place=place(setup),
        lead=f"They differ in what must agree: {', '.join(broken)}."
        if broken
        else "All agree in what must agree.",
        grid=Grid(columns, tuple(_row(it, labels) for it in rows)),
        scope=scope(setup),
    )


def _row(row: SettingRow, labels: list[str]) -> tuple[Value, ...]:
    alike = "differs" if row.differs else "yes"
    return (
        Value(line(row.name), "must agree" if row.must_agree else ""),
        *(Value(_shown(row.values.get(label))) for label in labels),
        Value(alike if sum(row.values.get(it) is not None for it in labels) > 1 else fmt.NONE),
        Value(line(row.meaning)),
    )


def _shown(value: Setting) -> str:
    if value is None:
        return fmt.NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    return line(str(value))


def gain_sections(gains: Sequence[Gain]) -> tuple[Section, ...]:
    """One section a task and phase: each framework's own way against the same steps for all."""

    def key(it: Gain) -> tuple[object, ...]:
        return (*it.idiom.arena, it.phase)

    groups = groupby(gains, key)  # they stand in this order
    return tuple(_gains(list(own), number) for number, (_, own) in enumerate(groups, start=1))


def _gains(gains: Sequence[Gain], number: int) -> Section:
    setup, phase = gains[0].idiom, gains[0].phase
    columns = (
        Column("idiomatic", "name"),
        Column("identical", "name"),
        Column("× as fast"),
        Column("verdict", "text"),
        Column("blocks"),
    )
    rows = tuple(
        (
            Value(label(it.idiom)),
            Value(label(it.plain)),
            values.ratio(it.pair.speed),
            Value(it.pair.verdict, line(it.pair.reason)),
            values.count(it.pair.n),
        )
        for it in gains
    )
    return Section(
        anchor=f"idioms-{number}",
        task=line(setup.task),
        phase=phase,
        place=place(setup),
        lead="",
        grid=Grid(columns, rows),
        scope=replace(scope(setup), lane=""),
    )


def aggregate_sections(aggregates: Sequence[Aggregate]) -> tuple[Section, ...]:
    """One section a phase and lane: geometric means over the run's tasks."""

    def key(it: Aggregate) -> tuple[object, ...]:
        return (it.device, it.threads, it.dtype, it.lane, it.phase)

    groups = groupby(aggregates, key)  # they stand in this order
    return tuple(_means(list(own), number) for number, (_, own) in enumerate(groups, start=1))


def _means(means: Sequence[Aggregate], number: int) -> Section:
    first = means[0]
    columns = (
        Column("framework:mode", "name"),
        Column(f"× as fast as {line(first.baseline)}"),
        Column("tasks"),
        Column("without", "text"),
    )
    rows = tuple(
        (
            Value(line(it.label)),
            values.ratio(it.speed),
            values.count(len(it.tasks)),
            Value(line(", ".join(it.missing)) or fmt.NONE),
        )
        for it in sorted(means, key=lambda it: -it.speed.estimate)
    )
    threads = f"{first.threads} thread" + ("s" if first.threads != 1 else "")
    lane = "" if first.lane == "identical" else f", {first.lane}"
    return Section(
        anchor=f"means-{number}",
        task="all tasks",
        phase=f"{first.phase}{lane}",
        place=f"{first.device}, {threads}, {first.dtype}",
        lead="",
        grid=Grid(columns, rows),
        notes=(
            "Geometric means of the ratios of this run’s tasks; of other tasks they say nothing.",
        ),
        scope=Scope(device=first.device, lane=first.lane),
    )


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
        cells=Grid(COLUMNS, tuple(_cell_row(*it, numbers[it[1].cell]) for it in cells)),
        scopes=tuple(scope(row.cell.setup) for _, row in cells),
        raws=_raws(run.records, numbers),
    )


def _cell_row(table: Table, row: CellRow, number: int) -> tuple[Value, ...]:
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
