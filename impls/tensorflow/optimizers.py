"""Keras optimizers made to follow the task's formulas to the last digit.

Stock Keras differs: its learning rate is a float32 variable, Adam's ε stands inside the bias
correction and its β powers pass through float32 even in float64, RMSprop's ε stands inside the
root. Each class below takes slots and bookkeeping from its stock parent and replaces the formula,
with every constant rounded once, from float64 to the variable's dtype.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from harness.tasks import spec


class ExactSGD(keras.optimizers.SGD):
    def __init__(self, task: spec.SGD) -> None:
        super().__init__(task.learning_rate, momentum=task.momentum, nesterov=task.nesterov)
        self._task = task

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        lr, mu = self._task.learning_rate, self._task.momentum
        if not mu:
            variable.assign_sub(lr * gradient)
            return
        velocity = self.momentums[self._get_variable_index(variable)].value
        velocity.assign(mu * velocity + gradient)
        step = gradient + mu * velocity if self._task.nesterov else velocity
        variable.assign_sub(lr * step)

    def slots(self) -> Sequence[Sequence[Any]]:
        return [self.momentums] if self._task.momentum else []


class ExactAdam(keras.optimizers.Adam):
    """Adam, or AdamW where the task's optimizer has a weight decay."""

    def __init__(self, task: spec.Adam | spec.AdamW) -> None:
        super().__init__(task.learning_rate, beta_1=task.beta1, beta_2=task.beta2)
        self._task = task

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        # The factors of this step, once for all variables. lr·m̂/(√v̂ + ε) is rewritten as
        # rate·m/(√v + ε·root), which is the same with one pass over memory fewer.
        step = tf.cast(self.iterations.value + 1, tf.float64)
        root = tf.sqrt(1 - tf.pow(tf.constant(self._task.beta2, tf.float64), step))
        bias = 1 - tf.pow(tf.constant(self._task.beta1, tf.float64), step)
        self._rate = tf.cast(self._task.learning_rate * root / bias, grads[0].dtype)
        self._epsilon = tf.cast(self._task.epsilon * root, grads[0].dtype)
        super().apply(grads, trainable_variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        m, v = self._momentums[index].value, self._velocities[index].value
        if isinstance(self._task, spec.AdamW):
            decay = self._task.learning_rate * self._task.weight_decay
            variable.assign_sub(decay * variable)
        m.assign_add((1 - self._task.beta1) * (gradient - m))
        v.assign_add((1 - self._task.beta2) * (tf.square(gradient) - v))
        variable.assign_sub(self._rate * m / (tf.sqrt(v) + self._epsilon))

    def slots(self) -> Sequence[Sequence[Any]]:
        return [self._momentums, self._velocities]


class ExactRMSprop(keras.optimizers.RMSprop):
    def __init__(self, task: spec.RMSprop) -> None:
        super().__init__(task.learning_rate, rho=task.rho)
        self._task = task

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        square = self._velocities[self._get_variable_index(variable)].value
        square.assign_add((1 - self._task.rho) * (tf.square(gradient) - square))
        step = gradient / (tf.sqrt(square) + self._task.epsilon)
        variable.assign_sub(self._task.learning_rate * step)

    def slots(self) -> Sequence[Sequence[Any]]:
        return [self._velocities]


def exact(task: spec.Optimizer) -> ExactSGD | ExactAdam | ExactRMSprop:
    """The optimizer of a task; its `slots()` stand in the order of the task's slot names."""
    if isinstance(task, spec.SGD):
        return ExactSGD(task)
    if isinstance(task, spec.RMSprop):
        return ExactRMSprop(task)
    return ExactAdam(task)
