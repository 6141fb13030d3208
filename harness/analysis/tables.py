"""One table: a phase of one lane of one group, its rows and ratios; and sweeps of tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from pydantic import Field, model_validator

from harness.analysis.cell_metrics import (
    Efficiency,
    Latency,
    MemoryPeaks,
    Peak,
    device_peak,
    efficiency,
    latency,
    memory_peaks,
)
from harness.analysis.changepoints import Steadiness, steadiness
from harness.analysis.noise import Floor, margin
from harness.analysis.pairs import Entry, baseline_of
from harness.analysis.ranking import Contest, Eligibility
from harness.analysis.startup import BreakEven, Startup, break_evens, startups
from harness.analysis.stats import Interval, median_interval, median_of
from harness.analysis.verdicts import USUAL_PRECISION, Pair
from harness.cells import THROUGHPUT, Cell, Lane, Phase, Setup
from harness.records import Memory, PhaseRecord
from harness.tasks.costs import flops, rows_of
from harness.tasks.spec import Frozen, Task
from harness.tasks.variants import origin


class CellRow(Frozen):
    """One cell over all its blocks. Times in seconds, memory in bytes, medians over blocks.

    `step` is the median step of a block and `mean_step` its mean, pauses included, from which
    throughput (`examples_per_second`, `gflops`) is computed. `cpu_share` is CPU time ÷ wall time,
    all threads together. None means that nothing was counted; imports, builds and first calls count
    only where a worker started alone, but first calls of all if none did. `starts` has them with
    intervals, by warm and cold caches; `peaks` has every kind of memory. `proof` says why the setup
    is unproven, `faults` what else bars it from the ranking.
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
    peaks: MemoryPeaks
    starts: tuple[Startup, ...]
    steadiness: Steadiness
    latency: Latency | None
    efficiency: Efficiency
    proof: str = ""
    faults: tuple[str, ...] = ()
    mean_step: Interval | None = None

    @property
    def unranked(self) -> str:
        """Why the cell is not ranked; empty where it may be."""
        return self.proof or "; ".join(self.faults)


def _cell_row(
    task: Task, entry: Entry, phase: Phase, peak: Peak | None, eligibility: Eligibility
) -> CellRow:
    """The row of an entry that has step times in the phase; `peak` is what its device reaches."""
    cell = Cell(setup=entry.setup, phase=phase)
    records = [entry.blocks[block] for block in entry.steps[phase]]
    alone = [record for record in records if record.alone]
    phases = [it for record in records if (it := record.phase(phase))]
    firsts = [it for record in alone or records if (it := record.phase(phase))]
    means = [statistics.fmean(times.values()) for times in entry.means[phase].values()]
    mean_step = median_interval(means)
    samples = [sample for it in phases for sample in it.samples]
    wall = sum(sample.seconds for sample in samples)
    return CellRow(
        cell=cell,
        step=median_interval([*entry.steady[phase].values()]),
        examples_per_second=mean_step.inverted(rows_of(task, phase)),
        gflops=flops(task, phase) / mean_step.estimate / 1e9,
        import_seconds=median_of(it.import_seconds for it in alone),
        build_seconds=median_of(it.build_seconds for it in alone),
        first_call=statistics.median(it.first_call for it in firsts),
        second_call=statistics.median(it.second_call for it in firsts),
        cpu_share=sum(sample.cpu_seconds for sample in samples) / wall,
        involuntary_switches_per_second=sum(it.involuntary_switches for it in samples) / wall,
        memory=_memory(phases),
        peaks=memory_peaks(task, cell, entry.blocks, eligibility.certificate),
        starts=startups(entry, phase),
        steadiness=steadiness(entry, phase),
        latency=latency(entry.blocks, phase),
        efficiency=efficiency(task, phase, entry, peak),
        proof=eligibility.proof,
        faults=eligibility.faults,
        mean_step=mean_step,
    )


def _memory(phases: Sequence[PhaseRecord]) -> Memory:
    counted = [it.memory for it in phases if it.memory]
    names = Memory.model_fields
    medians = {name: median_of(getattr(it, name) for it in counted) for name in names}
    return Memory.model_validate(
        {name: peak if peak is None else int(peak) for name, peak in medians.items()}
    )


