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
Outputs = Callable[[Weights, jax.Array], jax.Array]

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "gelu": partial(jax.nn.gelu, approximate=False),
}


def outputs_of(task: Task) -> Outputs:
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


def stock_optimizer(spec: Optimizer) -> optax.GradientTransformation:
    lr = spec.learning_rate
    if isinstance(spec, SGD):
        return optax.sgd(lr, spec.momentum or None, spec.nesterov)
    if isinstance(spec, RMSprop):
        return optax.rmsprop(lr, spec.rho, spec.epsilon, eps_in_sqrt=False)
    if isinstance(spec, AdamW):
        decay = spec.weight_decay
        return optax.adamw(lr, spec.beta1, spec.beta2, spec.epsilon, weight_decay=decay)
    return optax.adam(lr, spec.beta1, spec.beta2, spec.epsilon)


def exact_optimizer(spec: Optimizer) -> optax.GradientTransformation:
    """The stock one, but for Adam's 1 − βᵗ: optax computes it by cancellation, off by 1e-5 in
    float32."""
    if not isinstance(spec, Adam | AdamW):
        return stock_optimizer(spec)
    betas = spec.beta1, spec.beta2
    logs = [math.log(it) if it else -math.inf for it in betas]

    def update(gradients: Weights, state: Any, weights: Any = None) -> tuple[Weights, Any]:
        count = state.count + 1
        mu, nu = (
            optax.tree.update_moment(gradients, moment, beta, order)
            for moment, beta, order in zip((state.mu, state.nu), betas, (1, 2), strict=True)
        )
        bias, square = (-jnp.expm1(count * it) for it in logs)
        updates = jax.tree.map(
            lambda m, v: m / bias / (jnp.sqrt(v / square) + spec.epsilon), mu, nu
        )
        return updates, optax.ScaleByAdamState(count, mu, nu)

    return optax.chain(
        optax.GradientTransformation(optax.scale_by_adam().init, update),
        optax.add_decayed_weights(spec.weight_decay if isinstance(spec, AdamW) else 0.0),
        optax.scale_by_learning_rate(spec.learning_rate),
    )


SLOTS = {"velocity": "trace", "mean_square": "nu", "first_moment": "mu", "second_moment": "nu"}
"""Optax's own names for the tasks' slots."""
