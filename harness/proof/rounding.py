"""What rounding alone can make of a task: the excuse that a difference in float32 may have.

A float32 program that is right computes the exact result of a slightly different problem
(Wilkinson's backward error). Most tasks answer a change in the seventh digit with one in the
sixth, but not all: at a ReLU's kink a unit takes the other side, and Adam divides by the size of a
gradient however small it is. Then two correct programs differ by more than any fixed limit.

So where a float32 difference is above its limit, the float64 reference is run again beside
*shadows* of itself, whose first weights differ by as much as the roundings of one forward pass:
√n·2⁻²⁴ for the n products and sums between an input and an output. A truth that keeps a stock
formula also says what that formula rounds at every step (`round_scalars`). What shadows differ by,
the framework may differ by as well, at the same step and in the same quantity; nothing else excuses
it.

Of some tasks float32 has no answer at all: rates so large that every rounding grows to the size of
the weights within a few steps. There it would be chance who differs by less than the shadows. So
the reference goes through the same steps in float32. It is lost where its own difference is above
the limit and above half of what its shadows excuse, or half of a tensor's scale. From that step on
nothing is compared, of any framework. Where that leaves fewer than four fifths of the steps, none
is proven in float32.
In float64 the limits hold without this.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np

from harness.adapter import Options
from harness.differences import FLOAT32_ROUNDING, SHADOWS, Bounds, Difference, compare, nudged
from harness.proof.lockstep import (
    LockStep,
    Place,
    Rows,
    Truth,
    above,
    differences,
    in_float64,
    one_thread,
    outputs_of,
    true_step,
)
from harness.tasks.start import Start

MARGIN = 2.0
"""Two correct programs round differently: where the float32 reference takes up more than half of
what is allowed, another one may take up more than all of it."""
LOST = 0.5
"""Of a tensor's scale."""
FEWEST_SHARE = 0.8
"""Of the steps."""


@runtime_checkable
class Rounds(Protocol):
    """A truth whose formula computes scalars anew at every step, which float32 rounds."""

    def round_scalars(self, generator: np.random.Generator) -> None: ...


def excuses(
    truth: Truth,
    start: Start,
    options: Options,
    batches: Sequence[Rows],
    excess: Mapping[Place, Difference],
) -> dict[Place, float]:
    """The largest difference that a shadow made, at every place of the excess.

    Shadows are drawn one after the other, no more than it takes. `truth` begins anew.
    """
    made = dict.fromkeys(excess, 0.0)
    # Nothing excuses what cannot be compared.
    sought = {place: it.size for place, it in excess.items() if not it.reason}
    last = max((step for step, _ in sought), default=0)
    drawn, true = shadows(type(truth), start, options), None
    while any(made[place] < size for place, size in sought.items()):
        if (shadow := next(drawn, None)) is None:
            break
        if last > 1 or true is None:  # one step of a large batch is good for all shadows
            truth.reset()
        for step, batch in enumerate(batches[:last], 1):
            with one_thread():
                seen = true_step(shadow, batch)
                if last > 1 or true is None:
                    true = true_step(truth, batch)
                found = differences(seen, true, "float64")
            for quantity, it in found.items():
                if (step, quantity) in sought and not it.reason:
                    made[step, quantity] = max(made[step, quantity], it.size)
    return made


def nothing_excused(excess: Mapping[Place, Difference]) -> dict[Place, float]:
    """As `excuses`, in float64."""
    return dict.fromkeys(excess, 0.0)


def excused_outputs(
    kind: type[Truth], start: Start, options: Options, rows: Rows, size: float
) -> float:
    """The largest difference of a shadow's outputs for a batch, at the weights of `start`; no more
    shadows are drawn than it takes to reach `size`."""
    exact, made = in_float64(options), 0.0
    with one_thread():
        true = outputs_of(kind(start.task, start, exact), rows)
        for shadow in shadows(kind, start, options):
            if made >= size:
                break
            made = max(made, compare(outputs_of(shadow, rows), true, "float64").size)
    return made


def outputs_excuses(
    kind: type[Truth],
    start: Start,
    options: Options,
    batches: Sequence[Rows],
    excess: Mapping[Place, Difference],
) -> dict[Place, float]:
    """As `excuses`, of outputs at the weights of the start."""
    return {
        (step, quantity): 0.0
        if it.reason
        else excused_outputs(kind, start, options, batches[step - 1], it.size)
        for (step, quantity), it in excess.items()
    }


def shadows(
    kind: type[Truth], start: Start, options: Options, rounding: float = FLOAT32_ROUNDING
) -> Iterator[Truth]:
    """Each has a generator of its own: what it is does not depend on how far others went."""
    for seed in np.random.SeedSequence(start.seed).spawn(SHADOWS):
        generator = np.random.default_rng(seed)
        shadow = kind(start.task, nudged(start, generator, rounding), in_float64(options))
        if rounding == FLOAT32_ROUNDING and isinstance(shadow, Rounds):
            shadow.round_scalars(generator)
        yield shadow


def sought(lock: LockStep, bounds: Bounds) -> dict[Place, Difference]:
    """What rounding would have to excuse: differences above their limit, of the examined adapter
    and, with the margin, of the float32 reference."""
    found = {place: it for place, it in lock.excess(bounds).items() if not it.reason}
    for place, it in above(lock.rounded, bounds).items():
        own = replace(it, size=MARGIN * it.size)
        found[place] = max(own, found.get(place, own), key=lambda it: it.size)
    return found


def lost(lock: LockStep, bounds: Bounds, excused: Mapping[Place, float]) -> Place | None:
    """The first place at which float32 has no answer: not even the reference agrees with itself."""
    for place, it in above(lock.rounded, bounds).items():
        if it.size >= LOST or MARGIN * it.size > excused[place]:
            return place
    return None


def fewest_compared(steps: int) -> int:
    """How many of so many steps must be compared for anything to be proven."""
    return math.ceil(FEWEST_SHARE * steps)
