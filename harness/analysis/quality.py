"""How good the models get: final values per seed, time to the target, and the spread."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from harness.analysis.intervals import Interval, median_interval
from harness.analysis.quality_pairs import QualityPair, quality_pairs
from harness.analysis.to_target import TimeToTarget, time_to_target
from harness.cells import Setup
from harness.records import NotNegative, Quality, Record
from harness.tasks.frozen import Frozen
from harness.tasks.spec import Task

QUARTILES_FROM = 8
"""With fewer seeds the band of a curve shows all of them."""


class TrainingRow(Frozen):
    """One full training. `seconds_to_target` is None where the target was not reached."""

    setup: Setup
    quality: Quality
    final: NotNegative
    seconds: float
    seconds_to_target: float | None


class Spread(Frozen):
    """The largest difference of final values between two setups trained from the same seed."""

    value: float
    seed: int
    setups: tuple[str, str]


class Band(Frozen):
    """A setup's trainings after one epoch, counted from 1: medians over seeds, and their range.

    `seconds` is the training time so far. `low` to `high` are the quartiles from QUARTILES_FROM
    seeds on (`quartiles` says so), else the worst and the best seed's value.
    """

    epoch: int
    seconds: float
    quality: float
    low: float
    high: float
    quartiles: bool


class QualityRow(Frozen):
    """All trainings of one setup; medians over them, with intervals over seeds.

    `seconds_to_target` is None where the median training did not reach the target: not reached
    counts as an infinite time and is never dropped; `to_target` says so with an interval, and is
    None where the task has no target. `diverged` lists the seeds whose training ended in NaN:
    they have no final value and count as not reached. `curve` holds (seconds, value) after each
    epoch that every training has, `bands` the same with its spread.
    """

    setup: Setup
    trainings: tuple[TrainingRow, ...]
    diverged: tuple[int, ...] = ()
    final: float
    final_interval: Interval
    seconds: float
    reached: int
    seconds_to_target: float | None
    to_target: TimeToTarget | None
    curve: tuple[tuple[float, float], ...]
    bands: tuple[Band, ...]


class QualityTable(Frozen):
    """One arena's trainings; `spread` is None where no two setups share a seed.

    `pairs` compare each setup with `baseline` at the same seeds.
    """

    task: Task
    device: str
    threads: int
    dtype: str
    seeds: tuple[int, ...]
    rows: tuple[QualityRow, ...]
    spread: Spread | None
    baseline: str
    pairs: tuple[QualityPair, ...]


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


def quality_table(
    task: Task,
    setups: Mapping[Setup, Sequence[Record]],
    diverged: Iterable[Record] = (),
    baseline: str | None = None,
) -> QualityTable | None:
    """The trainings of one arena, or None where nothing was trained.

    `diverged` are the arena's records of that status; `baseline` is the label to compare with,
    where it was trained: else the first by name.
    """
    trained = {
        setup: sorted(
            (training(task, setup, it.quality) for it in records if it.quality),
            key=lambda row: row.quality.seed,
        )
        for setup, records in setups.items()
    }
    lost = _diverged_seeds(setups, diverged)
    rows = sorted(
        (
            _row(task, setup, trainings, lost.get(setup, ()))
            for setup, trainings in trained.items()
            if trainings
        ),
        key=lambda row: row.setup.label,
    )
    if not rows:
        return None
    setup = rows[0].setup
    labels = [row.setup.label for row in rows]
    first = baseline if baseline in labels else labels[0]
    assert first is not None
    finals = {row.setup.label: finals_of(row) for row in rows}
    return QualityTable(
        task=task,
        device=setup.device,
        threads=setup.threads,
        dtype=setup.dtype,
        seeds=tuple(sorted({it.quality.seed for row in rows for it in row.trainings})),
        rows=tuple(rows),
        spread=spread(rows),
        baseline=first,
        pairs=quality_pairs(task, finals, first),
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


def _row(
    task: Task, setup: Setup, trainings: Sequence[TrainingRow], diverged: Sequence[int]
) -> QualityRow:
    times = [math.inf if (it := row.seconds_to_target) is None else it for row in trainings]
    to_target = time_to_target(times + [math.inf] * len(diverged))
    bands = _bands(trainings)
    finals = median_interval([row.final for row in trainings], of="seeds")
    return QualityRow(
        setup=setup,
        trainings=tuple(trainings),
        diverged=tuple(diverged),
        final=finals.estimate,
        final_interval=finals,
        seconds=statistics.median(row.seconds for row in trainings),
        reached=to_target.reached,
        seconds_to_target=to_target.estimate,
        to_target=None if task.target is None else to_target,
        curve=tuple((it.seconds, it.quality) for it in bands),
        bands=bands,
    )


def finals_of(row: QualityRow) -> dict[int, float | None]:
    """Final values by seed, None where the training diverged; a seed's last training counts."""
    finals: dict[int, float | None] = dict.fromkeys(row.diverged)
    return finals | {it.quality.seed: it.final for it in row.trainings}


def _diverged_seeds(
    setups: Mapping[Setup, Sequence[Record]], diverged: Iterable[Record]
) -> dict[Setup, list[int]]:
    """Seeds of trainings that diverged.

    One that did so in its first epoch has kept nothing: its seed is the one from which the others
    of its block were trained.
    """
    of_block = {
        it.block: it.quality.seed for records in setups.values() for it in records if it.quality
    }
    trained = {
        setup: {it.quality.seed for it in records if it.quality}
        for setup, records in setups.items()
    }
    lost: dict[Setup, set[int]] = defaultdict(set)
    for it in diverged:
        seed = it.quality.seed if it.quality else of_block.get(it.block)
        if seed is not None and seed not in trained.get(it.setup, ()):
            lost[it.setup].add(seed)
    return {setup: sorted(seeds) for setup, seeds in lost.items()}


def _bands(trainings: Sequence[TrainingRow]) -> tuple[Band, ...]:
    """Epoch by epoch, as far as every training has come."""
    elapsed = [
        list(itertools.accumulate(epoch.seconds for epoch in row.quality.epochs))
        for row in trainings
    ]
    values = [[epoch.quality for epoch in row.quality.epochs] for row in trainings]
    columns = zip(zip(*elapsed, strict=False), zip(*values, strict=False), strict=True)
    quartiles = len(trainings) >= QUARTILES_FROM
    bands = []
    for epoch, (times, qualities) in enumerate(columns, 1):
        low, high = min(qualities), max(qualities)
        if quartiles:
            low, _, high = statistics.quantiles(qualities, n=4, method="inclusive")
        bands.append(
            Band(
                epoch=epoch,
                seconds=statistics.median(times),
                quality=statistics.median(qualities),
                low=low,
                high=high,
                quartiles=quartiles,
            )
        )
    return tuple(bands)
