"""How good the models get: final values per seed, time to the target, and the spread."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence

from harness.cells import Setup
from harness.records import Quality, Record
from harness.tasks.frozen import Frozen
from harness.tasks.spec import Task


class TrainingRow(Frozen):
    """One full training. `seconds_to_target` is None where the target was not reached."""

    setup: Setup
    quality: Quality
    final: float
    seconds: float
    seconds_to_target: float | None


class Spread(Frozen):
    """The largest difference of final values between two setups trained from the same seed."""

    value: float
    seed: int
    setups: tuple[str, str]


class QualityRow(Frozen):
    """All trainings of one setup; medians over them.

    `seconds_to_target` is None where the median training did not reach the target: not reached
    counts as an infinite time and is never dropped. `curve` holds (seconds, value) after each
    epoch that every training has.
    """

    setup: Setup
    trainings: tuple[TrainingRow, ...]
    final: float
    seconds: float
    reached: int
    seconds_to_target: float | None
    curve: tuple[tuple[float, float], ...]


class QualityTable(Frozen):
    """One arena's trainings; `spread` is None where no two setups share a seed."""

    task: Task
    device: str
    threads: int
    dtype: str
    seeds: tuple[int, ...]
    rows: tuple[QualityRow, ...]
    spread: Spread | None


def training(task: Task, setup: Setup, quality: Quality) -> TrainingRow:
    """A training's final value and the time on the clock until it first met the target."""
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


def quality_table(task: Task, setups: Mapping[Setup, Sequence[Record]]) -> QualityTable | None:
    """The trainings of one arena, or None where nothing was trained."""
    trained = {
        setup: sorted(
            (training(task, setup, it.quality) for it in records if it.quality),
            key=lambda row: row.quality.seed,
        )
        for setup, records in setups.items()
    }
    rows = [_row(setup, trainings) for setup, trainings in trained.items() if trainings]
    if not rows:
        return None
    setup = rows[0].setup
    return QualityTable(
        task=task,
        device=setup.device,
        threads=setup.threads,
        dtype=setup.dtype,
        seeds=tuple(sorted({it.quality.seed for row in rows for it in row.trainings})),
        rows=tuple(sorted(rows, key=lambda row: row.setup.label)),
        spread=spread(rows),
    )


def spread(rows: Sequence[QualityRow]) -> Spread | None:
    """The largest difference at the same seed; the same seed means the same start and batches."""
    finals: dict[int, list[tuple[float, str]]] = defaultdict(list)
    for row in rows:
        for it in row.trainings:
            finals[it.quality.seed].append((it.final, row.setup.label))
    spreads = [
        Spread(value=abs(one[0] - other[0]), seed=seed, setups=(one[1], other[1]))
        for seed, values in finals.items()
        for one, other in itertools.combinations(sorted(values), 2)
        if one[1] != other[1]
    ]
    return max(spreads, key=lambda it: it.value, default=None)


def _row(setup: Setup, trainings: Sequence[TrainingRow]) -> QualityRow:
    times = [math.inf if (it := row.seconds_to_target) is None else it for row in trainings]
    to_target = statistics.median(times)
    return QualityRow(
        setup=setup,
        trainings=tuple(trainings),
        final=statistics.median(row.final for row in trainings),
        seconds=statistics.median(row.seconds for row in trainings),
        reached=sum(math.isfinite(it) for it in times),
        seconds_to_target=to_target if math.isfinite(to_target) else None,
        curve=_curve(trainings),
    )


def _curve(trainings: Sequence[TrainingRow]) -> tuple[tuple[float, float], ...]:
    """Over epochs: the median of the seconds so far, and of the quality."""
    elapsed = [
        list(itertools.accumulate(epoch.seconds for epoch in row.quality.epochs))
        for row in trainings
    ]
    values = [[epoch.quality for epoch in row.quality.epochs] for row in trainings]
    return tuple(
        (statistics.median(times), statistics.median(qualities))
        for times, qualities in zip(
            zip(*elapsed, strict=False), zip(*values, strict=False), strict=True
        )
    )
