"""What may be said of a ratio: exact tests, the verdict of one, and the verdicts of many.

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
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from harness.analysis.intervals import (
    LEAST_EXACT,
    LEVEL,
    Interval,
    equivalence_p,
    holm,
    percent,
    sign_p,
    mean_interval,
    ratio_interval,
)
from harness.analysis.pauses import Witness, contradicts, denied
from harness.tasks.frozen import Frozen

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
