"""`Tensor` and tape: reverse-mode differentiation.

A primitive is written as a rule, a function of an array namespace and arrays:

    multiply = primitive("multiply", lambda xp, x, y: (x * y, lambda g: g * y, lambda g: g * x))

It gives the value and, for each input, the vector-Jacobian product that takes the gradient of the
value to the gradient of that input; last inputs without one (labels, say) are left out. Its closures
keep what the way back needs and nothing else; none is called whose input needs no gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from numpy.lib.mixins import NDArrayOperatorsMixin

from impls.reference.instructions import NUMPY, Array, Xp

PRIMITIVES: dict[str, Callable[..., Tensor]] = {}


class Node:
    """One step on the tape: the nodes of its inputs, and the products that lead back to them."""

    __slots__ = ("parents", "shape", "vjps")

    def __init__(
        self, shape: tuple[int, ...], parents: Sequence[Node | None] = (), vjps: Sequence[Any] = ()
    ) -> None:
        self.shape = shape
        self.parents = parents
        self.vjps = vjps


class Tensor(NDArrayOperatorsMixin):
    """An array and, if a gradient is to flow back through it, its node on the tape.

    The node does not hold the array: what no vector-Jacobian product needs is freed at once.
    """

    __slots__ = ("array", "node", "xp")

    def __init__(self, array: Array, xp: Xp = NUMPY, node: Node | None = None) -> None:
        self.array = array
        self.xp = xp
        self.node = node

    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, **options: Any) -> Tensor:
        """What the mixin's operators call: `x + y` arrives here as `numpy.add`."""
        return PRIMITIVES[function.__name__](*inputs, **options)

    def __getitem__(self, index: Any) -> Tensor:
        return PRIMITIVES["getitem"](self, index=index)


def parameter(array: Array, xp: Xp = NUMPY) -> Tensor:
    """A tensor whose gradient can be asked for."""
    return Tensor(array, xp, Node(array.shape))


def primitive(name: str, rule: Callable[..., Any]) -> Callable[..., Tensor]:
    """Lift a rule on arrays to an operation on tensors, and list it in `PRIMITIVES`.

    The operation takes tensors and numbers by position, anything static by keyword. It raises
    TypeError where floating dtypes or array namespaces would mix.
    """

    def operation(*inputs: Tensor | float, **static: Any) -> Tensor:
        xp, arrays, nodes = _unwrap(name, inputs)
        value, *vjps = rule(xp, *arrays, **static)
        on_tape = nodes.count(None) < len(nodes)
        return Tensor(value, xp, Node(value.shape, nodes, vjps) if on_tape else None)

    PRIMITIVES[name] = operation
    return operation


def _unwrap(name: str, inputs: Sequence[Any]) -> tuple[Xp, list[Array], list[Node | None]]:
    """The namespace, arrays and nodes of an operation's inputs, after the checks."""
    xp = dtype = None
    arrays: list[Array] = []
    nodes: list[Node | None] = []
    for each in inputs:
        array, node = each, None
        if isinstance(each, Tensor):
            array, node = each.array, each.node
            if array.dtype.kind == "f":
                if dtype not in (None, array.dtype):
                    raise TypeError(f"{name} of {dtype} and {array.dtype}: cast one of them first")
                dtype = array.dtype
            if xp not in (None, each.xp):
                raise TypeError(f"{name} of arrays in two namespaces: move one of them first")
            xp = each.xp
        elif not isinstance(each, (int, float)):
            raise TypeError(f"{name} takes tensors and numbers, not {type(each).__name__}")
        arrays.append(array)
        nodes.append(node)
    return xp, arrays, nodes


def gradient(of: Tensor, wrt: Sequence[Tensor], seed: Array | None = None) -> list[Array]:
    """Gradients of `of` with respect to each of `wrt`, as arrays of their shapes.

    `seed` weighs the entries of `of` (ones by default, so a scalar's own gradient). Where `of` does
    not depend on a tensor its gradient is zero. Raises ValueError for a tensor off the tape.
    """
    if of.node is None or any(tensor.node is None for tensor in wrt):
        raise ValueError("gradient: a tensor is not on the tape; make it with `parameter`")
    xp = of.xp
    wanted = {tensor.node for tensor in wrt}
    found = {of.node: xp.ones(of.array.shape, of.array.dtype) if seed is None else seed}
    for node in _consumers_first(of.node):
        if node not in found:  # every path to it leads through an input without a gradient
            continue
        g = found[node] if node in wanted else found.pop(node)
        for parent, vjp in zip(node.parents, node.vjps, strict=False):
            if parent is None or vjp is None:
                continue
            part = vjp(g)
            if part.shape != parent.shape:
                part = _unbroadcast(xp, part, parent.shape)
            found[parent] = found[parent] + part if parent in found else part
    for tensor in wrt:
        if tensor.node not in found:
            found[tensor.node] = xp.zeros(tensor.array.shape, tensor.array.dtype)
    return [found[tensor.node] for tensor in wrt]


def _consumers_first(end: Node) -> Iterator[Node]:
    """Every node that `end` depends on, each after all that consume it (Kahn 1962), iteratively."""
    consumers: dict[Node, int] = {end: 0}
    stack = [end]
    while stack:
        for parent in filter(None, stack.pop().parents):
            if parent not in consumers:
                stack.append(parent)
            consumers[parent] = consumers.get(parent, 0) + 1
    ready = [end]
    while ready:
        yield (node := ready.pop())
        for parent in filter(None, node.parents):
            consumers[parent] -= 1
            if not consumers[parent]:
                ready.append(parent)


def _unbroadcast(xp: Xp, g: Array, shape: tuple[int, ...]) -> Array:
    """Sum a gradient over the axes along which its input, of this shape, was repeated."""
    lead = g.ndim - len(shape)
    repeated = [lead + axis for axis, size in enumerate(shape) if size != g.shape[lead + axis]]
    return xp.sum(g, axis=(*range(lead), *repeated), keepdims=True).reshape(shape)
