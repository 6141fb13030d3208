"""The table of primitives: of each, its value and its vector-Jacobian products.

g is the gradient of the value, y the value itself where a product needs it; what was broadcast, the
tape sums. At a kink the subgradient is PyTorch's: 0 for relu and abs at 0, 1 on the bounds of clip,
an even share for equal entries in maximum, minimum and max.
"""

from __future__ import annotations

import math
from typing import Any

from impls.reference.instructions import Array, Xp, basic_index
from impls.reference.tensor import Operation, Rule, primitive

Axis = int | tuple[int, ...] | None

add = primitive("add")(lambda xp, x, y: (x + y, lambda g: g, lambda g: g))
subtract = primitive("subtract")(lambda xp, x, y: (x - y, lambda g: g, lambda g: -g))
multiply = primitive("multiply")(lambda xp, x, y: (x * y, lambda g: g * y, lambda g: g * x))
divide = primitive("divide")(lambda xp, x, y: (x / y, lambda g: g / y, lambda g: -g * (x / y / y)))
negative = primitive("negative")(lambda xp, x: (-x, lambda g: -g))
exp = primitive("exp")(lambda xp, x: (y := xp.exp(x), lambda g: g * y))
log = primitive("log")(lambda xp, x: (xp.log(x), lambda g: g / x))
sqrt = primitive("sqrt")(lambda xp, x: (y := xp.sqrt(x), lambda g: g / (2 * y)))
abs = primitive("abs")(lambda xp, x: (xp.abs(x), lambda g: g * xp.where(x == x, xp.sign(x), 0.0)))
tanh = primitive("tanh")(lambda xp, x: (y := xp.tanh(x), lambda g: g * (1 - y * y)))
sigmoid = primitive("sigmoid")(lambda xp, x: (y := logistic(xp, x), lambda g: g * (y * (1 - y))))
softplus = primitive("softplus")(lambda xp, x: (log1pexp(xp, x), lambda g: g * logistic(xp, x)))
relu = primitive("relu")(lambda xp, x: (y := xp.maximum(x, 0.0), lambda g: g * (y != 0)))
maximum = primitive("maximum")(lambda xp, x, y: (xp.maximum(x, y), *_shares(xp, x, y, xp.less)))
minimum = primitive("minimum")(lambda xp, x, y: (xp.minimum(x, y), *_shares(xp, x, y, xp.greater)))


def logistic(xp: Xp, x: Array) -> Array:
    """1 / (1 + e^−x), where x < 0 as e^x / (1 + e^x): neither form overflows."""
    return xp.exp(xp.minimum(x, 0.0)) / (1 + xp.exp(-xp.abs(x)))


def log1pexp(xp: Xp, x: Array) -> Array:
    """log(1 + e^x) as max(x, 0) + log(1 + e^−|x|), which neither overflows nor loses digits."""
    return xp.maximum(x, 0.0) + xp.log1p(xp.exp(-xp.abs(x)))


def _shares(xp: Xp, x: Array, y: Array, loses: Any) -> Any:
    def share(g: Array, lost: Array) -> Array:
        return xp.where(lost, 0.0, xp.where(xp.equal(x, y), g / 2, g))

    return lambda g: share(g, loses(x, y)), lambda g: share(g, loses(y, x))


@primitive("leaky_relu")
def leaky_relu(xp: Xp, x: Array, *, slope: float) -> Any:
    return xp.where(x > 0, x, slope * x), lambda g: xp.where(x > 0, g, slope * g)


@primitive("gelu")
def gelu(xp: Xp, x: Array) -> Any:
    """x·Φ(x), Φ the standard normal distribution function (Hendrycks & Gimpel 2016), exactly."""
    cdf = xp.ndtr(x)
    return x * cdf, lambda g: g * (cdf + x * xp.exp(-0.5 * (x * x)) / math.sqrt(math.tau))


@primitive("power")
def power(xp: Xp, x: Array, y: Array) -> Any:
    """x^y. x⁰ has gradient 0 for x whatever x is, and 0^y for y unless y < 0."""
    value = xp.power(x, y)
    one = xp.ones((), value.dtype)  # makes an array of a number

    def by_x(g: Array) -> Array:
        flat = y * one == 0
        return xp.where(flat, 0.0, g * (y * xp.power(x, xp.where(flat, 1.0, y * one) - 1)))

    def by_y(g: Array) -> Array:
        flat = xp.logical_and(x * one == 0, y * one >= 0)
        return g * (value * xp.log(xp.where(flat, 1.0, x * one)))

    return value, by_x, by_y


@primitive("matmul")
def matmul(xp: Xp, x: Array, y: Array) -> Any:
    if x.ndim < 2 or y.ndim < 2:
        raise ValueError(f"matmul takes matrices (or stacks of them), not {x.shape} @ {y.shape}")
    return x @ y, lambda g: g @ y.swapaxes(-1, -2), lambda g: x.swapaxes(-1, -2) @ g


@primitive("linear")
def linear(xp: Xp, x: Array, w: Array, b: Array) -> Any:
    if (x.ndim, w.ndim, b.ndim) != (2, 2, 1):
        raise ValueError("linear takes two matrices and a vector")
    # BLAS takes the sum over rows, as a product with ones, several times faster than `sum` does.
    return x @ w + b, lambda g: g @ w.T, lambda g: x.T @ g, lambda g: xp.ones(len(g), g.dtype) @ g


