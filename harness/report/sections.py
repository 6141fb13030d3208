"""The tables of a report, one section each: speed, starts, memory, settings, idiom, means over
tasks, and every cell with its samples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from harness.adapter import Setting
from harness.analysis.cell_metrics import MemoryPeaks
from harness.analysis.sentences import imprecise, listed, width
from harness.analysis.settings import SettingRow, side_by_side
from harness.analysis.startup import BreakEven
from harness.analysis.stats import Interval
from harness.analysis.summary import Aggregate, CellRow, Gain, Summary, Table
from harness.analysis.tables import BlockSamples, samples
from harness.cells import LATENCY, Cell
from harness.records import Record, Run
from harness.report import format as fmt
from harness.report.columns import (
    CellOf,
    Column,
    View,
    cells,
    explained,
    grid,
    shown_in,
)
from harness.report.content import Everything, Raw, Section, section
from harness.report.format import Value
from harness.report.safe_text import line
from harness.report.style import Places, Scope, label, place, scope
from harness.tasks.spec import FileData

STAGES = ("import", "build", "first call", "second call", "steady step")
WHOLE = (
    "The whole start is import, build and both calls, less the two steps that these make; the "
    "lines of the figure begin there and rise by a steady step."
)
PEAKS = {
    "incremental_rss": "peak RSS, incremental",
    "total_rss": "peak RSS, total",
    "logical": "logical peak",
    "device_allocated": "device peak, allocated",
    "device_reserved": "device peak, reserved",
}
"""Kinds of memory, and the titles of their columns."""
MANY = 20_000
"""Samples that a page can hold; of more it shows what each block spans."""


def speed(
    table: Table,
    number: int,
    places: Places,
    *,
    probes: bool = True,
    others: tuple[Table, ...] = (),
    rebased: bool = False,
) -> Section:
    """Throughput and step time, or the distribution of single steps, and the ratio to the baseline.

    `probes` says whether to add what the task probes and what columns mean: once a task is enough.
    `others` are the same table against other baselines. One that is `rebased` has only the columns
    that follow the choice of a baseline.
    """
    view: View = "latency" if table.phase in LATENCY else "speed"
    columns = shown_in(view, table)
    shown = [it for it in columns if it.role or it.side == "name"] if rebased else columns
    return section(
        f"speed-{number}",
        table.rows[0].cell.setup,
        table.phase,
        grid(shown, cells(table)),
        (
            *((*_probes(table), *explained(columns)) if probes else ()),
            *_sizes(table),
            *_unranked(table),
            *_reasons(table),
        ),
        lead=f"{line(table.sentence)} {trust(table)}",
        where=places.differing(table),
        baseline=line(table.baseline),
        others=tuple(speed(it, number, places, probes=probes, rebased=True) for it in others),
    )


def trust(table: Table) -> str:
    """How far a table's verdict may be trusted: the noise floor of its phase, and the proofs."""
    floors = [it.floor for it in table.floors if it.floor is not None]
    proven, rows = sum(not it.proof for it in table.rows), len(table.rows)
    everyone = "both" if rows == 2 else f"all {rows}"
    proofs = f"{everyone} proven" if proven == rows > 1 else f"{proven} of {rows} proven"
    floor = width(max(floors)).removeprefix("±") if floors else ""
    return f"(Noise floor {floor}; {proofs}.)" if floors else f"({proofs}.)"


def _probes(table: Table) -> tuple[str, ...]:
    probes, data = line(table.task.probes).rstrip("."), table.task.data
    said = [f"Probes {probes}."] if probes else []
    if isinstance(data, FileData):
        scaled = "standardised by the training rows" if data.standardise else "not standardised"
        said.append(
            f"Data: {line(data.file)} (content {data.content}), {data.train:,} training and "
            f"{data.test:,} test rows, {fmt.count(data.features, 'input')}, "
            f"{fmt.count(data.outputs, 'output')}, targets of kind {data.kind}, {scaled}."
        )
    return tuple(said)


def _sizes(table: Table) -> tuple[str, ...]:
    sentence = imprecise(table.pairs, table.precision)
    return (line(sentence),) if sentence else ()


def _unranked(table: Table) -> tuple[str, ...]:
    """Why rows stand outside the ranking, and why a verdict is not what its interval suggests."""
    rows = [f"{label(it.cell.setup)}: {line(it.unranked)}." for it in table.rows if it.unranked]
    unranked = {it.cell.setup.label for it in table.rows if it.unranked}
    reasons: dict[str, list[str]] = {}
    for it in table.pairs:
        if it.reason and it.label not in unranked:
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


