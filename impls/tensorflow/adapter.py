"""A task in TensorFlow: a Keras `Sequential`, `GradientTape`, and a Keras optimizer."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from harness.adapter import Array, DeviceMemory, Options, Setting, State, Unsupported
from harness.tasks.spec import PROBABILITY_FLOOR, Task
from harness.tasks.start import Start
from impls.tensorflow.optimizers import exact


class Batch(NamedTuple):
    inputs: tf.Tensor
    targets: tf.Tensor


class Adapter:
    """See `harness.adapter.Adapter`; a `Batch` is a pair of tensors, a handle is a tensor."""

    def __init__(self, task: Task, start: Start, options: Options) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
        tf.config.threading.set_inter_op_parallelism_threads(options.threads)
        keras.config.set_floatx(options.dtype)
        keras.config.set_dtype_policy(options.dtype)
        self._device = _device(options.device)
        self._dtype = options.dtype
        self._targets = options.dtype if task.data.shape.kind != "classes" else "int64"
        self._mode = options.mode
        self._loss = LOSSES[task.loss]

        with tf.device(self._device):
            self._start = [values.astype(options.dtype) for values in start.weights.values()]
            self._names = list(start.weights)
            self._model = _model(task)
            self._optimizer = exact(task.optimizer)
            self._optimizer.build(self._model.trainable_variables)
        self._slots = dict(zip(task.optimizer.slots, self._optimizer.slots(), strict=True))

        compiled = self._compiled if options.mode != "eager" else lambda function: function
        self._train = compiled(self._train_eagerly)
        self._predict = compiled(lambda inputs: self._model(inputs, training=False))
        self._gradients = compiled(lambda *batch: self._loss_and_gradients(*batch)[1])
        self.reset()

    def _compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return tf.function(function, jit_compile=self._mode == "xla", autograph=False)

    def _loss_and_gradients(self, inputs: tf.Tensor, targets: tf.Tensor) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            loss = self._loss(targets, self._model(inputs, training=True))
        return loss, tape.gradient(loss, self._variables())

    def _train_eagerly(self, inputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        loss, gradients = self._loss_and_gradients(inputs, targets)
        self._optimizer.apply(gradients, self._model.trainable_variables)
        return loss

    def _variables(self) -> list[tf.Variable]:
        return [variable.value for variable in self._model.trainable_variables]

    def stage(self, inputs: Array, targets: Array) -> Batch:
        with tf.device(self._device):
            return Batch(
                tf.identity(tf.convert_to_tensor(np.asarray(inputs, self._dtype))),
                tf.identity(tf.convert_to_tensor(np.asarray(targets, self._targets))),
            )

    def reset(self) -> None:
        for variable, values in zip(self._variables(), self._start, strict=True):
            variable.assign(values)
        for variable in self._optimizer.variables:
            # The learning rate is one of the optimizer's variables; it stays.
            if variable is not self._optimizer._learning_rate:
                variable.assign(tf.zeros_like(variable.value))

    def train_step(self, batch: Batch) -> tf.Tensor:
        return self._train(batch.inputs, batch.targets)

    def predict(self, batch: Batch) -> tf.Tensor:
        return self._predict(batch.inputs)

    def gradients(self, batch: Batch) -> dict[str, Array]:
        return self._canonical(self._gradients(batch.inputs, batch.targets))

    def state(self) -> State:
        slots: dict[str, Array] = {}
        for slot, variables in self._slots.items():
            slots |= {f"{slot}/{name}": it for name, it in self._canonical(variables).items()}
        return State(self._canonical(self._variables()), slots)

    def _canonical(self, tensors: Iterable[Any]) -> dict[str, Array]:
        # Keras stores a weight as the shared start does, (in, out).
        return {
            name: self.to_numpy(tensor) for name, tensor in zip(self._names, tensors, strict=True)
        }

    def to_numpy(self, handle: Any) -> Array:
        return np.array(handle)

    def synchronize(self) -> None:
        # On the CPU, TensorFlow returns only when it is done.
        if self._device != "/CPU:0":
            tf.test.experimental.sync_devices()

    def reset_device_memory(self) -> None:
        if self._device != "/CPU:0":
            tf.config.experimental.reset_memory_stats(self._device.strip("/"))

    def device_memory(self) -> DeviceMemory | None:
        if self._device == "/CPU:0":
            return None
        info = tf.config.experimental.get_memory_info(self._device.strip("/"))
        return DeviceMemory(info["peak"], None)

    def settings(self) -> dict[str, Setting]:
        first = self._variables()[0]
        settings: dict[str, Setting] = {
            "threads": tf.config.threading.get_intra_op_parallelism_threads(),
            "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads(),
            "dtype": first.dtype.name,
            "device": first.device,
            "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") != "0",
            "xla": self._mode == "xla",
        }
        if self._device != "/CPU:0":
            settings["tf32"] = tf.config.experimental.tensor_float_32_execution_enabled()
        if self._mode != "eager":
            settings["train_traces"] = self._train.experimental_get_tracing_count()
            settings["predict_traces"] = self._predict.experimental_get_tracing_count()
        return settings


def _device(name: str) -> str:
    gpus = tf.config.list_physical_devices("GPU")
    if name == "cpu":
        return "/CPU:0"
    index = int(name.removeprefix("gpu:"))
    if index >= len(gpus):
        raise Unsupported(f"TensorFlow sees {len(gpus)} GPU(s) (a CPU build, or no driver)")
    return f"/GPU:{index}"


def _model(task: Task) -> keras.Sequential:
    model = keras.Sequential([keras.Input((task.widths[0],))])
    for width in task.model.hidden:
        model.add(keras.layers.Dense(width, activation=ACTIVATIONS[task.model.activation]))
    model.add(keras.layers.Dense(task.widths[-1], activation=OUTPUTS[task.model.output]))
    return model


def _cross_entropy(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits))


def _cross_entropy_of_probabilities(targets: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    clipped = tf.clip_by_value(probabilities, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return -tf.reduce_mean(tf.math.log(tf.gather(clipped, targets, axis=1, batch_dims=1)))


def _mse(targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.math.squared_difference(outputs, targets))


def _binary_cross_entropy(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(targets, logits))


def _gelu(x: tf.Tensor) -> tf.Tensor:
    # tf.nn.gelu takes √2 through float32 even in float64, which costs half of the digits.
    return 0.5 * x * (1 + tf.math.erf(x * math.sqrt(0.5)))


ACTIVATIONS = {
    "relu": tf.nn.relu,
    "tanh": tf.nn.tanh,
    "sigmoid": tf.nn.sigmoid,
    "gelu": _gelu,
}
OUTPUTS = {"identity": None, "softmax": tf.nn.softmax}
LOSSES: dict[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "cross-entropy": _cross_entropy,
    "cross-entropy-of-probabilities": _cross_entropy_of_probabilities,
    "mse": _mse,
    "binary-cross-entropy": _binary_cross_entropy,
}
