"""A task in Keras: `compile`, `fit` and `predict`; `on_<backend>.py` has what a backend needs."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from harness.adapter import Array, Options, Setting, State, Unsupported, Work, common
from harness.tasks.spec import Task
from harness.tasks.start import Start

BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
# Keras and TensorFlow import JAX only because it is installed.
hidden = {"jax"} - {BACKEND} - sys.modules.keys()
sys.modules.update(dict.fromkeys(hidden))
try:
    on = importlib.import_module(f"impls.keras.on_{BACKEND}")
except ModuleNotFoundError as error:
    raise Unsupported(f"Keras finds no backend {BACKEND}: {error}") from None
import keras  # noqa: E402  # the backend comes first
from keras import ops  # noqa: E402

from impls.keras.building import build_model, loss_of, slots_of, stock_optimizer  # noqa: E402

for name in hidden:
    del sys.modules[name]


class Batch(NamedTuple):
    inputs: Any
    targets: Any


class Idiom:
    """See `harness.adapter.Idiom`; `fit` returns the mean loss over its steps, as Keras does."""

    def __init__(self, task: Task, start: Start, options: Options) -> None:
        on.configure(options)
        keras.config.set_floatx(options.dtype)
        keras.config.set_dtype_policy(options.dtype)
        kind, _, index = options.device.partition(":")
        if kind == "gpu" and int(index) >= (found := on.gpus()):
            raise Unsupported(f"{BACKEND} sees {found} GPU(s) (a CPU build, or no driver)")
        # A process has one adapter: entered and never left.
        self._scope = keras.device(options.device)
        self._scope.__enter__()
        self._task, self._options = task, options
        self._refuse_lower_precision(task)
        self._start = {name: it.astype(options.dtype) for name, it in start.weights.items()}
        self._traces: dict[str, int] = {}
        self._last: Any = None
        self._optimizer = stock_optimizer(task.optimizer)
        self._model = self._compiled(self._optimizer, min(on.STEPS, task.steps_per_epoch))
        # Several steps an execution would join their outputs pair by pair, and trace anew for a
        # shorter rest: inference takes one step at a time.
        self._predictor = keras.Model(self._model.inputs, self._model.outputs)
        self._predictor.compile(jit_compile=on.compiles(options))
        if on.TRACES:
            self._count("train", self._model)
            self._count("predict", self._predictor)
        self.reset()

    def _refuse_lower_precision(self, task: Task) -> None:
        """Off TensorFlow, Keras takes some of float64 in float32; few dtypes of results show it."""
        thirds, unit = self.tensor(np.full((2, 2), 1 / 3)), self.tensor(np.eye(2))
        taken = {"products": ops.matmul(thirds, unit)}
        if task.loss in ("mse", "binary-cross-entropy"):
            taken["means"] = ops.mean(thirds)
        for what, result in taken.items():
            if np.any(self.to_numpy(result) != self.to_numpy(thirds)):
                dtype = self._options.dtype
                raise Unsupported(f"Keras on {BACKEND} takes {what} of {dtype} in float32")
        for layer in build_model(task).layers:
            if (used := _dtype(layer.activation(thirds))) != self._options.dtype:
                name = layer.activation.__name__
                raise Unsupported(f"Keras on {BACKEND} takes {name} of float64 in {used}")

    def _compiled(self, optimizer: keras.optimizers.Optimizer, steps: int) -> keras.Model:
        """`jit_compile` is what Keras chooses by itself on this backend and device."""
        model, jit = build_model(self._task), on.compiles(self._options)
        model.compile(optimizer, loss_of(self._task), steps_per_execution=steps, jit_compile=jit)
        optimizer.build(model.trainable_variables)
        return model

    def _count(self, name: str, model: keras.Model) -> None:
        """Count how often a step is traced, which is when Python runs it."""
        step: Callable[..., Any] = getattr(model, f"{name}_step")
        self._traces[f"{name}_traces"] = 0

        def counted(*data: Any) -> Any:
            self._traces[f"{name}_traces"] += 1
            return step(*data)

        setattr(model, f"{name}_step", counted)

    def _rows(self, inputs: Array, targets: Array) -> Batch:
        """Copies, which a backend may take over as they are."""
        kind, dtype = self._task.data.shape.kind, self._options.dtype
        return Batch(
            np.array(inputs, dtype), np.array(targets, "int64" if kind == "classes" else dtype)
        )

    def stage(self, inputs: Array, targets: Array) -> Batch:
        return Batch(*map(ops.convert_to_tensor, self._rows(inputs, targets)))

    def loader(self, inputs: Array, targets: Array, order: Array) -> Any:
        return on.Loader(self._rows(inputs, targets), np.array(order), self._options)

    def fit(self, loader: Any, steps: int) -> float:
        history = self._model.fit(loader.batches(steps), shuffle=False, verbose=0)
        return history.history["loss"][-1]

    def infer(self, loader: Any, steps: int) -> Array:
        outputs = self._predictor.predict(loader.batches(steps, targets=False), verbose=0)
        return outputs[-loader.order.shape[1] :]

    def train_step(self, batch: Batch) -> float:
        return self._model.train_on_batch(*batch)

    def predict(self, batch: Batch) -> Array:
        return self._predictor.predict_on_batch(batch.inputs)

    def gradients(self, batch: Batch) -> dict[str, Array]:
        """The first velocity of a copy that is trained by SGD, with the opposite sign."""
        copy = self._compiled(sgd := keras.optimizers.SGD(1.0, momentum=0.5), 1)
        copy.set_weights(self._model.get_weights())
        copy.train_on_batch(*batch)
        return {name: -it for name, it in self._canonical(sgd.momentums).items()}

    def reset(self) -> None:
        variables = self._model.trainable_variables
        for variable, values in zip(variables, self._start.values(), strict=True):
            variable.assign(values.copy())
        for variable in self._optimizer.variables:
            # The learning rate is one of the optimizer's variables; it stays.
            if variable is not self._optimizer._learning_rate:
                variable.assign(np.zeros(variable.shape, variable.dtype))

    def state(self) -> State:
        """Keras' velocity is −lr times the task's; here it is the task's."""
        slots: dict[str, Array] = {}
        names = self._task.optimizer.slots
        for slot, variables in zip(names, slots_of(self._optimizer), strict=True):
            scale = -self._task.optimizer.learning_rate if slot == "velocity" else 1.0
            for name, values in self._canonical(variables).items():
                slots[f"{slot}/{name}"] = values / scale
        return State(self._canonical(self._model.trainable_variables), slots)

    def _canonical(self, variables: Iterable[Any]) -> dict[str, Array]:
        # Keras stores a weight as the shared start does, (in, out).
        return {name: self.to_numpy(it) for name, it in zip(self._start, variables, strict=True)}

    def to_numpy(self, handle: Any) -> Array:
        return np.array(ops.convert_to_numpy(handle))

    def synchronize(self) -> None:
        """Of all methods only `products` may return before its work is done."""
        if self._last is not None:
            ops.convert_to_numpy(self._last[:1, :1])
            self._last = None

    def reset_device_memory(self) -> bool:
        return False

    def device_memory(self) -> None:
        return None

    def logical_peak(self, work: Work) -> None:
        return None

    def tensor(self, values: Array) -> Any:
        return ops.convert_to_tensor(np.array(values, self._options.dtype))

    def products(self, pairs: Sequence[tuple[Any, Any]]) -> list[Any]:
        made = [left @ right for left, right in pairs]
        self._last = made[-1]
        return made

    def settings(self) -> dict[str, Setting]:
        weights = [it.value for it in self._model.trainable_variables]
        return {
            "dtype": common(map(_dtype, weights)),
            "device": _place(self.tensor(np.zeros((1, 1)))),
            "devices_of_weights": common(map(_place, weights)),
            "xla": BACKEND != "torch" and self._model.jit_compile,
            "jit_compile": self._model.jit_compile,
            "steps_per_execution": self._model.steps_per_execution,
            "loader": on.Loader.KIND,
            **self._traces,
            **on.facts(self._options),
        }


def _dtype(tensor: Any) -> str:
    return keras.backend.standardize_dtype(tensor.dtype)


def _place(tensor: Any) -> str:
    """What the harness calls the device of a tensor."""
    name = str(tensor.device).lower()
    return "cpu" if "cpu" in name else f"gpu:{name.rpartition(':')[2]}"
