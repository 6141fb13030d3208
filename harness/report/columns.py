"""The columns of every table, each defined once: its name, where its number comes from, how it is
written, and where it appears.

`CELLS` is the registry of what is known of a cell. The page, Markdown, the terminal, `results.csv`,
the exports and the JSON Schema all iterate over it, so that a new column is one entry here. Tables
of other things are made of the same `Column`, beside their sections or their frames.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from harness.analysis.noise import GroupNoise
from harness.analysis.sentences import listed
from harness.analysis.startup import Startup
from harness.analysis.stats import Interval
from harness.analysis.summary import CellRow, Table
from harness.analysis.verdicts import Pair
from harness.cells import Setup
from harness.report import format as fmt
from harness.report.format import Unit, Value
from harness.report.safe_text import line
from harness.report.style import ALL, Scope, label, lane_mark, place

Row = TypeVar("Row")
Line = dict[str, Any]
"""A row for programs: plain values by the names of their fields."""
Kind = Literal["text", "count", "flag", "number"]
"""What a field holds; any of them may be empty."""
View = Literal[
    "speed", "latency", "starts", "stages", "memory", "cells", "terminal", "terminal latency"
]
"""A table that people read; `stages` is the figure of the starts."""
KINDS: dict[Unit, Kind] = {
    "name": "text",
    "text": "text",
    "flag": "flag",
    "count": "count",
    "bytes": "count",
}
"""Of units that are no plain number."""


class Field(NamedTuple):
    """One field of CSV, JSON and Parquet."""

    kind: Kind
    description: str


@dataclass(frozen=True)
class Column(Generic[Row]):
    """`get` takes a number, a text or an interval from a row, None where there is none.

    For people: `title` is its heading, `brief` the one in the terminal; `show` is what they see
    where that is not what `get` gives, `detail` is set smaller beside it, `note` says what the
    title cannot, and `where` names the tables that have it. `role` marks what follows the choice of
    a baseline. For programs: `name` is the field (none without), `description` what its schema
    says; where `low` says what its lower bound is, it has fields for both bounds.
    """

    title: str
    get: Callable[[Row], Any]
    unit: Unit = "number"
    name: str = ""
    description: str = ""
    low: str = ""
    where: tuple[View, ...] = ()
    brief: str = ""
    show: Callable[[Row], Any] | None = None
    detail: Callable[[Row], str] | None = None
    note: str = ""
    role: Literal["", "ratio", "verdict"] = ""

    @property
    def side(self) -> Literal["name", "text", "number"]:
        """How it is written: as code, to the left, or to the right."""
        if self.unit == "name":
            return "name"
        return "text" if self.unit in ("text", "flag") else "number"

    def value(self, row: Row) -> Value:
        """Its entry in a table for people."""
        content = (self.show or self.get)(row)
        return fmt.value(content, self.unit, self.detail(row) if self.detail else "")


@dataclass(frozen=True)
class Grid:
    """A table for people, its entries written; `axis` is what its ratios are drawn on, from its
    least to its largest value. 1 is always on it."""

    columns: tuple[Column[Any], ...]
    rows: tuple[tuple[Value, ...], ...]
    axis: tuple[float, float] = (1.0, 1.0)


def grid(columns: Iterable[Column[Row]], rows: Iterable[Row], *, drawn: bool = True) -> Grid:
    """The rows in their columns; `drawn` says whether ratios are drawn as well."""
    chosen = tuple(columns)
    written = tuple(tuple(it.value(row) for it in chosen) for row in rows)
    places = [n for n, it in enumerate(chosen) if drawn and it.unit == "ratio"]
    ratios = [row[n] for row in written for n in places]
    ends = [1.0, *(end for it in ratios for end in it.ends or (it.raw,) if end is not None)]
    return Grid(chosen, written, (min(ends), max(ends)))


@dataclass(frozen=True)
class Section:
    """One table with its heading (task, phase, and where it ran), lead sentence and notes.

    `others` are the same table against each other `baseline`, in the order of its rows. What
    repeats other tables or goes into detail is `folded` under these words until a reader opens it.
    """

    anchor: str
    task: str
    phase: str
    place: str
    grid: Grid
    notes: tuple[str, ...] = ()
    scope: Scope = ALL
    lead: str = ""
    baseline: str = ""
    others: tuple[Section, ...] = ()
    folded: str = ""


def section(
    anchor: str,
    group: Setup | GroupNoise,
    phase: str,
    grid: Grid,
    notes: Iterable[str] = (),
    *,
    lane: str | None = None,
    where: str | None = None,
    **more: Any,
) -> Section:
    """One table about a group or the lane of a setup; `where` says less than its whole place."""
    task, where = line(group.task), place(group) if where is None else where
    if lane is None:
        lane = group.lane if isinstance(group, Setup) else ""
    about = Scope(task, group.device, lane)
    return Section(anchor, task, phase + lane_mark(lane), where, grid, tuple(notes), about, **more)


def grouped(rows: Iterable[Row], key: Callable[[Row], object]) -> list[list[Row]]:
    """The rows of each key together, in the order in which the keys come."""
    groups: dict[object, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return list(groups.values())


def reasons(outcomes: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    """Notes on names and verdicts that have a reason, each reason once."""
    names: dict[str, list[str]] = {}
    for name, verdict, reason in outcomes:
        if reason:
            names.setdefault(f"{verdict}, {line(reason)}", []).append(line(name))
    return (f"{listed(of_reason)}: {why}." for why, of_reason in names.items())


def explained(columns: Iterable[Column[Any]]) -> tuple[str, ...]:
    """What the titles of columns cannot say, as notes below their table."""
    return tuple(f"{it.title[:1].upper()}{it.title[1:]}: {it.note}" for it in columns if it.note)


def field(
    name: str,
    description: str,
    unit: Unit = "number",
    get: Callable[[Any], Any] | None = None,
    low: str = "",
) -> Column[Any]:
    """A column for programs only, by default the attribute of its name."""
    return Column("", get or attrgetter(name), unit, name, description, low)


def of(reach: Callable[[Any], Row], columns: Iterable[Column[Row]]) -> list[Column[Any]]:
    """The same columns for rows that hold what these are about."""

    def reached(get: Callable[[Row], Any]) -> Callable[[Any], Any]:
        return lambda row: get(reach(row))

    return [replace(it, get=reached(it.get)) for it in columns]


def fields(columns: Iterable[Column[Any]]) -> dict[str, Field]:
    """The fields of columns by name, bounds behind their estimates."""
    known: dict[str, Field] = {}
    for column in columns:
        if column.name:
            known[column.name] = Field(KINDS.get(column.unit, "number"), column.description)
        if column.low:
            known[f"{column.name}_low"] = Field("number", column.low)
            known[f"{column.name}_high"] = Field("number", "upper bound")
    return known


def filled(columns: Iterable[Column[Row]], row: Row) -> Line:
    """A row for programs; a bound that is not there is left out."""
    content: Line = {}
    for column in columns:
        if not column.name:
            continue
        value = column.get(row)
        if type(value) is Interval:  # isinstance takes ten times as long for a pydantic model
            content[column.name] = value.estimate
            if column.low:
                content[f"{column.name}_low"] = value.low
                content[f"{column.name}_high"] = value.high
        else:
            content[column.name] = value
    return content


@dataclass(frozen=True)
class CellOf:
    """A cell among the others of its table; `start` is the one to be shown, the first one if none
    is chosen, and `remark` stands beside its name."""

    table: Table
    row: CellRow
    start: Startup | None = None
    remark: str = ""

    @property
    def setup(self) -> Setup:
        return self.row.cell.setup

    @functools.cached_property
    def pair(self) -> Pair | None:
        """Its ratio to the table's baseline; None for the baseline itself."""
        return next((it for it in self.table.pairs if it.label == self.setup.label), None)

    @property
    def is_baseline(self) -> bool:
        return self.setup.label == self.table.baseline

    @property
    def started(self) -> Startup | None:
        return self.start or next(iter(self.row.starts), None)


