"""A task in scikit-learn as its users write it: an estimator, and `partial_fit` for every batch.

Its squared loss is half of the task's and a sum over the outputs, so its gradient is k/2 times the
task's for k outputs. SGD's learning rate is divided by that and Adam's ε multiplied by it, which
is exact. Outputs before the softmax are those of a regressor that shares the classifier's weights.
"""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import threadpoolctl
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.utils.extmath import safe_sparse_dot

from harness.adapter import AdapterDefaults, Array, Options, Setting, State, Unsupported, common
from harness.tasks.spec import SGD, Adam, Task
from harness.tasks.start import Start

ACTIVATIONS = {"relu": "relu", "tanh": "tanh", "sigmoid": "logistic"}
GRADIENT_RATE = 2.0**20
"""The learning rate of a step that shows the gradient: the weights are small beside it, and a power
of two adds no rounding."""


class Batch(NamedTuple):
    inputs: Array
    targets: Array


Loader = tuple[Batch, Array]
"""All rows, and the row indices of every batch."""


class Idiom(AdapterDefaults):
    """See `harness.adapter.Idiom`; handles are arrays, `fit` returns the last step's loss."""

    def __init__(self, task: Task, start: Start, options: Options) -> None:
        if why := _unsupported(task, options):
            raise Unsupported(why)
        if "pandas" in sys.modules and sys.modules["pandas"] is None:
            del sys.modules["pandas"]  # scikit-learn takes any entry for the module itself
        self._task, self._options = task, options
        self._names = list(start.weights)
        self._scale = task.widths[-1] / 2 if task.loss == "mse" else 1.0
        self._slots = {
            "first_moment": ("ms", self._scale),
            "second_moment": ("vs", self._scale**2),
            "velocity": ("velocities", -task.optimizer.learning_rate),  # −lr times the task's
        }
        kind = MLPRegressor if task.loss == "mse" else MLPClassifier
        self._fresh = self._built(kind(**_solver(task, self._scale), **_network(task)), start)
        plain = {"solver": "sgd", "learning_rate_init": GRADIENT_RATE, "momentum": 0.0}
        self._for_gradients = self._built(kind(**plain, **_network(task)), start)
        self._outputs = self._built(MLPRegressor(**_network(task)), start)
        self.reset()

    def _built(self, model: Any, start: Start) -> Any:
        """An estimator before its first step: one step makes its arrays, and is then undone."""
        features, outputs = self._task.widths[0], self._task.widths[-1]
        row, classes = self.tensor(np.zeros((1, features))), np.arange(max(2, outputs))
        model.batch_size = 1
        if isinstance(model, MLPClassifier):
            model.partial_fit(row, classes[:1], classes=classes)
        else:
            model.partial_fit(row, np.zeros((1, outputs) if outputs > 1 else 1))
        for values, name in zip(_weights(model), self._names, strict=True):
            values[...] = start.weights[name]
        del model._optimizer  # the next step makes a new one
        model.loss_curve_, model.t_, model.best_loss_ = [], 0, np.inf
        return model

    def _targets(self, targets: Array) -> Array:
        if self._task.loss != "mse":  # class indices, or 0 and 1
            return np.array(targets, np.int64).ravel()
        targets = np.array(targets, self._options.dtype)
        return targets.ravel() if targets.shape[1] == 1 else targets

    def stage(self, inputs: Array, targets: Array) -> Batch:
        return Batch(self.tensor(inputs), self._targets(targets))

    def reset(self) -> None:
        self._model = copy.deepcopy(self._fresh)
        # A step changes weights in place.
        self._outputs.coefs_ = self._model.coefs_
        self._outputs.intercepts_ = self._model.intercepts_

    def loader(self, inputs: Array, targets: Array, order: Array) -> Loader:
        return self.stage(inputs, targets), order

    def fit(self, loader: Loader, steps: int) -> Array:
        (inputs, targets), order = loader
        for step in range(steps):
            rows = order[step % len(order)]
            loss = self._step(inputs[rows], targets[rows])
        return np.array(loss)

    def infer(self, loader: Loader, steps: int) -> Array:
        (inputs, _), order = loader
        for step in range(steps):
            outputs = self._predicted(inputs[order[step % len(order)]])
        return outputs

    def train_step(self, batch: Batch) -> Array:
        return np.array(self._step(*batch))

    def _step(self, inputs: Array, targets: Array) -> float:
        """One update; the loss before it."""
        model = self._model
        model.batch_size = len(inputs)  # or more rows would be several updates
        try:
            loss = model.partial_fit(inputs, targets).loss_
        except ValueError:
            if all(np.isfinite(it).all() for it in _weights(model)):
                raise
            return math.nan  # it diverged, which the harness reports
        return 2 * loss if self._task.loss == "mse" else loss

    def predict(self, batch: Batch) -> Array:
        return self._predicted(batch.inputs)

    def _predicted(self, inputs: Array) -> Array:
        return self._outputs.predict(inputs).reshape(len(inputs), -1)

    def gradients(self, batch: Batch) -> dict[str, Array]:
        """By a step of plain SGD from the present weights, in an estimator for that."""
        stepped = self._for_gradients
        for values, present in zip(_weights(stepped), _weights(self._model), strict=True):
            values[...] = present
        stepped.batch_size = len(batch.inputs)
        stepped.partial_fit(*batch)
        scale = np.array(GRADIENT_RATE * self._scale, self._options.dtype)
        moved = zip(self._names, _weights(self._model), _weights(stepped), strict=True)
        return {name: (before - after) / scale for name, before, after in moved}

    def state(self) -> State:
        weights = dict(zip(self._names, map(np.copy, _weights(self._model)), strict=True))
        zeros = {name: np.zeros_like(it) for name, it in weights.items()}
        optimizer, slots = getattr(self._model, "_optimizer", None), {}
        for slot in self._task.optimizer.slots:
            attribute, scale = self._slots[slot]
            kept = _in_order(getattr(optimizer, attribute)) if optimizer else zeros.values()
            for name, values in zip(self._names, kept, strict=True):
                slots[f"{slot}/{name}"] = values / np.array(scale, values.dtype)
        return State(weights, slots)

    def to_numpy(self, handle: Array) -> Array:
        return np.array(handle)

    def tensor(self, values: Array) -> Array:
        return np.array(values, self._options.dtype, order="C")

    def products(self, pairs: Sequence[tuple[Array, Array]]) -> list[Array]:
        return [safe_sparse_dot(left, right) for left, right in pairs]

    def settings(self) -> dict[str, Setting]:
        pools = threadpoolctl.threadpool_info()
        return {
            "threads": max((it["num_threads"] for it in pools), default=1),
            "dtype": common(str(it.dtype) for it in _weights(self._model)),
            "device": "cpu",
            "devices_of_weights": "cpu",
            "estimator": type(self._model).__name__,
            "loader": "rows gathered by index",
        }


