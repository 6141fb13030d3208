"""The parts of a task in Keras: its model, its loss and a stock optimizer.

The optimizers' formulas are not quite the task's; docs/stock-optimizers.md derives by how much.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import losses, ops

from harness.tasks.spec import PROBABILITY_FLOOR, SGD, AdamW, Optimizer, RMSprop, Task


def build_model(task: Task) -> keras.Sequential:
    activation = _gelu if task.model.activation == "gelu" else task.model.activation
    model = keras.Sequential([keras.Input((task.widths[0],))])
    for width in task.model.hidden:
        model.add(keras.layers.Dense(width, activation=activation))
    last = None if task.model.output == "identity" else task.model.output
    model.add(keras.layers.Dense(task.widths[-1], activation=last))
    return model


def _gelu(x: Any) -> Any:
    # Keras' own: but TensorFlow takes its √2 through float32 even in float64.
    if keras.backend.backend() != "tensorflow":
        return keras.activations.gelu(x, approximate=False)
    return 0.5 * x * (1 + ops.erf(x * math.sqrt(0.5)))


def loss_of(task: Task) -> losses.Loss:
    if task.data.shape.kind == "classes" and task.model.output == "softmax":
        return AfterSoftmax(again=task.loss == "cross-entropy")
    if task.loss == "cross-entropy":
        return losses.SparseCategoricalCrossentropy(from_logits=True)
    if task.loss == "binary-cross-entropy":
        return losses.BinaryCrossentropy(from_logits=True)
    return losses.MeanSquaredError()


class AfterSoftmax(losses.Loss):
    """The task's own, of every row: Keras' cross-entropies look through a softmax and take the
    logits from in front of it."""

    def __init__(self, again: bool) -> None:
        super().__init__()
        self._again = again

    def call(self, y_true: Any, y_pred: Any) -> Any:
        clipped = ops.clip(y_pred, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
        logs = ops.log_softmax(y_pred) if self._again else ops.log(clipped)
        return -ops.take_along_axis(logs, ops.reshape(ops.cast(y_true, "int32"), (-1, 1)), axis=1)


def stock_optimizer(task: Optimizer) -> keras.optimizers.Optimizer:
    """Its constants are those that float32 holds: TensorFlow casts them so even in float64."""
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


def slots_of(optimizer: keras.optimizers.Optimizer) -> list[Any]:
    """Lists of variables, in the order of the task's slot names."""
    if isinstance(optimizer, keras.optimizers.SGD):
        return [optimizer.momentums] if optimizer.momentum else []
    if isinstance(optimizer, keras.optimizers.RMSprop):
        return [optimizer._velocities]
    return [optimizer._momentums, optimizer._velocities]
