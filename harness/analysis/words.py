"""What a comparison says, in words; the numbers in them are written here once for every reader."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.analysis.intervals import Interval
from harness.analysis.verdicts import Pair

DIGITS = 3
"""Significant digits of every measured number that is shown."""


def decimals(value: float, digits: int = DIGITS) -> int:
    """Decimal places that show `value` with so many significant digits; never negative."""
    if value == 0 or not math.isfinite(value):
        return 0
    # Rounding first: 9.996 has three digits as 10.0, not as 10.00.
    rounded = float(f"{abs(value):.{digits - 1}e}")
    return max(0, digits - 1 - math.floor(math.log10(rounded)))


def ratio_texts(speed: Interval) -> tuple[str, str | None, str | None]:
    """A speed ratio and its bounds, all with as many decimals as its estimate needs.

    None of them reads as 1 unless it is: `1.004 (1.001–1.007)` must not look like a tie.
    """
    numbers = [it for it in (speed.estimate, speed.low, speed.high) if it is not None]
    places = decimals(speed.estimate)
    while places < 5 and any(it != 1 and float(f"{it:.{places}f}") == 1 for it in numbers):
        places += 1
    texts = [None if it is None else f"{it:.{places}f}" for it in (speed.low, speed.high)]
    return f"{speed.estimate:.{places}f}", texts[0], texts[1]


def ratio(speed: Interval) -> str:
    """A speed ratio as everyone shows it, e.g. `1.31 × (1.28–1.34)`."""
    estimate, low, high = ratio_texts(speed)
    return f"{estimate} ×" if low is None else f"{estimate} × ({low}–{high})"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def won(winner: str, rivals: Mapping[str, Pair | None]) -> str:
    """The sentence for a cell that is faster than every rival."""
    closest = min((it for it in rivals.values() if it), key=lambda it: it.speed.estimate)
    others = "the next, " if len(rivals) > 1 else ""
    return f"{winner} is the fastest: {ratio(closest.speed)} as fast as {others}{closest.baseline}."


def not_won(leader: str, rivals: Mapping[str, Pair | None]) -> str:
    """The sentence where no cell is faster than every other one, and why that is so.

    `rivals` are the other cells, each with the pair in which `leader`, whose median step is the
    shortest, is compared with it; None where the two share no block.
    """
    if not rivals:
        return f"{leader} ran alone: there is nothing to compare it with."
    strangers = [label for label, it in rivals.items() if it is None]
    if strangers:
        return f"No winner: {leader} shares no block with {listed(strangers)}."
    pairs = [it for it in rivals.values() if it]
    if all(it.speed.low is None for it in pairs):
        return "No winner: one block says nothing of the spread, so there is no interval."
    contrary = [it for it in pairs if it.verdict == "slower"]
    if contrary:
        return (
            f"No winner: {leader} has the shortest median step, "
            f"yet {contrary[0].baseline} was faster in the blocks that they share."
        )
    tied = [it for it in pairs if it.verdict in ("cannot tell", "equivalent")]
    blocks = f"{min(it.speed.n for it in tied)} blocks"
    if len(tied) > 1:
        others = listed([it.baseline for it in tied])
        # Of the others nothing is said: they may well differ from one another.
        return f"No winner: {blocks} cannot tell {leader} from {others}."
    return (
        f"No winner: {blocks} cannot tell {leader} from {tied[0].baseline}; "
        f"the first is {ratio(tied[0].speed)} as fast."
    )
