"""What may be said of a ratio: exact tests, the verdict of one, and the verdicts of many.

Two questions are asked of every ratio, each at 5 %. *Is there a difference?* The two-sided sign
test, of which the order-statistic interval is the dual: it rejects if and only if the interval
excludes 1. *Is there none larger than δ?* Two one-sided sign tests, against 1/(1+δ) and against
1+δ: both reject if and only if the exact 90 % interval lies between them (Schuirmann 1987). Each
question is corrected over the rows of a table by Holm's method (Holm 1979), which holds the
chance of any false answer in the table at 5 % whatever the rows have in common.

An exact test of few blocks has few levels: with n blocks its p is never below 2/2ⁿ, all blocks on
one side. Six blocks can decide one row (p = 0.031) but never two (0.025 is needed); nine decide
up to twelve rows if all agree (0.0039), and one row if eight of nine do (0.039).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Literal

from harness.analysis.intervals import (
    CONFIDENCE,
    LEAST_EXACT,
    Interval,
    mean_interval,
    median_interval,
)
from harness.tasks.frozen import Frozen

LEVEL = 1 - CONFIDENCE
LEAST_MARGIN = 0.01
"""The smallest δ: a difference of 1 % is nothing to stake a decision on."""

Verdict = Literal["faster", "slower", "equivalent", "cannot tell", "not ranked"]


class Pair(Frozen):
    """How many times as fast one setup is as another; above 1 it is faster.

    `speed` is the median over blocks with its exact interval, `cross` the geometric mean with
    Student's; `agrees` is False where one of them excludes 1 and the other does not, or where the
    estimate of one lies outside the other. `p` is that of the exact two-sided sign test,
    `p_equivalent` that of equivalence within `margin` (δ), neither of them corrected. `verdict`
    is corrected over `family` rows; `reason` says why it is not what the interval suggests.
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
        if self.speed.low is None or self.speed.high is None:
            return None
        return max(self.speed.high, 1 / self.speed.low) - 1


def evidence(
    label: str, baseline: str, logs: Sequence[float], margin: float = LEAST_MARGIN
) -> Pair:
    """The pair with these logarithms of block ratios, judged by itself.

    Raises ValueError where there is no block.
    """
    speed = median_interval([math.exp(it) for it in logs])
    cross = mean_interval([math.exp(it) for it in logs])
    pair = Pair(
        label=label,
        baseline=baseline,
        speed=speed,
        cross=cross,
        agrees=cross is None or _agree(speed, cross),
        p=sign_p(logs),
        p_equivalent=equivalence_p(logs, margin),
        margin=margin,
        family=1,
        verdict="cannot tell",
    )
    return judged([pair])[0]


def judged(pairs: Sequence[Pair], barred: Mapping[str, str] | None = None) -> tuple[Pair, ...]:
    """The pairs of one table with verdicts that hold for all of them together.

    `barred` maps the label of a pair to the reason for which it is not ranked; such a pair takes
    no part in the correction.
    """
    barred = barred or {}
    ranked = [it for it in pairs if it.label not in barred]
    differ = dict(zip(map(id, ranked), holm([it.p for it in ranked]), strict=True))
    agree = dict(zip(map(id, ranked), holm([it.p_equivalent for it in ranked]), strict=True))
    return tuple(
        _with(pair, "not ranked", barred[pair.label], 0)
        if pair.label in barred
        else _with(
            pair, *_verdict(pair, differ[id(pair)], agree[id(pair)], len(ranked)), len(ranked)
        )
        for pair in pairs
    )


def sign_p(logs: Sequence[float]) -> float:
    """The exact two-sided sign test of a median of 0; a tie counts for neither side."""
    against = min(sum(it <= 0 for it in logs), sum(it >= 0 for it in logs))
    return min(1.0, 2 * tail(len(logs), against))


def equivalence_p(logs: Sequence[float], margin: float) -> float:
    """The larger p of two exact one-sided sign tests: of a median ≤ −ln(1+δ), and ≥ ln(1+δ)."""
    bound = math.log1p(margin)
    against = max(sum(it <= -bound for it in logs), sum(it >= bound for it in logs))
    return tail(len(logs), against)


def holm(values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values, in the order given: reject where at most LEVEL."""
    adjusted, largest = [0.0] * len(values), 0.0
    for place, number in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - place) * values[number]))
        adjusted[number] = largest
    return adjusted


@functools.lru_cache(maxsize=4096)
def tail(n: int, k: int) -> float:
    """The chance that at most k of n fair coins fall heads."""
    return sum(math.comb(n, it) for it in range(k + 1)) / (1 << n)


def least_blocks_for(rows: int) -> int:
    """The fewest blocks with which a table of so many rows can say that any of them differs."""
    return math.ceil(1 + math.log2(rows / LEVEL)) if rows else 0


def percent(share: float) -> str:
    """A bound in percent with two digits, rounded up so that it stays one: 0.0132 is `1.4 %`."""
    if share <= 0:
        return "0 %"
    places = max(0, 1 - math.floor(math.log10(100 * share)))
    # What a float adds far behind the comma is no reason to round up.
    scaled = round(100 * share * 10**places, 6)
    return f"{math.ceil(scaled) / 10**places:g} %"


def _verdict(pair: Pair, differ: float, agree: float, family: int) -> tuple[Verdict, str]:
    """Equivalence first: a difference below δ is none, however surely it is there."""
    within = percent(pair.margin)
    if agree <= LEVEL:
        hidden = pair.hidden
        wider = hidden is not None and hidden > pair.margin
        return "equivalent", f"its 90 % interval lies within {within}" if wider else ""
    if differ <= LEVEL:
        return ("faster" if pair.speed.estimate > 1 else "slower"), ""
    if pair.n == 1:
        return "cannot tell", pair.speed.reason
    if pair.n < LEAST_EXACT:
        return "cannot tell", f"an exact test takes {LEAST_EXACT} blocks"
    if pair.p <= LEVEL:
        return "cannot tell", f"the interval excludes 1, but over {family} rows that is not enough"
    if pair.p_equivalent <= LEVEL:
        return (
            "cannot tell",
            f"its 90 % interval lies within {within}, but over {family} rows that is not enough",
        )
    return "cannot tell", ""


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


def _with(pair: Pair, verdict: Verdict, reason: str, family: int) -> Pair:
    return pair.model_copy(update={"verdict": verdict, "reason": reason, "family": family})
