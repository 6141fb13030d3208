"""The instruction set: the few array functions that everything above is written in.

A `Namespace` offers them over one array library. Arrays go in by position, everything static by
keyword, and what computes takes `out`. Arithmetic may be written with operators (`x * y`), views
with the array's own methods (`x.T`, `x.reshape`, `x[1:]`), so that a formula reads as on paper.
"""

from __future__ import annotations

import importlib
from functools import cached_property
from types import EllipsisType, NoneType
from typing import Any, TypeAlias

import numpy

Array: TypeAlias = Any
"""An array of NumPy or CuPy, or a `Traced` one while a program is captured."""
Xp: TypeAlias = Any
"""A `Namespace`, or the `Recorder` that stands in for it while a program is captured."""

_FUNCTIONS = "add subtract multiply divide power negative exp log log1p sqrt abs sign tanh ndtr"
_CHOICES = "maximum minimum greater greater_equal less less_equal equal not_equal logical_and"
ELEMENTWISE = frozenset(f"{_FUNCTIONS} {_CHOICES}".split())
"""Entry by entry, with broadcasting: the result may overwrite an operand of its own layout."""

UFUNCS = ELEMENTWISE | {"matmul"}
CONSTANTS = frozenset(("ones", "zeros", "arange"))
VIEWS = {
    "reshape": lambda x, shape: x.reshape(shape),
    "transpose": lambda x, axes: x.transpose(axes),
    "getitem": lambda x, index: x[index],
    "broadcast_to": None,  # the library's own
}
"""No work at all: another way to look at the memory of the operand."""

BASIC = (int, numpy.integer, slice, EllipsisType, NoneType)
_SPECIAL = {"numpy": "scipy.special", "cupy": "cupyx.scipy.special"}


class Namespace:
    """The instruction set over `library`, a module with NumPy's interface (NumPy or CuPy)."""

    def __init__(self, library: Any) -> None:
        self.library = library
        for name in UFUNCS | CONSTANTS | {"take"} | VIEWS.keys():
            if not hasattr(type(self), name):
                setattr(self, name, VIEWS.get(name) or getattr(library, name))

    @cached_property
    def ndtr(self) -> Any:
        """Φ, the standard normal distribution function; imported where it is first needed."""
        return importlib.import_module(_SPECIAL[self.library.__name__]).ndtr

    # A universal function's own `reduce` skips the detours of `library.sum`.

    def sum(self, x: Array, *, axis: Any = None, keepdims: bool = False, out: Any = None) -> Array:
        return self.library.add.reduce(x, axis, None, out, keepdims)

    def max(self, x: Array, *, axis: Any = None, keepdims: bool = False, out: Any = None) -> Array:
        return self.library.maximum.reduce(x, axis, None, out, keepdims)

    def where(self, condition: Array, x: Array, y: Array, *, out: Any = None) -> Array:
        if out is None:
            return self.library.where(condition, x, y)
        self.library.copyto(out, y)
        self.library.copyto(out, x, where=condition)
        return out

    def pack(self, *parts: Array, out: Any = None) -> Array:
        """All entries of all parts, in order, as one vector."""
        return self.library.concatenate([part.reshape(-1) for part in parts], 0, out)

    def concatenate(self, *parts: Array, axis: int, out: Any = None) -> Array:
        return self.library.concatenate(parts, axis, out)

    def copy(self, x: Array, *, out: Any = None) -> Array:
        out = self.library.empty(x.shape, x.dtype) if out is None else out
        out[...] = x
        return out

    def place(self, g: Array, *, index: Any, shape: tuple[int, ...], out: Any = None) -> Array:
        """The transpose of slicing: zeros, with g at `index`."""
        out = self.library.empty(shape, g.dtype) if out is None else out
        out[...] = 0
        out[index] = g
        return out

    def scatter_add(
        self, g: Array, indices: Array, *, axis: int, shape: tuple[int, ...], out: Any = None
    ) -> Array:
        """The transpose of `take`: zeros, with each slice of g added where it was taken from."""
        out = self.library.empty(shape, g.dtype) if out is None else out
        out[...] = 0
        self.library.add.at(out, (slice(None),) * axis + (indices,), g)
        return out


def basic_index(index: Any) -> tuple[Any, ...]:
    """An index as a tuple. Raises TypeError for what would make a copy rather than a view."""
    parts = index if isinstance(index, tuple) else (index,)
    if not all(isinstance(it, BASIC) and not isinstance(it, bool) for it in parts):
        raise TypeError("slicing takes integers and slices; for index arrays there is `take`")
    return parts


NUMPY = Namespace(numpy)