def phases(table: Table, number: int, places: Places) -> Section:
    """From import to the steady step, and when a slower start has paid."""
    rows = [
        CellOf(table, row, start, "cold cache" if start.cold else "")
        for row in table.rows
        for start in row.starts
    ]
    notes = tuple(break_even(it) for it in table.break_evens)
    if any(it.start and it.start.total for it in rows):
        notes = (*notes, WHOLE)
    content = grid(shown_in("starts"), rows)
    folded = "" if table.phase == "train" else "How its first calls go"
    setup, where = table.rows[0].cell.setup, places.differing(table)
    anchor = f"phases-{number}"
    return section(anchor, setup, table.phase, content, notes, where=where, folded=folded)


def stage_times(row: CellRow) -> tuple[float | None, ...]:
    """Seconds of each of `STAGES`, with a warm compile cache where both were seen."""
    if not row.starts:
        return (None,) * (len(STAGES) - 1) + (row.step.estimate,)
    it = row.starts[0]
    stages = (it.import_seconds, it.build_seconds, it.first_call, it.second_call, it.step)
    return tuple(None if at is None else at.estimate for at in stages)


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
    later = f"{' '.join(steps).strip()} steps, {' '.join(seconds).strip()}"
    return f"Counting its start, {line(it.label)} {verb} {line(it.baseline)} after {later}{cold}."


def counted_peaks(rows: Sequence[CellRow]) -> list[str]:
    """The kinds to show: all but those of a device where it has none."""
    return [
        it
        for it in PEAKS
        if not it.startswith("device") or any(amount(row.peaks, it) is not None for row in rows)
    ]


def amount(peaks: MemoryPeaks, kind: str) -> int | None:
    """Bytes of one kind; None where nothing was counted."""
    count: int | None = getattr(peaks, kind).bytes
    return count


def memory(table: Table, number: int, places: Places) -> Section:
    """The peaks, each kind in its own column, beside the least that the mathematics needs."""
    counted = counted_peaks(table.rows)
    hidden = {title for kind, title in PEAKS.items() if kind not in counted}
    columns = [it for it in shown_in("memory") if it.title not in hidden]
    reasons = {
        f"No {PEAKS[it]} of {label(row.cell.setup)}: {line(getattr(row.peaks, it).reason)}."
        for row in table.rows
        for it in counted
        if amount(row.peaks, it) is None and getattr(row.peaks, it).reason
    }
    notes = (*(explained(columns) if number == 1 else ()), *sorted(reasons))
    content = grid(columns, [CellOf(table, row) for row in table.rows])
    setup, where = table.rows[0].cell.setup, places.differing(table)
    return section(f"memory-{number}", setup, table.phase, content, notes, where=where)


