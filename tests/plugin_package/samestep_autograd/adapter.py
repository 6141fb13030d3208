"""A task in HIPS autograd. Formulas avoid its float64 constants, so that float32 stays float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import autograd.numpy as np
import threadpoolctl
from autograd import value_and_grad
from autograd.scipy.special import erf, expit, logsumexp

from harness.adapter import AdapterDefaults, Array, Options, Setting, State, common
from harness.tasks.spec import PROBABILITY_FLOOR, SGD, Adam, AdamW, RMSprop, Task
from harness.tasks.start import Start

ACTIVATIONS: Mapping[str, Callable[[Any], Any]] = {
    "relu": lambda x: x * (x > 0),
    "tanh": np.tanh,
    "sigmoid": expit,
    "gelu": lambda x: x * ((1 + erf(x * 0.5**0.5)) * 0.5),
}


def _picked(values: Any, labels: Array) -> Any:
    """From every row of `values` (rows, classes), that of its class: (rows,)."""
    return np.sum(values * (labels[:, None] == np.arange(values.shape[1])), axis=1)


def _of_probabilities(p: Any, labels: Array) -> Any:
    clipped = np.clip(p, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return -np.sum(np.log(_picked(clipped, labels)))


LOSSES: Mapping[str, Callable[[Any, Array], Any]] = {
    "cross-entropy": lambda z, labels: np.sum(logsumexp(z, axis=1) - _picked(z, labels)),
    "cross-entropy-of-probabilities": _of_probabilities,
    "mse": lambda z, y: np.sum((z - y) * (z - y)) * (1 / y.shape[1]),
    "binary-cross-entropy": lambda z, y: np.sum(np.logaddexp(0, z) - y * z),
}
"""Sums over the rows of a batch."""


def _sgd(spec: SGD, step: int, w: Array, g: Array, *slots: Array) -> tuple[Array, ...]:
    if not slots:
        return (w - spec.learning_rate * g,)
    velocity = spec.momentum * slots[0] + g
    along = g + spec.momentum * velocity if spec.nesterov else velocity
    return w - spec.learning_rate * along, velocity


def _adam(
    spec: Adam | AdamW, step: int, w: Array, g: Array, m: Array, v: Array
) -> tuple[Array, ...]:
    if isinstance(spec, AdamW):
        w = w - spec.learning_rate * spec.weight_decay * w
    m = spec.beta1 * m + (1 - spec.beta1) * g
    v = spec.beta2 * v + (1 - spec.beta2) * (g * g)
    root = np.sqrt(v * (1 / (1 - spec.beta2**step)))
    return w - spec.learning_rate / (1 - spec.beta1**step) * m / (root + spec.epsilon), m, v


def _rmsprop(spec: RMSprop, step: int, w: Array, g: Array, s: Array) -> tuple[Array, ...]:
    s = spec.rho * s + (1 - spec.rho) * (g * g)
    return w - spec.learning_rate * g / (np.sqrt(s) + spec.epsilon), s


UPDATES: Mapping[str, Callable[..., tuple[Array, ...]]] = {
    "sgd": _sgd,
    "adam": _adam,
    "adamw": _adam,
    "rmsprop": _rmsprop,
}


class Batch(NamedTuple):
    inputs: Array
    targets: Array


class Adapter(AdapterDefaults):
    """See `harness.adapter.Adapter`; a handle is an array that no step writes to.

    The defaults are right here: nothing is asynchronous, and NumPy keeps no account of memory.
    """

    def __init__(self, task: Task, start: Start, options: Options) -> None:
        self._task, self._dtype = task, options.dtype
        self._start = {name: it.astype(options.dtype) for name, it in start.weights.items()}
        self._step_gradients = value_and_grad(self._loss)
        self.reset()

    def _outputs(self, weights: Mapping[str, Any], x: Any) -> Any:
        last = len(self._task.layers) - 1
        for layer in range(last + 1):
            x = np.dot(x, weights[f"layer{layer}.weight"]) + weights[f"layer{layer}.bias"]
            if layer < last:
                x = ACTIVATIONS[self._task.model.activation](x)
        if self._task.model.output == "softmax":
            x = np.exp(x - logsumexp(x, axis=1, keepdims=True))
        return x

    def _loss(self, weights: Mapping[str, Any], batch: Batch) -> Any:
        outputs = self._outputs(weights, batch.inputs)
        return LOSSES[self._task.loss](outputs, batch.targets) * (1 / len(batch.inputs))

    def stage(self, inputs: Array, targets: Array) -> Batch:
        if self._task.data.shape.kind != "classes":
            targets = targets.astype(self._dtype)
        return Batch(inputs.astype(self._dtype), np.array(targets))

    def reset(self) -> None:
        self._steps = 0
        self._weights = dict(self._start)
        self._slots = {
            f"{slot}/{name}": np.zeros_like(it)
            for slot in self._task.optimizer.slots
            for name, it in self._start.items()
        }

    def train_step(self, batch: Batch) -> Any:
        spec = self._task.optimizer
        loss, gradients = self._step_gradients(self._weights, batch)
        self._steps += 1
        for name, g in gradients.items():
            slots = [f"{slot}/{name}" for slot in spec.slots]
            before = (self._weights[name], g, *(self._slots[it] for it in slots))
            self._weights[name], *after = UPDATES[spec.name](spec, self._steps, *before)
            self._slots.update(zip(slots, after, strict=True))
        return loss

    def predict(self, batch: Batch) -> Any:
        return self._outputs(self._weights, batch.inputs)

    def gradients(self, batch: Batch) -> dict[str, Array]:
        return dict(self._step_gradients(self._weights, batch)[1])

    def state(self) -> State:
        return State(*({k: it.copy() for k, it in d.items()} for d in (self._weights, self._slots)))

    def to_numpy(self, handle: Any) -> Array:
        return np.array(handle)

    def tensor(self, values: Array) -> Any:
        return values.astype(self._dtype)

    def products(self, pairs: Sequence[tuple[Any, Any]]) -> list[Any]:
        return [np.dot(left, right) for left, right in pairs]

    def settings(self) -> dict[str, Setting]:
        blas = [it for it in threadpoolctl.threadpool_info() if it["user_api"] == "blas"]
        return {
            "threads": max((it["num_threads"] for it in blas), default=1),
            "dtype": common(str(it.dtype) for it in self._weights.values()),
            "device": "cpu",
            "devices_of_weights": "cpu",
            "compile": None,
        }
