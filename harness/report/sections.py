"""One table of the summary → one section of the report."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.intervals import Interval
from harness.analysis.quality import QualityRow, QualityTable
from harness.analysis.summary import CellRow, Table
from harness.report import format as fmt
from harness.report.content import Column, Grid, Section, Value
from harness.report.inert import line
from harness.report.looks import Places, label

NAME = Column("framework:mode", "name")


def speed(table: Table, number: int, places: Places, *, probes: bool = True) -> Section:
    """Throughput, step time and ratio to the baseline, with the verdict.

    `probes` says whether to add what the task probes: once a task is enough.
    """
    columns = (
        NAME,
        Column("examples/s"),
        Column("time per step"),
        Column(f"× as fast as {line(table.baseline)}"),
        Column("verdict", "text"),
        Column("GFLOP/s"),
        Column("CPU"),
        Column("peak RSS, incremental"),
        Column("blocks"),
    )
    rows = tuple(_speed_row(table, row) for row in table.rows)
    return Section(
        anchor=f"speed-{number}",
        task=line(table.task.name),
        phase=table.phase,
        place=places.differing(table),
        lead=line(table.sentence),
        grid=Grid(columns, rows),
        notes=(*(_probes(table) if probes else ()), *_unranked(table), *_reasons(table)),
    )


def _speed_row(table: Table, row: CellRow) -> tuple[Value, ...]:
    name = row.cell.setup.label
    pair = next((it for it in table.pairs if it.label == name), None)
    ratio, judged = Value(fmt.NONE), Value(fmt.NONE, "no block in common")
    if name == table.baseline:
        ratio, judged = Value(fmt.SAME), Value("baseline")
    elif pair is not None:
        ratio, judged = Value(*fmt.ratio_interval(pair.speed)), Value(pair.verdict)
    if row.unranked:
        judged = Value("not ranked")
    return (
        Value(label(row.cell.setup), "fastest" if name == table.winner else ""),
        Value(*fmt.number_interval(row.examples_per_second)),
        Value(*fmt.seconds_interval(row.step)),
        ratio,
        judged,
        Value(fmt.number(row.gflops)),
        Value(fmt.whole_percent(row.cpu_share)),
        Value(fmt.memory(row.memory.incremental_peak_rss)),
        Value(str(row.step.n)),
    )


def _probes(table: Table) -> tuple[str, ...]:
    probes = line(table.task.probes).rstrip(".")
    return (f"Probes {probes}.",) if probes else ()


def _unranked(table: Table) -> tuple[str, ...]:
    """Why rows stand outside the ranking, and why a verdict is not what its interval suggests."""
    rows = [f"{label(it.cell.setup)}: {line(it.unranked)}." for it in table.rows if it.unranked]
    told = {it.cell.setup.label for it in table.rows if it.unranked}
    pairs = [
        f"{line(it.label)}: {line(it.verdict)}, {line(it.reason)}."
        for it in table.pairs
        if it.reason and it.label not in told
    ]
    return (*rows, *pairs)


def _reasons(table: Table) -> tuple[str, ...]:
    """Why intervals are missing or of another kind, each reason once."""
    intervals = [row.step for row in table.rows] + [it.speed for it in table.pairs]
    return tuple(dict.fromkeys(it for interval in intervals if (it := _why(interval))))


def _why(interval: Interval) -> str:
    if interval.method == "none":
        return f"No interval: {interval.reason}."
    if interval.method == "student-t":
        return f"Intervals by Student’s t on the logarithms: {interval.reason}."
    return ""


def quality(table: QualityTable, number: int, places: Places) -> Section:
    """The final value of every seed, and the time to the target."""
    metric, target = table.task.metric, table.task.target
    columns = [NAME, *(Column(f"seed {seed}") for seed in table.seeds), Column("median")]
    if target is not None:
        columns += [Column("time to target"), Column("reached")]
    columns += [Column("time of training")]
    return Section(
        anchor=f"quality-{number}",
        task=line(table.task.name),
        phase="accuracy" if metric == "accuracy" else "error",
        place=places.differing(table),
        lead=spread_sentence(table),
        grid=Grid(tuple(columns), tuple(_quality_row(table, row) for row in table.rows)),
        notes=(_target_note(table),),
    )


def _quality_row(table: QualityTable, row: QualityRow) -> tuple[Value, ...]:
    metric = table.task.metric
    finals = {
        seed: ", ".join(
            fmt.quality(it.final, metric) for it in row.trainings if it.quality.seed == seed
        )
        for seed in table.seeds
    }
    values = [Value(label(row.setup)), *(Value(it or fmt.NONE) for it in finals.values())]
    values.append(Value(fmt.quality(row.final, metric)))
    if table.task.target is not None:
        values += [Value(time_to_target(row)), Value(f"{row.reached} of {len(row.trainings)}")]
    return (*values, Value(fmt.seconds(row.seconds)))


def time_to_target(row: QualityRow) -> str:
    """The median time to the target, or that it was not reached."""
    return "not reached" if row.seconds_to_target is None else fmt.seconds(row.seconds_to_target)


def spread_sentence(table: QualityTable) -> str:
    """How far apart the setups end at the same seed."""
    metric, spread = table.task.metric, table.spread
    if spread is None:
        alone = len(table.rows) == 1
        return (
            f"{label(table.rows[0].setup)} was trained alone: there is nothing to compare it with."
            if alone
            else "No two setups were trained from the same seed."
        )
    noun = "accuracies" if metric == "accuracy" else "errors"
    where = f"{line(spread.setups[0])} and {line(spread.setups[1])}, seed {spread.seed}"
    if spread.value == 0:
        return f"At the same seed all final {noun} are equal."
    return (
        f"At the same seed the final {noun} lie within {fmt.difference(spread.value, metric)} "
        f"of each other (largest between {where})."
    )


def _target_note(table: QualityTable) -> str:
    metric, target = table.task.metric, table.task.target
    what = "Accuracy" if metric == "accuracy" else "Mean squared error"
    epochs = fmt.count(table.task.epochs, "epoch")
    if target is None:
        return f"{what} on the test rows after {epochs}. The task names no target."
    bound = "at least" if metric == "accuracy" else "at most"
    return f"{what} on the test rows after {epochs}. Target: {bound} {fmt.quality(target, metric)}."


def phases(table: Table, number: int, places: Places) -> Section:
    """From import to the steady step."""
    columns = [NAME, *(Column(it) for it in STAGES)]
    rows = [
        (Value(label(row.cell.setup)), *(Value(fmt.seconds(it)) for it in stage_times(row)))
        for row in table.rows
    ]
    return _plain("phases", table, number, places, columns, rows)


STAGES = ("import", "build", "first call", "second call", "steady step")


def stage_times(row: CellRow) -> tuple[float | None, ...]:
    """Seconds of each of `STAGES`."""
    return (
        row.import_seconds,
        row.build_seconds,
        row.first_call,
        row.second_call,
        row.step.estimate,
    )


PEAKS = {
    "incremental_peak_rss": "peak RSS, incremental",
    "total_peak_rss": "peak RSS, total",
    "device_peak_allocated": "device peak, allocated",
    "device_peak_reserved": "device peak, reserved",
}


def counted_peaks(rows: Sequence[CellRow]) -> list[str]:
    """The fields of `Memory` to show: both RSS peaks always, the device's where it has any."""
    return [
        it
        for it in PEAKS
        if "rss" in it or any(getattr(row.memory, it) is not None for row in rows)
    ]


def memory(table: Table, number: int, places: Places) -> Section:
    """The peaks, each kind in its own column."""
    peaks = counted_peaks(table.rows)
    columns = [NAME, *(Column(PEAKS[it]) for it in peaks)]
    rows = [
        (
            Value(label(row.cell.setup)),
            *(Value(fmt.memory(getattr(row.memory, it))) for it in peaks),
        )
        for row in table.rows
    ]
    return _plain("memory", table, number, places, columns, rows)


def _plain(
    kind: str,
    table: Table,
    number: int,
    places: Places,
    columns: Sequence[Column],
    rows: Sequence[tuple[Value, ...]],
) -> Section:
    return Section(
        anchor=f"{kind}-{number}",
        task=line(table.task.name),
        phase=table.phase,
        place=places.differing(table),
        lead="",
        grid=Grid(tuple(columns), tuple(rows)),
    )
