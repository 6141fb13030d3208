"""`Tensor` and tape: reverse-mode differentiation.

A primitive is written as a rule, a function of an array namespace and arrays:

    multiply = primitive("multiply")(lambda xp, x, y: (x * y, lambda g: g * y, lambda g: g * x))

It gives the value and, for each input, the vector-Jacobian product that takes the gradient of the
value to that of the input; last inputs without one (labels, say) are left out. The closures keep
what the way back needs and nothing else; none is called whose input needs no gradient.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from impls.reference.instructions import NUMPY, Array, Xp

Rule = Callable[..., Any]
Operation = Callable[..., "Tensor"]
PRIMITIVES: dict[str, Operation] = {}


@dataclass(eq=False, slots=True)
class Node:
    """One step on the tape: the nodes of its inputs, and the products that lead back to them."""

    shape: tuple[int, ...]
    parents: Sequence[Node | None] = ()
    vjps: Sequence[Any] = ()
    number: int = field(default_factory=itertools.count().__next__)


@dataclass(eq=False, slots=True)
class Tensor(NDArrayOperatorsMixin):
    """An array and, if a gradient is to flow back through it, its node on the tape.

    The node does not hold the array: what no vector-Jacobian product needs is freed at once.
    """

    array: Array
    xp: Xp = NUMPY
    node: Node | None = None

    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, **keywords: Any) -> Tensor:
        """What the mixin's operators call: `x + y` arrives here as `numpy.add`."""
        name = "abs" if function is np.absolute else function.__name__
        if name not in PRIMITIVES or method != "__call__" or keywords:
            raise TypeError(f"no primitive does {name} {method} {[*keywords]}, and none in place")
        return PRIMITIVES[name](*inputs)

    def __getitem__(self, index: Any) -> Tensor:
        return PRIMITIVES["getitem"](self, index=index)


def parameter(array: Array, xp: Xp = NUMPY) -> Tensor:
    """A tensor whose gradient can be asked for. Raises TypeError unless the array is of floats."""
    if array.dtype.kind != "f":
        raise TypeError(f"a gradient is of floating-point numbers, not of {array.dtype}")
    return Tensor(array, xp, Node(array.shape))


def primitive(name: str) -> Callable[[Rule], Operation]:
    """Lift a rule on arrays to an operation on tensors, listed in `PRIMITIVES`.

    The operation takes tensors and numbers by position, anything static by keyword. A number never
    changes the dtype of a tensor, nor does a NumPy scalar: it counts as the number that it holds.
    Raises TypeError where floating dtypes or array namespaces would mix, and where integers would
    change a floating dtype, as int64 beside float32 does in NumPy.
    """

    def lift(rule: Rule) -> Operation:
        def operation(*inputs: Tensor | float, **static: Any) -> Tensor:
            xp, arrays, nodes, dtypes = _unwrap(name, inputs)
            value, *vjps = rule(xp, *arrays, **{key: _number(it) for key, it in static.items()})
            if dtypes and value.dtype not in dtypes:
                raise TypeError(f"{name} turns {dtypes.pop()} into {value.dtype}: cast the others")
            on_tape = nodes.count(None) < len(nodes)
            return Tensor(value, xp, Node(value.shape, nodes, vjps) if on_tape else None)

        PRIMITIVES[name] = operation
        return operation

    return lift


def _number(value: Any) -> Any:
    """The Python number in a NumPy scalar, which unlike it leaves the dtype to the arrays."""
    return value.item() if isinstance(value, np.generic) else value


def _unwrap(name: str, inputs: Sequence[Any]) -> tuple[Xp, list[Array], list[Any], set[Any]]:
    """The namespace, arrays, nodes and floating dtypes of an operation's inputs, checked."""
    namespaces, dtypes, arrays, nodes = set(), set(), [], []
    for each in inputs:
        array, node = _number(each), None
        if isinstance(each, Tensor):
            array, node = each.array, each.node
            namespaces.add(each.xp)
            if array.dtype.kind == "f":
                dtypes.add(array.dtype)
        elif not isinstance(array, (int, float)):
            raise TypeError(f"{name} takes tensors and numbers, not {type(each).__name__}")
        arrays.append(array)
        nodes.append(node)
    if len(dtypes) > 1:
        raise TypeError(f"{name} of {' and '.join(map(str, dtypes))}: cast one of them first")
    if len(namespaces) != 1:
        raise TypeError(f"{name} needs tensors, all of one array namespace")
    return namespaces.pop(), arrays, nodes, dtypes


def gradient(of: Tensor, wrt: Sequence[Tensor], seed: Array | None = None) -> list[Array]:
    """Gradients of `of` with respect to each of `wrt`, as arrays of their shapes.

    `seed` weighs the entries of `of` (ones by default, so a scalar's own gradient). Where `of` does
    not depend on a tensor its gradient is zero. Raises ValueError for a tensor off the tape, and
    for a seed of another shape or dtype than `of`.
    """
    xp, wanted = of.xp, {tensor.node for tensor in wrt}
    if of.node is None or None in wanted:
        raise ValueError("gradient: a tensor is not on the tape; make it with `parameter`")
    seed = xp.ones(of.array.shape, of.array.dtype) if seed is None else seed
    if (seed.shape, seed.dtype) != (of.array.shape, of.array.dtype):
        raise ValueError("gradient: the seed differs in shape or dtype from what it weighs")
    found = {of.node: seed}
    for node in _newest_first(of.node):
        if node not in found:  # every path to it leads through an input without a gradient
            continue
        g = found[node] if node in wanted else found.pop(node)
        for parent, vjp in zip(node.parents, node.vjps, strict=False):
            if parent is not None and vjp is not None:
                part = vjp(g)
                if part.shape != parent.shape:
                    part = _unbroadcast(xp, part, parent.shape)
                found[parent] = found[parent] + part if parent in found else part
    return [
        found[it.node] if it.node in found else xp.zeros(it.array.shape, it.array.dtype)
        for it in wrt
    ]


def _newest_first(end: Node) -> list[Node]:
    """Every node that `end` depends on, each after all that use it, since those are newer."""
    seen, stack = {end}, [end]
    while stack:
        fresh = {parent for parent in stack.pop().parents if parent is not None} - seen
        seen |= fresh
        stack.extend(fresh)
    return sorted(seen, key=lambda node: node.number, reverse=True)


def _unbroadcast(xp: Xp, g: Array, shape: tuple[int, ...]) -> Array:
    """Sum a gradient over the axes along which its input, of this shape, was repeated."""
    lead = g.ndim - len(shape)
    repeated = [lead + axis for axis, size in enumerate(shape) if size != g.shape[lead + axis]]
    return xp.sum(g, axis=(*range(lead), *repeated), keepdims=True).reshape(shape)
