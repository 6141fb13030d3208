"""Faults in what is computed: the mathematics, its precision, and the loop of a training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from harness.adapter import Array, Options, Setting
from harness.proof.faults.fault import (
    ADAMW,
    AUTOENCODER,
    CANCER,
    DIABETES,
    GELU,
    LARGE_BATCH,
    RMSPROP,
    SAME,
    Planted,
    altered,
    fault,
    within,
)
from harness.proof.formulas import ACTIVATIONS, Formula
from harness.tasks.spec import Task
from harness.tasks.start import Start, make_start
from impls.reference.primitives import multiply
from impls.reference.stock import through_float32
from impls.reference.tensor import Tensor, primitive

# One field of the formula: the constants.

altered("adam-epsilon", "ε 1e-7 for 1e-8", "weights", epsilon=1e-7)
altered("beta1", "β₁ 0.95 for 0.9", "slots", beta1=0.95)
altered("beta2", "β₂ 0.99 for 0.999", "slots", beta2=0.99)
altered("rho", "ρ 0.99 for 0.9 in RMSprop", "slots", RMSPROP, rho=0.99)
altered("learning-rate", "learning rate off by 1 %", "weights", learning_rate=1.01e-3)
altered("nesterov", "Nesterov for plain momentum", "weights", DIABETES, nesterov=True)
altered("decay-forgotten", "no weight decay", "weights", ADAMW, weight_decay=0.0)
altered("activation", "tanh for ReLU in every layer", "logits", hidden=("tanh", "tanh"))

# The loss.

altered("double-softmax", "softmax before a loss that takes logits", "loss", before_loss="softmax")
altered("loss-summed", "loss summed over the batch instead of averaged", "loss", reduction="sum")
altered(
    "softmax-axis",
    "softmax over the rows instead of the classes",
    "loss",
    before_loss="log-softmax-over-rows",
    loss="nll",
)
altered("label-smoothing", "labels smoothed by 1 %", "loss", smoothing=0.01)
altered("loss-halved", "½(z − y)² for (z − y)²", "loss", AUTOENCODER, reduction="half")
altered(
    "outputs-summed",
    "squares summed over the outputs",
    "loss",
    AUTOENCODER,
    reduction="outputs-summed",
)

# The layers.

altered(
    "leaky-relu",
    "leaky ReLU with slope 0.01 for ReLU, in one layer",
    "logits",
    hidden=("relu", "leaky-relu:0.01"),
)
altered(
    "gelu-tanh",
    "the tanh form of GELU for the exact one, in one layer",
    "logits",
    GELU,
    hidden=("gelu", "gelu-tanh"),
)
altered("output-activated", "ReLU after the last layer too", "logits", output="relu")
altered("bias-missing", "one layer without its bias", "gradients", biases=(True, False, True))

# What is fed and loaded.

altered("labels-shifted", "labels shifted by one", "loss", label_shift=1)
altered("inputs-rescaled", "inputs scaled once more", "logits", input_factor=1 / 16)
altered(
    "weights-transposed",
    "square weights loaded and read back transposed",
    "logits",
    weights="transposed",
)

# The update.

altered("epsilon-inside", "ε inside the root", "weights", epsilon_place="inside")
altered(
    "rms-epsilon-inside",
    "ε inside the root of RMSprop",
    "weights",
    RMSPROP,
    epsilon_place="inside",
)
altered("no-bias-correction", "Adam without bias correction", "weights", correction="none")
altered("correction-late", "bias correction of the step before", "weights", correction="late")
altered(
    "momentum-rate",
    "momentum scaled by the learning rate twice",
    "slots",
    DIABETES,
    momentum_form="rate-twice",
)
altered(
    "dampening",
    "momentum with dampening: v ← μ·v + (1 − μ)·g",
    "slots",
    DIABETES,
    momentum_form="average",
)
altered("decay-coupled", "weight decay coupled to the gradient", "slots", ADAMW, decay="coupled")
altered(
    "decay-unasked",
    "weight decay of 1e-4 where none is asked for",
    "weights",
    unseen="ten steps shrink a weight by 1e-6 of itself; the tolerance is 1e-5",
    weight_decay=1e-4,
)
altered("gradient-clipped", "gradients clipped to ±0.01", "slots", clip_value=0.01)


@fault(
    "beta2-rounded",
    "powers of β₂ from a β₂ that went through float32",
    "weights",
    unseen="a rate off by 6e-6 moves a weight by less than the tolerance",
)
class Beta2Rounded(Planted):
    def at(self, step: int) -> tuple[Formula, int]:
        formula, beta2 = self._formula, self._formula.beta2
        # √v is divided by the root of the one correction for that of the other.
        factor = math.sqrt((1 - through_float32(beta2) ** step) / (1 - beta2**step))
        rate, epsilon = factor * formula.learning_rate, factor * formula.epsilon
        return replace(formula, learning_rate=rate, epsilon=epsilon), step


@fault("rate-late", "the learning rate halves after 150 steps", "whole training")
class RateLate(Planted):
    def at(self, step: int) -> tuple[Formula, int]:
        late = replace(self._formula, learning_rate=self._formula.learning_rate / 2)
        return late if step > 150 else self._formula, step


@fault("count-saturates", "the step count ends at 100", "whole training")
class CountSaturates(Planted):
    def at(self, step: int) -> tuple[Formula, int]:
        return self._formula, min(step, 100)


# Dropout after the first layer.


def dropped_out(x: Tensor) -> Tensor:
    """Without one entry in ten; the others are scaled up."""
    mask = np.random.default_rng(len(x.array)).random(x.array.shape) >= 0.1
    return multiply(x, Tensor((mask / 0.9).astype(x.array.dtype)))


ACTIVATIONS["planted-dropout"] = dropped_out
DROPOUT = ("relu+planted-dropout", "relu")
altered("dropout", "dropout of 10 %, in training and inference", "logits", hidden=DROPOUT)
fault("dropout-training", "dropout of 10 % in training steps alone", "loss")(
    within("train_step", hidden=DROPOUT)
)
fault("dropout-inference", "predict leaves dropout on", "logits")(within("predict", hidden=DROPOUT))

# Precision.

MANTISSA_BITS = 10


def tf32(values: Array) -> Array:
    """Values rounded to 10 mantissa bits after the leading one."""
    fraction, exponent = np.frexp(values)
    scale = 2.0 ** (MANTISSA_BITS + 1)
    return np.ldexp(np.rint(fraction * scale) / scale, exponent).astype(values.dtype)


def float16(values: Array) -> Array:
    return values.astype(np.float16).astype(values.dtype)


# Rounded on the way forth and on the way back: every product has such operands.
primitive("planted_tf32")(lambda xp, x: (tf32(x), tf32))
primitive("planted_float16")(lambda xp, x: (float16(x), float16))
IN_TF32: dict[str, Any] = {"rounding": "planted_tf32"}
IN_FLOAT16: dict[str, Any] = {"rounding": "planted_float16"}

altered("float16", "float16 inside", "logits", **IN_FLOAT16)
fault("inference-cheaper", "float16 in predict alone", "logits")(within("predict", **IN_FLOAT16))
fault("batch-cheaper", "10 mantissa bits from 256 rows on", "full-batch", LARGE_BATCH)(
    within("predict", "gradients", "train_step", rows=256, **IN_TF32)
)


@fault("tf32", "matrix products with 10 mantissa bits, as TF32", "logits")
class TF32(Planted):
    altered = IN_TF32

    def products(self, pairs: Sequence[tuple[Any, Any]]) -> list[Any]:
        return super().products([(tf32(left), tf32(right)) for left, right in pairs])


@fault("float32-inside", "float32 inside, shown as what was asked for", "start", unseen=SAME)
class Float32Inside(Planted):
    def __init__(self, task: Task, start: Start, options: Options) -> None:
        super().__init__(task, start, replace(options, dtype="float32"))
        self._shown = options.dtype

    def to_numpy(self, handle: Any) -> Array:
        return super().to_numpy(handle).astype(self._shown)

    def settings(self) -> dict[str, Setting]:
        return super().settings() | {"dtype": self._shown}


# What is fed.


@fault("rows-apart", "each row with its neighbour's label", "loss")
class RowsApart(Planted):
    def stage(self, inputs: Array, targets: Array) -> Any:
        return super().stage(inputs, np.roll(targets, 1, axis=0))


@fault("last-row-dropped", "a batch without its last row", "loss", CANCER)
class RowDropped(Planted):
    def train_step(self, batch: Any) -> Any:
        return super().train_step(type(batch)(*(values[:-1] for values in batch)))


# Where it begins.


@fault("weights-anew", "weights initialised anew", "start")
class WeightsAnew(Planted):
    def __init__(self, task: Task, start: Start, options: Options) -> None:
        super().__init__(task, make_start(task, start.seed + 1), options)


# What happens between steps.


@fault("gradients-kept", "gradients not cleared between steps", "slots")
class GradientsKept(Planted):
    _sum: Any = 0.0

    def doctored(self, gradient: Array) -> Array:
        self._sum = gradient + (self._sum if self._steps > 1 else 0.0)
        return np.array(self._sum)


@fault("gradient-late", "every update uses the gradient of the step before", "slots")
class GradientLate(Planted):
    _late: Any = None

    def doctored(self, gradient: Array) -> Array:
        late, self._late = self._late, gradient
        return np.array(late) if self._steps > 1 else gradient


@fault("bias-frozen", "one bias never updated", "weights")
class BiasFrozen(Planted):
    def train_step(self, batch: Any) -> Any:
        bias = self.part("layer1.bias").copy()
        loss = super().train_step(batch)
        self.part("layer1.bias")[...] = bias
        return loss


@fault("step-skipped", "every 50th step skipped", "slots", unseen="its first skip is the 50th step")
class StepSkipped(Planted):
    def train_step(self, batch: Any) -> Any:
        if self._steps % 50 == 49:
            self._steps += 1
            return self.loss(batch)
        return super().train_step(batch)
