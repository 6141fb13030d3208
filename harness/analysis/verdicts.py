"""What a median hides, pauses above all: the mean time of a step, and whole trainings.

The test of a ratio is that of the median over rounds, which stands what a busy machine does to a
few of them. It also stands a pause of the framework's own at every fiftieth step. So two witnesses
are heard beside it: the ratio of mean times over the same rounds, and the ratio of the times of
full trainings in the same blocks. Where one of them contradicts a verdict, there is none.

What may be said of a ratio: exact tests, the verdict of one, and the verdicts of many.

Two questions are asked of every ratio, each at 5 %. *Is there a difference?* The two-sided sign
test, of which the order-statistic interval is the dual: it rejects if and only if the interval
excludes 1. *Is there none larger than δ?* Two one-sided sign tests, against 1/(1+δ) and against
1+δ: both reject if and only if the exact 90 % interval lies between them (Schuirmann 1987). Each
question is corrected over the rows of a table by Holm's method (Holm 1979), which holds the
chance of any false answer in the table at 5 % whatever the rows have in common.

An exact test of few blocks has few levels: with n blocks its p is never below 2/2ⁿ, all blocks on
one side. Six blocks can decide one row (p = 0.031) but never two (0.025 is needed). Nine decide up
to twelve rows if all agree (0.0039), but if one block disagrees only a row that stands alone
(0.039); two rows then take ten (0.021). A 3 % difference, at a standard deviation of 1.45 % between
blocks, is found in 98 % of runs of one row and nine blocks, in 83 % of those of two rows, and in
98 % of those of two rows and ten blocks.

From one sample of blocks to another: how far they are apart, and what may be said of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from harness.analysis.stats import (
    LEAST_EXACT,
    LEVEL,
    Interval,
    Logs,
    decidable,
    equivalence_p,
    holm,
    mean_interval,
    percent,
    ratio_interval,
    reach,
    shift_equivalence_p,
    shift_interval,
    shift_p,
    sign_p,
    welch_interval,
)
from harness.records import Record
from harness.tasks.spec import Frozen

Witness = Literal["", "mean", "trainings"]
WHERE: Mapping[Witness, str] = {
    "mean": "in the mean of all steps",
    "trainings": "in whole trainings",
}
_OF_MEDIAN = {"faster": "faster", "slower": "slower", "equivalent": "no different"}


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
    return ratio_interval(logs) if logs else None


def training_ratio(ours: Mapping[int, Record], theirs: Mapping[int, Record]) -> Interval | None:
    """Their time of a full training ÷ ours, block by block; None where no two are alike."""
    logs = [
        math.log(other / own)
        for block in sorted(ours.keys() & theirs.keys())
        if (own := _trained(ours[block])) and (other := _trained(theirs[block]))
        if _epochs(ours[block]) == _epochs(theirs[block])
    ]
    return ratio_interval(logs) if logs else None


def _epochs(record: Record) -> int:
    return len(record.quality.epochs) if record.quality else 0


def _trained(record: Record) -> float:
    """Seconds of the full training; 0 where there was none."""
    return math.fsum(it.seconds for it in record.quality.epochs) if record.quality else 0.0


def contradicts(verdict: str, speed: Interval, other: Interval | None, margin: float) -> bool:
    """Whether a witness denies a verdict beyond both intervals.

    An overlap denies nothing: the interval of a mean is the wider one. Nor does a witness that
    comes to the same verdict with another size.
    """
    ends, own = ends_of(other) if other else None, ends_of(speed)
    if not ends or not own:
        return False
    low, high = ends
    if verdict == "faster":
        return high < own[0] and low <= 1
    if verdict == "slower":
        return low > own[1] and high >= 1
    return verdict == "equivalent" and (high < 1 / (1 + margin) or low > 1 + margin)


def ends_of(ratio: Interval) -> tuple[float, float] | None:
    """Between which bounds a ratio lies; of 3 to 5 values by their range, see `reach`."""
    if ratio.low is not None and ratio.high is not None:
        return ratio.low, ratio.high
    if ratio.least is None or ratio.most is None:
        return None
    ends = reach(math.log(ratio.least), math.log(ratio.most), ratio.n)
    return (math.exp(ends[0]), math.exp(ends[1])) if ends else None


def denied(verdict: str, witnesses: Sequence[tuple[Witness, Interval]]) -> str:
    """What to say of a verdict and those that contradict it, the last of them for all."""
    name, ratio = witnesses[-1]
    ends = ends_of(ratio) or (ratio.estimate, ratio.estimate)
    there = "slower" if ends[1] < 1 else "faster" if ends[0] > 1 else "no different"
    why = ": pauses" if any(it == "mean" for it, _ in witnesses) else ""
    return f"{_OF_MEDIAN[verdict]} in the median step, {there} {WHERE[name]}{why}"


LEAST_MARGIN = 0.01
"""The smallest δ: a difference of 1 % is nothing to stake a decision on."""
MOST_MARGIN = 0.10
"""A run that cannot tell a setup from itself to 10 % has no equality to claim."""
USUAL_PRECISION = 0.03
"""Half the width of the interval with which the size of a difference is told, where a run asks for
no other; of one that is known less well only the direction is."""

Verdict = Literal["faster", "slower", "equivalent", "cannot tell", "not ranked"]


class Pair(Frozen):
    """How many times as fast one setup is as another; above 1 it is faster.

    `speed` is the median over blocks with its exact interval, `cross` the geometric mean with
    Student's; `agrees` is False where one of them excludes 1 and the other does not, or where the
    estimate of one lies outside the other. `p` is that of the exact two-sided sign test,
    `p_equivalent` that of equivalence within `margin` (δ), neither of them corrected. `verdict`
    is corrected over `family` rows; `reason` says why it is not what the interval suggests.
    `disturbed` says what others did in too many of its blocks: then nothing is told apart.

    `mean` is the ratio of mean times over the same rounds, pauses included, and `trainings` that of
    full trainings in the same blocks, None where there is none; `denied_by` names the one that
    contradicts what the median says: then there is no verdict, with `reason`.
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
        return _side(self.speed) != 0

    @property
    def hidden(self) -> float | None:
        """The largest difference that the interval does not exclude: 0.04 is 4 %."""
        return _hidden(self.speed)


