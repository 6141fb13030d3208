"""A task in JAX: pure functions of the weights, an optax optimizer, and one step of them all."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from harness.adapter import Array, DeviceMemory, Options, Setting, State, Unsupported, Work, common
from harness.tasks.spec import PROBABILITY_FLOOR, SGD, Adam, AdamW, Optimizer, RMSprop, Task
from harness.tasks.start import Start

Weights = dict[str, jax.Array]
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "gelu": partial(jax.nn.gelu, approximate=False),
}
SLOTS = {"velocity": "trace", "mean_square": "nu", "first_moment": "mu", "second_moment": "nu"}
"""Optax's names for the tasks' slots."""


def _cross_entropy_of_probabilities(probabilities: jax.Array, labels: jax.Array) -> jax.Array:
    clipped = jnp.clip(probabilities, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return -jnp.log(jnp.take_along_axis(clipped, labels[:, None], axis=1))


LOSSES: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "cross-entropy": optax.losses.softmax_cross_entropy_with_integer_labels,
    "cross-entropy-of-probabilities": _cross_entropy_of_probabilities,
    "mse": optax.losses.squared_error,
    "binary-cross-entropy": optax.losses.sigmoid_binary_cross_entropy,
}
"""One loss for each row; the task's loss is their mean."""


def optimizer_of(spec: Optimizer) -> optax.GradientTransformation:
    """The stock optimizers but Adam's: at these arguments they are the task's formulas."""
    if isinstance(spec, SGD):
        return optax.sgd(spec.learning_rate, spec.momentum or None, spec.nesterov)
    if isinstance(spec, RMSprop):
        return optax.rmsprop(spec.learning_rate, spec.rho, spec.epsilon, eps_in_sqrt=False)
    return optax.chain(
        _scale_by_adam(spec),
        optax.add_decayed_weights(spec.weight_decay) if spec.name == "adamw" else optax.identity(),
        optax.scale_by_learning_rate(spec.learning_rate),
    )


def _scale_by_adam(spec: Adam | AdamW) -> optax.GradientTransformation:
    """`optax.scale_by_adam` with −expm1(t·ln β) for 1 − βᵗ.

    Optax subtracts: in float32 that is off by 1e-5, which shows in gradients two steps later.
    """
    logs = [math.log(beta) if beta else -math.inf for beta in (spec.beta1, spec.beta2)]

    def update(gradients: Weights, state: Any, weights: Any = None) -> tuple[Weights, Any]:
        count = state.count + 1
        mu = optax.tree.update_moment(gradients, state.mu, spec.beta1, 1)
        nu = optax.tree.update_moment(gradients, state.nu, spec.beta2, 2)
        bias, square = (-jnp.expm1(count * log) for log in logs)
        steps = jax.tree.map(lambda m, v: m / bias / (jnp.sqrt(v / square) + spec.epsilon), mu, nu)
        return steps, optax.ScaleByAdamState(count, mu, nu)

    return optax.GradientTransformation(optax.scale_by_adam().init, update)


class Batch(NamedTuple):
    inputs: jax.Array
    targets: jax.Array


class Carried(NamedTuple):
    """What a step takes over from the step before."""

    weights: Weights
    slots: optax.OptState


