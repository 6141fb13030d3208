"""How good the models get: final values by seed, time to the target, and which setups are equal.

Setups are compared seed by seed: the same seed means the same start and the same batches.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from harness.analysis.pairs import baseline_of
from harness.analysis.stats import (
    LEVEL,
    Interval,
    TimeToTarget,
    few_bad_p,
    median_interval,
    sign_p,
    time_to_target,
)
from harness.analysis.verdicts import MOST_MARGIN, Answer, Decision, Evidence, decide_together
from harness.cells import Setup
from harness.records import NotNegative, Quality, Record
from harness.tasks.metrics import METRICS
from harness.tasks.spec import Frozen, Task

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

    `seconds` is the training time so far. `low` to `high` are the `quartiles` from QUARTILES_FROM
    seeds on, else the range.
    """

    epoch: int
    seconds: float
    quality: float
    low: float
    high: float
    quartiles: bool


class QualityRow(Frozen):
    """All trainings of one setup; medians over them, with intervals over seeds.

    A training that did not reach the target counts as an infinite time. `seconds_to_target` is None
    where the median is infinite, `to_target` where the task has no target. `diverged` are the seeds
    whose training ended in NaN: they have no final value and count as not reached. `curve` holds
    (seconds, value) after each epoch that every training has, `bands` the same with its spread.
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
    """The trainings of one group, in pairs with `baseline` at the same seeds.

    `spread` is None where no two setups share a seed.
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
    task: Task, setups: Mapping[Setup, Sequence[Record]], diverged: Iterable[Record] = ()
) -> QualityTable | None:
    """The trainings of one group, of which some `diverged`; None where nothing was trained."""
    seeds_of_blocks: dict[int, int] = {}
    trained: dict[Setup, list[TrainingRow]] = defaultdict(list)
    for setup, records in setups.items():
        for record in records:
            if record.quality:
                seeds_of_blocks[record.block] = record.quality.seed
                trained[setup].append(training(task, setup, record.quality))
    lost: dict[Setup, set[int]] = defaultdict(set)
    for record in diverged:
        # One that diverged in its first epoch has kept nothing: its seed is that of its block.
        seed = record.quality.seed if record.quality else seeds_of_blocks.get(record.block)
        if seed is not None:
            lost[record.setup].add(seed)
    rows = [_row(task, setup, trainings, lost[setup]) for setup, trainings in trained.items()]
    if not rows:
        return None
    rows.sort(key=lambda row: row.setup.label)
    setup, finals = rows[0].setup, {row.setup.label: finals_of(row) for row in rows}
    baseline = baseline_of(finals)
    return QualityTable(
        task=task,
        device=setup.device,
        threads=setup.threads,
        dtype=setup.dtype,
        seeds=tuple(sorted({it.quality.seed for row in rows for it in row.trainings})),
        rows=tuple(rows),
        spread=spread(rows),
        baseline=baseline,
        pairs=quality_pairs(task, finals, baseline),
    )


def spread(rows: Sequence[QualityRow]) -> Spread | None:
    """The largest difference at the same seed; the same seed means the same start and batches."""
    finals: dict[int, list[tuple[float, str]]] = defaultdict(list)
    for row in rows:
        for trained in row.trainings:
            finals[trained.quality.seed].append((trained.final, row.setup.label))
    spreads = [
        Spread(value=abs(one[0] - other[0]), seed=seed, setups=(one[1], other[1]))
        for seed, values in finals.items()
        for one, other in itertools.combinations(sorted(values), 2)
        if one[1] != other[1]
    ]
    return max(spreads, key=lambda it: it.value, default=None)


def _row(task: Task, setup: Setup, trainings: list[TrainingRow], lost: set[int]) -> QualityRow:
    """`lost` are the seeds of trainings that diverged; some were trained after all."""
    trainings.sort(key=lambda row: row.quality.seed)
    diverged = sorted(lost - {row.quality.seed for row in trainings})
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


def _bands(trainings: Sequence[TrainingRow]) -> tuple[Band, ...]:
    """Epoch by epoch, as far as every training has come."""
    elapsed = [0.0] * len(trainings)
    quartiles = len(trainings) >= QUARTILES_FROM
    bands = []
    columns = zip(*(row.quality.epochs for row in trainings), strict=False)
    for number, epochs in enumerate(columns, 1):
        elapsed = [time + epoch.seconds for time, epoch in zip(elapsed, epochs, strict=True)]
        qualities = [epoch.quality for epoch in epochs]
        low, high = min(qualities), max(qualities)
        if quartiles:
            low, _, high = statistics.quantiles(qualities, n=4, method="inclusive")
        bands.append(
            Band(
                epoch=number,
                seconds=statistics.median(elapsed),
                quality=statistics.median(qualities),
                low=low,
                high=high,
                quartiles=quartiles,
            )
        )
    return tuple(bands)


QualityVerdict = Literal["equivalent", "differs", "cannot tell"]
WORDS: Mapping[Answer, QualityVerdict] = {
    "above": "differs",
    "below": "differs",
    "equivalent": "equivalent",
    "cannot tell": "cannot tell",
}
Finals = Mapping[int, float | None]
"""Final values by seed; None where the training diverged."""
SHARE = 0.9
"""Where two setups are equally good, so many of all trainings end within the metric's margin."""