@primitive("where")
def where(xp: Xp, condition: Array, x: Array, y: Array) -> Any:
    if getattr(condition, "dtype", None) != "bool":
        raise TypeError("where takes a condition of bools")
    value = xp.where(condition, x, y)
    return value, None, lambda g: xp.where(condition, g, 0.0), lambda g: xp.where(condition, 0.0, g)


@primitive("clip")
def clip(xp: Xp, x: Array, *, low: float, high: float) -> Any:
    inside = xp.logical_and(x >= low, x <= high)
    return xp.minimum(xp.maximum(x, low), high), lambda g: xp.where(inside, g, 0.0)


# Reductions; their rules keep the reduced axes. `axis` is one, several, or None for all; so is ()
# for all, as in PyTorch, where NumPy would reduce nothing.


def reduction(rule: Rule) -> Operation:
    @primitive(rule.__name__)
    def reduced(xp: Xp, x: Array, *, axis: Axis = None, keepdims: bool = False) -> Any:
        axis = None if axis == () else axis
        y, product = rule(xp, x, axis)
        axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
        gone = set() if keepdims else {a % (x.ndim or 1) for a in axes}
        shape = tuple(size for a, size in enumerate(y.shape) if a not in gone)
        return y.reshape(shape), lambda g: product(g.reshape(y.shape))

    return reduced


@reduction
def sum(xp: Xp, x: Array, axis: Axis) -> Any:
    return xp.sum(x, axis=axis, keepdims=True), lambda g: xp.broadcast_to(g, shape=x.shape)


@reduction
def mean(xp: Xp, x: Array, axis: Axis) -> Any:
    total = xp.sum(x, axis=axis, keepdims=True)
    if total.size and not x.size:
        raise ValueError(f"mean over empty axes, of an array of shape {x.shape}")
    count = x.size // (total.size or 1)
    return total / count, lambda g: xp.broadcast_to(g / count, shape=x.shape)


@reduction
def max(xp: Xp, x: Array, axis: Axis) -> Any:
    y = xp.max(x, axis=axis, keepdims=True)

    def product(g: Array) -> Array:
        hits = xp.equal(x, y) * xp.ones((), x.dtype)
        return g * (hits / xp.sum(hits, axis=axis, keepdims=True))

    return y, product


@reduction
def logsumexp(xp: Xp, x: Array, axis: Axis) -> Any:
    e, total, top = _exponentials(xp, x, axis, largest=math.inf)
    return top + xp.log(total), lambda g: g * (e / total)


def _exponentials(xp: Xp, x: Array, axis: Axis, largest: float = 0) -> tuple[Array, Array, Array]:
    """e^(x − max x), which cannot overflow, its sum, and max x, or 0 if |max x| is `largest`."""
    top = (xp.max if x.size else xp.sum)(x, axis=axis, keepdims=True)  # the sum of nothing is 0
    if largest:
        top = xp.where(xp.abs(top) == largest, 0.0, top)
    e = xp.exp(x - top)
    return e, xp.sum(e, axis=axis, keepdims=True), top


@primitive("softmax")
def softmax(xp: Xp, x: Array, *, axis: Axis = -1) -> Any:
    e, total, _ = _exponentials(xp, x, axis)
    y = e / total
    return y, lambda g: y * (g - xp.sum(g * y, axis=axis, keepdims=True))


@primitive("log_softmax")
def log_softmax(xp: Xp, x: Array, *, axis: Axis = -1) -> Any:
    e, total, top = _exponentials(xp, x, axis)
    value = x - top - xp.log(total)
    return value, lambda g: g - (e / total) * xp.sum(g, axis=axis, keepdims=True)


# Shapes and places.


@primitive("reshape")
def reshape(xp: Xp, x: Array, *, shape: tuple[int, ...]) -> Any:
    return x.reshape(shape), lambda g: g.reshape(x.shape)


@primitive("transpose")
def transpose(xp: Xp, x: Array, *, axes: tuple[int, ...]) -> Any:
    y = x.transpose(axes)
    back = tuple(sorted(range(x.ndim), key=lambda axis: axes[axis] % x.ndim))
    return y, lambda g: g.transpose(back)


@primitive("broadcast_to")
def broadcast_to(xp: Xp, x: Array, *, shape: tuple[int, ...]) -> Any:
    return xp.broadcast_to(x, shape=shape), lambda g: g


@primitive("concatenate")
def concatenate(xp: Xp, *parts: Array, axis: int) -> Any:
    value = xp.concatenate(*parts, axis=axis)
    before = (slice(None),) * (axis % value.ndim)
    products, start = [], 0
    for part in parts:
        piece = (*before, slice(start, start := start + part.shape[axis]))
        products.append(lambda g, piece=piece: g[piece])
    return value, *products


@primitive("take")
def take(xp: Xp, x: Array, indices: Array, *, axis: int) -> Any:
    """Gather slices along an axis; one taken twice gathers both gradients."""
    if not x.ndim or getattr(indices, "dtype", x.dtype).kind not in "iu":
        raise TypeError("take takes indices of integers, from an array that has axes")
    back = {"axis": axis % x.ndim, "shape": x.shape}
    return xp.take(x, indices, axis=axis), lambda g: xp.scatter_add(g, indices, **back)


@primitive("getitem")
def getitem(xp: Xp, x: Array, *, index: Any) -> Any:
    index = basic_index(index)
    return x[index], lambda g: xp.place(g, index=index, shape=x.shape)
