"""Everything the report shows, computed once: one `Summary` of a run's records."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from harness.analysis.compare import Blocks, Pair, compare, step_times
from harness.analysis.intervals import Interval, median_interval
from harness.cells import PHASES, Cell, Phase, Setup
from harness.records import Memory, PhaseRecord, Quality, Record
from harness.tasks.costs import flops
from harness.tasks.frozen import Frozen
from harness.tasks.spec import Task

BASELINE = "pytorch:eager"
"""The baseline of ratios where it takes part; else the first setup of the arena by name."""


class CellRow(Frozen):
    """One cell over all its blocks. Times in seconds, memory in bytes, medians over blocks."""

    cell: Cell
    step: Interval
    examples_per_second: Interval
    gflops: float
    import_seconds: float
    build_seconds: float
    first_call: float
    second_call: float
    cpu_share: float
    involuntary_switches_per_second: float
    memory: Memory


class TrainingRow(Frozen):
    """One full training. `seconds_to_target` is None where the target was not reached."""

    setup: Setup
    quality: Quality
    final: float
    seconds: float
    seconds_to_target: float | None


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
    trainings: tuple[TrainingRow, ...]
    failures: tuple[Failure, ...]


def summarise(tasks: Iterable[Task], records: Sequence[Record]) -> Summary:
    """All rows of a report. Tables stand in the order of tasks, their rows fastest first."""
    by_digest = {task.digest: task for task in tasks}
    good = [record for record in records if record.status == "ok"]
    arenas: dict[tuple[object, ...], dict[Setup, dict[int, Record]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for record in good:
        arenas[record.setup.arena][record.setup][record.block] = record
    tables = [
        table
        for setups in arenas.values()
        for phase in PHASES
        if (table := _table(by_digest[next(iter(setups)).digest], phase, setups)) is not None
    ]
    order = list(by_digest)
    tables.sort(key=lambda table: order.index(table.task.digest))
    trainings = [
        _training(by_digest[it.setup.digest], it.setup, it.quality) for it in good if it.quality
    ]
    return Summary(
        tables=tuple(tables),
        trainings=tuple(sorted(trainings, key=lambda it: (it.setup.id, it.quality.seed))),
        failures=tuple(_failures(records)),
    )


def _table(task: Task, phase: Phase, setups: dict[Setup, dict[int, Record]]) -> Table | None:
    measured: dict[str, tuple[CellRow, Blocks]] = {}
    for setup, blocks in setups.items():
        timed = {block: it for block, it in blocks.items() if step_times(it, phase)}
        if timed:
            measured[setup.label] = (_row(task, Cell(setup=setup, phase=phase), timed), timed)
    if not measured:
        return None
    labels = sorted(measured, key=lambda label: measured[label][0].step.estimate)
    baseline = BASELINE if BASELINE in measured else min(measured)

    def pair(label: str, other: str) -> Pair | None:
        return compare(label, measured[label][1], other, measured[other][1], phase)

    rivals = [pair(labels[0], other) for other in labels[1:]]
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
        # Every comparison must say "faster": an intersection of tests needs no correction.
        winner=labels[0]
        if rivals and all(it and it.verdict == "faster" for it in rivals)
        else None,
        sentence=_sentence(labels[0], rivals),
    )


def _sentence(fastest: str, rivals: Sequence[Pair | None]) -> str:
    if not rivals:
        return f"{fastest} ran alone: there is nothing to compare it with."
    second = rivals[0]
    tied = [it.baseline for it in rivals if it and it.verdict != "faster"]
    if tied or second is None:
        names = " and ".join([fastest, *tied]) if tied else fastest
        return f"No winner: these blocks cannot tell {names} apart."
    speed = second.speed
    return (
        f"{fastest} is the fastest: {speed.estimate:.2f} × as fast as {second.baseline} "
        f"({speed.low:.2f}–{speed.high:.2f})."
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
        import_seconds=statistics.median(it.import_seconds or 0 for it in records),
        build_seconds=statistics.median(it.build_seconds or 0 for it in records),
        first_call=statistics.median(it.first_call for it in phases),
        second_call=statistics.median(it.second_call for it in phases),
        cpu_share=sum(sample.cpu_seconds for sample in samples) / wall,
        involuntary_switches_per_second=sum(it.involuntary_switches for it in samples) / wall,
        memory=_memory(phases),
    )


def _memory(phases: Sequence[PhaseRecord]) -> Memory:
    def median(count: Callable[[Memory], int | None]) -> int | None:
        counts = [
            it for phase in phases if phase.memory and (it := count(phase.memory)) is not None
        ]
        return int(statistics.median(counts)) if counts else None

    return Memory(
        incremental_peak_rss=median(lambda it: it.incremental_peak_rss),
        total_peak_rss=median(lambda it: it.total_peak_rss),
        device_peak_allocated=median(lambda it: it.device_peak_allocated),
        device_peak_reserved=median(lambda it: it.device_peak_reserved),
    )


def _training(task: Task, setup: Setup, quality: Quality) -> TrainingRow:
    elapsed, to_target = 0.0, None
    for epoch in quality.epochs:
        elapsed += epoch.seconds
        if to_target is None and task.reached(epoch.quality):
            to_target = elapsed
    return TrainingRow(
        setup=setup,
        quality=quality,
        final=quality.epochs[-1].quality,
        seconds=elapsed,
        seconds_to_target=to_target,
    )


def _failures(records: Sequence[Record]) -> list[Failure]:
    reasons = Counter((it.setup, it.status, it.error or "") for it in records if it.status != "ok")
    tails = {(it.setup, it.status, it.error or ""): it.stderr_tail for it in records}
    return [
        Failure(setup=key[0], status=key[1], error=key[2], trials=n, stderr_tail=tails[key])
        for key, n in reasons.items()
    ]
