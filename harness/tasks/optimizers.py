"""The optimizers a task may ask for: their mathematics, exactly.

Notation: w weights, g gradient of the loss, lr learning rate, t the step counted from 1; every slot
starts at zero. A framework whose stock optimizer differs from these formulas must be made to match.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from harness.tasks.frozen import Frozen

LearningRate = Annotated[float, Field(gt=0, le=1000)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Epsilon = Annotated[float, Field(gt=0, le=1)]


class SGD(Frozen):
    """Stochastic gradient descent, with Polyak's (1964) or Nesterov's (1983) momentum μ.

    Plain:     w ← w − lr·g
    Momentum:  v ← μ·v + g,  w ← w − lr·v
    Nesterov:  v ← μ·v + g,  w ← w − lr·(g + μ·v)   (Sutskever et al. 2013, in Bengio's form)

    Slot: `velocity`, only where μ > 0.
    """

    name: Literal["sgd"] = "sgd"
    learning_rate: LearningRate = 0.01
    momentum: Decay = 0.0
    nesterov: bool = False

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> SGD:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self

    @property
    def slots(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()


class Adam(Frozen):
    """Adam, Kingma & Ba (2015), Algorithm 1: ε stands outside the bias-corrected root.

    m ← β₁·m + (1 − β₁)·g
    v ← β₂·v + (1 − β₂)·g²
    w ← w − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)

    Slots: `first_moment` (m), `second_moment` (v).
    """

    name: Literal["adam"] = "adam"
    learning_rate: LearningRate = 1e-3
    beta1: Decay = 0.9
    beta2: Decay = 0.999
    epsilon: Epsilon = 1e-8

    @property
    def slots(self) -> tuple[str, ...]:
        return ("first_moment", "second_moment")


class AdamW(Frozen):
    """AdamW, Loshchilov & Hutter (2019), Algorithm 2: weight decay λ decoupled from the gradient.

    w ← w − lr·λ·w, then Adam's step; the decay applies to weights and biases alike.

    Slots: `first_moment` (m), `second_moment` (v).
    """

    name: Literal["adamw"] = "adamw"
    learning_rate: LearningRate = 1e-3
    beta1: Decay = 0.9
    beta2: Decay = 0.999
    epsilon: Epsilon = 1e-8
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01

    @property
    def slots(self) -> tuple[str, ...]:
        return ("first_moment", "second_moment")


class RMSprop(Frozen):
    """RMSprop, Hinton (2012), Coursera lecture 6e; ε outside the root, as in Adam.

    s ← ρ·s + (1 − ρ)·g²
    w ← w − lr · g / (√s + ε)

    Slot: `mean_square` (s).
    """

    name: Literal["rmsprop"] = "rmsprop"
    learning_rate: LearningRate = 1e-3
    rho: Decay = 0.9
    epsilon: Epsilon = 1e-8

    @property
    def slots(self) -> tuple[str, ...]:
        return ("mean_square",)


Optimizer = Annotated[SGD | Adam | AdamW | RMSprop, Field(discriminator="name")]
