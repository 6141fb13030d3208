"""A task in Keras: `compile`, `fit` and `predict`; `on_<backend>.py` has what a backend needs.

The optimizers' formulas differ from the task's; docs/stock-optimizers.md derives by how much.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from harness.adapter import AdapterDefaults, Array, Options, Setting, State, Unsupported, common
from harness.tasks.spec import PROBABILITY_FLOOR, SGD, AdamW, Optimizer, RMSprop, Task
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
from keras import losses, ops  # noqa: E402

for name in hidden:
    del sys.modules[name]

TRACED = BACKEND != "torch"
"""Whether steps are compiled. On PyTorch, Keras runs each step from Python."""
STEPS = 32 if TRACED else 1
"""Steps in one execution at most: enough to make Python's share small."""
SLOTS = {
    "velocity": "momentums",
    "mean_square": "_velocities",
    "first_moment": "_momentums",
    "second_moment": "_velocities",
}
"""Keras' names for the tasks' slots."""


def build_model(task: Task) -> keras.Sequential:
    activation = _gelu if task.model.activation == "gelu" else task.model.activation
    last = None if task.model.output == "identity" else task.model.output
    layers = [keras.layers.Dense(width, activation) for width in task.model.hidden]
    layers.append(keras.layers.Dense(task.widths[-1], last))
    return keras.Sequential([keras.Input((task.widths[0],)), *layers])


def _gelu(x: Any) -> Any:
    # On TensorFlow, Keras' GELU rounds √2 to float32 even in float64.
    if BACKEND != "tensorflow":
        return keras.activations.gelu(x, approximate=False)
    return 0.5 * x * (1 + ops.erf(x * math.sqrt(0.5)))


def loss_of(task: Task) -> Callable[[Any, Any], Any]:
    # Keras' own cross-entropies would take the logits in front of a softmax.
    if task.loss == "cross-entropy-of-probabilities":
        return cross_entropy_of_probabilities
    if task.loss == "cross-entropy" and task.model.output == "softmax":
        return cross_entropy_behind_softmax
    if task.loss == "cross-entropy":
        return losses.SparseCategoricalCrossentropy(from_logits=True)
    if task.loss == "binary-cross-entropy":
        return losses.BinaryCrossentropy(from_logits=True)
    return losses.MeanSquaredError()


def cross_entropy_behind_softmax(y_true: Any, y_pred: Any) -> Any:
    return _picked(ops.log_softmax(y_pred), y_true)


def cross_entropy_of_probabilities(y_true: Any, y_pred: Any) -> Any:
    return _picked(ops.log(ops.clip(y_pred, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)), y_true)


def _picked(logs: Any, labels: Any) -> Any:
    """For each row, minus the logarithm of its class."""
    return -ops.take_along_axis(logs, ops.reshape(ops.cast(labels, "int32"), (-1, 1)), axis=1)


def stock_optimizer(task: Optimizer) -> keras.optimizers.Optimizer:
    """Constants are rounded to float32: on TensorFlow, Keras does so even in float64."""
    lr = task.learning_rate
    if isinstance(task, SGD):
        return keras.optimizers.SGD(lr, _float32(task.momentum), task.nesterov)
    if isinstance(task, RMSprop):
        return keras.optimizers.RMSprop(lr, task.rho, epsilon=task.epsilon)
    constants = _float32(task.beta1), _float32(task.beta2), task.epsilon
    if isinstance(task, AdamW):
        return keras.optimizers.AdamW(lr, _float32(task.weight_decay), *constants)
    return keras.optimizers.Adam(lr, *constants)


def _float32(constant: float) -> float:
    return float(np.float32(constant))


