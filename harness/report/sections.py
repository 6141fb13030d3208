"""One table of the summary → one section of the report."""

from __future__ import annotations

from harness.analysis.intervals import Interval
from harness.analysis.summary import CellRow, Table
from harness.analysis.words import by_how_much, listed, width
from harness.cells import LATENCY
from harness.report import format as fmt
from harness.report import values
from harness.report.content import Column, Grid, Section, Value, explained
from harness.report.inert import line
from harness.report.looks import Places, label, lane_mark, scope
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
    fastest = row.cell.setup.label == table.winner
    return (
        Value(label(row.cell.setup), "fastest" if fastest else ""),
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