def cells(table: Table) -> list[CellOf]:
    """The rows of a table; the winner and yardsticks are marked."""
    marks = dict.fromkeys(table.yardsticks, "yardstick")
    if table.winner:
        marks[table.winner] = "fastest"
    return [CellOf(table, it, remark=marks.get(it.cell.setup.label, "")) for it in table.rows]


def shown_in(view: View, table: Table | None = None) -> tuple[Column[CellOf], ...]:
    """The columns of a view in their order, of one table with its baseline in the heading."""
    chosen = (it for it in CELLS if view in it.where)
    if table is None:
        return tuple(chosen)
    baseline = line(table.baseline)
    return tuple(
        replace(it, title=f"{it.title} as {baseline}", brief=f"× {baseline}")
        if it.role == "ratio"
        else it
        for it in chosen
    )


def _verdict(cell: CellOf) -> str | None:
    if cell.is_baseline:
        return "baseline"
    return cell.pair.verdict if cell.pair else None


def _verdict_shown(cell: CellOf) -> Value | str:
    if cell.row.unranked:
        return "not ranked"
    return _verdict(cell) or Value(fmt.NONE, "no block in common")


def _ratio(cell: CellOf) -> Interval | float | None:
    if cell.is_baseline:
        return 1.0
    return cell.pair.speed if cell.pair else None