class Adapter:
    """See `harness.adapter.Adapter`; a `Batch` is a pair of arrays, a handle is an array."""

    def __init__(self, task: Task, start: Start, options: Options) -> None:
        jax.config.update("jax_enable_x64", options.dtype == "float64")
        # By default GPUs and TPUs round factors to fewer digits than float32 has.
        jax.config.update("jax_default_matmul_precision", "highest")
        self._device = _device(options.device)
        jax.config.update("jax_default_device", self._device)
        self._task, self._dtype = task, options.dtype
        # NumPy's, so that no account of JAX's memory contains the harness's copy.
        self._start = {name: it.astype(options.dtype) for name, it in start.weights.items()}
        self._optimizer = optimizer_of(task.optimizer)
        self._traces = {"train_traces": 0, "predict_traces": 0}
        self._last: Any = None

        self._compiles = options.mode == "jit"
        jit = jax.jit if self._compiles else lambda function, **_: function
        self._train = jit(self._step, donate_argnums=0)
        self._predict = jit(self._predicted)
        self._programs = {"train": self._train, "predict": self._predict}
        self._gradients = jit(jax.grad(self._loss))
        self._products = jit(lambda pairs: [left @ right for left, right in pairs])
        self.reset()

    def _outputs(self, weights: Weights, x: jax.Array) -> jax.Array:
        last = len(self._task.layers) - 1
        for layer in range(last + 1):
            x = x @ weights[f"layer{layer}.weight"] + weights[f"layer{layer}.bias"]
            if layer < last:
                x = ACTIVATIONS[self._task.model.activation](x)
        return jax.nn.softmax(x) if self._task.model.output == "softmax" else x

    def _loss(self, weights: Weights, inputs: jax.Array, targets: jax.Array) -> jax.Array:
        return LOSSES[self._task.loss](self._outputs(weights, inputs), targets).mean()

    def _step(self, carried: Carried, batch: Batch) -> tuple[Carried, jax.Array]:
        self._traces["train_traces"] += 1
        loss, gradients = jax.value_and_grad(self._loss)(carried.weights, *batch)
        updates, slots = self._optimizer.update(gradients, carried.slots, carried.weights)
        return Carried(optax.apply_updates(carried.weights, updates), slots), loss

    def _predicted(self, weights: Weights, batch: Batch) -> jax.Array:
        self._traces["predict_traces"] += 1
        return self._outputs(weights, batch.inputs)

    def stage(self, inputs: Array, targets: Array) -> Batch:
        classes = self._task.data.shape.kind == "classes"
        return Batch(self.tensor(inputs), copied(targets, "int32" if classes else self._dtype))

    def reset(self) -> None:
        weights = {name: self.tensor(it) for name, it in self._start.items()}
        self._carried = Carried(weights, self._optimizer.init(weights))

    def train_step(self, batch: Batch) -> jax.Array:
        self._carried, self._last = self._train(self._carried, batch)
        return self._last

    def predict(self, batch: Batch) -> jax.Array:
        self._last = self._predict(self._carried.weights, batch)
        return self._last

    def gradients(self, batch: Batch) -> dict[str, Array]:
        return self._canonical(self._gradients(self._carried.weights, *batch))

    def state(self) -> State:
        slots: dict[str, Array] = {}
        for slot in self._task.optimizer.slots:
            slots |= self._canonical(optax.tree.get(self._carried.slots, SLOTS[slot]), f"{slot}/")
        return State(self._canonical(self._carried.weights), slots)

    def _canonical(self, tensors: Weights, prefix: str = "") -> dict[str, Array]:
        return {f"{prefix}{name}": self.to_numpy(tensors[name]) for name in self._start}

    def to_numpy(self, handle: jax.Array) -> Array:
        return np.array(handle)

    def synchronize(self) -> None:
        # A device works in order: the last result is the last to be ready.
        jax.block_until_ready((self._carried, self._last))

    def reset_device_memory(self) -> bool:
        return False

    def device_memory(self) -> DeviceMemory | None:
        stats = self._device.memory_stats()
        if not stats:
            return None
        pool = stats.get("peak_pool_bytes") or None
        return DeviceMemory(stats["bytes_in_use"], stats["peak_bytes_in_use"], pool)

    def logical_peak(self, work: Work) -> int | None:
        """The arrays that exist, and what the compiled step adds by its own account.

        None in eager mode: JAX keeps no account of single operations.
        """
        if not self._compiles:
            return None
        state = self._carried if work.phase == "train" else self._carried.weights
        program = self._programs[work.phase].lower(state, work.staged)
        added = program.compile().memory_analysis()
        alive = sum(it.nbytes for it in jax.live_arrays())
        new = added.output_size_in_bytes - added.alias_size_in_bytes
        return alive + new + added.temp_size_in_bytes

    def tensor(self, values: Array) -> jax.Array:
        return copied(values, self._dtype)

    def products(self, pairs: Sequence[tuple[jax.Array, jax.Array]]) -> list[jax.Array]:
        self._last = self._products(pairs)
        return self._last

    def settings(self) -> dict[str, Setting]:
        if self._compiles and jax.config.jax_disable_jit:
            raise Unsupported("JAX compiles nothing here: JAX_DISABLE_JIT is on")
        weights, precision = self._carried.weights.values(), jax.config.jax_default_matmul_precision
        # JAX does not say how many threads share an operation on the CPU, so they are counted.
        names = (it.read_text() for it in Path("/proc/self/task").glob("*/comm"))
        settings: dict[str, Setting] = {
            "threads": sum(it.startswith("tf_XLAEigen") for it in names),
            "dtype": common(str(it.dtype) for it in weights),
            "device": _name(self.tensor(np.zeros((1, 1))).device),
            "devices_of_weights": common(_name(it.device) for it in weights),
            "float32_matmul_precision": precision,
            "xla": self._compiles,
            "compile": "jax.jit" if self._compiles else None,
        }
        if self._device.platform != "cpu":
            settings |= {"gpu": self._device.device_kind, "tf32": precision != "highest"}
        return settings | self._traces if self._compiles else settings


def copied(values: Array, dtype: str) -> jax.Array:
    """An array in JAX's own memory; on the CPU it might otherwise lie in NumPy's."""
    return jnp.array(np.asarray(values, dtype), copy=True)


def _device(name: str) -> Any:
    """The device of a name such as `cpu`, `gpu:0` or `tpu:0`."""
    kind, _, index = name.partition(":")
    if kind == "cpu":
        jax.config.update("jax_platforms", "cpu")  # no other is initialised
    try:
        return jax.devices(kind)[int(index or 0)]
    except (RuntimeError, IndexError) as error:
        raise Unsupported(f"JAX sees no {name}: {error}") from None


def _name(device: Any) -> str:
    """What the harness calls a device."""
    return "cpu" if device.platform == "cpu" else f"{device.platform}:{device.id}"
