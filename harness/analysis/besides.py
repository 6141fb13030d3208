"""Two runs side by side, beside speed: what became of memory and of quality."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from harness.analysis.blocks import CellBlocks
from harness.analysis.intervals import Interval
from harness.analysis.memory import MemoryKind
from harness.analysis.quality import QualityRow, QualityTable, finals_of
from harness.analysis.quality_pairs import QualityPair, paired
from harness.analysis.shifts import judged, shift
from harness.analysis.verdicts import LEAST_MARGIN, Verdict
from harness.cells import Lane
from harness.tasks.frozen import Frozen
from harness.tasks.spec import Metric

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
        label: shift(_logs(a.peaks), _logs(b.peaks), LEAST_MARGIN)
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
        for label, it in judged(shifts, LEAST_MARGIN, {}).items()
    )


def _logs(sizes: Iterable[int]) -> list[float]:
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