def _of_peak(cell: CellOf) -> str:
    share = _estimate(cell.row.efficiency.of_peak)
    return "" if share is None else f"({fmt.of_peak(share)} of peak)"


def _over_least(cell: CellOf) -> str:
    over = cell.row.peaks.logical_over_least
    return "" if over is None else f"({over:.2f} × the least)"


def _estimate(interval: Interval | None) -> float | None:
    return interval.estimate if interval else None


PEAKS = {
    "incremental_rss": "peak RSS, incremental",
    "total_rss": "peak RSS, total",
    "logical": "logical peak",
    "device_allocated": "device peak, allocated",
    "device_reserved": "device peak, reserved",
}
"""Kinds of memory, and the titles of their columns."""

# fmt: off
SETUP: tuple[Column[Setup], ...] = (
    Column("task", lambda it: it.task, "text", "task", "name of the task", where=("cells",)),
    field("digest", "digest of the task; results compare only where it is the same", "text"),
    field("framework", "framework, as the harness names it", "text"),
    field("mode", "mode of the framework", "text"),
    Column("lane", lambda it: it.lane, "text", "lane", "which lane the setup ran in",
        where=("cells",)),
    field("machine",
        "name of the machine where runs of several are merged; empty where there is one", "text",
        lambda it: it.machine or None),
    field("device", "cpu or gpu:<index>", "text", lambda it: it.processor),
    field("threads", "threads asked for", "count"),
    field("dtype", "floating-point type", "text"),
    field("version",
        "version of the framework in an environment of its own; empty for the installed one",
        "text", lambda it: it.version or None),
)
# fmt: on
"""What every row for programs says of its setup."""

