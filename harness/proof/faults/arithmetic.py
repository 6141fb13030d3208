"""Faults in what is computed: the mathematics, its precision, and the loop of a training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from harness.adapter import Array, Options, Setting, State
from harness.proof.faults.fault import (
    ADAMW,
    AUTOENCODER,
    CANCER,
    DIABETES,
    GELU,
    LARGE_BATCH,
    RMSPROP,
    SAME,
    Net,
    Planted,
    changed,
    criterion,
    fault,
)
from harness.tasks.spec import Task
from harness.tasks.start import Start, make_start
from impls.reference import optim
from impls.reference import primitives as ops
from impls.reference.losses import softmax_cross_entropy as cross_entropy
from impls.reference.losses import squared_error
from impls.reference.tensor import Tensor, primitive

# One field of the task.

changed("adam-epsilon", "ε 1e-7 for 1e-8", "weights", optimizer={"epsilon": 1e-7})
changed("beta1", "β₁ 0.95 for 0.9", "slots", optimizer={"beta1": 0.95})
changed("beta2", "β₂ 0.99 for 0.999", "slots", optimizer={"beta2": 0.99})
changed("rho", "ρ 0.99 for 0.9 in RMSprop", "slots", RMSPROP, optimizer={"rho": 0.99})
changed(
    "learning-rate", "learning rate off by 1 %", "weights", optimizer={"learning_rate": 1.01e-3}
)
changed(
    "nesterov", "Nesterov for plain momentum", "weights", DIABETES, optimizer={"nesterov": True}
)
changed("decay-forgotten", "no weight decay", "weights", ADAMW, optimizer={"weight_decay": 0.0})
changed("activation", "tanh for ReLU in every layer", "logits", model={"activation": "tanh"})


# The loss.


@criterion("double-softmax", "softmax before a loss that takes logits")
def _(z: Tensor, y: Tensor) -> Any:
    return cross_entropy(ops.softmax(z), y)


@criterion("loss-summed", "loss summed over the batch instead of averaged")
def _(z: Tensor, y: Tensor) -> Any:
    return ops.multiply(cross_entropy(z, y), float(len(z.array)))


@criterion("softmax-axis", "softmax over the rows instead of the classes")
def _(z: Tensor, y: Tensor) -> Any:
    return ops.negative(ops.mean(ops.sum(ops.log_softmax(z, axis=0) * one_hot(z, y), axis=1)))


@criterion("label-smoothing", "labels smoothed by 1 %")
def _(z: Tensor, y: Tensor) -> Any:
    even = ops.negative(ops.mean(ops.log_softmax(z)))
    return 0.99 * cross_entropy(z, y) + 0.01 * even


@criterion("loss-halved", "½(z − y)² for (z − y)²", AUTOENCODER)
def _(z: Tensor, y: Tensor) -> Any:
    return 0.5 * squared_error(z, y)


@criterion("outputs-summed", "squares summed over the outputs", AUTOENCODER)
def _(z: Tensor, y: Tensor) -> Any:
    return squared_error(z, y) * float(z.array.shape[1])


def one_hot(z: Tensor, y: Tensor) -> Tensor:
    return Tensor(np.eye(z.array.shape[1], dtype=z.array.dtype)[y.array])


# The layers.


@fault("leaky-relu", "leaky ReLU with slope 0.01 for ReLU, in one layer", "logits")
class LeakyLayer(Net):
    def activate(self, index: int, name: str, x: Tensor) -> Tensor:
        return ops.leaky_relu(x, slope=0.01) if index == 1 else super().activate(index, name, x)


@fault("gelu-tanh", "the tanh form of GELU for the exact one, in one layer", "logits", GELU)
class GeluByTanh(Net):
    def activate(self, index: int, name: str, x: Tensor) -> Tensor:
        if index != 1:
            return super().activate(index, name, x)
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))
        return ops.multiply(0.5 * x, 1 + ops.tanh(inner))


@fault("output-activated", "ReLU after the last layer too", "logits")
class OutputActivated(Net):
    def activate(self, index: int, name: str, x: Tensor) -> Tensor:
        return ops.relu(x)


@fault("bias-missing", "one layer without its bias", "gradients")
class BiasMissing(Net):
    def affine(self, index: int, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return super().affine(index, x, weight, bias * 0.0 if index == 1 else bias)


@fault("dropout", "dropout of 10 %, in training and inference", "logits")
class Dropout(Net):
    def activate(self, index: int, name: str, x: Tensor) -> Tensor:
        x = super().activate(index, name, x)
        return x * kept(x) if index == 0 else x


@fault("dropout-training", "dropout of 10 % in training steps alone", "loss")
class DropoutInTraining(Planted):
    def train_step(self, batch: Any) -> Any:
        with self.other(Dropout):
            return super().train_step(batch)


@fault("dropout-inference", "predict leaves dropout on", "logits")
class DropoutInInference(Planted):
    def predict(self, batch: Any) -> Any:
        with self.other(Dropout):
            return super().predict(batch)


def kept(x: Tensor) -> Tensor:
    """A mask that drops one entry in ten, and scales the others up."""
    mask = np.random.default_rng(len(x.array)).random(x.array.shape) >= 0.1
    return Tensor((mask / 0.9).astype(x.array.dtype))


# The update.


@fault("epsilon-inside", "ε inside the root", "weights")
class EpsilonInside(optim.Adam):
    def update(self, xp: Any, g: Any, w: Any, m: Any, v: Any, rate: Any, epsilon: Any) -> Any:
        _, m, v = super().update(xp, g, w, m, v, rate, epsilon)
        # ε̂ = ε·√(1 − β₂ᵗ); under the root of v it becomes ε·(1 − β₂ᵗ) = ε̂²/ε.
        return w - rate * m / xp.sqrt(v + epsilon * epsilon / self.epsilon), m, v


@fault("rms-epsilon-inside", "ε inside the root of RMSprop", "weights", RMSPROP)
class RMSEpsilonInside(optim.RMSprop):
    def update(self, xp: Any, g: Any, w: Any, s: Any) -> Any:
        _, s = super().update(xp, g, w, s)
        return w - self.learning_rate * g / xp.sqrt(s + self.epsilon), s


@fault("no-bias-correction", "Adam without bias correction", "weights")
class NoCorrection(optim.Adam):
    def scalars(self, step: int) -> dict[str, float]:
        return {"rate": self.learning_rate, "epsilon": self.epsilon}


@fault("correction-late", "bias correction of the step before", "weights")
class CorrectionLate(optim.Adam):
    def scalars(self, step: int) -> dict[str, float]:
        return super().scalars(max(1, step - 1))


@fault(
    "beta2-rounded",
    "powers of β₂ from a β₂ that went through float32",
    "weights",
    unseen="a rate off by 6e-6 moves a weight by less than the tolerance",
)
class Beta2Rounded(optim.Adam):
    def scalars(self, step: int) -> dict[str, float]:
        beta2 = float(np.float32(self.beta2))
        return optim.Adam(self.learning_rate, self.beta1, beta2, self.epsilon).scalars(step)


@fault("momentum-rate", "momentum scaled by the learning rate twice", "slots", DIABETES)
class RateTwice(optim.SGD):
    def update(self, xp: Any, g: Any, w: Any, *slots: Any) -> Any:
        return super().update(xp, self.learning_rate * g, w, *slots)


@fault("dampening", "momentum with dampening: v ← μ·v + (1 − μ)·g", "slots", DIABETES)
class Dampening(optim.SGD):
    def update(self, xp: Any, g: Any, w: Any, *slots: Any) -> Any:
        return super().update(xp, (1 - self.momentum) * g, w, *slots)


@fault("decay-coupled", "weight decay coupled to the gradient", "slots", ADAMW)
class DecayCoupled(optim.Adam):
    def update(self, xp: Any, g: Any, w: Any, m: Any, v: Any, rate: Any, epsilon: Any) -> Any:
        decay, shrink = self.weight_decay, 1 - self.learning_rate * self.weight_decay
        # The shrinking that comes with the step is taken back.
        return super().update(xp, g + decay * w, w / shrink, m, v, rate, epsilon)


@fault(
    "decay-unasked",
    "weight decay of 1e-4 where none is asked for",
    "weights",
    unseen="ten steps shrink a weight by 1e-6 of itself; the tolerance is 1e-5",
)
class DecayUnasked(optim.Adam):
    def update(self, xp: Any, g: Any, w: Any, m: Any, v: Any, rate: Any, epsilon: Any) -> Any:
        return super().update(xp, g, w * (1 - 1e-4 * self.learning_rate), m, v, rate, epsilon)


MANTISSA_BITS = 10


def tf32(values: Array) -> Array:
    """Values rounded to 10 mantissa bits after the leading one."""
    fraction, exponent = np.frexp(values)
    scale = 2.0 ** (MANTISSA_BITS + 1)
    return np.ldexp(np.rint(fraction * scale) / scale, exponent).astype(values.dtype)


def float16(values: Array) -> Array:
    return values.astype(np.float16).astype(values.dtype)


# Rounded on the way forth and on the way back: every product has such operands.
through_tf32 = primitive("planted_tf32")(lambda xp, x: (tf32(x), tf32))
through_float16 = primitive("planted_float16")(lambda xp, x: (float16(x), float16))


class TF32Net(Net):
    def affine(self, index: int, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        product = super().affine(index, through_tf32(x), through_tf32(weight), bias)
        return through_tf32(product)


@fault("float16", "float16 inside", "logits")
class Float16Net(Net):
    def affine(self, index: int, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        product = super().affine(index, through_float16(x), through_float16(weight), bias)
        return through_float16(product)


@fault("tf32", "matrix products with 10 mantissa bits, as TF32", "logits")
class TF32(Planted):
    def __init__(self, task: Task, start: Start, options: Options) -> None:
        super().__init__(task, start, options, network=TF32Net)

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


@fault("inference-cheaper", "float16 in predict alone", "logits")
class InferenceCheaper(Planted):
    def predict(self, batch: Any) -> Any:
        with self.other(Float16Net):
            return super().predict(batch)


@fault("batch-cheaper", "10 mantissa bits from 256 rows on", "full-batch", LARGE_BATCH)
class BatchCheaper(Planted):
    LARGE = 256

    def predict(self, batch: Any) -> Any:
        with self._network_of(batch):
            return super().predict(batch)

    def gradients(self, batch: Any) -> dict[str, Array]:
        with self._network_of(batch):
            return super().gradients(batch)

    def train_step(self, batch: Any) -> Any:
        with self._network_of(batch):
            return super().train_step(batch)

    def _network_of(self, batch: Any) -> AbstractContextManager[None]:
        return self.other(TF32Net) if len(batch.inputs) >= self.LARGE else nullcontext()


# What is fed.


@fault("labels-shifted", "labels shifted by one", "loss")
class LabelsShifted(Planted):
    def stage(self, inputs: Array, targets: Array) -> Any:
        return super().stage(inputs, (targets + 1) % 10)


@fault("rows-apart", "each row with its neighbour's label", "loss")
class RowsApart(Planted):
    def stage(self, inputs: Array, targets: Array) -> Any:
        return super().stage(inputs, np.roll(targets, 1, axis=0))


@fault("inputs-rescaled", "inputs scaled once more", "logits")
class InputsRescaled(Planted):
    def stage(self, inputs: Array, targets: Array) -> Any:
        return super().stage(inputs / 16, targets)


@fault("last-row-dropped", "a batch without its last row", "loss", CANCER)
class RowDropped(Planted):
    def train_step(self, batch: Any) -> Any:
        return super().train_step(type(batch)(*(values[:-1] for values in batch)))


# Where it begins.


@fault("weights-anew", "weights initialised anew", "start")
class WeightsAnew(Planted):
    def __init__(self, task: Task, start: Start, options: Options) -> None:
        super().__init__(task, make_start(task, start.seed + 1), options)


@fault("weights-transposed", "square weights loaded and read back transposed", "logits")
class Transposed(Planted):
    def __init__(self, task: Task, start: Start, options: Options) -> None:
        super().__init__(task, replace(start, weights=turned(start.weights)), options)

    def gradients(self, batch: Any) -> dict[str, Array]:
        return turned(super().gradients(batch))

    def state(self) -> State:
        state = super().state()
        return State(turned(state.weights), turned(state.slots))


def turned(values: dict[str, Array]) -> dict[str, Array]:
    return {
        name: np.ascontiguousarray(it.T) if it.ndim == 2 and len(set(it.shape)) == 1 else it
        for name, it in values.items()
    }


# What happens between steps.


@fault("gradients-kept", "gradients not cleared between steps", "slots")
class GradientsKept(Planted):
    _sum: Any = 0.0

    def doctored(self, gradient: Array) -> Array:
        self._sum = self._sum + gradient
        return np.array(self._sum)

    def reset(self) -> None:
        super().reset()
        self._sum = 0.0


@fault("gradient-late", "every update uses the gradient of the step before", "slots")
class GradientLate(Planted):
    _late: Any = None

    def doctored(self, gradient: Array) -> Array:
        late, self._late = self._late, gradient
        return gradient if late is None else np.array(late)

    def reset(self) -> None:
        super().reset()
        self._late = None


@fault("gradient-clipped", "gradients clipped to ±0.01", "slots")
class GradientClipped(Planted):
    def doctored(self, gradient: Array) -> Array:
        return gradient.clip(-0.01, 0.01)


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


# What comes late.


class LateStep(optim.Adam):
    """Adam that changes after so many steps."""

    HONEST_STEPS = 150

    def scalars(self, step: int) -> dict[str, float]:
        scalars = super().scalars(step)
        if step > self.HONEST_STEPS:
            scalars |= self.late(step, scalars)
        return scalars

    def late(self, step: int, scalars: dict[str, float]) -> dict[str, float]:
        """What changes then; nothing of its own."""
        return {}


@fault("rate-late", "the learning rate halves after 150 steps", "whole training")
class RateLate(LateStep):
    def late(self, step: int, scalars: dict[str, float]) -> dict[str, float]:
        return {"rate": scalars["rate"] / 2}


@fault("count-saturates", "the step count ends at 100", "whole training")
class CountSaturates(LateStep):
    HONEST_STEPS = 100

    def late(self, step: int, scalars: dict[str, float]) -> dict[str, float]:
        return optim.Adam.scalars(self, self.HONEST_STEPS)
