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
In float64 the limits hold without this.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np

from harness.adapter import Options
from harness.proof.compare import Difference
from harness.proof.drive import Rows, Truth, one_thread, true_step
from harness.proof.lockstep import Place, differences
from harness.tasks.spec import Task
from harness.tasks.start import Start

SHADOWS = 12
"""A unit at its kink takes the other side in half of them: one in 4,000 would miss it."""
FLOAT32_ROUNDING = 2.0**-24


@runtime_checkable
class Rounds(Protocol):
    """A truth whose formula computes scalars anew at every step, which float32 rounds."""

    def round_scalars(self, generator: np.random.Generator) -> None: ...


def excuses(
    truth: Truth,
    task: Task,
    start: Start,
    options: Options,
    batches: Sequence[Rows],
    excess: Mapping[Place, Difference],
) -> dict[Place, float]:
    """The largest difference that a shadow made, at every place of the excess.

    Shadows are drawn one after the other, no more than it takes. `truth` begins anew.
    """
    made = dict.fromkeys(excess, 0.0)
    if any(it.reason for it in excess.values()):
        return made  # nothing excuses what cannot be compared
    generator = np.random.default_rng(start.seed)
    last = max((step for step, _ in excess), default=0)
    exact = replace(options, mode="eager", device="cpu", dtype="float64")
    for _ in range(SHADOWS):
        if all(made[place] >= it.size for place, it in excess.items()):
            break
        shadow = type(truth)(task, nudged(start, generator), exact)
        if isinstance(shadow, Rounds):
            shadow.round_scalars(generator)
        truth.reset()
        for step, batch in enumerate(batches[:last], 1):
            with one_thread():
                seen, true = true_step(shadow, batch), true_step(truth, batch)
                found = differences(seen, true, "float64")
            for quantity, it in found.items():
                if (step, quantity) in made and not it.reason:
                    made[step, quantity] = max(made[step, quantity], it.size)
    return made


def nudged(start: Start, generator: np.random.Generator) -> Start:
    """The start with every weight moved by at most √n·2⁻²⁴ of itself, biases by as much of the
    layer's largest weight: they begin at zero but are rounded with what they are added to."""
    reach = math.sqrt(sum(fan_in for fan_in, _ in start.task.layers)) * FLOAT32_ROUNDING
    weights = {}
    for name, values in start.weights.items():
        size = np.abs(values)
        if name.endswith(".bias"):
            size = np.full_like(values, np.abs(start.weights[_weight_of(name)]).max())
        weights[name] = values + size * generator.uniform(-reach, reach, values.shape)
    return replace(start, weights=weights)


def _weight_of(bias: str) -> str:
    return bias.removesuffix("bias") + "weight"