class Table(Frozen):
    """One phase of one lane of one group: the cells that may be compared, and which one wins.

    Rows stand fastest first, by their ratio to the baseline; those that share no block with it come
    last, and those that are not ranked after all others. `pairs` are the ratios to the baseline,
    their verdicts corrected over the table's rows; a difference within `margin` (δ) is none, and
    one that is known no better than to ±`precision` has a direction only. `peak` is the rate of a
    large product on the device; `break_evens` say after how many steps a row overtakes the
    baseline, or is overtaken. `floors` are the A/A pairs of the group in this phase. `winner` is
    faster than every other contestant, if there is one; `sentence` says the same in words.
    `disturbed` says what others did in too many blocks for any verdict. `yardsticks` are the rows
    of a reference beside rows of frameworks, by label, with its title: they are ranked, and never
    the winner.
    """

    task: Task
    phase: Phase
    lane: Lane
    device: str
    threads: int
    dtype: str
    baseline: str
    margin: float
    precision: float = USUAL_PRECISION
    floors: tuple[Floor, ...]
    rows: tuple[CellRow, ...]
    pairs: tuple[Pair, ...]
    peak: Peak | None
    break_evens: tuple[BreakEven, ...]
    winner: str | None
    sentence: str
    disturbed: str = ""
    yardsticks: dict[str, str] = Field(default_factory=dict)

    @property
    def contestants(self) -> tuple[str, ...]:
        """The labels of the setups that may win or be recommended, in the order of the rows."""
        ranked = (it.cell.setup.label for it in self.rows if not it.unranked)
        return tuple(it for it in ranked if it not in self.yardsticks)

    @property
    def contest(self) -> tuple[Pair, ...]:
        """The pairs in which no yardstick takes part."""
        return tuple(it for it in self.pairs if not {it.label, it.baseline} & {*self.yardsticks})

    @model_validator(mode="after")
    def _of_its_rows(self) -> Table:
        labels = {it.cell.setup.label for it in self.rows}
        named = {self.baseline, *(it.label for it in self.pairs)}
        if strange := sorted(named - labels):
            raise ValueError(f"the table has no row of {strange[0]!r}")
        return self


def make_table(
    task: Task,
    phase: Phase,
    entries: Iterable[Entry],
    eligibility: Mapping[Setup, Eligibility],
    floors: tuple[Floor, ...],
    precision: float | None,
    references: Mapping[str, str],
) -> tuple[Table, Contest] | None:
    """The table of one phase and lane with its contest; None where nothing was timed in it.

    `precision` is what the run asked for, if it did. `references` are the frameworks that are a
    yardstick beside others, with their titles.
    """
    timed = {entry.setup.label: entry for entry in entries if entry.steps[phase]}
    if not timed:
        return None
    peak = device_peak({it.setup: it.blocks for it in timed.values()})
    rows = {
        label: _cell_row(task, entry, phase, peak, eligibility[entry.setup])
        for label, entry in timed.items()
    }
    ranked = [label for label, row in rows.items() if not row.unranked]
    unranked = {setup: it.unranked for setup, it in eligibility.items()}
    delta, baseline = margin(floors), baseline_of(ranked or rows)
    yardsticks = {
        label: references[entry.setup.framework]
        for label, entry in timed.items()
        if entry.setup.framework in references
    }
    if len(yardsticks) == len(timed):  # nothing else to choose
        yardsticks = {}
    contest = Contest(timed, unranked, baseline, phase, delta, yardsticks)
    labels, setup = contest.labels, timed[contest.labels[0]].setup
    table = Table(
        task=task,
        phase=phase,
        lane=setup.lane,
        device=setup.device,
        threads=setup.threads,
        dtype=setup.dtype,
        margin=delta,
        precision=precision or USUAL_PRECISION,
        floors=floors,
        rows=tuple(rows[label] for label in labels),
        peak=peak,
        break_evens=tuple(
            it
            for label in labels
            if label != baseline
            for it in break_evens(timed[label], timed[baseline], phase)
        ),
        disturbed=contest.disturbed,
        yardsticks=yardsticks,
        **contest.against(baseline),
    )
    return table, contest


class Sweep(Frozen):
    """Tables that differ in numbers of a task alone, as `--set` and `--threads` make them.

    `axes` are the names and values that vary, the one with the most values first; `points` has for
    each combination that was measured the place of its table among the summary's.
    """

    task: str
    phase: Phase
    lane: Lane
    device: str
    dtype: str
    axes: tuple[tuple[str, tuple[int, ...]], ...]
    points: tuple[tuple[tuple[int, ...], int], ...]


def sweeps(tables: Sequence[Table]) -> tuple[Sweep, ...]:
    groups: dict[tuple[object, ...], list[tuple[dict[str, int], int]]] = {}
    for number, table in enumerate(tables):
        if table.phase in THROUGHPUT:
            task, values = _numbers(table)
            key = (task, *values, table.phase, table.lane, table.device, table.dtype)
            groups.setdefault(key, []).append((values, number))
    made = (_sweep(group, tables[group[0][1]]) for group in groups.values())
    return tuple(sweep for sweep in made if sweep)


def _numbers(table: Table) -> tuple[str, dict[str, int]]:
    """The task's name without its numeric settings, and these with the number of threads."""
    base, settings = origin(table.task.name)
    if settings.get("batch_size") == "full":
        settings["batch_size"] = str(table.task.batch)
    numbers = {key: int(value) for key, value in settings.items() if value.isdecimal()}
    rest = ",".join(f"{key}={value}" for key, value in settings.items() if key not in numbers)
    return f"{base}[{rest}]" if rest else base, numbers | {"threads": table.threads}


def _sweep(group: Sequence[tuple[dict[str, int], int]], first: Table) -> Sweep | None:
    values = {name: sorted({point[name] for point, _ in group}) for name in group[0][0]}
    names = [name for name, numbers in values.items() if len(numbers) > 1]
    names.sort(key=lambda name: -len(values[name]))
    if not names:
        return None
    return Sweep(
        task=_numbers(first)[0],
        phase=first.phase,
        lane=first.lane,
        device=first.device,
        dtype=first.dtype,
        axes=tuple((name, tuple(values[name])) for name in names),
        points=tuple((tuple(point[name] for name in names), number) for point, number in group),
    )
