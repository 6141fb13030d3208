"""Capture: run a step once on arrays that write down what is done with them.

A `Recorder` is an array namespace like any other, so the very rules that compute at once in eager
mode are what is recorded: replay is eager bit for bit, by construction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from impls.reference.instructions import CONSTANTS, NUMPY, Array, Xp, basic_index
from impls.reference.program import Instruction, Program, ProgramError, Slot, check


def capture(
    function: Callable[..., Mapping[str, Array]], inputs: Mapping[str, Array], xp: Xp = NUMPY
) -> Program:
    """The checked program of one call `function(xp, **inputs)`, which returns its outputs by name.

    Only shapes and dtypes of the inputs enter it; numbers that change from run to run are arrays
    without axes. Raises ProgramError where the function does what a flat program cannot.
    """
    recorder = Recorder(xp)
    laid_out = partial(xp.library.asarray, order="C")  # as replay must be fed
    traced = {name: recorder.slot(laid_out(value), name) for name, value in inputs.items()}
    outputs = function(recorder, **traced)
    if not all(isinstance(value, Traced) for value in outputs.values()):
        raise ProgramError("every output must be an array that the captured step made")
    program = Program(
        slots=tuple(recorder.slots),
        inputs={name: value.number for name, value in traced.items()},
        constants=recorder.constants,
        instructions=tuple(recorder.instructions),
        outputs={name: value.number for name, value in outputs.items()},
    )
    check(program)
    return program


class Recorder:
    """The array namespace that computes through `base` and keeps the list of what it did."""

    def __init__(self, base: Xp) -> None:
        self.base = base
        self.slots: list[Slot] = []
        self.constants: dict[int, Array] = {}
        self.instructions: list[Instruction] = []

    def __getattr__(self, name: str) -> Callable[..., Traced]:
        if name in CONSTANTS:
            return lambda *arguments: self.constant(getattr(self.base, name)(*arguments))
        return partial(self.record, name)

    def record(self, operation: str, *operands: Any, **static: Any) -> Traced:
        """Compute and write it down; what depends on constants alone becomes one itself."""
        values = [it.value if isinstance(it, Traced) else it for it in operands]
        result = getattr(self.base, operation)(*values, **static)
        inputs = tuple(self._number(it, values) for it in operands)
        if all(number in self.constants for number in inputs):
            return self.constant(result)
        shares = self.base.library.may_share_memory
        if operation == "reshape" and result.size and not shares(result, *values):
            return self.record("copy", *operands).reshape(**static)
        traced = self.slot(result)
        self.instructions.append(Instruction(operation, inputs, traced.number, static))
        return traced

    def slot(self, value: Array, name: str = "") -> Traced:
        order = sorted(range(value.ndim), key=lambda axis: -value.strides[axis])
        self.slots.append(Slot(tuple(value.shape), value.dtype, tuple(order), name))
        return Traced(self, len(self.slots) - 1, value)

    def constant(self, value: Array) -> Traced:
        traced = self.slot(value, "constant" if value.ndim else f"{float(value):.6g}")
        self.constants[traced.number] = self.base.library.asarray(value)
        return traced

    def _number(self, operand: Any, values: list[Any]) -> int:
        """The slot of an operand; numbers take the dtype that they have beside the arrays."""
        if isinstance(operand, Traced):
            return operand.number
        dtype = np.result_type(operand, *(it.dtype for it in values if hasattr(it, "dtype")))
        return self.constant(self.base.library.asarray(operand, dtype)).number


class Traced(NDArrayOperatorsMixin):
    """An array whose every use is recorded: the value of one slot of the program to be."""

    __slots__ = ("number", "recorder", "value")

    def __init__(self, recorder: Recorder, number: int, value: Array) -> None:
        self.recorder = recorder
        self.number = number
        self.value = value

    def __array_ufunc__(self, function: Any, method: str, *operands: Any, **other: Any) -> Traced:
        """What the mixin's operators call: `x + y` arrives here as `numpy.add`."""
        if method != "__call__" or other:
            raise ProgramError(f"cannot capture {function.__name__} {method} {[*other]}")
        return self.recorder.record(function.__name__, *operands)

    def __getattr__(self, name: str) -> Any:
        if name in ("shape", "dtype", "ndim", "size"):
            return getattr(self.value, name)
        raise AttributeError(f"a traced array has no {name!r}")

    def __len__(self) -> int:
        return len(self.value)

    def __bool__(self) -> bool:
        raise ProgramError("a captured step cannot branch on a value: replay would not see it")

    def __getitem__(self, index: Any) -> Traced:
        index = basic_index(index)
        whole = index if ... in index else (*index, ...)  # a view, even of a single entry
        return self.recorder.record("getitem", self, index=whole)

    def reshape(self, shape: int | tuple[int, ...]) -> Traced:
        return self.recorder.record("reshape", self, shape=shape)

    def transpose(self, axes: tuple[int, ...]) -> Traced:
        return self.recorder.record("transpose", self, axes=axes)

    def swapaxes(self, a: int, b: int) -> Traced:
        axes = list(range(self.ndim))
        axes[a], axes[b] = axes[b], axes[a]
        return self.transpose(tuple(axes))

    T = property(lambda self: self.transpose(tuple(reversed(range(self.ndim)))))
