"""The parts of a task in TensorFlow: its Keras model and its loss."""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
import tensorflow as tf

from harness.tasks.spec import PROBABILITY_FLOOR, Task


def build_model(task: Task) -> keras.Sequential:
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