def _unsupported(task: Task, options: Options) -> str:
    """Why scikit-learn cannot run the task; empty where it can."""
    if options.device != "cpu":
        return "scikit-learn's networks run on the CPU only"
    if task.model.activation not in ACTIVATIONS and task.model.hidden:
        return f"scikit-learn has no activation {task.model.activation!r}"
    if task.model.output != "identity":
        return (
            "scikit-learn takes the loss of what is in front of the softmax, not of probabilities"
        )
    if task.loss == "cross-entropy" and task.widths[-1] == 2:
        return "scikit-learn's classifier has one output for two classes, not two"
    if not isinstance(task.optimizer, SGD | Adam):
        return f"scikit-learn has no optimizer {task.optimizer.name!r}, only sgd and adam"
    return ""


def _network(task: Task) -> dict[str, Any]:
    activation = ACTIVATIONS.get(task.model.activation, "relu")
    layers = {"hidden_layer_sizes": task.model.hidden, "activation": activation}
    return layers | {"alpha": 0.0, "shuffle": False}


def _solver(task: Task, scale: float) -> dict[str, Any]:
    spec = task.optimizer
    if isinstance(spec, SGD):
        momentum = {"momentum": spec.momentum, "nesterovs_momentum": spec.nesterov}
        return {"solver": "sgd", "learning_rate_init": spec.learning_rate / scale, **momentum}
    betas = {"beta_1": spec.beta1, "beta_2": spec.beta2, "epsilon": spec.epsilon * scale}
    return {"solver": "adam", "learning_rate_init": spec.learning_rate, **betas}


def _weights(model: Any) -> list[Array]:
    """Weight and bias of every layer, as the model holds them."""
    return _in_order([*model.coefs_, *model.intercepts_])


def _in_order(values: Sequence[Array]) -> list[Array]:
    """scikit-learn has all weights first, then all biases."""
    half = len(values) // 2
    return [it for pair in zip(values[:half], values[half:], strict=True) for it in pair]
