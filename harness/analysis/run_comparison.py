"""Two runs side by side: what became of every cell that both have.

Two runs side by side, beside speed: what became of memory and of quality.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from harness.analysis.cell_metrics import MemoryKind
from harness.analysis.comparable import (
    Apart,
    Basis,
    CellBlocks,
    Fact,
    cell_name,
    facts,
    missing,
    notes,
    same_machine,
)
from harness.analysis.quality import QualityPair, QualityRow, QualityTable, finals_of, paired
from harness.analysis.stats import Interval, median_interval, percent
from harness.analysis.verdicts import LEAST_MARGIN, Shift, Verdict, judged_shifts, shift
from harness.cells import Lane, Phase
from harness.records import RunInfo
from harness.tasks.spec import Frozen, Metric

Pair = tuple[CellBlocks, CellBlocks]
"""One cell in the run before and in the run after."""


class Change(Frozen):
    """How many times as fast a setup is in the second run as in the first.

    `before` and `after` are seconds per step, or ratios to the baseline, by the comparison's basis,
    and `shift` is judged by the same. Where times are compared, `relative` is the shift of the
    ratio to the baseline, in which cancels what the machine did to both; None of the baseline.
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


class Comparison(Frozen):
    """`a` is the run before, `b` the run after; `notes` say what the verdicts do not hold."""

    a: RunInfo
    b: RunInfo
    basis: Basis
    facts: tuple[Fact, ...]
    notes: tuple[str, ...]
    tables: tuple[ChangeTable, ...]
    qualities: tuple[QualityChanges, ...] = ()
    apart: tuple[Apart, ...]


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
    found = {it.key: it for it in theirs}
    apart = [*missing("a", ours, theirs), *missing("b", theirs, ours)]
    pairs: dict[tuple[object, ...], list[Pair]] = defaultdict(list)
    for mine in ours:
        other = found.get(mine.key)
        if other is None:
            continue
        if basis == "ratio" and mine.baseline != other.baseline:
            why = f"its ratios are to {mine.baseline} in one run, to {other.baseline} in the other"
            apart.append(Apart(side="a", cell=cell_name(mine), reason=why))
        elif basis == "time" or (mine.ratios and other.ratios):
            pairs[mine.table].append((mine, other))
    tables = tuple(_table(it, basis) for it in pairs.values())
    return Comparison(
        a=a,
        b=b,
        basis=basis,
        facts=tuple(facts(a, b)),
        notes=(*_together(tables, basis), *notes(a, b, basis, {it.baseline for it in ours})),
        tables=tables,
        qualities=tuple(quality_changes(*trainings)),
        apart=tuple(apart),
    )


def _table(pairs: Sequence[Pair], basis: Basis) -> ChangeTable:
    first = pairs[0][0]
    margin = max(it.margin for pair in pairs for it in pair)
    barred = {
        mine.setup.label: why for mine, other in pairs if (why := mine.unranked or other.unranked)
    }
    times, ratios = {}, {}
    for pair in pairs:
        label = pair[0].setup.label
        times[label] = shift(*_logs(pair, "time"), margin)
        same_baseline = pair[0].baseline == pair[1].baseline
        if same_baseline and all(it.ratios for it in pair):
            ratios[label] = shift(*_logs(pair, "ratio"), margin)
    times, ratios = judged_shifts(times, margin, barred), judged_shifts(ratios, margin, barred)
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
        changes=tuple(_change(pair, basis, times, ratios) for pair in pairs),
        memory=memory_changes(pairs) if basis == "time" else (),
    )


def _change(pair: Pair, basis: Basis, times: dict[str, Shift], ratios: dict[str, Shift]) -> Change:
    label = pair[0].setup.label
    shown = [median_interval(it.step_seconds if basis == "time" else it.ratios) for it in pair]
    return Change(
        label=label,
        before=shown[0],
        after=shown[1],
        shift=times[label] if basis == "time" else ratios[label],
        relative=ratios.get(label) if basis == "time" else None,
    )


