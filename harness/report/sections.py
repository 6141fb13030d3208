"""The tables of a report, one section each: speed, starts, memory, settings, idiom, means over
tasks, and every cell with its samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from harness.adapter import Setting
from harness.analysis.pairs import Entry, entries
from harness.analysis.sentences import imprecise, width
from harness.analysis.settings import SettingRow, side_by_side
from harness.analysis.startup import BreakEven
from harness.analysis.summary import Aggregate, CellRow, Gain, Summary, Table
from harness.cells import LATENCY, Cell
from harness.records import Record, Run
from harness.report import format as fmt
from harness.report.columns import (
    PEAKS,
    CellOf,
    Column,
    Grid,
    Section,
    cells,
    explained,
    grid,
    grouped,
    reasons,
    section,
    shown_in,
)
from harness.report.format import Value
from harness.report.safe_text import line
from harness.report.style import Places, Scope, label, lane_mark, place, scope
from harness.tasks.spec import FileData

WHOLE = (
    "The whole start is import, build and both calls, less the two steps that these make; the "
    "lines of the figure begin there and rise by a steady step."
)
OVERTAKES = {"overtakes": "overtakes", "is overtaken": "is overtaken by"}
"""The verbs of break-evens."""
MANY = 20_000
"""Samples that a page can hold; of more it shows the range of each block."""


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
    columns = shown_in("latency" if table.phase in LATENCY else "speed", table)
    shown = [it for it in columns if it.role or it.side == "name"] if rebased else columns
    return _section(
        f"speed-{number}",
        table,
        places,
        grid(shown, cells(table)),
        (*((*_probes(table), *explained(columns)) if probes else ()), *_notes(table)),
        lead=f"{line(table.sentence)} {trust(table)}",
        baseline=line(table.baseline),
        others=tuple(speed(it, number, places, probes=probes, rebased=True) for it in others),
    )


def _section(
    anchor: str, table: Table, places: Places, content: Grid, notes: Iterable[str], **more: Any
) -> Section:
    setup, where = table.rows[0].cell.setup, places.differing(table)
    return section(anchor, setup, table.phase, content, notes, where=where, **more)


def trust(table: Table) -> str:
    """How far a table's verdict may be trusted: the noise floor of its phase, and the proofs."""
    floors = [it.floor for it in table.floors if it.floor is not None]
    floor = f"Noise floor {width(max(floors)).removeprefix('±')}; " if floors else ""
    proven, rows = sum(not it.proof for it in table.rows), len(table.rows)
    proofs = f"{proven} of {rows}"
    if proven == rows > 1:
        proofs = "both" if rows == 2 else f"all {rows}"
    return f"({floor}{proofs} proven.)"


def _probes(table: Table) -> Iterator[str]:
    if probes := line(table.task.probes).rstrip("."):
        yield f"Probes {probes}."
    data = table.task.data
    if isinstance(data, FileData):
        scaled = "standardised by the training rows" if data.standardise else "not standardised"
        yield (
            f"Data: {line(data.file)} (content {data.content}), {data.train:,} training and "
            f"{data.test:,} test rows, {fmt.count(data.features, 'input')}, "
            f"{fmt.count(data.outputs, 'output')}, targets of kind {data.kind}, {scaled}."
        )


def _notes(table: Table) -> Iterator[str]:
    """Ratios that are known in their direction only, rows that are not ranked, and verdicts and
    intervals that are missing or not what they seem, each with its reason."""
    if missed := imprecise(table.pairs, table.precision):
        yield line(missed)
    unranked = {it.cell.setup.label: it.unranked for it in table.rows if it.unranked}
    for name, why in unranked.items():
        yield f"{line(name)}: {line(why)}."
    ranked = [it for it in table.pairs if it.label not in unranked]
    yield from reasons((it.label, it.verdict, it.reason) for it in ranked)
    for pair in table.pairs:
        if not pair.agrees:
            yield (
                f"{line(pair.label)}: Student’s t on the same ratios does not agree with the exact "
                "interval."
            )
    for row in table.rows:
        if row.steadiness.verdict in ("never steady", "trend"):
            yield f"{label(row.cell.setup)}: {line(row.steadiness.sentence)}."
    intervals = [row.step for row in table.rows] + [it.speed for it in table.pairs]
    missing = (f"No interval: {it.reason}." for it in intervals if it.method == "none")
    yield from dict.fromkeys(missing)


