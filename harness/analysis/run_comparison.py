"""Two runs side by side: which cells may be compared, on what basis, and how they changed.

Each cell is compared with its counterpart in the other run by speed and memory, each setup by the
quality of its trainings. A cell without a counterpart is listed with the reason.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from harness.adapter import Setting
from harness.analysis.cell_metrics import MemoryKind, scarce
from harness.analysis.pairs import Entry, entries, log_ratios
from harness.analysis.quality import QualityPair, QualityTable, finals_of, paired_by_seed
from harness.analysis.stats import Interval, median_interval, percent
from harness.analysis.summary import Summary
from harness.analysis.verdicts import LEAST_MARGIN, Shift, Verdict, compare_samples, judged
from harness.cells import Lane, Phase, Setup
from harness.records import Positive, Run, RunInfo
from harness.tasks.spec import Frozen, Metric

MACHINE_FACTS = ("cpu", "cores", "cores_of_machine", "gpus", "architecture", "virtual")
"""Facts that must be equal for two runs to share a machine; its system may be updated."""
SAME_MEMORY = 0.01
"""The share by which its memory may differ, which is what kernels keep to themselves."""


def same_machine(one: Mapping[str, Setting], other: Mapping[str, Setting]) -> bool:
    """Whether two fingerprints may be those of one machine."""
    return not differing_facts(one, other)


def differing_facts(one: Mapping[str, Setting], other: Mapping[str, Setting]) -> list[str]:
    """Facts that distinguish two machines, except those that an older fingerprint lacks."""
    both = one.keys() & other.keys()
    differing = [name for name in MACHINE_FACTS if name in both and one[name] != other[name]]
    sizes = [it.get("memory_bytes") for it in (one, other)]
    known = [float(it) for it in sizes if isinstance(it, int | float)]
    if len(known) == 2 and not math.isclose(*known, rel_tol=SAME_MEMORY):
        differing.append("memory_bytes")
    return differing


class CellBlocks(Frozen):
    """One cell of a run, one value a block, in the order of its blocks.

    `step_seconds` are medians over rounds; `ratios` say how many times as fast the cell was as
    `baseline` in the blocks that both finished, and are empty for the baseline itself. `peaks` are
    bytes of the memory that is `scarce`, empty in a phase that the process did not begin with.
    `unranked` says why the cell may not be ranked; `margin` is its table's δ.
    """

    setup: Setup
    phase: Phase
    step_seconds: Annotated[tuple[Positive, ...], Field(min_length=1)]
    baseline: str
    ratios: tuple[Positive, ...]
    margin: Annotated[float, Field(ge=0, le=1e100)]
    unranked: str = ""
    scarce: MemoryKind = "total_rss"
    peaks: tuple[Annotated[int, Field(ge=1, lt=2**63)], ...] = ()

    @property
    def table(self) -> tuple[object, ...]:
        return (*self.setup.ranking, self.phase)

    @property
    def key(self) -> tuple[object, ...]:
        """What a cell of another run must share. Names of tasks do not count, digests do."""
        return (*self.table[1:], self.setup.label)

    def values(self, basis: Basis) -> tuple[float, ...]:
        """What is compared: times of steps, or ratios."""
        return self.step_seconds if basis == "time" else self.ratios

    def logs(self, basis: Basis) -> list[float]:
        """Logarithms of speeds, or of ratios of speeds."""
        sign = -1 if basis == "time" else 1
        return [sign * math.log(value) for value in self.values(basis)]


def cell_blocks(run: Run, summary: Summary) -> tuple[CellBlocks, ...]:
    """Every cell of a run's tables, one value a block."""
    good, cells = entries(run.records), []
    for table in summary.tables:
        timed = {row.cell.setup.label: good[row.cell.setup] for row in table.rows}
        baseline = timed[table.baseline].steps[table.phase]
        kind = scarce(table.device, [row.peaks for row in table.rows if not row.unranked])
        for row, (label, entry) in zip(table.rows, timed.items(), strict=True):
            ratios = log_ratios(entry.steps[table.phase], baseline)
            cell = CellBlocks(
                setup=entry.setup,
                phase=table.phase,
                step_seconds=tuple(entry.steady[table.phase].values()),
                baseline=table.baseline,
                ratios=tuple(map(math.exp, ratios.values())) if label != table.baseline else (),
                margin=table.margin,
                unranked=row.unranked,
                scarce=kind,
                peaks=_peaks(entry, table.phase, kind),
            )
            cells.append(cell)
    return tuple(cells)


