"""Optimizers as pure update rules, (gradient, weights, slots) → (weights, slots), all flat vectors.

`scalars` computes what depends on the step t, from 1, in float64. Slots start at zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from impls.reference.instructions import Array, Xp


@dataclass(frozen=True)
class SGD:
    """Plain, with momentum (Polyak 1964), or with Nesterov's (1983) as Bengio et al. rewrite it."""

    learning_rate: float
    momentum: float = 0.0
    nesterov: bool = False

    @property
    def slots(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()

    def scalars(self, step: int) -> dict[str, float]:
        return {}

    def update(self, xp: Xp, g: Array, w: Array, *slots: Array) -> tuple[Array, ...]:
        if not slots:
            return (w - self.learning_rate * g,)
        v = self.momentum * slots[0] + g
        ahead = g + self.momentum * v if self.nesterov else v
        return w - self.learning_rate * ahead, v


@dataclass(frozen=True)
class Adam:
    """Kingma & Ba (2015), Algorithm 1, in the order of operations that ends their Section 2:

    lr·m̂ / (√v̂ + ε) = rate·m / (√v + ε̂), rate = lr·√(1 − β₂ᵗ) / (1 − β₁ᵗ), ε̂ = ε·√(1 − β₂ᵗ),

    which saves passes and is exact. With a decay λ it is AdamW (Loshchilov & Hutter 2019,
    Algorithm 2): first, the weights shrink by lr·λ.
    """

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    slots: ClassVar[tuple[str, ...]] = ("first_moment", "second_moment")

    def scalars(self, step: int) -> dict[str, float]:
        root = math.sqrt(1 - self.beta2**step)
        rate = self.learning_rate * root / (1 - self.beta1**step)
        return {"rate": rate, "epsilon": self.epsilon * root}

    def update(
        self, xp: Xp, g: Array, w: Array, m: Array, v: Array, rate: Array, epsilon: Array
    ) -> tuple[Array, ...]:
        if self.weight_decay:
            w = w * (1 - self.learning_rate * self.weight_decay)
        m = self.beta1 * m + (1 - self.beta1) * g
        v = self.beta2 * v + (1 - self.beta2) * (g * g)
        return w - rate * m / (xp.sqrt(v) + epsilon), m, v


@dataclass(frozen=True)
class RMSprop:
    """Hinton (2012), lecture 6e, with ε outside the root."""

    learning_rate: float
    rho: float = 0.9
    epsilon: float = 1e-8
    slots: ClassVar[tuple[str, ...]] = ("mean_square",)

    def scalars(self, step: int) -> dict[str, float]:
        return {}

    def update(self, xp: Xp, g: Array, w: Array, s: Array) -> tuple[Array, ...]:
        s = self.rho * s + (1 - self.rho) * (g * g)
        return w - self.learning_rate * g / (xp.sqrt(s) + self.epsilon), s


UpdateRule = SGD | Adam | RMSprop
