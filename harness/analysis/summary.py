"""Everything the report shows, computed once: one `Summary` of a run's records."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from harness.analysis import words
from harness.analysis.compare import BASELINE, Blocks, compare, step_times
from harness.analysis.intervals import Interval, median_interval
from harness.analysis.quality import QualityTable, TrainingRow, quality_table
from harness.analysis.verdicts import Pair
from harness.cells import PHASES, Cell, Phase, Setup
from harness.records import Memory, PhaseRecord, Record
from harness.tasks.costs import flops
from harness.tasks.frozen import Frozen
from harness.tasks.spec import Task

__all__ = ["BASELINE", "CellRow", "Failure", "Summary", "Table", "summarise"]

Arena = tuple[str, str, str, int, str, str]
"""`Setup.ranking`: task and digest come first."""


class CellRow(Frozen):
    """One cell over all its blocks. Times in seconds, memory in bytes, medians over blocks.

    `cpu_share` is CPU time ÷ wall time, all threads together: 2 means two busy cores. None means
    that nothing was counted.
    """

    cell: Cell
    step: Interval
    examples_per_second: Interval
    gflops: float
    import_seconds: float | None
    build_seconds: float | None
    first_call: float
    second_call: float
    cpu_share: float
    involuntary_switches_per_second: float
    memory: Memory


class Failure(Frozen):
    """Trials of one setup that did not end well, for one reason."""

    setup: Setup
    status: str
    error: str
    trials: int
    stderr_tail: str


class Table(Frozen):
    """One phase of one arena: the cells that may be compared, and who wins.

    `winner` is the label of the setup that is faster than every other one, or None; `sentence`
    says the same in words.
    """

    task: Task
    phase: Phase
    device: str
    threads: int
    dtype: str
    baseline: str
    rows: tuple[CellRow, ...]
    pairs: tuple[Pair, ...]
    winner: str | None
    sentence: str


class Summary(Frozen):
    tables: tuple[Table, ...]
    qualities: tuple[QualityTable, ...]
    failures: tuple[Failure, ...]

    @property
    def trainings(self) -> tuple[TrainingRow, ...]:
        """Every training of every setup."""
        return tuple(it for table in self.qualities for row in table.rows for it in row.trainings)


def summarise(tasks: Iterable[Task], records: Sequence[Record]) -> Summary:
    """All rows of a report. Tables stand in the order of tasks, their rows fastest first."""
    # By name too: a user's copy of a task has the same digest under another name.
    known = {(task.name, task.digest): task for task in tasks}
    arenas: dict[Arena, dict[Setup, dict[int, Record]]] = defaultdict(lambda: defaultdict(dict))
    for record in records:
        if record.status == "ok" and not record.setup.twin:
            arenas[record.setup.ranking][record.setup][record.block] = record
    order = list(known)
    tables: list[Table] = []
    qualities: list[QualityTable] = []
    for arena in sorted(arenas, key=lambda it: (order.index((it[0], it[1])), it[2:])):
        task, setups = known[arena[0], arena[1]], arenas[arena]
        tables += [it for phase in PHASES if (it := _table(task, phase, setups))]
        trained = quality_table(task, {it: list(blocks.values()) for it, blocks in setups.items()})
        qualities += [trained] if trained else []
    return Summary(
        tables=tuple(tables), qualities=tuple(qualities), failures=tuple(_failures(records))
    )


def _table(task: Task, phase: Phase, setups: Mapping[Setup, Blocks]) -> Table | None:
    measured: dict[str, tuple[CellRow, Blocks]] = {}
    for setup, blocks in setups.items():
        timed = {block: it for block, it in blocks.items() if step_times(it, phase)}
        if timed:
            measured[setup.label] = (_row(task, Cell(setup=setup, phase=phase), timed), timed)
    if not measured:
        return None
    labels = sorted(measured, key=lambda label: (measured[label][0].step.estimate, label))
    baseline = BASELINE if BASELINE in measured else min(measured)

    def pair(label: str, other: str) -> Pair | None:
        return compare(label, measured[label][1], other, measured[other][1], phase)

    def rivals(label: str) -> dict[str, Pair | None]:
        return {other: pair(label, other) for other in labels if other != label}

    winner = _winner(labels, pair)
    setup = measured[labels[0]][0].cell.setup
    return Table(
        task=task,
        phase=phase,
        device=setup.device,
        threads=setup.threads,
        dtype=setup.dtype,
        baseline=baseline,
        rows=tuple(measured[label][0] for label in labels),
        pairs=tuple(it for label in labels if label != baseline and (it := pair(label, baseline))),
        winner=winner,
        sentence=words.won(winner, rivals(winner))
        if winner
        else words.not_won(labels[0], rivals(labels[0])),
    )


def _winner(labels: Sequence[str], pair: Callable[[str, str], Pair | None]) -> str | None:
    """The label that is faster than every other one, if there is one and another to beat.

    Every comparison must say "faster": an intersection of tests needs no correction.
    """

    def beats(label: str, other: str) -> bool:
        it = pair(label, other)
        return it is not None and it.verdict == "faster"

    if len(labels) < 2:
        return None
    return next(
        (it for it in labels if all(beats(it, other) for other in labels if other != it)), None
    )


def _row(task: Task, cell: Cell, blocks: Blocks) -> CellRow:
    records = list(blocks.values())
    phases = [it for record in records if (it := record.phase(cell.phase))]
    step = median_interval(
        [statistics.median(step_times(record, cell.phase).values()) for record in records]
    )
    samples = [sample for phase in phases for sample in phase.samples]
    wall = sum(sample.seconds for sample in samples)
    return CellRow(
        cell=cell,
        step=step,
        examples_per_second=step.inverted(task.batch),
        gflops=flops(task, cell.phase) / step.estimate / 1e9,
        import_seconds=_median(it.import_seconds for it in records),
        build_seconds=_median(it.build_seconds for it in records),
        first_call=statistics.median(it.first_call for it in phases),
        second_call=statistics.median(it.second_call for it in phases),
        cpu_share=sum(sample.cpu_seconds for sample in samples) / wall,
        involuntary_switches_per_second=sum(it.involuntary_switches for it in samples) / wall,
        memory=_memory(phases),
    )


def _median(values: Iterable[float | None]) -> float | None:
    """The median of what was counted, or None."""
    counted = [it for it in values if it is not None]
    return statistics.median(counted) if counted else None


def _memory(phases: Sequence[PhaseRecord]) -> Memory:
    def median(count: Callable[[Memory], int | None]) -> int | None:
        peak = _median(count(it.memory) for it in phases if it.memory)
        return None if peak is None else int(peak)

    return Memory(
        incremental_peak_rss=median(lambda it: it.incremental_peak_rss),
        total_peak_rss=median(lambda it: it.total_peak_rss),
        device_peak_allocated=median(lambda it: it.device_peak_allocated),
        device_peak_reserved=median(lambda it: it.device_peak_reserved),
    )


def _failures(records: Sequence[Record]) -> list[Failure]:
    reasons: dict[tuple[Setup, str, str], list[Record]] = defaultdict(list)
    for it in records:
        if it.status != "ok":
            reasons[it.setup, it.status, it.error or ""].append(it)
    return [
        Failure(
            setup=setup,
            status=status,
            error=error,
            trials=len(trials),
            stderr_tail=next((it.stderr_tail for it in reversed(trials) if it.stderr_tail), ""),
        )
        for (setup, status, error), trials in reasons.items()
    ]