def phases(table: Table, number: int, places: Places) -> Section:
    """From import to the steady step, and after how many steps a slower start has paid."""
    rows = [
        CellOf(table, row, start, "cold cache" if start.cold else "")
        for row in table.rows
        for start in row.starts
    ]
    notes = [break_even(it) for it in table.break_evens]
    if any(it.start and it.start.total for it in rows):
        notes.append(WHOLE)
    content = grid(shown_in("starts"), rows)
    folded = "" if table.phase == "train" else "How its first calls go"
    return _section(f"phases-{number}", table, places, content, notes, folded=folded)


def break_even(result: BreakEven) -> str:
    """After how many steps a row overtakes the baseline, in a sentence."""
    names = (line(result.label), line(result.baseline))
    cold = ", compiling with a cold cache" if result.cold else ""
    if result.verdict == "from the first step":
        outcome = f"{names[0]} is ahead of {names[1]} throughout"
    elif result.verdict == "never":
        outcome = f"{names[0]} never overtakes {names[1]}"
    elif result.verdict == "cannot tell" or result.steps is None or result.seconds is None:
        return f"Break-even of {' and '.join(names)}: cannot tell, {line(result.reason)}{cold}."
    elif result.steps.estimate == 0:  # the median start is no handicap, but it may be one
        first, other = names if result.verdict == "overtakes" else names[::-1]
        outcome = f"{first} seems to be ahead of {other} throughout, which is not sure"
    else:
        steps, bounds = fmt.interval(result.steps)
        after = f"{steps} {bounds}".strip()
        seconds = " ".join(fmt.interval(result.seconds, "seconds")).strip()
        outcome = f" {OVERTAKES[result.verdict]} ".join(names)
        outcome += f" after {after} steps, {seconds}"
    return f"Counting its start, {outcome}{cold}."


def counted_peaks(rows: Sequence[CellRow]) -> list[str]:
    """The kinds to show: all but those of a device where it has none."""

    def counted(kind: str) -> bool:
        return any(getattr(it.peaks, kind).bytes is not None for it in rows)

    return [it for it in PEAKS if not it.startswith("device") or counted(it)]


def memory(table: Table, number: int, places: Places, *, first: bool) -> Section:
    """The peaks, each kind in its own column, beside the least that the mathematics needs."""
    counted = counted_peaks(table.rows)
    hidden = {title for kind, title in PEAKS.items() if kind not in counted}
    columns = [it for it in shown_in("memory") if it.title not in hidden]
    missing = {
        f"No {PEAKS[kind]} of {label(row.cell.setup)}: {line(peak.reason)}."
        for row in table.rows
        for kind in counted
        if (peak := getattr(row.peaks, kind)).bytes is None and peak.reason
    }
    notes = (*(explained(columns) if first else ()), *sorted(missing))
    content = grid(columns, [CellOf(table, row) for row in table.rows])
    return _section(f"memory-{number}", table, places, content, notes)


def settings_sections(run: Run) -> tuple[Section, ...]:
    """What every worker really ran with, side by side: one section a group and lane."""
    records = [it for it in run.records if it.status == "ok" and it.settings and not it.setup.twin]
    groups = grouped(records, lambda it: it.setup.ranking)
    return tuple(it for n, group in enumerate(groups, start=1) for it in _settings(group, n))


def _settings(records: Iterable[Record], number: int) -> Iterator[Section]:
    ordered = sorted(records, key=lambda it: it.setup.label)
    by_label = {it[0].setup.label: it for it in grouped(ordered, lambda it: it.setup.label)}
    setup, rows = ordered[0].setup, side_by_side(by_label)
    columns: list[Column[SettingRow]] = [
        Column(
            "setting",
            lambda it: it.name,
            "name",
            detail=lambda it: "must agree" if it.must_agree else "",
        ),
        *map(_setting_of, by_label),
        Column("alike", _alike, "text"),
        Column("meaning", lambda it: it.meaning, "text"),
    ]
    differing = [it for it in rows if it.differs]
    alike = [it for it in rows if not it.differs]
    broken = ", ".join(line(it.name) for it in differing if it.must_agree)
    lead = "All agree in what must agree."
    if broken:
        lead = f"They differ in what must agree: {broken}."
    folded = f"{fmt.count(len(alike), 'setting')} without a difference"
    if differing:
        yield section(f"settings-{number}", setup, "settings", grid(columns, differing), lead=lead)
        lead = ""
    if alike:
        anchor, content = f"settings-{number}-alike", grid(columns, alike)
        yield section(anchor, setup, "settings alike", content, lead=lead, folded=folded)


def _setting_of(label: str) -> Column[SettingRow]:
    def get(row: SettingRow) -> Setting:
        value = row.values.get(label)
        return value if value is None or isinstance(value, bool) else str(value)

    return Column(line(label), get, "text")


