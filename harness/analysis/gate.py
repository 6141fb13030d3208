"""Has it become slower? Exact intervals against two ends: no slowdown at all, and the threshold.

Let [low, high] hold the slowdown. Where `high` lies below the threshold, a slowdown of that size is
excluded: *fine*. Where it does not, but `low` lies above zero, no slowdown at all is excluded and
one of the threshold's size is not: *regression*. Otherwise both are possible: *cannot tell*, and
more blocks are made, up to the last look.

To ask for the whole interval beyond the threshold would find a slowdown of just that size in one of
forty checks; to ask only that it excludes zero would make an alarm of every half percent, once
there are blocks enough. Here an interval that excludes zero and includes the threshold T has its
middle beyond T/2, whatever its width.

Errors are those of the interval's ends. Each end is wrong with a chance of at most LEVEL ÷ (cells
× looks), by the sign test, whatever the noise is like, if blocks are independent. So a check of
unchanged code raises a false alarm in at most 1 of 20 runs, however many cells and looks it has,
and one with a cell that is slower by the threshold passes as fine in at most 1 of 20. How often
that is found, and not left open, depends on the noise: with a standard deviation of 2.5 % between
blocks a slowdown of 5 % is found at the first look in 19 of 20 checks of two cells.

Against stored times the two samples are not paired (`anchored`). The promise then holds only if a
step took the same share of its bare products in both runs, apart from a drift within each run.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Literal

from harness.analysis.pairs import Blocks, log_ratios, step_times, steps
from harness.analysis.stats import Interval, Method, exact_ends, shift_ends
from harness.cells import Phase
from harness.tasks.spec import Frozen

LEVEL = 0.05
LOOKS = (12, 24, 48)
"""After so many blocks the evidence is looked at; an open question gets more of them."""

Outcome = Literal["fine", "improved", "regression", "cannot tell"]


class Slowdown(Frozen):
    """How many times as long a step takes as before: 1.05 is 5 % slower; `n` blocks a side."""

    ratio: Interval
    outcome: Outcome
    threshold: float


def one_sided(cells: int, looks: int = len(LOOKS)) -> float:
    """The chance at which one end of one interval of one look may be wrong."""
    return LEVEL / (cells * looks)


def paired(logs: Sequence[float], threshold: float, level: float) -> Slowdown:
    """Of log(time now ÷ time before) by block, in which both took turns."""
    ends = exact_ends(sorted(logs), 1 - 2 * level)
    return _judged(statistics.median(logs), ends, len(logs), threshold)


def anchored(
    now: Sequence[float], before: Sequence[float], threshold: float, level: float
) -> Slowdown:
    """Of logarithms of two separate runs: the shift of one against the other, see `two_samples`.

    It knows nothing of what changed between the runs: it is weaker than `paired`.
    """
    middle = statistics.median(now) - statistics.median(before)
    ends = shift_ends(before, now, 1 - 2 * level)
    return _judged(middle, ends, min(len(now), len(before)), threshold, "combined")


def _judged(
    middle: float,
    ends: tuple[float, float] | None,
    n: int,
    threshold: float,
    method: Method = "order-statistic",
) -> Slowdown:
    low, high = ends or (-math.inf, math.inf)
    outcome: Outcome = "cannot tell"
    if high < 0:
        outcome = "improved"
    elif high < math.log1p(threshold):
        outcome = "fine"
    elif low > 0:
        outcome = "regression"
    return Slowdown(
        ratio=Interval(
            estimate=math.exp(middle),
            low=math.exp(low) if ends else None,
            high=math.exp(high) if ends else None,
            n=n,
            method=method if ends else "none",
            reason="" if ends else f"{n} blocks are too few for so many cells and looks",
        ),
        outcome=outcome,
        threshold=threshold,
    )


def anchors(blocks: Blocks, phase: Phase) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Steps and bare products, in seconds, of the blocks that measured both."""
    found = [
        (statistics.median(times.values()), products)
        for record in blocks.values()
        if (times := step_times(record, phase))
        and record.limits
        and (products := record.limits.product_seconds.get(phase))
    ]
    steps, products_of = zip(*found, strict=True) if found else ((), ())
    return tuple(steps), tuple(products_of)


def by_phase(
    now: Blocks, before: Blocks, phases: Sequence[Phase]
) -> Mapping[Phase, tuple[float, ...]]:
    """log(time now ÷ time before) of every block that both finished."""
    return {
        phase: tuple(-it for it in log_ratios(steps(now, phase), steps(before, phase)).values())
        for phase in phases
    }
