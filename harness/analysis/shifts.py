"""From one sample of blocks to another: how far they are apart, and what may be said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.analysis.intervals import LEAST_EXACT, Interval
from harness.analysis.two_samples import (
    Logs,
    decidable,
    shift_equivalence_p,
    shift_interval,
    shift_p,
    welch_interval,
)
from harness.analysis.verdicts import LEVEL, MOST_MARGIN, Verdict, holm, percent
from harness.tasks.frozen import Frozen


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


def judged(
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
        else _judged(it, differ[label], agree[label], margin, len(ranked))
        for label, it in shifts.items()
    }


def _adjusted(labels: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    return dict(zip(labels, holm(values), strict=True))


def _judged(it: Shift, differ: float, agree: float, margin: float, family: int) -> Shift:
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


def _side(speed: Interval) -> int:
    if speed.low is None or speed.high is None:
        return 0
    return (speed.low > 1) - (speed.high < 1)