class Idiom(AdapterDefaults):
    """See `harness.adapter.Idiom`; `fit` returns the mean loss over its steps, as Keras does."""

    def __init__(self, task: Task, start: Start, options: Options) -> None:
        on.configure(options)
        keras.config.set_floatx(options.dtype)
        keras.config.set_dtype_policy(options.dtype)
        kind, _, index = options.device.partition(":")
        if kind == "gpu" and int(index) >= (count := on.gpus()):
            raise Unsupported(f"{BACKEND} sees {count} GPU(s) (a CPU build, or no driver)")
        # A process has one adapter, so the scope is never left.
        self._scope = keras.device(options.device)
        self._scope.__enter__()
        self._task, self._options = task, options
        self._refuse_lower_precision()
        self._start = {name: it.astype(options.dtype) for name, it in start.weights.items()}
        self._traces: dict[str, int] = {}
        self._last: Any = None
        self._optimizer = stock_optimizer(task.optimizer)
        self._model = self._compiled(self._optimizer, min(STEPS, task.steps_per_epoch))
        # Inference runs one step per execution: several would be concatenated pair by pair, and a
        # shorter rest would be traced anew.
        self._predictor = keras.Model(self._model.inputs, self._model.outputs)
        self._predictor.compile()
        if TRACED:
            self._count("train", self._model)
            self._count("predict", self._predictor)
        self.reset()

    def _refuse_lower_precision(self) -> None:
        """Raise Unsupported where Keras computes float64 in float32, which dtypes rarely show."""
        dtype, thirds = self._options.dtype, self.tensor(np.full((2, 2), 1 / 3))
        kept = {"products": ops.matmul(thirds, self.tensor(np.eye(2)))}
        if self._task.loss in ("mse", "binary-cross-entropy"):
            kept["means"] = ops.mean(thirds)
        exact = self.to_numpy(thirds)
        lower = [what for what, it in kept.items() if np.any(self.to_numpy(it) != exact)]
        activations = [layer.activation for layer in build_model(self._task).layers]
        lower += [it.__name__ for it in activations if _dtype(it(thirds)) != dtype]
        if lower:
            raise Unsupported(f"Keras on {BACKEND} takes {lower[0]} of {dtype} in float32")

    def _compiled(self, optimizer: keras.optimizers.Optimizer, steps: int) -> keras.Model:
        model = build_model(self._task)
        model.compile(optimizer, loss_of(self._task), steps_per_execution=steps)
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

    def _rows(self, inputs: Array, targets: Array) -> tuple[Array, Array]:
        """Copies, since a backend may share their memory."""
        kind, dtype = self._task.data.shape.kind, self._options.dtype
        return np.array(inputs, dtype), np.array(targets, "int64" if kind == "classes" else dtype)

    def stage(self, inputs: Array, targets: Array) -> tuple[Any, Any]:
        x, y = self._rows(inputs, targets)
        return ops.convert_to_tensor(x), ops.convert_to_tensor(y)

    def loader(self, inputs: Array, targets: Array, order: Array) -> Any:
        return on.Loader(self._rows(inputs, targets), np.array(order), self._options)

    def fit(self, loader: Any, steps: int) -> float:
        history = self._model.fit(loader.batches(steps), shuffle=False, verbose=0)
        return history.history["loss"][-1]

    def infer(self, loader: Any, steps: int) -> Array:
        outputs = self._predictor.predict(loader.batches(steps, targets=False), verbose=0)
        return outputs[-loader.order.shape[1] :]

    def train_step(self, batch: tuple[Any, Any]) -> float:
        return self._model.train_on_batch(*batch)

    def predict(self, batch: tuple[Any, Any]) -> Array:
        return self._predictor.predict_on_batch(batch[0])

    def gradients(self, batch: tuple[Any, Any]) -> dict[str, Array]:
        """Minus the first velocity of a copy of the model that SGD trains with learning rate 1."""
        copy = self._compiled(sgd := keras.optimizers.SGD(1.0, momentum=0.5), 1)
        copy.set_weights(self._model.get_weights())
        copy.train_on_batch(*batch)
        return {name: -it for name, it in self._canonical(sgd.momentums).items()}

    def reset(self) -> None:
        self._model.set_weights([it.copy() for it in self._start.values()])
        for variable in self._optimizer.variables:
            # The learning rate is one of the optimizer's variables; it stays.
            if variable is not self._optimizer._learning_rate:
                variable.assign(np.zeros(variable.shape, variable.dtype))

    def state(self) -> State:
        """The velocity is the task's; Keras' is −lr times that."""
        slots: dict[str, Array] = {}
        for slot in self._task.optimizer.slots:
            scale = -self._task.optimizer.learning_rate if slot == "velocity" else 1.0
            for name, values in self._canonical(getattr(self._optimizer, SLOTS[slot])).items():
                slots[f"{slot}/{name}"] = values / scale
        return State(self._canonical(self._model.trainable_variables), slots)

    def _canonical(self, variables: Iterable[Any]) -> dict[str, Array]:
        # Keras stores a weight as the shared start does, (in, out).
        return {name: self.to_numpy(it) for name, it in zip(self._start, variables, strict=True)}

    def to_numpy(self, handle: Any) -> Array:
        return np.array(ops.convert_to_numpy(handle))

    def synchronize(self) -> None:
        """Only `products` may return before its work is done."""
        if self._last is not None:
            ops.convert_to_numpy(self._last[:1, :1])
            self._last = None

    def tensor(self, values: Array) -> Any:
        return ops.convert_to_tensor(np.array(values, self._options.dtype))

    def products(self, pairs: Sequence[tuple[Any, Any]]) -> list[Any]:
        made = [left @ right for left, right in pairs]
        self._last = made[-1]
        return made

    def settings(self) -> dict[str, Setting]:
        weights = [it.value for it in self._model.trainable_variables]
        settings: dict[str, Setting] = {
            "dtype": common(map(_dtype, weights)),
            "device": _place(self.tensor(np.zeros((1, 1)))),
            "devices_of_weights": common(map(_place, weights)),
            "xla": TRACED and self._model.jit_compile,
            "jit_compile": self._model.jit_compile,
            "steps_per_execution": self._model.steps_per_execution,
            "loader": on.Loader.KIND,
            **self._traces,
            **on.facts(),
        }
        if self._options.device == "cpu":
            del settings["tf32"]
        return settings


def _dtype(tensor: Any) -> str:
    return keras.backend.standardize_dtype(tensor.dtype)


def _place(tensor: Any) -> str:
    """What the harness calls the device of a tensor."""
    name = str(tensor.device).lower()
    return "cpu" if "cpu" in name else f"gpu:{name.rpartition(':')[2]}"