def evidence(
    label: str,
    baseline: str,
    logs: Sequence[float],
    margin: float = LEAST_MARGIN,
    disturbed: str = "",
    mean: Interval | None = None,
    trainings: Interval | None = None,
) -> Pair:
    """The pair with these logarithms of block ratios, judged by itself.

    Raises ValueError where there is no block.
    """
    speed, cross = ratio_interval(logs), mean_interval([math.exp(it) for it in logs])
    p, p_equivalent = sign_p(logs), equivalence_p(logs, margin)
    pair = Pair(
        label=label,
        baseline=baseline,
        speed=speed,
        cross=cross,
        agrees=cross is None or _agree(speed, cross),
        p=p,
        p_equivalent=p_equivalent,
        margin=margin,
        family=1,
        verdict="cannot tell",
        disturbed=disturbed,
        mean=mean,
        trainings=trainings,
    )
    return _corrected(pair, p, p_equivalent, 1)


def judged(pairs: Sequence[Pair], barred: Mapping[str, str] | None = None) -> tuple[Pair, ...]:
    """The pairs of one table with verdicts that hold for all of them together.

    `barred` maps the label of a pair to the reason for which it is not ranked; such a pair takes
    no part in the correction.
    """
    barred = barred or {}
    ranked = [it for it in pairs if it.label not in barred]
    differ = iter(holm([it.p for it in ranked]))
    agree = iter(holm([it.p_equivalent for it in ranked]))
    return tuple(
        pair.model_copy(update={"verdict": "not ranked", "reason": barred[pair.label], "family": 0})
        if pair.label in barred
        else _corrected(pair, next(differ), next(agree), len(ranked))
        for pair in pairs
    )


def _corrected(pair: Pair, differ: float, agree: float, family: int) -> Pair:
    verdict, reason = _verdict(
        pair.speed, pair.p, pair.p_equivalent, differ, agree, pair.margin, family, pair.disturbed
    )
    found: tuple[tuple[Witness, Interval | None], ...] = (
        ("mean", pair.mean),
        ("trainings", pair.trainings),
    )
    against = [
        (name, it) for name, it in found if it and contradicts(verdict, pair.speed, it, pair.margin)
    ]
    denied_by: Witness = ""
    if against:
        denied_by, reason, verdict = against[-1][0], denied(verdict, against), "cannot tell"
    return pair.model_copy(
        update={"verdict": verdict, "reason": reason, "family": family, "denied_by": denied_by}
    )


