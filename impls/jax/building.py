"""The parts of a task in JAX: its model, its loss and its optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from harness.tasks.spec import PROBABILITY_FLOOR, SGD, Adam, AdamW, Optimizer, RMSprop, Task

Weights = dict[str, jax.Array]

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "gelu": partial(jax.nn.gelu, approximate=False),
}


def outputs_of(task: Task) -> Callable[[Weights, jax.Array], jax.Array]:
    activation, last = ACTIVATIONS[task.model.activation], len(task.layers) - 1

    def outputs(weights: Weights, inputs: jax.Array) -> jax.Array:
        for layer in range(last + 1):
            inputs = inputs @ weights[f"layer{layer}.weight"] + weights[f"layer{layer}.bias"]
            if layer < last:
                inputs = activation(inputs)
        return jax.nn.softmax(inputs) if task.model.output == "softmax" else inputs

    return outputs


def _cross_entropy_of_probabilities(probabilities: jax.Array, labels: jax.Array) -> jax.Array:
    clipped = jnp.clip(probabilities, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return -jnp.log(jnp.take_along_axis(clipped, labels[:, None], axis=1))


LOSSES: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "cross-entropy": optax.losses.softmax_cross_entropy_with_integer_labels,
    "cross-entropy-of-probabilities": _cross_entropy_of_probabilities,
    "mse": optax.losses.squared_error,
    "binary-cross-entropy": optax.losses.sigmoid_binary_cross_entropy,
}
"""Of every row; the task's is their mean."""


def loss_of(task: Task) -> Callable[[Weights, jax.Array, jax.Array], jax.Array]:
    outputs, losses = outputs_of(task), LOSSES[task.loss]
    return lambda weights, inputs, targets: losses(outputs(weights, inputs), targets).mean()


def optimizer_of(spec: Optimizer) -> optax.GradientTransformation:
    """The stock optimizers: at these arguments they are the task's formulas.

    But for Adam's 1 − βᵗ, which optax computes by cancellation: off by 1e-5 in float32, which shows
    in gradients two steps later.
    """
    if isinstance(spec, SGD):
        return optax.sgd(spec.learning_rate, spec.momentum or None, spec.nesterov)
    if isinstance(spec, RMSprop):
        return optax.rmsprop(spec.learning_rate, spec.rho, spec.epsilon, eps_in_sqrt=False)
    return optax.chain(
        _without_cancellation(spec),
        optax.add_decayed_weights(spec.weight_decay) if spec.name == "adamw" else optax.identity(),
        optax.scale_by_learning_rate(spec.learning_rate),
    )


def _without_cancellation(spec: Adam | AdamW) -> optax.GradientTransformation:
    """`optax.scale_by_adam` with −expm1(t·ln β) for 1 − βᵗ."""
    one, two = (math.log(it) if it else -math.inf for it in (spec.beta1, spec.beta2))

    def update(gradients: Weights, state: Any, weights: Any = None) -> tuple[Weights, Any]:
        count = state.count + 1
        mu = optax.tree.update_moment(gradients, state.mu, spec.beta1, 1)
        nu = optax.tree.update_moment(gradients, state.nu, spec.beta2, 2)
        bias, square = -jnp.expm1(count * one), -jnp.expm1(count * two)

        def scaled(m: jax.Array, v: jax.Array) -> jax.Array:
            return m / bias / (jnp.sqrt(v / square) + spec.epsilon)

        return jax.tree.map(scaled, mu, nu), optax.ScaleByAdamState(count, mu, nu)

    return optax.GradientTransformation(optax.scale_by_adam().init, update)


SLOTS = {"velocity": "trace", "mean_square": "nu", "first_moment": "mu", "second_moment": "nu"}
"""Optax's own names for the tasks' slots."""