def cell_name(cell: CellBlocks) -> str:
    """A cell in words, e.g. `digits-mlp train, pytorch:eager, identical, cpu, 2 threads`."""
    setup = cell.setup
    threads = f"{setup.threads} thread{'s' * (setup.threads != 1)}"
    where = (setup.lane, setup.device, threads, setup.dtype)
    return ", ".join((f"{setup.task} {cell.phase}", setup.label, *where))


def _peaks(entry: Entry, phase: Phase, kind: MemoryKind) -> tuple[int, ...]:
    field = {"total_rss": "total_peak_rss", "device_allocated": "device_peak_allocated"}[kind]
    # A full training alone has no phases.
    firsts = [it.phases[0] for it in entry.records if it.phases]
    memories = [it.memory for it in firsts if it.phase == phase and it.memory]
    return tuple(peak for it in memories if (peak := getattr(it, field)))


Basis = Literal["time", "ratio"]
"""`time`: steps of one machine; `ratio`: each setup's ratio to the baseline of its own run."""
Both = tuple[CellBlocks, CellBlocks]
"""One cell in the run before and in the run after."""


class Unmatched(Frozen):
    """A cell of one run with no counterpart in the other; `side` is the run that has it."""

    side: Literal["a", "b"]
    cell: str
    reason: str


class Fact(Frozen):
    """Something on which the runs differ; None where a run lacks it."""

    what: str
    a: Setting
    b: Setting


class Change(Frozen):
    """How many times as fast a setup is in the second run as in the first.

    `before` and `after` are seconds per step, or ratios to the baseline, by the comparison's basis,
    as is `shift`. Where times are compared, `relative` is the shift of the ratio to the baseline,
    without what the machine did to both; None of the baseline.
    """

    label: str
    before: Interval
    after: Interval
    shift: Shift
    relative: Shift | None


class ChangeTable(Frozen):
    """The cells of one phase, lane and place; a difference in speed within `margin` (δ) is none.

    Memory is compared on one machine only.
    """

    task: str
    digest: str
    phase: Phase
    lane: Lane
    device: str
    threads: int
    dtype: str
    baseline: str
    margin: float
    changes: tuple[Change, ...]
    memory: tuple[MemoryChange, ...] = ()


MemoryVerdict = Literal["more", "less", "equivalent", "cannot tell"]
MEMORY: Mapping[Verdict, MemoryVerdict] = {
    "faster": "more",
    "slower": "less",
    "equivalent": "equivalent",
    "cannot tell": "cannot tell",
}
"""`compare_samples` calls the larger amount the faster one."""


class MemoryChange(Frozen):
    """How many times as much memory a setup takes at its peak in the second run.

    `before` and `after` are median peaks in bytes, of the `kind` that is scarce. `times` and the
    verdict come from the rule of speeds: two independent samples, corrected over the table.
    """

    label: str
    kind: MemoryKind
    before: int
    after: int
    times: Interval
    verdict: MemoryVerdict
    reason: str = ""


class QualityChange(Frozen):
    """Medians over seeds of a setup's final values in both runs, and their difference by seed."""

    label: str
    lane: Lane
    before: float
    after: float
    pair: QualityPair


class QualityChanges(Frozen):
    """The trainings of one group that both runs have."""

    task: str
    digest: str
    metric: Metric
    device: str
    threads: int
    dtype: str
    changes: tuple[QualityChange, ...]


class Comparison(Frozen):
    """`a` is the run before, `b` the run after; `notes` say what the verdicts do not hold."""

    a: RunInfo
    b: RunInfo
    basis: Basis
    facts: tuple[Fact, ...]
    notes: tuple[str, ...]
    tables: tuple[ChangeTable, ...]
    qualities: tuple[QualityChanges, ...] = ()
    apart: tuple[Unmatched, ...]


