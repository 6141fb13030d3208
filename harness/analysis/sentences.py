"""Comparisons in words; the numbers in them are formatted here for every reader."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from harness.analysis.stats import WIDEST, Interval, half_width, percent, too_wide
from harness.analysis.stopping import Standing
from harness.analysis.verdicts import WHERE, Pair

DIGITS = 3
"""Significant digits of every measured number that is shown."""
NAMED = 4
"""Setups that a sentence names; of more it gives the number."""
UNKNOWN = "not known"
"""What stands in place of bounds that are WIDEST or wider."""
LARGEST_PART = 2.0
"""From this ratio of the reference on, more than half of a framework's time is overhead."""
DIRECTLY = "compared directly, in the same blocks"
"""Where two setups do not stand to each other as their ratios to the baseline do."""


class Yardstick(NamedTuple):
    """The title of a reference beside frameworks, and its pair with the leader, if there is one."""

    title: str
    pair: Pair | None


class Order(NamedTuple):
    """How a table's contestants stand: by their ratios to its `first` baseline; the table shows
    `speeds`, their ratios to `baseline`, 0 where no block is shared."""

    first: str
    baseline: str
    speeds: Mapping[str, float]


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


def ranking(
    order: Order,
    leader: str | None,
    rivals: Mapping[str, Pair | None],
    *,
    won: bool,
    back: Pair | None,
    others: int,
    disturbed: str = "",
    disturbances: str = "",
    yardstick: Yardstick | None = None,
) -> str:
    """Which contestant of a table is the fastest, or why none is.

    `leader` is the winner, or else the first contestant, if any; `rivals` are the others, with the
    leader's pair with each, None where the two share no block. `back` is the row that takes the win
    back; `others` is the number of setups that are not ranked. `disturbed` is why there may be no
    verdict, and `disturbances` what others did in any of the blocks.
    """
    left_out = ""
    if others and leader:
        left_out = f" {others} setup{' is' if others == 1 else 's are'} not ranked."
    if leader is None:
        what = f"only the {yardstick.title}" if yardstick else "nothing here"
        return f"No winner: {what} may be ranked."
    if disturbed:
        return f"No winner, cannot tell: {disturbed}.{left_out}"
    if disturbances:
        left_out += f" Disturbed, yet few enough to count: {disturbances}."
    if back:
        return _taken_back(leader, back) + left_out
    if won:
        text = ("Of the frameworks, " if yardstick else "") + _won(order, leader, rivals)
    elif yardstick and not rivals:
        text = (
            f"{leader} is the only setup of a framework here{' that may be ranked' * (others > 0)}."
        )
    else:
        text = _not_won(order, leader, rivals, bool(others))
    return text + (_measured_by(yardstick, won) if yardstick else "") + left_out


def _measured_by(yardstick: Yardstick, won: bool) -> str:
    """How much time the reference needs, if its verdict against the leader is sure."""
    title, pair = yardstick
    if pair is None or pair.verdict not in ("faster", "slower"):
        return ""
    speed = pair.speed.estimate
    time = "its time" if won else f"the time of {pair.baseline}"
    if speed < 0.5:
        return f" The {title} needs {1 / speed:.2g} times {time}."
    if speed < LARGEST_PART:
        return f" The {title} needs {percent(1 / speed)} of {time}."
    return f" The {title} needs 1/{speed:.0f} of {time}: overhead decides here."


def _won(order: Order, winner: str, rivals: Mapping[str, Pair | None]) -> str:
    closest = min((it for it in rivals.values() if it), key=lambda it: it.speed.estimate)
    speeds, name = order.speeds, closest.baseline
    if len(rivals) > 1:
        largest = max((it for it in speeds if it != winner), key=speeds.__getitem__)
        name = f"{'the next' if name == largest else 'the closest'}, {name}"
    text = f"{winner} is the fastest: {ratio(closest.speed)} as fast as {name}"
    above = [it for it in speeds if speeds[it] > speeds[winner] > 0]
    if not above:
        return f"{text}."
    above.sort(key=lambda it: -speeds[it])
    larger = "has a larger ratio" if len(above) == 1 else "have larger ratios"
    return f"{text}, {DIRECTLY}; {listed(above)} {larger} to {order.baseline} all the same."


def _taken_back(winner: str, row: Pair) -> str:
    other = row.baseline if row.label == winner else row.label
    return (
        f"No winner: {winner} is faster than each of the others by itself, but over {row.family} "
        f"rows that is not enough to tell it from {other}."
    )


def _not_won(order: Order, leader: str, rivals: Mapping[str, Pair | None], others: bool) -> str:
    if not rivals:
        if others:
            return f"{leader} is the only setup here that may be ranked."
        return f"{leader} ran alone: there is nothing to compare it with."
    strangers = [label for label, it in rivals.items() if it is None]
    if strangers:
        return f"No winner: {leader} shares no block with {listed(strangers)}."
    pairs = [it for it in rivals.values() if it]
    unranked = [it for it in pairs if it.verdict == "not ranked"]
    if unranked:
        return f"No winner: {pair_sentence(unranked[0])}."
    if all(it.speed.low is None for it in pairs):
        return "No winner: one block says nothing of the spread, so there is no interval."
    contrary = [it for it in pairs if it.verdict == "slower"]
    if contrary:
        return (
            f"No winner: {leader} has the largest ratio to {order.first}, yet "
            f"{contrary[0].baseline} is {ratio(contrary[0].speed.inverted())} as fast, {DIRECTLY}."
        )
    return _tied(leader, [it for it in pairs if it.verdict != "faster"])


def _tied(leader: str, tied: Sequence[Pair]) -> str:
    if denied := next((it for it in tied if it.denied_by), None):
        witness = denied.witnesses[denied.denied_by]
        return (
            f"No winner: {leader} against {denied.baseline} is {denied.reason} "
            f"({ratio(denied.speed)} as fast in the median, {ratio(witness)} "
            f"{WHERE[denied.denied_by]})."
        )
    names = listed([it.baseline for it in tied])
    if all(it.verdict == "equivalent" for it in tied):
        # The others may well differ from one another.
        within = percent(max(it.margin for it in tied))
        return f"No winner: between {leader} and {names} is no difference larger than {within}."
    blocks = f"{min(it.n for it in tied)} blocks"
    doubted = [it for it in tied if it.verdict != "equivalent"]
    closest = min(doubted, key=lambda it: it.speed.estimate)
    near = f"the first is {ratio(closest.speed)} as fast"
    if len(tied) > 1:
        near = f"it is {ratio(closest.speed)} as fast as {closest.baseline}"
    if closest.speed.estimate < 1:
        near += f", {DIRECTLY}"
    return f"No winner: {blocks} cannot tell {leader} from {names}; {near}, and {doubt(closest)}."