def _logs(pair: Pair, basis: Basis) -> tuple[list[float], list[float]]:
    """Logarithms of speeds, before and after."""
    mine, other = (
        [-math.log(time) for time in it.step_seconds]
        if basis == "time"
        else [math.log(ratio) for ratio in it.ratios]
        for it in pair
    )
    return mine, other


def _together(tables: Sequence[ChangeTable], basis: Basis) -> Iterator[str]:
    """That all times moved in one direction, as they do where the machine changed."""
    shifts = [it.shift for table in tables for it in table.changes]
    speeds = [it.speed.estimate for it in shifts]
    told = any(it.verdict in ("faster", "slower") for it in shifts)
    if basis == "time" and told and len(speeds) > 2 and (max(speeds) < 1 or min(speeds) > 1):
        sizes = sorted(abs(it - 1) for it in speeds)
        way = "slower" if max(speeds) < 1 else "faster"
        yield (
            f"Every cell is {way} than before, by {percent(sizes[0])} to {percent(sizes[-1])}. "
            "A machine at another moment does just that; most of it cancels in the ratios to the "
            "baseline."
        )


BEFORE = "before"
"""What the first run's trainings are called where a pair names its baseline."""

MemoryVerdict = Literal["more", "less", "equivalent", "cannot tell"]
_WORDS: Mapping[Verdict, MemoryVerdict] = {
    "faster": "more",
    "slower": "less",
    "equivalent": "equivalent",
}


class MemoryChange(Frozen):
    """How many times as much memory a setup takes at its peak in the second run.

    `before` and `after` are median peaks in bytes, of the `kind` that is scarce there. `times` has
    the exact interval of two independent samples, and the verdict is that of the exact tests behind
    it, corrected over the table: as of speeds, see `shifts`.
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
    """The trainings of one arena that both runs have."""

    task: str
    digest: str
    metric: Metric
    device: str
    threads: int
    dtype: str
    changes: tuple[QualityChange, ...]


def memory_changes(pairs: Iterable[tuple[CellBlocks, CellBlocks]]) -> tuple[MemoryChange, ...]:
    """Of one table's cells those whose peaks both runs counted, and counted alike."""
    counted = {
        a.setup.label: (a, b) for a, b in pairs if a.peaks and b.peaks and a.scarce == b.scarce
    }
    shifts = {
        label: shift(_logs_of_seeds(a.peaks), _logs_of_seeds(b.peaks), LEAST_MARGIN)
        for label, (a, b) in counted.items()
    }
    return tuple(
        MemoryChange(
            label=label,
            kind=counted[label][0].scarce,
            before=round(statistics.median(counted[label][0].peaks)),
            after=round(statistics.median(counted[label][1].peaks)),
            times=it.speed,
            verdict=_WORDS.get(it.verdict, "cannot tell"),
            reason=it.reason,
        )
        for label, it in judged_shifts(shifts, LEAST_MARGIN, {}).items()
    )


def _logs_of_seeds(sizes: Iterable[int]) -> list[float]:
    return [math.log(it) for it in sizes]


def quality_changes(
    before: Iterable[QualityTable], after: Iterable[QualityTable]
) -> Iterator[QualityChanges]:
    """Every arena in which both runs trained one setup at least."""
    there = {_arena(it): it for it in after}
    for mine in before:
        other = there.get(_arena(mine))
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


def _arena(table: QualityTable) -> tuple[object, ...]:
    return (table.task.digest, table.device, table.threads, table.dtype)


def _changes(mine: QualityTable, other: QualityTable) -> Iterator[QualityChange]:
    ours, theirs = _by_setup(mine.rows), _by_setup(other.rows)
    names = {it: " ".join(it) for it in ours if it in theirs}
    sides = {name: (finals_of(theirs[it]), finals_of(ours[it])) for it, name in names.items()}
    for (lane, label), pair in zip(names, paired(mine.task, sides, BEFORE), strict=True):
        yield QualityChange(
            label=label,
            lane=lane,
            before=ours[lane, label].final,
            after=theirs[lane, label].final,
            pair=pair.model_copy(update={"label": label}),
        )


def _by_setup(rows: Sequence[QualityRow]) -> dict[tuple[Lane, str], QualityRow]:
    return {(it.setup.lane, it.setup.label): it for it in rows}