class QualityPair(Frozen):
    """How the final values of a setup differ from those of the baseline at the same seeds.

    `difference` is the median over `seeds` of (this − baseline), with its exact interval: in units
    of accuracy, or, where `relative`, as a share of the baseline's error (0.02: 2 % larger). None
    where it cannot be formed, with the `reason`.

    `p` is that of the exact sign test that neither ends better. `p_equivalent` is that of the exact
    binomial test that more than 1 − SHARE of all trainings end beyond ± `margin` (where relative:
    one error is more than so much larger than the other); of the `seeds` so many are `beyond` it.
    Neither p is corrected. Each question is corrected over the pairs of a table (Holm 1979):
    `equivalent` if the second is answered, else `differs` if the first is, else `cannot tell`.
    """

    label: str
    baseline: str
    seeds: tuple[int, ...]
    difference: Interval | None
    relative: bool
    margin: float
    p: float | None
    p_equivalent: float | None
    verdict: QualityVerdict
    reason: str = ""
    beyond: int | None = None


def quality_pairs(
    task: Task, finals: Mapping[str, Finals], baseline: str
) -> tuple[QualityPair, ...]:
    """Each setup by its label against the baseline, in the order given."""
    theirs = finals[baseline]
    sides = {label: (ours, theirs) for label, ours in finals.items() if label != baseline}
    return paired_by_seed(task, sides, baseline)


def paired_by_seed(
    task: Task, sides: Mapping[str, tuple[Finals, Finals]], baseline: str
) -> tuple[QualityPair, ...]:
    """By label the final values of one side against those of the other, named `baseline`."""
    differences = {label: _Differences(task, *both) for label, both in sides.items()}
    tested = [it for it in differences.values() if it.values]
    decisions = iter(decide_together([it.evidence(len(tested)) for it in tested]))
    return tuple(
        it.pair(label, baseline, next(decisions) if it.values else None)
        for label, it in differences.items()
    )


def seeds_for(beyond: int, family: int = 1) -> int:
    """The fewest seeds that show equality with so many beyond the margin: 29 for 0, 46 for 1."""
    counts = itertools.count(beyond + 1)
    return next(n for n in counts if few_bad_p(n, beyond, 1 - SHARE) <= LEVEL / family)


class _Differences:
    """One setup's differences from the baseline, seed by seed."""

    def __init__(self, task: Task, ours: Finals, theirs: Finals) -> None:
        metric = METRICS[task.metric]
        self.relative, self.margin = metric.relative, metric.margin
        self.most = MOST_MARGIN if metric.relative or metric.unit == "percent" else math.inf
        pairs = {seed: (ours[seed], theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())}
        both = {
            seed: (our, their)
            for seed, (our, their) in pairs.items()
            if our is not None and their is not None
        }
        self.seeds = tuple(both)
        self.one_diverged = [seed for seed, pair in pairs.items() if pair.count(None) == 1]
        self.values: list[float] = []
        self.reason = "every seed diverged" if pairs else "no seed in common"
        if not self.relative:
            self.values = [our - their for our, their in both.values()]
        elif all(our > 0 and their > 0 for our, their in both.values()):
            self.values = [math.log(our) - math.log(their) for our, their in both.values()]
        else:
            self.reason = "an error of zero has no ratio"
        bound = math.log1p(self.margin) if self.relative else self.margin
        self.beyond = sum(abs(it) >= bound for it in self.values)
        self.p = sign_p(self.values)
        self.p_equivalent = few_bad_p(len(self.values), self.beyond, 1 - SHARE)

    def evidence(self, family: int) -> Evidence:
        seeds = ", ".join(map(str, self.one_diverged))
        return Evidence(
            above=statistics.median(self.values) > 0,
            p=self.p,
            p_equivalent=self.p_equivalent,
            margin=self.margin,
            most=self.most,
            bar=f"one of the two diverged from seed {seeds}" if seeds else "",
            doubt=self._doubt(family),
        )

    def _doubt(self, family: int) -> str:
        n = len(self.values)
        if self.beyond > (1 - SHARE) * n:
            return f"{self.beyond} of {n} lie beyond it"
        within = f"{n - self.beyond} of {n} lie" if n > 1 else "the only one lies"
        return f"{within} within it, which shows it from {seeds_for(self.beyond, family)} seeds on"

    def pair(self, label: str, baseline: str, decision: Decision | None) -> QualityPair:
        """The comparison as it was decided; None where there is no difference to test."""
        difference = median_interval(self.values, of="seeds") if decision else None
        return QualityPair(
            label=label,
            baseline=baseline,
            seeds=self.seeds,
            difference=difference.mapped(_growth) if difference and self.relative else difference,
            relative=self.relative,
            margin=self.margin,
            p=self.p if decision else None,
            p_equivalent=self.p_equivalent if decision else None,
            verdict=WORDS[decision.answer] if decision else "cannot tell",
            reason=decision.reason if decision else self.reason,
            beyond=self.beyond if decision else None,
        )


def _growth(log_ratio: float) -> float:
    """A ratio's excess over 1; a ratio of two floats may be more than a float can hold."""
    return math.expm1(min(log_ratio, 700.0))
