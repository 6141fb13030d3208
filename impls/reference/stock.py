"""The reference with Keras' stock update formulas: the truth for a mode that keeps them.

β, μ and the weight decay are those that float32 holds, in float64 too: on TensorFlow Keras casts
them so, and its adapter hands them over so on every backend.

Such a mode cannot be held to the task's formulas closely: docs/stock-optimizers.md derives how far
apart they are. It is held to its own formulas as closely as any other mode is to the task's, so
that every other fault still shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from harness.tasks.spec import SGD, Adam, AdamW, RMSprop, Task
from impls.reference import adapter, optim
from impls.reference.instructions import Array, Xp


def through_float32(constant: float) -> float:
    return float(np.float32(constant))


@dataclass(frozen=True)
class StockAdam(optim.Adam):
    """ε added to √v before the bias correction: lr·√(1 − β₂ᵗ)/(1 − β₁ᵗ) · m / (√v + ε).

    The order of Kingma & Ba (2015), end of Section 2, with one ε̂ for all steps.

    With `roundings` the powers are rounded to float32 as well, as those of a float32 model are, by
    an error drawn at every step. It is small, but 1 − β₂ᵗ loses digits to cancellation: with
    β₂ = 0.999 up to 3e-5 ÷ t of the rate are rounding.
    """

    roundings: np.random.Generator | None = None

    def scalars(self, step: int) -> dict[str, float]:
        power1, power2 = (beta**step for beta in (self.beta1, self.beta2))
        if self.roundings is not None:
            unit = np.finfo("float32").epsneg
            power1 += self.roundings.uniform(-unit, unit)
            power2 += self.roundings.uniform(-unit, unit)
        rate = self.learning_rate * math.sqrt(1 - power2) / (1 - power1)
        return {"rate": rate, "epsilon": self.epsilon}


@dataclass(frozen=True)
class StockRMSprop(optim.RMSprop):
    """ε inside the root: lr · g / √(s + ε)."""

    def update(self, xp: Xp, g: Array, w: Array, s: Array) -> tuple[Array, ...]:
        s = self.rho * s + (1 - self.rho) * (g * g)
        return w - self.learning_rate * g / xp.sqrt(s + self.epsilon), s


class Adapter(adapter.Adapter):
    """See `harness.adapter.Adapter`; weights, loss and slots as the task has them."""

    def _rule_of(self, task: Task) -> optim.UpdateRule:
        return stock_rule_of(task.optimizer)

    def round_scalars(self, generator: np.random.Generator) -> None:
        """From now on carry the roundings of what a float32 model computes anew at every step."""
        if isinstance(self._rule, StockAdam):
            self._rule = replace(self._rule, roundings=generator)


ROUNDED = "beta1", "beta2", "momentum", "weight_decay"


def stock_rule_of(spec: SGD | Adam | AdamW | RMSprop) -> optim.UpdateRule:
    fields = spec.model_dump(exclude={"name"})
    fields |= {name: through_float32(fields[name]) for name in ROUNDED if name in fields}
    if isinstance(spec, SGD):
        return optim.SGD(**fields)
    if isinstance(spec, RMSprop):
        return StockRMSprop(**fields)
    return StockAdam(**fields)
