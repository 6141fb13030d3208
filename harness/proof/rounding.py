"""How large a difference rounding alone can make in float32.

A float32 program that is right computes the exact result of a slightly different problem
(Wilkinson's backward error). Most tasks answer a change in the seventh digit with one in the
sixth, but not all: at a ReLU's kink a unit takes the other side, and Adam divides by the size of a
gradient however small it is. Then two correct programs differ by more than any fixed limit.

So where a float32 difference is above its limit, the float64 reference is run again, together with
*shadows* of itself. Their first weights differ by as much as the roundings of one forward pass:
√n·2⁻²⁴ for the n products and sums on the way from an input to an output. A reference with a stock
formula also rounds that formula's scalars at every step (`round_scalars`). The framework may differ
by as much as the shadows do, at the same step and in the same quantity; nothing else excuses it.

For some tasks float32 has no answer at all: rates so large that every rounding grows to the size of
the weights within a few steps. Which framework differs by less than the shadows would be chance. So
the reference goes through the same steps in float32. It is lost where its difference is above the
limit and above half of what its shadows excuse, or half of a tensor's scale. From that step on
nothing is compared, of any framework. Where that leaves fewer than four fifths of the steps, none
is proven in float32.
In float64 the limits hold without this.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.differences import MARGIN, Bounds, Difference, shadows
from harness.proof import lockstep
from harness.proof.lockstep import LockStep, Oracle, Place, Rows

LOST = 0.5
"""Of a tensor's scale."""
FEWEST_SHARE = 0.8
"""Of the steps."""


def excuses(
    oracle: Oracle, batches: Sequence[Rows], excess: Mapping[Place, Difference]
) -> dict[Place, float]:
    """The largest difference that a shadow made, at every place of the excess; 0 in float64.

    Shadows are drawn one after the other, no more than it takes. The truth begins anew.
    """
    made = dict.fromkeys(excess, 0.0)
    if oracle.dtype != "float32":
        return made
    # Nothing excuses what cannot be compared.
    sizes = {place: it.size for place, it in excess.items() if not it.reason}
    last = max((step for step, _ in sizes), default=0)
    truth, trains, true = oracle.truth, oracle.trains, None
    drawn = shadows(oracle.another, oracle.start)
    while any(made[place] < size for place, size in sizes.items()):
        if (shadow := next(drawn, None)) is None:
            break
        if last > 1 or true is None:  # one step of a large batch is good for all shadows
            truth.reset()
        for step, batch in enumerate(batches[:last], 1):
            with lockstep.one_thread():
                seen = lockstep.true_step(shadow, batch, trains)
                if last > 1 or true is None:
                    true = lockstep.true_step(truth, batch, trains)
                of_shadow = lockstep.differences(seen, true, "float64")
            for quantity, difference in of_shadow.items():
                if (step, quantity) in sizes and not difference.reason:
                    made[step, quantity] = max(made[step, quantity], difference.size)
    return made


def unexcused(
    oracle: Oracle, batches: Sequence[Rows], excess: Mapping[Place, Difference]
) -> tuple[Place, Difference] | None:
    """The first difference of the excess that is larger than rounding alone makes."""
    made = excuses(oracle, batches, excess)
    return next(((place, it) for place, it in excess.items() if it.size > made[place]), None)


def sought(lock: LockStep, bounds: Bounds) -> dict[Place, Difference]:
    """What rounding would have to excuse: differences above their limit, of the examined adapter
    and, with the margin, of the float32 reference."""
    excess = {place: it for place, it in lock.excess(bounds).items() if not it.reason}
    for place, difference in lockstep.above(lock.rounded, bounds).items():
        widened = replace(difference, size=MARGIN * difference.size)
        excess[place] = max(widened, excess.get(place, widened), key=lambda it: it.size)
    return excess


def lost(lock: LockStep, bounds: Bounds, excused: Mapping[Place, float]) -> Place | None:
    """The first place at which float32 has no answer: not even the reference agrees with itself."""
    for place, difference in lockstep.above(lock.rounded, bounds).items():
        if difference.size >= LOST or MARGIN * difference.size > excused[place]:
            return place
    return None


def fewest_compared(steps: int) -> int:
    """How many of so many steps must be compared for anything to be proven."""
    return math.ceil(FEWEST_SHARE * steps)
