"""A captured computation as plain data, and the check that every captured program must pass."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from impls.reference.instructions import ELEMENTWISE, NUMPY, Array

Shape = tuple[int, ...]


class ProgramError(ValueError):
    """A program that cannot be captured, is not well formed, or is fed what it was not made for."""


@dataclass(frozen=True)
class Slot:
    """The layout of a value: `order` lists its axes from the slowest to the fastest in memory."""

    shape: Shape
    dtype: np.dtype[Any]
    order: tuple[int, ...]
    name: str = field(default="", compare=False)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{'×'.join(map(str, self.shape)) or 'scalar'} {self.dtype}"


@dataclass(frozen=True)
class Instruction:
    """slots[output] = operation(slots[inputs]..., **static)"""

    operation: str
    inputs: tuple[int, ...]
    output: int
    static: Mapping[str, Any]


@dataclass(frozen=True)
class Program:
    """A flat list of instructions over numbered slots, each of which is written once.

    An output with the name of an input is that input's next value: state, such as the weights.
    """

    slots: tuple[Slot, ...]
    inputs: Mapping[str, int]
    constants: Mapping[int, Array]
    instructions: tuple[Instruction, ...]
    outputs: Mapping[str, int]

    @cached_property
    def state(self) -> dict[str, tuple[int, int]]:
        """Name → (slot before, slot after) of everything that a run replaces."""
        return {n: (self.inputs[n], slot) for n, slot in self.outputs.items() if n in self.inputs}

    @cached_property
    def results(self) -> dict[str, int]:
        """Name → slot of every output that is no state."""
        return {name: slot for name, slot in self.outputs.items() if name not in self.inputs}

    @cached_property
    def fixed(self) -> frozenset[int]:
        """Slots that no run may write: constants, and inputs that are no state."""
        state = {before for before, _ in self.state.values()}
        return frozenset({*self.constants, *self.inputs.values()} - state)


def check(program: Program) -> None:
    """Raise ProgramError unless every slot is written once, before it is read, and as its operands
    tell, with one floating dtype throughout, and every next state fits the one that it replaces.
    """
    slots, defined = program.slots, {*program.inputs.values(), *program.constants}
    for number, instruction in enumerate(program.instructions):
        where, out = f"instruction {number} ({instruction.operation})", instruction.output
        if unwritten := set(instruction.inputs) - defined:
            raise ProgramError(f"{where} reads slots {sorted(unwritten)} before they are written")
        if out in defined:
            raise ProgramError(f"{where} writes slot {out} a second time")
        defined.add(out)
        try:
            made = _result(instruction, [slots[slot] for slot in instruction.inputs])
        except (ValueError, IndexError, TypeError) as error:
            raise ProgramError(f"{where}: {error}") from None
        if made != (slots[out].shape, slots[out].dtype):
            raise ProgramError(f"{where} makes {made}, but its slot is {slots[out]}")
    if unwritten := set(program.outputs.values()) - defined:
        raise ProgramError(f"outputs in slots {sorted(unwritten)} are never written")
    for name, (before, after) in program.state.items():
        if str(slots[before]) != str(slots[after]):
            raise ProgramError(f"state {name!r} turns from {slots[before]} into {slots[after]}")
    floats = {str(slot.dtype) for slot in slots if slot.dtype.kind == "f"}
    if len(floats) > 1:
        raise ProgramError(f"floating dtypes are mixed: {', '.join(sorted(floats))}")


def _result(instruction: Instruction, operands: list[Slot]) -> tuple[Shape, np.dtype[Any]]:
    """Shape and dtype of a result, tried out on operands that cost as little as possible."""
    function = getattr(NUMPY, instruction.operation)
    shapes, dtypes = [it.shape for it in operands], [it.dtype for it in operands]
    if instruction.operation in ELEMENTWISE | {"where"}:
        return np.broadcast_shapes(*shapes), function(*(np.ones((), it) for it in dtypes)).dtype
    if instruction.operation == "matmul":
        x, y = shapes
        if x[-1] != y[-2]:
            raise ValueError(f"matrix product of {x} and {y}")
        shapes = [(*x[:-1], 0), (*y[:-2], 0, y[-1])]  # sums of nothing
    zeros = [np.broadcast_to(np.zeros((), d), s) for d, s in zip(dtypes, shapes, strict=True)]
    result = function(*zeros, **instruction.static)
    return result.shape, result.dtype