def _alike(row: SettingRow) -> str | None:
    if sum(it is not None for it in row.values.values()) < 2:
        return None
    return "differs" if row.differs else "yes"


GAINS: tuple[Column[Gain], ...] = (
    Column("idiomatic", lambda it: it.idiom.label, "name"),
    Column("identical", lambda it: it.plain.label, "name"),
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


def gain_sections(gains: Iterable[Gain]) -> tuple[Section, ...]:
    """What idiom gains, a section a task and phase: each framework as its experts write it,
    against the same steps for all."""
    groups = grouped(gains, lambda it: (it.idiom.group, it.phase))
    return tuple(
        section(f"idioms-{n}", rows[0].idiom, rows[0].phase, grid(GAINS, rows), lane="")
        for n, rows in enumerate(groups, start=1)
    )


def aggregate_sections(aggregates: Iterable[Aggregate]) -> tuple[Section, ...]:
    """One section a phase and lane: geometric means over the run's tasks."""
    groups = grouped(aggregates, lambda it: (place(it), it.lane, it.phase))
    return tuple(_means(it, n) for n, it in enumerate(groups, start=1))


def _means(means: Sequence[Aggregate], number: int) -> Section:
    first = means[0]
    columns: list[Column[Aggregate]] = [
        Column("framework:mode", lambda it: it.label, "name"),
        Column(f"× as fast as {line(first.baseline)}", lambda it: it.speed, "ratio"),
        Column("tasks", lambda it: len(it.tasks), "count"),
        Column("without", lambda it: ", ".join(it.missing) or None, "text"),
    ]
    return Section(
        anchor=f"means-{number}",
        task="all tasks",
        phase=f"{first.phase}{lane_mark(first.lane)}",
        place=place(first),
        grid=grid(columns, sorted(means, key=lambda it: -it.speed.estimate)),
        notes=(
            "Geometric means of the ratios of this run’s tasks; of other tasks they say nothing.",
        ),
        scope=Scope(device=first.device, lane=first.lane),
    )


class Everything(NamedTuple):
    """All cells in one table with the scope of each row, and the samples of each: a row a block."""

    cells: Grid
    scopes: tuple[Scope, ...]
    samples: tuple[Section, ...]


def everything(run: Run, summary: Summary) -> Everything:
    """One row a cell, in the order of the tables."""
    rows = [CellOf(table, row) for table in summary.tables for row in table.rows]
    numbers = {it.row.cell: n for n, it in enumerate(rows, start=1)}
    link: Column[CellOf] = Column(
        "behind it", lambda it: Value("samples", anchor=f"raw-{numbers[it.row.cell]}"), "text"
    )
    entered = entries(run.records)
    timed = (entered[cell.setup].steps[cell.phase] for cell in numbers)
    total = sum(len(steps) for blocks in timed for steps in blocks.values())
    return Everything(
        grid((*shown_in("cells"), link), rows, drawn=False),
        tuple(scope(it.setup) for it in rows),
        tuple(_raw(it, entered[it.setup], n, whole=total <= MANY) for it, n in numbers.items()),
    )


def _raw(cell: Cell, entry: Entry, number: int, *, whole: bool) -> Section:
    """The median of each block, and its samples or their range."""
    blocks, medians = entry.steps[cell.phase], entry.steady[cell.phase]
    unit, name = fmt.unit_of(min(medians.values()))

    def times(block: int) -> str:
        steps = blocks[block].values()
        if whole:
            return " ".join(_short(it / unit) for it in steps)
        return f"{_short(min(steps) / unit)} – {_short(max(steps) / unit)} ({len(steps)})"

    columns: list[Column[int]] = [
        Column("block", lambda it: it, "count"),
        Column(f"median, {name}", lambda it: Value(_short(medians[it] / unit), raw=medians[it])),
        Column(f"{'samples in their order' if whole else 'from – to'}, {name}", times, "text"),
    ]
    setup = cell.setup
    lane = "" if setup.lane == "identical" else f"{setup.lane}, "
    count = fmt.count(sum(map(len, blocks.values())), "sample")
    return section(
        f"raw-{number}",
        setup,
        cell.phase,
        grid(columns, sorted(blocks)),
        () if whole else ("Too many to show: the store, samestep.sqlite, holds every sample.",),
        folded=f"{label(setup)}, {line(setup.task)} {cell.phase} ({lane}{place(setup)}): "
        f"{count} in {fmt.count(len(blocks), 'block')}",
    )


def _short(value: float) -> str:
    """Four digits: a sample is read beside its neighbours, which differ in the third."""
    return f"{value:.4g}" if value < 10_000 else f"{value:.0f}"
