"""What stands behind a table's ratios: starts and break-even, and all kinds of memory."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.intervals import Interval
from harness.analysis.memory import Amount, MemoryPeaks
from harness.analysis.startup import BreakEven, Startup
from harness.analysis.summary import CellRow, Table
from harness.report import format as fmt
from harness.report import values
from harness.report.content import Column, Grid, Section, Value, explained
from harness.report.inert import line
from harness.report.looks import Places, label, lane_mark, scope

NAME = Column("framework:mode", "name")
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