def _verdict(
    speed: Interval,
    p: float,
    p_equivalent: float,
    differ: float,
    agree: float,
    margin: float,
    family: int,
    disturbed: str,
) -> tuple[Verdict, str]:
    """By the adjusted p values `differ` and `agree`; the plain ones only say why not.

    Equivalence first: a difference below δ is none, however surely it is there.
    """
    if disturbed:
        return "cannot tell", disturbed
    if agree <= LEVEL and margin <= MOST_MARGIN:
        wider = (hidden := _hidden(speed)) is not None and hidden > margin
        return "equivalent", f"its 90 % interval lies within {percent(margin)}" if wider else ""
    if differ <= LEVEL:
        return ("faster" if speed.estimate > 1 else "slower"), ""
    if speed.n == 1:
        return "cannot tell", speed.reason
    if speed.n < LEAST_EXACT:
        return "cannot tell", f"an exact test takes {LEAST_EXACT} blocks"
    if p <= LEVEL:
        return "cannot tell", f"the interval excludes 1, but over {family} rows that is not enough"
    if p_equivalent <= LEVEL and margin > MOST_MARGIN:
        return "cannot tell", f"this run cannot tell a setup from itself to {percent(MOST_MARGIN)}"
    if p_equivalent <= LEVEL:
        within = f"its 90 % interval lies within {percent(margin)}"
        return "cannot tell", f"{within}, but over {family} rows that is not enough"
    return "cannot tell", ""


def _hidden(speed: Interval) -> float | None:
    if speed.low is None or speed.high is None:
        return None
    return max(speed.high, 1 / speed.low) - 1


def _agree(one: Interval, other: Interval) -> bool:
    return (
        _side(one) == _side(other) and _holds(one, other.estimate) and _holds(other, one.estimate)
    )


def _holds(interval: Interval, value: float) -> bool:
    return interval.low is None or interval.high is None or interval.low <= value <= interval.high


def _side(interval: Interval) -> int:
    if interval.low is None or interval.high is None:
        return 0
    return (interval.low > 1) - (interval.high < 1)


class Shift(Frozen):
    """How many times as fast the second sample is.

    `speed` has the interval of two independent samples, `cross` is Welch's, which knows of no
    drift; `agrees` is False where the first excludes 1 and the other does not. The p values are not
    corrected, `verdict` is, over `family` rows; `reason` says why it is not what the interval
    suggests.
    """

    speed: Interval
    cross: Interval | None
    agrees: bool
    p: float
    p_equivalent: float
    family: int = 0
    verdict: Verdict = "cannot tell"
    reason: str = ""


def shift(before: Logs, after: Logs, margin: float) -> Shift:
    """Of two samples, not judged yet. Raises ValueError for an empty one."""
    speed, cross = shift_interval(before, after), welch_interval(before, after)
    return Shift(
        speed=speed,
        cross=cross,
        agrees=cross is None or _side(speed) in (0, _side(cross)),
        p=shift_p(before, after),
        p_equivalent=shift_equivalence_p(before, after, margin),
        reason=""
        if decidable(len(before), len(after))
        else f"it takes {LEAST_EXACT} blocks in each",
    )


def judged_shifts(
    shifts: Mapping[str, Shift], margin: float, barred: Mapping[str, str]
) -> dict[str, Shift]:
    """By label, with verdicts that hold for all of them together.

    `barred` maps a label to the reason for which it is not ranked; it takes no part in the
    correction.
    """
    ranked = [label for label in shifts if label not in barred]
    differ = _adjusted(ranked, [shifts[it].p for it in ranked])
    agree = _adjusted(ranked, [shifts[it].p_equivalent for it in ranked])
    return {
        label: it.model_copy(update={"verdict": "not ranked", "reason": barred[label]})
        if label in barred
        else _judged_shift(it, differ[label], agree[label], margin, len(ranked))
        for label, it in shifts.items()
    }


def _adjusted(labels: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    return dict(zip(labels, holm(values), strict=True))


def _judged_shift(it: Shift, differ: float, agree: float, margin: float, family: int) -> Shift:
    """Equivalence first, as within a run: a difference below δ is none, however surely there."""
    verdict: Verdict = "cannot tell"
    reason = it.reason
    if agree <= LEVEL and margin <= MOST_MARGIN:
        verdict = "equivalent"
    elif differ <= LEVEL:
        verdict = "faster" if it.speed.estimate > 1 else "slower"
    elif it.p <= LEVEL:
        reason = f"the interval excludes 1, but over {family} rows that is not enough"
    elif it.p_equivalent <= LEVEL and margin <= MOST_MARGIN:
        reason = f"within {percent(margin)} by itself, but over {family} rows that is not enough"
    return it.model_copy(update={"verdict": verdict, "reason": reason, "family": family})
