"""The losses, each fused from model output to scalar as is the field's custom.

All are means over a batch of rows and raise ValueError for an empty one. Targets have no gradient.
Outputs are taken to be finite: of infinite ones a loss may be NaN where PyTorch's is a number.
"""

from __future__ import annotations

from typing import Any

from impls.reference import primitives as ops
from impls.reference.instructions import Array, Xp
from impls.reference.tensor import Tensor, primitive

PROBABILITY_FLOOR = 1e-7


@primitive("softmax_cross_entropy")
def softmax_cross_entropy(xp: Xp, z: Array, labels: Array) -> Any:
    """−log softmax(z)[label] of logits z (n, classes); the gradient is (softmax(z) − δ) / n."""
    n = _rows(z, labels, axes=1)
    delta = _one_hot(xp, labels, z.shape[1])
    shifted = z - xp.max(z, axis=1, keepdims=True)
    e = xp.exp(shifted)
    total = xp.sum(e, axis=1, keepdims=True)
    # Each sum has terms of one sign, so that no digits cancel however large the logits are.
    value = (xp.sum(xp.log(total)) - xp.sum(shifted * delta)) / n
    return value, lambda g: (e / total - delta) * (g / n)


def probability_cross_entropy(p: Tensor, labels: Tensor) -> Tensor:
    """−log p[label], for probabilities p (n, classes) clipped to [floor, 1 − floor]."""
    _rows(p.array, labels.array, axes=1)
    delta = Tensor(_one_hot(p.xp, labels.array, p.array.shape[1]), p.xp)
    clipped = ops.clip(p, low=PROBABILITY_FLOOR, high=1 - PROBABILITY_FLOOR)
    return ops.negative(ops.mean(ops.log(ops.sum(ops.multiply(clipped, delta), axis=1))))


@primitive("squared_error")
def squared_error(xp: Xp, x: Array, y: Array) -> Any:
    """The mean of (x − y)² over rows and columns."""
    n = _rows(x, y) * x.shape[1]
    d = x - y
    return xp.sum(d * d) / n, lambda g: d * (2 * g / n)


@primitive("sigmoid_cross_entropy")
def sigmoid_cross_entropy(xp: Xp, z: Array, y: Array) -> Any:
    """The mean of softplus(z) − y·z over rows and columns, for logits z and y in [0, 1]."""
    n = _rows(z, y) * z.shape[1]
    value = xp.sum(ops.log1pexp(xp, z) - y * z) / n
    return value, lambda g: (ops.logistic(xp, z) - y) * (g / n)


def _rows(x: Array, y: Array, axes: int = 2) -> int:
    if x.ndim != 2 or not x.size:
        raise ValueError(f"a loss takes a batch of at least one row and column, not {x.shape}")
    if y.shape != x.shape[:axes]:
        raise ValueError(f"outputs of shape {x.shape} do not fit targets of shape {y.shape}")
    return len(x)


def _one_hot(xp: Xp, labels: Array, classes: int) -> Array:
    return xp.equal(labels.reshape((-1, 1)), xp.arange(classes))


LOSSES = {
    "cross-entropy": softmax_cross_entropy,
    "cross-entropy-of-probabilities": probability_cross_entropy,
    "mse": squared_error,
    "binary-cross-entropy": sigmoid_cross_entropy,
}
