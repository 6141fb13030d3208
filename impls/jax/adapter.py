"""A task in JAX: pure functions of the weights, an optax optimizer, and one step of them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from harness.adapter import Array, DeviceMemory, Options, Setting, State, Unsupported, Work, common
from harness.tasks.spec import Task
from harness.tasks.start import Start
from impls.jax.building import SLOTS, Weights, loss_of, optimizer_of, outputs_of

THREAD = "tf_XLAEigen"
"""What XLA calls its threads that share one operation on the CPU."""


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
        # GPUs and TPUs round factors otherwise; float32 means float32 here.
        jax.config.update("jax_default_matmul_precision", "highest")
        self._device = _device(options.device)
        jax.config.update("jax_default_device", self._device)
        self._dtype = options.dtype
        self._targets = options.dtype if task.data.shape.kind != "classes" else "int64"
        self._mode = options.mode
        # NumPy's, so that no account of JAX's memory contains the harness's copy.
        self._start = {name: it.astype(options.dtype) for name, it in start.weights.items()}
        self._slots = task.optimizer.slots
        self._optimizer = optimizer_of(task.optimizer)
        self._outputs, self._loss = outputs_of(task), loss_of(task)
        self._traces = {"train": 0, "predict": 0}
        self._last: Any = None

        self._train = self._compiled(self._step, donate_argnums=0)
        self._predict = self._compiled(self._predicted)
        self._programs = {"train": self._train, "predict": self._predict}
        self._gradients = self._compiled(jax.grad(self._loss))
        self._products = self._compiled(lambda pairs: [one @ other for one, other in pairs])
        self.reset()

    def _compiled(self, function: Callable[..., Any], **how: Any) -> Callable[..., Any]:
        return jax.jit(function, **how) if self._mode == "jit" else function

    def _step(self, carried: Carried, batch: Batch) -> tuple[Carried, jax.Array]:
        self._traces["train"] += 1
        loss, gradients = jax.value_and_grad(self._loss)(carried.weights, *batch)
        updates, slots = self._optimizer.update(gradients, carried.slots, carried.weights)
        return Carried(optax.apply_updates(carried.weights, updates), slots), loss

    def _predicted(self, weights: Weights, batch: Batch) -> jax.Array:
        self._traces["predict"] += 1
        return self._outputs(weights, batch.inputs)

    def stage(self, inputs: Array, targets: Array) -> Batch:
        return Batch(self._owned(inputs, self._dtype), self._owned(targets, self._targets))

    def _owned(self, values: Array, dtype: str) -> jax.Array:
        """An array in JAX's own memory; on the CPU it might otherwise lie in NumPy's."""
        return jnp.array(np.asarray(values, jax.dtypes.canonicalize_dtype(dtype)), copy=True)

    def reset(self) -> None:
        weights = {name: self._owned(it, self._dtype) for name, it in self._start.items()}
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
        for slot in self._slots:
            values = self._canonical(optax.tree.get(self._carried.slots, SLOTS[slot]))
            slots |= {f"{slot}/{name}": it for name, it in values.items()}
        return State(self._canonical(self._carried.weights), slots)

    def _canonical(self, tensors: Weights) -> dict[str, Array]:
        return {name: self.to_numpy(tensors[name]) for name in self._start}

    def to_numpy(self, handle: jax.Array) -> Array:
        return np.array(handle)

    def synchronize(self) -> None:
        # A device does one thing after the other: what was asked for last is done last.
        jax.block_until_ready((self._carried, self._last))

    def reset_device_memory(self) -> bool:
        return False

    def device_memory(self) -> DeviceMemory | None:
        found = self._device.memory_stats()
        if not found:
            return None
        pool = found.get("peak_pool_bytes") or None
        return DeviceMemory(found["bytes_in_use"], found["peak_bytes_in_use"], pool)

    def logical_peak(self, work: Work) -> int | None:
        """What lives already, and what the compiled step says that it adds.

        None for single operations, of which nobody keeps an account.
        """
        if self._mode != "jit":
            return None
        state = self._carried if work.phase == "train" else self._carried.weights
        program = self._programs[work.phase].lower(state, work.staged)
        added = program.compile().memory_analysis()
        alive = sum(it.nbytes for it in jax.live_arrays())
        new = added.output_size_in_bytes - added.alias_size_in_bytes
        return alive + new + added.temp_size_in_bytes

    def tensor(self, values: Array) -> jax.Array:
        return self._owned(values, self._dtype)

    def products(self, pairs: Sequence[tuple[jax.Array, jax.Array]]) -> list[jax.Array]:
        self._last = self._products(pairs)
        return self._last

    def settings(self) -> dict[str, Setting]:
        if self._mode == "jit" and jax.config.jax_disable_jit:
            raise Unsupported("JAX compiles nothing here: JAX_DISABLE_JIT is on")
        weights = self._carried.weights.values()
        settings: dict[str, Setting] = {
            "threads": _threads(),
            "dtype": common(str(it.dtype) for it in weights),
            "device": _name(self.tensor(np.zeros((1, 1))).device),
            "devices_of_weights": common(_name(it.device) for it in weights),
            "float32_matmul_precision": jax.config.jax_default_matmul_precision,
            "xla": self._mode == "jit",
            "compile": "jax.jit" if self._mode == "jit" else None,
        }
        if self._device.platform != "cpu":
            settings["gpu"] = self._device.device_kind
            settings["tf32"] = settings["float32_matmul_precision"] != "highest"
        if self._mode == "jit":
            settings |= {f"{name}_traces": it for name, it in self._traces.items()}
        return settings


def _threads() -> int:
    """Threads that share one operation on the CPU; JAX does not say, so they are counted."""
    names = Path("/proc/self/task").glob("*/comm")
    return sum(it.read_text().startswith(THREAD) for it in names)


def _device(name: str) -> Any:
    """The device of a name such as `cpu`, `gpu:0` or `tpu:0`."""
    kind, _, index = name.partition(":")
    if kind == "cpu":
        jax.config.update("jax_platforms", "cpu")  # no other is even looked for
    try:
        return jax.devices(kind)[int(index or 0)]
    except (RuntimeError, IndexError) as error:
        raise Unsupported(f"JAX sees no {name}: {error}") from None


def _name(device: Any) -> str:
    """What the harness calls a device."""
    return "cpu" if device.platform == "cpu" else f"{device.platform}:{device.id}"