def settings_sections(run: Run) -> tuple[Section, ...]:
    """What every worker really ran with, side by side: one section a group and lane."""
    groups: dict[tuple[object, ...], dict[str, list[Record]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for it in run.records:
        if it.status == "ok" and it.settings and not it.setup.twin:
            groups[it.setup.ranking][it.setup.label].append(it)
    return tuple(
        it
        for number, by_label in enumerate(groups.values(), start=1)
        for it in _settings(by_label, number)
    )


def _settings(by_label: dict[str, list[Record]], number: int) -> Iterator[Section]:
    """The settings that differ, and those that are alike."""
    labels = sorted(by_label)
    setup = by_label[labels[0]][0].setup
    rows = side_by_side({label: by_label[label] for label in labels})
    columns: list[Column[SettingRow]] = [
        Column(
            "setting",
            lambda it: it.name,
            "name",
            detail=lambda it: "must agree" if it.must_agree else "",
        ),
        *map(_setting_of, labels),
        Column("alike", _alike, "text"),
        Column("meaning", lambda it: it.meaning, "text"),
    ]
    broken = [line(it.name) for it in rows if it.differs and it.must_agree]
    differing = [it for it in rows if it.differs]
    alike = [it for it in rows if not it.differs]
    lead = "All agree in what must agree."
    if broken:
        lead = f"They differ in what must agree: {', '.join(broken)}."
    anchor = f"settings-{number}"
    if differing:
        yield section(anchor, setup, "settings", grid(columns, differing), lead=lead)
    if alike:
        yield section(
            f"{anchor}-alike",
            setup,
            "settings alike",
            grid(columns, alike),
            lead="" if differing else lead,
            folded=f"{fmt.count(len(alike), 'setting')} without a difference",
        )


def _setting_of(label: str) -> Column[SettingRow]:
    return Column(line(label), lambda it: _setting(it.values.get(label)), "text")


def _setting(value: Setting) -> Setting:
    return value if value is None or isinstance(value, bool) else str(value)


def _alike(row: SettingRow) -> str | None:
    if sum(it is not None for it in row.values.values()) < 2:
        return None
    return "differs" if row.differs else "yes"


GAINS: tuple[Column[Gain], ...] = (
    Column("idiomatic", lambda it: label(it.idiom), "name"),
    Column("identical", lambda it: label(it.plain), "name"),
    Column("× as fast", lambda it: it.pair.speed, "ratio"),
    Column(
        "verdict",
        lambda it: it.pair.verdict,
        "text",
        detail=lambda it: line(it.pair.reason),
        role="verdict",
    ),
    Column("blocks", lambda it: it.pair.n, "count"),
)


def gain_sections(gains: Sequence[Gain]) -> tuple[Section, ...]:
    """What idiom gains, a section a task and phase: each framework as its experts write it,
    against the same steps for all."""

    def key(it: Gain) -> tuple[object, ...]:
        return (*it.idiom.group, it.phase)

    groups = groupby(gains, key)  # they stand in this order
    return tuple(_gains(list(group), number) for number, (_, group) in enumerate(groups, start=1))


def _gains(gains: Sequence[Gain], number: int) -> Section:
    setup = gains[0].idiom
    return Section(
        anchor=f"idioms-{number}",
        task=line(setup.task),
        phase=gains[0].phase,
        place=place(setup),
        lead="",
        grid=grid(GAINS, gains),
        scope=replace(scope(setup), lane=""),
    )


def aggregate_sections(aggregates: Sequence[Aggregate]) -> tuple[Section, ...]:
    """One section a phase and lane: geometric means over the run's tasks."""

    def key(it: Aggregate) -> tuple[object, ...]:
        return (it.device, it.threads, it.dtype, it.lane, it.phase)

    groups = groupby(aggregates, key)  # they stand in this order
    return tuple(_means(list(group), number) for number, (_, group) in enumerate(groups, start=1))


def _means(means: Sequence[Aggregate], number: int) -> Section:
    first = means[0]
    columns: list[Column[Aggregate]] = [
        Column("framework:mode", lambda it: line(it.label), "name"),
        Column(f"× as fast as {line(first.baseline)}", lambda it: it.speed, "ratio"),
        Column("tasks", lambda it: len(it.tasks), "count"),
        Column("without", lambda it: ", ".join(it.missing) or None, "text"),
    ]
    lane = "" if first.lane == "identical" else f", {first.lane}"
    return Section(
        anchor=f"means-{number}",
        task="all tasks",
        phase=f"{first.phase}{lane}",
        place=f"{first.device}, {fmt.count(first.threads, 'thread')}, {first.dtype}",
        lead="",
        grid=grid(columns, sorted(means, key=lambda it: -it.speed.estimate)),
        notes=(
            "Geometric means of the ratios of this run’s tasks; of other tasks they say nothing.",
        ),
        scope=Scope(device=first.device, lane=first.lane),
    )


def everything(run: Run, summary: Summary) -> Everything:
    """One row a cell, in the order of the tables."""
    rows = [CellOf(table, row) for table in summary.tables for row in table.rows]
    numbers = {it.row.cell: n for n, it in enumerate(rows, start=1)}
    samples: Column[CellOf] = Column(
        "behind it", lambda it: Value("samples", anchor=f"raw-{numbers[it.row.cell]}"), "text"
    )
    return Everything(
        cells=grid((*shown_in("cells"), samples), rows, drawn=False),
        scopes=tuple(scope(it.setup) for it in rows),
        raws=_raws(run.records, numbers),
    )


def _raws(records: Iterable[Record], numbers: Mapping[Cell, int]) -> tuple[Raw, ...]:
    by_cell = samples(records)
    total = sum(len(it.times) for cell in numbers for it in by_cell[cell].values())
    return tuple(_raw(it, by_cell[it], n, whole=total <= MANY) for it, n in numbers.items())


def _raw(cell: Cell, blocks: Mapping[int, BlockSamples], number: int, *, whole: bool) -> Raw:
    unit, name = fmt.time_unit(min(it.median for it in blocks.values()))
    columns: list[Column[tuple[int, BlockSamples]]] = [
        Column("block", lambda it: it[0], "count"),
        Column(f"median, {name}", lambda it: Value(_short(it[1].median / unit), raw=it[1].median)),
        Column(
            f"{'samples in their order' if whole else 'from – to'}, {name}",
            lambda it: _samples([time / unit for time in it[1].times], whole=whole),
            "text",
        ),
    ]
    setup, lane = cell.setup, "" if cell.setup.lane == "identical" else f"{cell.setup.lane}, "
    count = sum(len(it.times) for it in blocks.values())
    return Raw(
        anchor=f"raw-{number}",
        title=f"{label(setup)}, {line(setup.task)} {cell.phase} ({lane}{place(setup)}): "
        f"{fmt.count(count, 'sample')} in {fmt.count(len(blocks), 'block')}",
        scope=scope(setup),
        grid=grid(columns, blocks.items()),
        note="" if whole else "Too many to show: the store, samestep.sqlite, holds every sample.",
    )


def _samples(times: Sequence[float], *, whole: bool) -> str:
    if whole:
        return " ".join(map(_short, times))
    return f"{_short(min(times))} – {_short(max(times))} ({len(times)})"


def _short(value: float) -> str:
    """Four digits: a sample is read beside its neighbours, which differ in the third."""
    return f"{value:.4g}" if value < 10_000 else f"{value:.0f}"
