"""A task in Keras as its users write it: `compile`, `fit` and `predict`, fed by `tf.data`.

The optimizers are the stock ones, whose formulas are not quite the task's; docs/stock-optimizers.md
derives by how much. The loss is the task's, which needs a function of our own after a softmax:
Keras' cross-entropies look through it and take the logits from in front of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from harness.adapter import Array, Options, Setting, State
from harness.tasks import spec
from harness.tasks.spec import Task
from harness.tasks.start import Start
from impls.tensorflow.adapter import Adapter, Batch, bare_products
from impls.tensorflow.building import LOSSES

STEPS_PER_EXECUTION = 32
"""Steps in one call of the traced loop, at most: enough that Python's share is small."""


class Loader:
    """Batches of rows that a `tf.data` pipeline gathers by index, ahead of the step if `ahead`."""

    def __init__(self, rows: Batch, order: Array, ahead: bool) -> None:
        self._rows, self._ahead = rows, ahead
        self._order = tf.data.Dataset.from_tensor_slices(order)
        self._datasets: dict[tuple[bool, int], tf.data.Dataset] = {}
        self.batch = order.shape[1]

    def dataset(self, steps: int, targets: bool) -> tf.data.Dataset:
        """So many batches from the first on, over and over; made once for each number of steps.

        It ends by itself: where it did not, Keras would always run whole executions of
        `steps_per_execution` steps.
        """
        key = targets, steps
        if key not in self._datasets:
            gather = self._batch if targets else self._inputs
            dataset = self._order.repeat().take(steps).map(gather)
            if self._ahead:
                dataset = dataset.prefetch(tf.data.AUTOTUNE)
            self._datasets[key] = dataset
        return self._datasets[key]

    def _batch(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.gather(self._rows.inputs, rows), tf.gather(self._rows.targets, rows)

    def _inputs(self, rows: tf.Tensor) -> tf.Tensor:
        return tf.gather(self._rows.inputs, rows)


class Idiom(Adapter):
    """See `harness.adapter.Idiom`; `fit` returns the mean loss over its steps, as Keras does."""

    def __init__(self, task: Task, start: Start, options: Options) -> None:
        super().__init__(task, start, options)
        self._learning_rate = task.optimizer.learning_rate
        self._traces = {"fit": 0, "infer": 0}
        # To work ahead takes a thread beside those that step: with one thread it would be a second.
        self._prefetches = options.threads > 1 or options.device != "cpu"
        # Keras' own choice, made explicit: XLA on an accelerator, not on a CPU.
        jit = options.device != "cpu"
        with tf.device(self._device):
            self._model.train_step = self._counting("fit", self._model.train_step)
            self._model.compile(
                self._optimizer,
                loss=_loss(task),
                steps_per_execution=min(STEPS_PER_EXECUTION, task.steps_per_epoch),
                jit_compile=jit,
            )
            # Several steps an execution would join their outputs pair by pair, and trace anew for
            # a shorter rest: for inference a step at a time is the better choice.
            self._predictor = keras.Model(self._model.inputs, self._model.outputs)
            self._predictor.predict_step = self._counting("infer", self._predictor.predict_step)
            self._predictor.compile(jit_compile=jit)
        if jit:
            self._products = tf.function(bare_products, jit_compile=True)

    def _optimizer_of(self, task: Task) -> keras.optimizers.Optimizer:
        return _stock(task.optimizer)

    def _slot_variables(self) -> Sequence[Sequence[Any]]:
        optimizer = self._optimizer
        if isinstance(optimizer, keras.optimizers.SGD):
            return [optimizer.momentums] if optimizer.momentum else []
        if isinstance(optimizer, keras.optimizers.RMSprop):
            return [optimizer._velocities]
        return [optimizer._momentums, optimizer._velocities]

    def _counting(self, name: str, step: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """The step, which Python runs only while a graph is traced, counting how often it does."""

        def counted(data: Any) -> Any:
            self._traces[name] += 1
            return step(data)

        return counted

    def loader(self, inputs: Array, targets: Array, order: Array) -> Loader:
        # Rows lie in host memory, where tf.data works.
        with tf.device("/CPU:0"):
            rows = Batch(
                self._owned(np.asarray(inputs, self._dtype)),
                self._owned(np.asarray(targets, self._targets)),
            )
            return Loader(rows, np.ascontiguousarray(order), self._prefetches)

    def fit(self, loader: Loader, steps: int) -> float:
        dataset = loader.dataset(steps, targets=True)
        with tf.device(self._device):
            history = self._model.fit(dataset, shuffle=False, verbose=0)
        return history.history["loss"][-1]

    def infer(self, loader: Loader, steps: int) -> Array:
        dataset = loader.dataset(steps, targets=False)
        with tf.device(self._device):
            outputs = self._predictor.predict(dataset, verbose=0)
        return outputs[-loader.batch :]

    def train_step(self, batch: Batch) -> float:
        with tf.device(self._device):
            return self._model.train_on_batch(batch.inputs, batch.targets)

    def predict(self, batch: Batch) -> Array:
        with tf.device(self._device):
            return self._predictor.predict_on_batch(batch.inputs)

    def state(self) -> State:
        """Keras' velocity is −lr times the task's; here it is the task's."""
        state = super().state()
        for name, values in state.slots.items():
            if name.startswith("velocity/"):
                state.slots[name] = values / -self._learning_rate
        return state

    def settings(self) -> dict[str, Setting]:
        return super().settings() | {
            "xla": self._model.jit_compile,
            "jit_compile": self._model.jit_compile,
            "steps_per_execution": self._model.steps_per_execution,
            "loader": "tf.data: rows gathered by index"
            + (", prefetched" if self._prefetches else ""),
            "train_traces": self._traces["fit"],
            "predict_traces": self._traces["infer"],
        }


def _stock(task: spec.Optimizer) -> keras.optimizers.Optimizer:
    lr = task.learning_rate
    if isinstance(task, spec.SGD):
        return keras.optimizers.SGD(lr, task.momentum, task.nesterov)
    if isinstance(task, spec.RMSprop):
        return keras.optimizers.RMSprop(lr, task.rho, epsilon=task.epsilon)
    if isinstance(task, spec.AdamW):
        return keras.optimizers.AdamW(lr, task.weight_decay, task.beta1, task.beta2, task.epsilon)
    return keras.optimizers.Adam(lr, task.beta1, task.beta2, task.epsilon)


class _Own(keras.losses.Loss):
    """The task's own loss, a mean over the batch already."""

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self._function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self._function(tf.cast(y_true, tf.int64), y_pred)


def _loss(task: Task) -> keras.losses.Loss:
    if task.data.shape.kind == "classes" and task.model.output == "softmax":
        return _Own(LOSSES[task.loss])
    if task.loss == "cross-entropy":
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if task.loss == "binary-cross-entropy":
        return keras.losses.BinaryCrossentropy(from_logits=True)
    return keras.losses.MeanSquaredError()
