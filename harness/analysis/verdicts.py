"""The verdict of a comparison: one rule for pairs in a run, two runs, seeds and the gate.

Two questions are asked of every comparison, each at 5 %. *Is there a difference?* The two-sided
sign test, of which the order-statistic interval is the dual: it rejects if and only if the interval
excludes 1. *Is there none larger than δ?* Two one-sided sign tests, against 1/(1+δ) and against
1+δ: both reject if and only if the exact 90 % interval lies between them (Schuirmann 1987). Each
question is corrected over the rows of a table by Holm's method (Holm 1979), which holds the
chance of any false answer in the table at 5 % whatever the rows have in common. `decide` turns the
answers into a verdict. With n blocks no p is below 2/2ⁿ; see `least_blocks_for`.

The median over rounds does not see a pause of the framework at every fiftieth step. So there are
two witnesses: the ratio of mean times over the same rounds, and the ratio of the times of full
trainings in the same blocks. If one of them contradicts a verdict, the verdict is withdrawn.

The gate asks whether code has become slower, at a threshold T that a user chose. If a slowdown of T
is excluded, the outcome is *fine*, or *improved* if the code is surely faster. Else, if no slowdown
at all is excluded, it is a *regression*. Otherwise more blocks are made, up to the last checkpoint.
Each end of the interval is wrong with a chance of at most LEVEL ÷ (cells × checkpoints) if blocks
are independent: unchanged code raises a false alarm in at most 1 of 20 checks. Stored times are not
paired; for them this holds if a step took the same share of its bare products in both runs.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeVar

from pydantic import Field

from harness.analysis import stats
from harness.analysis.stats import LEAST_EXACT, LEVEL, Ends, Interval, Logs
from harness.records import Record
from harness.tasks.spec import Frozen

LEAST_MARGIN = 0.01
"""The smallest δ: a difference of 1 % is nothing to stake a decision on."""
MOST_MARGIN = 0.10
"""A run that cannot tell a setup from itself to 10 % has no equality to claim."""
USUAL_PRECISION = 0.03
"""The half-width of an interval up to which the size of a difference is shown, where a run sets no
target. Of a wider one only the direction is."""

Answer = Literal["above", "below", "equivalent", "cannot tell"]


class Evidence(NamedTuple):
    """One comparison as it comes to `decide`, whatever was compared.

    `above` is on which side of "no difference" the estimate lies. `p` is of the test that there is
    no difference, `p_equivalent` of the test that it is larger than `margin`; neither is corrected.
    A margin beyond `most` shows no equivalence. `wide` says that the 95 % interval reaches beyond
    the margin. `bar` says why nothing may be concluded, `doubt` why the tests could not answer.
    """

    above: bool
    p: float
    p_equivalent: float
    margin: float
    most: float = MOST_MARGIN
    wide: bool = False
    bar: str = ""
    doubt: str = ""


class Decision(NamedTuple):
    """A verdict that is corrected over `family` rows; `reason` says why it is not what the interval
    suggests."""

    answer: Answer
    reason: str
    family: int


def decide(of: Evidence, differ: float, agree: float, family: int) -> Decision:
    """By the adjusted p values `differ` and `agree`; the plain ones only say why not.

    Equivalence first: a difference below δ is none, however surely it is there.
    """
    within = f"its 90 % interval lies within {stats.percent(of.margin)}"
    not_enough = f"but over {family} rows that is not enough"
    answer: Answer = "cannot tell"
    reason = ""
    if of.bar:
        reason = of.bar
    elif agree <= LEVEL and of.margin <= of.most:
        answer, reason = "equivalent", within if of.wide else ""
    elif differ <= LEVEL:
        answer = "above" if of.above else "below"
    elif of.doubt:
        reason = of.doubt
    elif of.p <= LEVEL:
        reason = f"the interval excludes 1, {not_enough}"
    elif of.p_equivalent <= LEVEL and of.margin > of.most:
        reason = f"this run cannot tell a setup from itself to {stats.percent(of.most)}"
    elif of.p_equivalent <= LEVEL:
        reason = f"{within}, {not_enough}"
    return Decision(answer, reason, family)


def decide_together(rows: Sequence[Evidence]) -> list[Decision]:
    """Verdicts that hold for all rows of a table together."""
    differ = stats.holm([it.p for it in rows])
    agree = stats.holm([it.p_equivalent for it in rows])
    return [decide(*row, len(rows)) for row in zip(rows, differ, agree, strict=True)]


Witness = Literal["", "mean", "trainings"]
WHERE: Mapping[Witness, str] = {
    "mean": "in the mean of all steps",
    "trainings": "in whole trainings",
}

Verdict = Literal["faster", "slower", "equivalent", "cannot tell", "not ranked"]
SPEED: Mapping[Answer, Verdict] = {
    "above": "faster",
    "below": "slower",
    "equivalent": "equivalent",
    "cannot tell": "cannot tell",
}


class Pair(Frozen):
    """How many times as fast one setup is as another; above 1 it is faster.

    `speed` is the median over blocks with its exact interval, `cross` the geometric mean with
    Student's; `agrees` is False where only one of them excludes 1, or where one does not hold the
    other's estimate. `p` is that of the exact two-sided sign test, `p_equivalent` that of
    equivalence within `margin` (δ), neither of them corrected. `verdict` is corrected over `family`
    rows; `reason` says why it is not what the interval suggests. If others `disturbed` too many of
    its blocks, there is no verdict.

    `mean` is the ratio of mean times over the same rounds, pauses included, and `trainings` that of
    full trainings in the same blocks, if any; `denied_by` names the one that contradicts the
    median: then there is no verdict.
    """

    label: str
    baseline: str
    speed: Interval
    cross: Interval | None
    agrees: bool
    p: float
    p_equivalent: float
    margin: float
    family: int
    verdict: Verdict
    reason: str = ""
    disturbed: str = ""
    mean: Interval | None = None
    trainings: Interval | None = None
    denied_by: Witness = ""

    @property
    def n(self) -> int:
        """Blocks that both finished."""
        return self.speed.n

    @property
    def excludes_one(self) -> bool:
        """Whether the interval lies on one side of 1, the bounds themselves excluded."""
        return self.speed.side() != 0

    @property
    def hidden(self) -> float | None:
        """The largest difference that the interval does not exclude: 0.04 is 4 %."""
        if self.speed.ends is None:
            return None
        low, high = self.speed.ends
        return max(high, 1 / low) - 1

    @property
    def witnesses(self) -> dict[Witness, Interval]:
        """The other ratios of the same blocks, if any."""
        ratios: dict[Witness, Interval | None] = {"mean": self.mean, "trainings": self.trainings}
        return {name: ratio for name, ratio in ratios.items() if ratio}

    @property
    def too_few(self) -> str:
        """Why it has too few blocks for an exact test; empty where it has enough."""
        if self.n == 1:
            return self.speed.reason
        return f"an exact test takes {LEAST_EXACT} blocks" if self.n < LEAST_EXACT else ""

    @property
    def evidence(self) -> Evidence:
        return Evidence(
            above=self.speed.estimate > 1,
            p=self.p,
            p_equivalent=self.p_equivalent,
            margin=self.margin,
            wide=(hidden := self.hidden) is not None and hidden > self.margin,
            bar=self.disturbed,
            doubt=self.too_few,
        )


class Shift(Pair):
    """How many times as fast a setup is in the second of two runs. Its table names both sides.

    `speed` has the interval of two independent samples, `cross` is Welch's, which ignores drift;
    `agrees` is False where the first excludes 1 and the other does not. The p values are not
    corrected, `verdict` is, over `family` rows; `reason` says why it is not what the interval
    suggests.
    """

    label: str = Field(exclude=True)
    baseline: str = Field(default="before", exclude=True)
    margin: float = Field(exclude=True)
    disturbed: str = Field(default="", exclude=True)
    mean: Interval | None = Field(default=None, exclude=True)
    trainings: Interval | None = Field(default=None, exclude=True)
    denied_by: Witness = Field(default="", exclude=True)

    @property
    def too_few(self) -> str:
        return "" if self.speed.low is not None else f"it takes {LEAST_EXACT} blocks in each"


def compare_blocks(
    label: str,
    baseline: str,
    logs: Sequence[float],
    margin: float = LEAST_MARGIN,
    disturbed: str = "",
    mean: Interval | None = None,
    trainings: Interval | None = None,
) -> Pair:
    """The pair with these logarithms of block ratios, at least one, judged by itself."""
    speed, cross = stats.ratio_interval(logs), stats.mean_interval([math.exp(it) for it in logs])
    pair = Pair(
        label=label,
        baseline=baseline,
        speed=speed,
        cross=cross,
        agrees=cross is None or _agree(speed, cross),
        p=stats.sign_p(logs),
        p_equivalent=stats.equivalence_p(logs, margin),
        margin=margin,
        family=1,
        verdict="cannot tell",
        disturbed=disturbed,
        mean=mean,
        trainings=trainings,
    )
    return judged([pair])[0]


def compare_samples(label: str, before: Logs, after: Logs, margin: float) -> Shift:
    """One setup in two runs, not judged yet. Raises ValueError for a run without blocks."""
    speed, cross = stats.shift_interval(before, after), stats.welch_interval(before, after)
    return Shift(
        label=label,
        speed=speed,
        cross=cross,
        agrees=cross is None or speed.side() in (0, cross.side()),
        p=stats.shift_p(before, after),
        p_equivalent=stats.shift_equivalence_p(before, after, margin),
        margin=margin,
        family=0,
        verdict="cannot tell",
    )


_AnyPair = TypeVar("_AnyPair", bound=Pair)


def judged(
    pairs: Sequence[_AnyPair], barred: Mapping[str, str] | None = None
) -> tuple[_AnyPair, ...]:
    """The pairs of one table with verdicts that hold for all of them together.

    `barred` maps the label of a pair to the reason for which it is not ranked; such a pair takes
    no part in the correction.
    """
    barred = barred or {}
    decisions = iter(decide_together([it.evidence for it in pairs if it.label not in barred]))
    return tuple(
        pair.model_copy(update={"verdict": "not ranked", "reason": barred[pair.label], "family": 0})
        if pair.label in barred
        else pair.model_copy(update=_verdict(pair, next(decisions)))
        for pair in pairs
    )


def _verdict(pair: Pair, decision: Decision) -> dict[str, object]:
    """What a decision changes in a pair, unless a witness contradicts it."""
    verdict, reason = SPEED[decision.answer], decision.reason
    against = {
        name: ratio
        for name, ratio in pair.witnesses.items()
        if contradicts(verdict, pair.speed, ratio, pair.margin)
    }
    denied_by: Witness = ""
    if against:
        denied_by, verdict, reason = [*against][-1], "cannot tell", denied(verdict, against)
    return {"verdict": verdict, "reason": reason, "family": decision.family, "denied_by": denied_by}


def mean_ratio(
    ours: Mapping[int, Mapping[int, float]], theirs: Mapping[int, Mapping[int, float]]
) -> Interval | None:
    """Their mean time ÷ ours over the rounds that both have, block by block; None without any."""
    logs = []
    for block in sorted(ours.keys() & theirs.keys()):
        rounds = ours[block].keys() & theirs[block].keys()
        if rounds:
            mine, others = (
                math.fsum(it[block][round_] for round_ in rounds) for it in (ours, theirs)
            )
            logs.append(math.log(others / mine))
    return stats.ratio_interval(logs) if logs else None


def training_ratio(ours: Mapping[int, Record], theirs: Mapping[int, Record]) -> Interval | None:
    """Their time of a full training ÷ ours, block by block; None where no two are alike."""
    logs = []
    for block in sorted(ours.keys() & theirs.keys()):
        mine, others = ours[block].quality, theirs[block].quality
        if mine and others and len(mine.epochs) == len(others.epochs):
            times = [math.fsum(epoch.seconds for epoch in it.epochs) for it in (mine, others)]
            if all(times):
                logs.append(math.log(times[1] / times[0]))
    return stats.ratio_interval(logs) if logs else None


def contradicts(verdict: str, speed: Interval, other: Interval, margin: float) -> bool:
    """Whether a witness denies a verdict beyond both intervals: the interval of a mean is the wider
    one. The same verdict with another size is no denial."""
    ends, of_median = ends_of(other), ends_of(speed)
    if not ends or not of_median:
        return False
    low, high = ends
    if verdict == "faster":
        return high < of_median[0] and low <= 1
    if verdict == "slower":
        return low > of_median[1] and high >= 1
    return verdict == "equivalent" and (high < 1 / (1 + margin) or low > 1 + margin)


def ends_of(ratio: Interval) -> Ends | None:
    """Between which bounds a ratio lies; of 3 to 5 values by their range, see `reach`."""
    if ratio.ends or ratio.least is None or ratio.most is None:
        return ratio.ends
    ends = stats.reach(math.log(ratio.least), math.log(ratio.most), ratio.n)
    return (math.exp(ends[0]), math.exp(ends[1])) if ends else None


def denied(verdict: str, witnesses: Mapping[Witness, Interval]) -> str:
    """A verdict and what contradicts it, in words: the last witness speaks for all."""
    name, ratio = [*witnesses.items()][-1]
    low, high = ends_of(ratio) or (ratio.estimate, ratio.estimate)
    there = "slower" if high < 1 else "faster" if low > 1 else "no different"
    here = "no different" if verdict == "equivalent" else verdict
    why = ": pauses" if "mean" in witnesses else ""
    return f"{here} in the median step, {there} {WHERE[name]}{why}"


def _agree(one: Interval, other: Interval) -> bool:
    disjoint = one.side(other.estimate) or other.side(one.estimate)
    return one.side() == other.side() and not disjoint


GateOutcome = Literal["fine", "improved", "regression", "cannot tell"]
GATE: Mapping[Answer, GateOutcome] = {
    "above": "regression",
    "below": "improved",
    "equivalent": "fine",
    "cannot tell": "cannot tell",
}
TOO_FEW = "{} blocks are too few for so many cells and checkpoints"
CHECKPOINTS = (12, 24, 48)
"""After so many blocks the gate evaluates its evidence; an open question gets more of them."""


class Slowdown(Frozen):
    """How many times as long a step takes as before: 1.05 is 5 % slower; `n` blocks a side."""

    ratio: Interval
    outcome: GateOutcome
    threshold: float


def slowdown_in_blocks(logs: Logs, threshold: float, family: int) -> Slowdown:
    """From log(time now ÷ time before) by block, in which both took turns.

    `family` is the number of cells times that of checkpoints.
    """
    n, ends = len(logs), stats.exact_ends(sorted(logs), 1 - 2 * LEVEL / family)
    growth = Interval.of(statistics.median(logs), ends, n, "order-statistic", TOO_FEW.format(n))
    larger_p = stats.below_p(logs, math.log1p(threshold))
    return _slowdown(growth, stats.sign_p(logs) / 2, larger_p, threshold, family)


def slowdown_between_runs(before: Logs, now: Logs, threshold: float, family: int) -> Slowdown:
    """From logarithms of times in two separate runs: weaker, as other things may have changed."""
    n, ends = min(len(now), len(before)), stats.shift_ends(before, now, 1 - 2 * LEVEL / family)
    middle = statistics.median(now) - statistics.median(before)
    growth = Interval.of(middle, ends, n, "combined", TOO_FEW.format(n))
    larger_p = stats.shift_below_p(before, now, math.log1p(threshold))
    return _slowdown(growth, stats.shift_p(before, now) / 2, larger_p, threshold, family)


def _slowdown(
    growth: Interval, p: float, larger_p: float, threshold: float, family: int
) -> Slowdown:
    """By the logarithm of the ratio, and the p values of no growth and of one beyond the threshold.

    Each end may be wrong with a chance of LEVEL ÷ `family` (Bonferroni).
    """
    evidence = Evidence(growth.estimate > 0, p, larger_p, threshold, most=math.inf)
    outcome = GATE[decide(evidence, family * p, family * larger_p, family).answer]
    if outcome == "fine" and family * p <= LEVEL and not evidence.above:
        outcome = "improved"
    return Slowdown(ratio=growth.mapped(math.exp), outcome=outcome, threshold=threshold)