# fmt: off
CELLS: list[Column[CellOf]] = [
    Column("framework:mode", lambda it: label(it.setup), "name", detail=lambda it: it.remark,
        where=("speed", "latency", "starts", "memory", "cells", "terminal", "terminal latency")),
    *of(lambda it: it.setup, SETUP),
    Column("phase", lambda it: it.row.cell.phase, "text", "phase",
        "train, predict, or their latency: one iteration at a time", where=("cells",)),
    field("batch_size", "examples per step", "count", lambda it: it.table.task.batch),
    field("parameters", "weights and biases of the model", "count",
        lambda it: it.table.task.parameters),
    # How fast it is.
    Column("p50", lambda it: it.row.latency and it.row.latency.p50, "seconds",
        "latency_p50_seconds", "median of single iterations; latency phases only",
        where=("latency", "terminal latency")),
    Column("p95", lambda it: it.row.latency and it.row.latency.p95, "seconds",
        "latency_p95_seconds", "95th percentile", where=("latency",)),
    Column("p99", lambda it: it.row.latency and it.row.latency.p99, "seconds",
        "latency_p99_seconds", "99th percentile", where=("latency", "terminal latency")),
    Column("maximum", lambda it: it.row.latency and it.row.latency.maximum, "seconds",
        "latency_maximum_seconds", "largest reading", where=("latency",)),
    Column("readings", lambda it: it.row.latency and it.row.latency.readings, "count",
        where=("latency",)),
    Column("examples/s", lambda it: it.row.examples_per_second, "examples/s", "examples_per_second",
        "batch size ÷ mean seconds per step, pauses included", low="lower bound",
        where=("speed", "cells", "terminal"), brief="examples\n/s"),
    Column("median step", lambda it: it.row.step, "seconds", "step_seconds",
        "seconds per step, median over blocks",
        low="lower bound of its interval; empty where there is none",
        where=("speed", "cells", "terminal"), brief="median\nstep"),
    field("interval_method", "order-statistic or none", "text", lambda it: it.row.step.method),
    Column("", lambda it: it.row.mean_step, "seconds", "mean_step_seconds",
        "seconds per step, pauses included: the mean of a block, median over blocks",
        low="lower bound of its interval; empty where there is none"),
    Column("GFLOP/s", lambda it: it.row.gflops, "number", "gflops",
        "10⁹ floating-point operations per second of the mean step, by the task's own count",
        where=("speed",), detail=_of_peak),
    field("of_device_peak", "floating-point rate ÷ that of a large matrix product on the device",
        get=lambda it: _estimate(it.row.efficiency.of_peak)),
    field("times_bare_products", "time of a step ÷ time of its bare matrix products in the same "
        "framework and mode; not to be compared between frameworks",
        get=lambda it: _estimate(it.row.efficiency.over_products)),
    Column("bare products", lambda it: _estimate(it.row.efficiency.products), "seconds",
        "bare_products_seconds", "time of the bare matrix products of a step", where=("speed",),
        note="The matrix products of one step alone, in the same framework: one program where the "
        "mode compiles its step into one, else one call a product, which costs as much as the "
        "framework’s dispatch does. Compare them with the step of their own row only."),
    Column("CPU", lambda it: it.row.cpu_share, "share", "cpu_share",
        "CPU time ÷ wall time during samples; 1 is one busy core", where=("speed",)),
    field("involuntary_switches_per_second", "involuntary context switches during samples",
        get=lambda it: it.row.involuntary_switches_per_second),
    # How it compares with the others of its table.
    Column("× as fast", _ratio, "ratio", "speed_ratio",
        "times as fast as the baseline (1 is the baseline itself), median over blocks; the mark "
        "shows the interval on a log axis that all rows of a table share, with a line at 1",
        low="lower bound", where=("speed", "latency", "cells", "terminal", "terminal latency"),
        role="ratio"),
    Column("as", lambda it: it.table.baseline, "text", "baseline",
        "framework:mode that ratios are against", where=("cells",)),
    Column("verdict", _verdict, "text", "verdict",
        "faster, slower, equivalent, cannot tell, not ranked, or baseline",
        where=("speed", "latency", "cells", "terminal", "terminal latency"), show=_verdict_shown,
        role="verdict"),
    field("margin", "a difference within it counts as none (δ)", get=lambda it: it.table.margin),
    field("noise_floor", "smallest effect that the run could have shown in this table",
        get=lambda it: max((at.floor for at in it.table.floors if at.floor), default=None)),
    field("not_ranked", "why the cell stands outside the ranking; empty where it is ranked", "text",
        lambda it: it.row.unranked or None),
    field("fastest", "whether it is faster than every other cell of its table", "flag",
        lambda it: it.setup.label == it.table.winner),
    # How it starts.
    Column("import", lambda it: it.started and it.started.import_seconds, "seconds",
        "import_seconds", "import of the framework, median over trials that started alone",
        where=("starts", "stages")),
    Column("build", lambda it: it.started and it.started.build_seconds, "seconds", "build_seconds",
        "building the model", where=("starts", "stages")),
    Column("first call", lambda it: it.started and it.started.first_call, "seconds",
        "first_call_seconds",
        "first call of the phase, with a warm compile cache where there is one",
        where=("starts", "stages")),
    Column("second call", lambda it: it.started and it.started.second_call, "seconds",
        "second_call_seconds", "second call of the phase", where=("starts", "stages")),
    Column("steady step", lambda it: it.started and it.started.step, "seconds",
        where=("starts", "stages")),
    Column("whole start", lambda it: it.started and it.started.total, "seconds", where=("starts",)),
    Column("starts alone", lambda it: it.started.n if it.started else 0, "count", "starts",
        "trials that started alone: the n of import, build and calls", where=("starts",)),
    # What it takes of memory.
    Column(PEAKS["incremental_rss"], lambda it: it.row.peaks.incremental_rss.bytes, "bytes",
        "incremental_peak_rss_bytes", "high-water mark above the size at the phase's start",
        where=("memory", "cells", "terminal", "terminal latency"), brief="incre-\nmental\npeak RSS",
        note="What the phase’s first steps add to the resident memory of the process; the "
        "framework itself is in there before."),
    Column(PEAKS["total_rss"], lambda it: it.row.peaks.total_rss.bytes, "bytes",
        "total_peak_rss_bytes", "high-water mark of the whole process", where=("memory", "cells"),
        note="The resident memory of the whole process, with Python and the framework."),
    Column(PEAKS["logical"], lambda it: it.row.peaks.logical.bytes, "bytes", "logical_peak_bytes",
        "peak of all tensors by the framework's own account; empty without one", where=("memory",),
        detail=_over_least),
    Column(PEAKS["device_allocated"], lambda it: it.row.peaks.device_allocated.bytes, "bytes",
        "device_peak_allocated_bytes", "the framework's own count; empty where it keeps none",
        where=("memory",)),
    Column(PEAKS["device_reserved"], lambda it: it.row.peaks.device_reserved.bytes, "bytes",
        "device_peak_reserved_bytes", "the framework's own count; empty where it keeps none",
        where=("memory",)),
    Column("least possible", lambda it: it.row.peaks.least, "bytes", "least_bytes",
        "the least that the mathematics needs", where=("memory",)),
    Column("blocks", lambda it: it.row.step.n, "count", "blocks",
        "blocks behind the row: the n of every interval of this cell alone",
        where=("speed", "latency", "cells")),
    Column("where", lambda it: place(it.setup), "text", where=("cells",)),
]
# fmt: on
"""All that is known of a cell, in the order in which people read it."""

FIRST_FIELDS = (
    "task", "digest", "framework", "mode", "lane", "machine", "device", "threads", "dtype", "phase",
    "batch_size", "parameters", "blocks", "step_seconds", "interval_method", "mean_step_seconds",
    "examples_per_second", "gflops", "baseline", "speed_ratio", "verdict", "margin", "noise_floor",
    "not_ranked", "fastest", "starts", "import_seconds", "build_seconds", "first_call_seconds",
    "second_call_seconds", "latency_p50_seconds", "latency_p95_seconds", "latency_p99_seconds",
    "latency_maximum_seconds", "of_device_peak", "times_bare_products", "bare_products_seconds",
    "cpu_share", "involuntary_switches_per_second", "incremental_peak_rss_bytes",
    "total_peak_rss_bytes", "device_peak_allocated_bytes", "device_peak_reserved_bytes",
    "logical_peak_bytes", "least_bytes",
)  # fmt: skip
"""The first fields of `results.csv`, in their order since its first version; others follow."""