def compare_runs(
    a: RunInfo,
    ours: Sequence[CellBlocks],
    b: RunInfo,
    theirs: Sequence[CellBlocks],
    trainings: tuple[Sequence[QualityTable], Sequence[QualityTable]] = ((), ()),
) -> Comparison:
    """Every cell that both runs have, judged; those that one of them lacks, with the reason.

    On one machine the times of steps are compared, on two only ratios to the same baseline. Final
    values of the same seeds are compared wherever they were trained.
    """
    basis: Basis = "time" if same_machine(a.machine, b.machine) else "ratio"
    there = {it.key: it for it in theirs}
    unmatched = [*missing("a", ours, theirs), *missing("b", theirs, ours)]
    pairs: dict[tuple[object, ...], list[Both]] = defaultdict(list)
    for mine in ours:
        other = there.get(mine.key)
        if other is None:
            continue
        if basis == "ratio" and mine.baseline != other.baseline:
            why = f"its ratios are to {mine.baseline} in one run, to {other.baseline} in the other"
            unmatched.append(Unmatched(side="a", cell=cell_name(mine), reason=why))
        elif basis == "time" or (mine.ratios and other.ratios):
            pairs[mine.table].append((mine, other))
    tables = tuple(_table(it, basis) for it in pairs.values())
    return Comparison(
        a=a,
        b=b,
        basis=basis,
        facts=tuple(facts(a, b)),
        notes=tuple(notes(a, b, basis, {it.baseline for it in ours}, tables)),
        tables=tables,
        qualities=tuple(quality_changes(*trainings)),
        apart=tuple(unmatched),
    )


def _table(pairs: Sequence[Both], basis: Basis) -> ChangeTable:
    first = pairs[0][0]
    margin = max(it.margin for pair in pairs for it in pair)
    barred = {
        mine.setup.label: why for mine, other in pairs if (why := mine.unranked or other.unranked)
    }
    related = [
        (mine, other)
        for mine, other in pairs
        if mine.baseline == other.baseline and mine.ratios and other.ratios
    ]
    shifts = ratios = _shifts(related, lambda it: it.logs("ratio"), margin, barred)
    if basis == "time":
        shifts = _shifts(pairs, lambda it: it.logs("time"), margin, barred)
    return ChangeTable(
        task=first.setup.task,
        digest=first.setup.digest,
        phase=first.phase,
        lane=first.setup.lane,
        device=first.setup.device,
        threads=first.setup.threads,
        dtype=first.setup.dtype,
        baseline=first.baseline,
        margin=margin,
        changes=tuple(
            Change(
                label=mine.setup.label,
                before=median_interval(mine.values(basis)),
                after=median_interval(other.values(basis)),
                shift=shifts[mine.setup.label],
                relative=ratios.get(mine.setup.label) if basis == "time" else None,
            )
            for mine, other in pairs
        ),
        memory=memory_changes(pairs) if basis == "time" else (),
    )


def _shifts(
    pairs: Iterable[Both],
    logs: Callable[[CellBlocks], list[float]],
    margin: float,
    barred: Mapping[str, str] | None = None,
) -> dict[str, Shift]:
    shifts = [compare_samples(a.setup.label, logs(a), logs(b), margin) for a, b in pairs]
    return {it.label: it for it in judged(shifts, barred)}


def memory_changes(pairs: Iterable[Both]) -> tuple[MemoryChange, ...]:
    """Of one table's cells those whose peaks both runs counted, and counted alike."""
    counted = [(a, b) for a, b in pairs if a.peaks and b.peaks and a.scarce == b.scarce]
    shifts = _shifts(counted, lambda it: [*map(math.log, it.peaks)], LEAST_MARGIN)
    return tuple(
        MemoryChange(
            label=shift.label,
            kind=before.scarce,
            before=round(statistics.median(before.peaks)),
            after=round(statistics.median(after.peaks)),
            times=shift.speed,
            verdict=MEMORY[shift.verdict],
            reason=shift.reason,
        )
        for shift, (before, after) in zip(shifts.values(), counted, strict=True)
    )


def quality_changes(
    before: Iterable[QualityTable], after: Iterable[QualityTable]
) -> Iterator[QualityChanges]:
    """Every group in which both runs trained one setup at least."""

    def group(table: QualityTable) -> tuple[object, ...]:
        return (table.task.digest, table.device, table.threads, table.dtype)

    there = {group(table): table for table in after}
    for mine in before:
        other = there.get(group(mine))
        if other is not None and (changes := tuple(_changes(mine, other))):
            yield QualityChanges(
                task=mine.task.name,
                digest=mine.task.digest,
                metric=mine.task.metric,
                device=mine.device,
                threads=mine.threads,
                dtype=mine.dtype,
                changes=changes,
            )


