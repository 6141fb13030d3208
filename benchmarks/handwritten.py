"""One training step written by hand, as a NumPy programmer who knows the tricks would.

The yardstick of the reference engine's replay: buffers allocated once, `out=` everywhere, the same
formulas, and no pass over memory more than replay makes. Nothing here imports the engine.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
WIDTHS = (784, 64, 64, 10)
RATE, BETA1, BETA2, EPSILON = 1e-3, 0.9, 0.999, 1e-8


def numpy_by_hand(weights: Array, batch: int) -> Callable[[Array, Array], float]:
    """A step(x, labels) → loss of 784-64-64-10, ReLU, cross-entropy, Adam; updates `weights`.

    `weights` is one flat vector, layer by layer matrix (in, out), then bias.
    """
    dtype = weights.dtype
    _, hidden, _, classes = WIDTHS
    w1, b1, w2, b2, w3, b3 = _views(weights)
    gradient, m, v, scratch = (np.zeros_like(weights) for _ in range(4))
    gw1, gb1, gw2, gb2, gw3, gb3 = _views(gradient)
    h1, h2, dh1, dh2 = np.empty((4, batch, hidden), dtype)
    mask = np.empty((batch, hidden), bool)
    z, e = np.empty((2, batch, classes), dtype)
    delta = np.empty((batch, classes), bool)
    top, total, log = np.empty((3, batch, 1), dtype)
    ones, columns = np.ones(batch, dtype), np.arange(classes)
    step_count = 0

    def step(x: Array, labels: Array) -> float:
        nonlocal step_count
        step_count += 1
        np.matmul(x, w1, out=h1)
        np.add(h1, b1, out=h1)
        np.maximum(h1, 0, out=h1)
        np.matmul(h1, w2, out=h2)
        np.add(h2, b2, out=h2)
        np.maximum(h2, 0, out=h2)
        np.matmul(h2, w3, out=z)
        np.add(z, b3, out=z)

        np.equal(labels[:, None], columns, out=delta)
        np.maximum.reduce(z, axis=1, keepdims=True, out=top)
        np.subtract(z, top, out=z)
        np.exp(z, out=e)
        np.add.reduce(e, axis=1, keepdims=True, out=total)
        np.log(total, out=log)
        np.multiply(z, delta, out=z)
        loss = (np.add.reduce(log, axis=None) - np.add.reduce(z, axis=None)) / batch

        np.divide(e, total, out=e)
        np.subtract(e, delta, out=e)
        np.multiply(e, 1 / batch, out=e)
        np.matmul(h2.T, e, out=gw3)
        np.matmul(ones, e, out=gb3)
        np.matmul(e, w3.T, out=dh2)
        np.greater(h2, 0, out=mask)
        np.multiply(dh2, mask, out=dh2)
        np.matmul(h1.T, dh2, out=gw2)
        np.matmul(ones, dh2, out=gb2)
        np.matmul(dh2, w2.T, out=dh1)
        np.greater(h1, 0, out=mask)
        np.multiply(dh1, mask, out=dh1)
        np.matmul(x.T, dh1, out=gw1)
        np.matmul(ones, dh1, out=gb1)

        root = math.sqrt(1 - BETA2**step_count)
        np.multiply(m, BETA1, out=m)
        np.multiply(gradient, 1 - BETA1, out=scratch)
        np.add(m, scratch, out=m)
        np.multiply(v, BETA2, out=v)
        np.multiply(gradient, gradient, out=gradient)
        np.multiply(gradient, 1 - BETA2, out=gradient)
        np.add(v, gradient, out=v)
        np.sqrt(v, out=scratch)
        np.add(scratch, EPSILON * root, out=scratch)
        np.multiply(m, RATE * root / (1 - BETA1**step_count), out=gradient)
        np.divide(gradient, scratch, out=scratch)
        np.subtract(weights, scratch, out=weights)
        return float(loss)

    return step


def _views(flat: Array) -> list[Array]:
    """Weight and bias of every layer as views of one vector."""
    views, start = [], 0
    for fan_in, fan_out in itertools.pairwise(WIDTHS):
        for shape in ((fan_in, fan_out), (fan_out,)):
            views.append(flat[start : start + math.prod(shape)].reshape(shape))
            start += math.prod(shape)
    return views


def hips_with_adam_by_hand(weights: Sequence[Array]) -> Callable[[Array, Array], float]:
    """The same step with gradients from HIPS autograd; Adam as above, matrix by matrix."""
    import autograd.numpy as anp
    from autograd import value_and_grad
    from autograd.scipy.special import logsumexp

    weights = [values.copy() for values in weights]
    ms, vs, scratches = ([np.zeros_like(values) for values in weights] for _ in range(3))
    step_count = 0

    def loss_of(weights: Sequence[Array], x: Array, delta: Array) -> Any:
        for index in range(0, len(weights) - 2, 2):
            x = anp.maximum(anp.dot(x, weights[index]) + weights[index + 1], 0)
        z = anp.dot(x, weights[-2]) + weights[-1]
        return anp.sum((logsumexp(z, axis=1, keepdims=True) - z) * delta) / len(x)

    gradients_of = value_and_grad(loss_of)

    def step(x: Array, labels: Array) -> float:
        nonlocal step_count
        step_count += 1
        delta = (labels[:, None] == np.arange(WIDTHS[-1])).astype(x.dtype)
        loss, gradients = gradients_of(weights, x, delta)
        root = math.sqrt(1 - BETA2**step_count)
        rate = RATE * root / (1 - BETA1**step_count)
        for w, g, m, v, scratch in zip(weights, gradients, ms, vs, scratches, strict=True):
            np.multiply(m, BETA1, out=m)
            np.multiply(g, 1 - BETA1, out=scratch)
            np.add(m, scratch, out=m)
            np.multiply(v, BETA2, out=v)
            np.multiply(g, g, out=scratch)
            np.multiply(scratch, 1 - BETA2, out=scratch)
            np.add(v, scratch, out=v)
            np.sqrt(v, out=scratch)
            np.add(scratch, EPSILON * root, out=scratch)
            np.divide(m, scratch, out=scratch)
            np.multiply(scratch, rate, out=scratch)
            np.subtract(w, scratch, out=w)
        return float(loss)

    return step
