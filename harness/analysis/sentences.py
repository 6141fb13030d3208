"""Comparisons in words; the numbers in them are formatted here for every reader."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.analysis.stats import WIDEST, Interval, half_width, percent, too_wide
from harness.analysis.stopping import Standing
from harness.analysis.verdicts import Pair

DIGITS = 3
"""Significant digits of every measured number that is shown."""
NAMED = 4
"""Setups that a sentence names; of more it gives the number."""
UNKNOWN = "not known"
"""What stands in place of bounds that are WIDEST or wider."""
DIRECTLY = "compared directly, in the same blocks"
"""Where two setups do not stand to each other as their ratios to the baseline do."""


def decimals(value: float, digits: int = DIGITS) -> int:
    """Decimal places that show `value` with so many significant digits; never negative."""
    if value == 0 or not math.isfinite(value):
        return 0
    # Rounding first: 9.996 has three digits as 10.0, not as 10.00.
    rounded = float(f"{abs(value):.{digits - 1}e}")
    return max(0, digits - 1 - math.floor(math.log10(rounded)))


def ratio_texts(speed: Interval) -> tuple[str, str | None, str | None]:
    """A speed ratio and its bounds or range, all with as many decimals as its estimate needs.

    None of them reads as 1 unless it is: `1.004 (1.001–1.007)` must not look like a tie.
    """
    ends = (speed.least, speed.most) if speed.low is None else (speed.low, speed.high)
    numbers = [it for it in (speed.estimate, *ends) if it is not None]
    places = decimals(speed.estimate)
    while places < 5 and any(it != 1 and float(f"{it:.{places}f}") == 1 for it in numbers):
        places += 1
    texts = [None if it is None else f"{it:.{places}f}" for it in ends]
    return f"{speed.estimate:.{places}f}", texts[0], texts[1]


def ratio(speed: Interval) -> str:
    """A speed ratio in a sentence, e.g. `1.31 × (1.28–1.34)`."""
    estimate, low, high = ratio_texts(speed)
    if unknown(speed):
        return f"{estimate} × (not known to a factor of 2)"
    return f"{estimate} × {bracket(speed, low, high)}".strip()


def bracket(it: Interval, low: str | None, high: str | None) -> str:
    """Its ends in brackets: `(1.28–1.34)`, or `(range of 3: 1.28–1.34)` with too few values for an
    interval, or nothing of one value. A minus is no hyphen, which would look like the dash."""
    if low is None or high is None:
        return ""
    ends = "–".join(f"−{end[1:]}" if end.startswith("-") else end for end in (low, high))
    return f"({ends})" if it.low is not None else f"(range of {it.n}: {ends})"


def unknown(it: Interval) -> bool:
    """Whether an interval is so wide that its bounds are not shown."""
    return it.ends is not None and too_wide(*it.ends)


def width(half_width: float) -> str:
    """How well a ratio is known, by half the width of its interval: `±3.2 %`, or `not known`."""
    return UNKNOWN if half_width >= WIDEST else f"±{percent(half_width)}"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def pair_sentence(pair: Pair) -> str:
    """One pair in words, e.g. `a:x is 1.31 × (1.28–1.34) as fast as b:y`."""
    names = f"{pair.label} and {pair.baseline}"
    if pair.verdict == "not ranked":
        return f"{names} are not ranked: {pair.reason}"
    if pair.verdict == "equivalent":
        why = f" ({pair.reason})" if pair.reason else ""
        return f"{names}: no difference larger than {percent(pair.margin)}{why}"
    if pair.verdict == "cannot tell":
        return f"cannot tell {pair.label} from {pair.baseline}: {doubt(pair)}"
    return f"{pair.label} is {ratio(pair.speed)} as fast as {pair.baseline}"


def doubt(pair: Pair) -> str:
    """Why a pair's verdict is `cannot tell`."""
    if pair.reason or pair.hidden is None:
        return pair.reason or pair.speed.reason
    if unknown(pair.speed):
        return "this run's noise hides even a factor of 2"
    return f"this run's noise hides anything below {percent(pair.hidden)}"


def imprecise(pairs: Sequence[Pair], precision: float) -> str:
    """The ratios that are sure in their direction only; empty where all are known to ±precision."""
    wide = [
        (it, half)
        for it in pairs
        if it.verdict in ("faster", "slower")
        and (half := half_width(it.speed)) is not None
        and half > precision
    ]
    missed = f"target precision ±{percent(precision)} not reached"
    if len(wide) > NAMED:
        least, most = (end(half for _, half in wide) for end in (min, max))
        known = f"{width(least)} to {width(most)}" if most < WIDEST else f"{width(least)} or worse"
        known = known if least < WIDEST else UNKNOWN
        return f"{len(wide)} of {len(pairs)} ratios: {missed} ({known})."
    texts = [f"{it.label}: {ratio(it.speed)} ({missed}: {width(half)})" for it, half in wide]
    return f"{'; '.join(texts)}." if texts else ""


def precision_sentence(standing: Standing) -> str:
    """How many blocks a group took, and how well its headline ratios are known."""
    blocks = f"{standing.blocks} block{'' if standing.blocks == 1 else 's'}"
    widest = standing.widest
    if widest is None:
        return blocks
    name = f"{widest.label} ÷ {widest.baseline} ({widest.phase})"
    if widest.half_width is None:
        return f"{blocks}; {name} has no interval"
    wide = widest.half_width >= WIDEST
    how = UNKNOWN if wide else f"known to {width(widest.half_width)}"
    if standing.precision is None:
        return f"{blocks}; the widest ratio, {name}, is {how}"
    target = f"±{percent(standing.precision)}"
    if standing.reached:
        return f"{blocks}, until every ratio was known to {target}"
    if widest.half_width > standing.precision:
        return f"{blocks}; {name} is {how}" + ("" if wide else f", not {target}")
    running = "undisturbed blocks" if any(it.disturbed for it in standing.widths) else "blocks"
    return f"{blocks}; every ratio is within {target}, but not yet for two {running} running"


def aggregate_sentence(
    label: str, baseline: str, speed: Interval, phase: str, tasks: Sequence[str]
) -> str:
    """A geometric mean over tasks in one sentence."""
    return (
        f"Over {len(tasks)} tasks {label} is {ratio(speed)} as fast as {baseline} "
        f"({phase}, geometric mean)."
    )