def _changes(mine: QualityTable, other: QualityTable) -> Iterator[QualityChange]:
    ours, theirs = (
        {(row.setup.lane, row.setup.label): row for row in table.rows} for table in (mine, other)
    )
    names = {it: " ".join(it) for it in ours if it in theirs}
    sides = {name: (finals_of(theirs[it]), finals_of(ours[it])) for it, name in names.items()}
    for (lane, label), pair in zip(names, paired_by_seed(mine.task, sides, "before"), strict=True):
        yield QualityChange(
            label=label,
            lane=lane,
            before=ours[lane, label].final,
            after=theirs[lane, label].final,
            pair=pair.model_copy(update={"label": label}),
        )


def missing(
    side: Literal["a", "b"], ours: Iterable[CellBlocks], theirs: Sequence[CellBlocks]
) -> Iterator[Unmatched]:
    """Cells of one side only, each with its first difference from the nearest one of the other."""
    there = {it.key for it in theirs}
    near: dict[tuple[str, Phase], list[Setup]] = defaultdict(list)
    for cell in theirs:
        near[cell.setup.label, cell.phase].append(cell.setup)
    for cell in ours:
        if cell.key not in there:
            setup, others = cell.setup, near[cell.setup.label, cell.phase]
            same_name = [it for it in others if it.task == setup.task]
            same_task = [it for it in others if it.digest == setup.digest]
            differences = [_differing(setup, it) for it in (*same_name, *same_task)]
            closest = min(differences, key=len, default=["the other run has no such cell"])
            yield Unmatched(side=side, cell=cell_name(cell), reason=closest[0])


def _differing(one: Setup, other: Setup) -> list[str]:
    if one.digest != other.digest:
        return [f"the task is another one there: its digest is {other.digest}, not {one.digest}"]
    return [
        f"the other run has it with {name} {getattr(other, name)} only"
        for name in ("lane", "dtype", "threads", "device")
        if getattr(one, name) != getattr(other, name)
    ]


def facts(a: RunInfo, b: RunInfo) -> Iterator[Fact]:
    sides: tuple[tuple[str, Mapping[str, Setting], Mapping[str, Setting]], ...] = (
        ("", {"commit": a.commit}, {"commit": b.commit}),
        ("", a.versions, b.versions),
        ("", a.machine, b.machine),
        ("environment ", a.environment, b.environment),
    )
    seen: set[str] = set()
    for prefix, one, other in sides:
        for name in dict.fromkeys((*one, *other)):
            what = f"{prefix}{name}"
            if one.get(name) != other.get(name) and what not in seen:
                seen.add(what)
                yield Fact(what=what, a=one.get(name), b=other.get(name))


def notes(
    a: RunInfo, b: RunInfo, basis: Basis, baselines: Iterable[str], tables: Sequence[ChangeTable]
) -> Iterator[str]:
    if basis == "time":
        shifts = [it.shift for table in tables for it in table.changes]
        speeds = sorted(it.speed.estimate for it in shifts)
        changed = any(it.verdict in ("faster", "slower") for it in shifts)
        # All times move in one direction where the machine changed.
        if changed and len(speeds) > 2 and (speeds[-1] < 1 or speeds[0] > 1):
            sizes = sorted(abs(it - 1) for it in speeds)
            way = "slower" if speeds[-1] < 1 else "faster"
            yield (
                f"Every cell is {way} than before, by {percent(sizes[0])} to {percent(sizes[-1])}. "
                "A machine at another moment does just that; most of it cancels in the ratios to "
                "the baseline."
            )
        yield (
            "The runs were made at two times on a machine with one fingerprint. What else changed "
            "between them is in no interval: only a run that measures both side by side takes it "
            "out."
        )
        return
    yield (
        "The machines differ, so no times are compared, only each setup’s ratio to the same "
        "baseline within its own run. That is weaker: a ratio depends on the machine too, and no "
        "interval here says how much."
    )
    for name in sorted({it.partition(":")[0] for it in baselines}):
        one, other = a.versions.get(name), b.versions.get(name)
        if one != other:
            yield (
                f"The baseline itself is another: {name} {one or 'unknown'} before, "
                f"{other or 'unknown'} after. A change of a ratio may be the baseline’s."
            )
