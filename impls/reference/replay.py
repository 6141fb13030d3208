"""Replay: run a program again and again in memory that was allocated once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from impls.reference.instructions import NUMPY, UFUNCS, VIEWS, Array, Namespace
from impls.reference.plan import ALIGNMENT, plan
from impls.reference.program import Program, ProgramError, Slot

Call = tuple[Callable[..., Any], tuple[Array, ...]]
OUT_BY_POSITION = UFUNCS - {"maximum", "minimum"}  # faster than by keyword; these two refuse it


class Replay:
    """A program bound to its memory: a flat list of calls that allocate nothing.

    `state` maps names to arrays that every run updates in place; they start at zero.
    """

    def __init__(self, program: Program, xp: Namespace = NUMPY) -> None:
        self.program = program
        self.plan = plan(program)
        self._xp = xp
        self.memory = _aligned(xp, self.plan.arena_bytes)
        self._arrays: dict[int, Array] = dict(program.constants)
        self._calls: dict[int, Call] = {}
        self._readers: dict[int, list[int]] = {}
        for number, instruction in enumerate(program.instructions):
            self._bind(number)
            for home in {self.plan.home[slot] for slot in instruction.inputs}:
                self._readers.setdefault(home, []).append(number)
        for before, after in program.state.values():
            if self.plan.home[after] != before:
                copy = xp.library.copyto, (self._array(before), self._array(after))
                self._calls[len(program.instructions) + before] = copy
        self.state = {name: self._array(before) for name, (before, _) in program.state.items()}

    def run(self, **inputs: Array | float) -> Mapping[str, Array]:
        """Run once and return all outputs but the state, in arrays that the next run writes over.

        An input that is not given keeps its last value, zero at first. Raises ProgramError for an
        array of another shape, dtype or layout than was captured.
        """
        for name, value in inputs.items():
            self._feed(name, value)
        for function, arguments in self._calls.values():
            function(*arguments)
        return {name: self._array(slot) for name, slot in self.program.results.items()}

    def _feed(self, name: str, value: Any) -> None:
        slot = self.program.inputs.get(name, -1)
        if slot not in self.program.fixed:
            raise ProgramError(f"{name!r} is no input, or is state, which is not fed")
        wanted = self.program.slots[slot]
        if not wanted.shape:
            self._array(slot).fill(value)
        elif value is not self._arrays.get(slot):
            given = Slot(value.shape, value.dtype, wanted.order)
            if given != wanted:
                raise ProgramError(f"{name} is {given}; captured for {wanted}: capture it again")
            if not value.flags.c_contiguous:
                raise ProgramError(f"{name} is not contiguous: stage a contiguous copy")
            self._arrays[slot] = value
            for number in self._readers.get(slot, ()):
                self._bind(number)

    def _bind(self, number: int) -> None:
        """Make the call of an instruction, or the array of a view, from the present arrays."""
        instruction = self.program.instructions[number]
        function = getattr(self._xp, instruction.operation)
        operands = [self._array(slot) for slot in instruction.inputs]
        if instruction.operation in VIEWS:
            self._arrays[instruction.output] = function(*operands, **instruction.static)
            return
        out = self._array(instruction.output)
        if instruction.operation in OUT_BY_POSITION:
            self._calls[number] = function, (*operands, out)
        elif instruction.output not in self.plan.packed:
            self._calls[number] = partial(function, out=out, **instruction.static), (*operands,)

    def _array(self, slot: int) -> Array:
        """The array of a slot: that of the operand which it overwrites, or a piece of memory."""
        if slot not in self._arrays:
            operand = self.plan.in_place.get(slot)
            self._arrays[slot] = self._carve(slot) if operand is None else self._array(operand)
        return self._arrays[slot]

    def _carve(self, number: int) -> Array:
        slot, start = self.program.slots[number], self.plan.address[number]
        if number in self.program.fixed:
            zero = self._xp.library.zeros((), slot.dtype)
            return self._xp.library.broadcast_to(zero, slot.shape) if slot.shape else zero
        flat = self.memory[start : start + slot.nbytes].view(slot.dtype)
        back = sorted(range(len(slot.order)), key=slot.order.__getitem__)
        return flat.reshape([slot.shape[axis] for axis in slot.order]).transpose(back)


def _aligned(xp: Namespace, size: int) -> Array:
    """Bytes that begin on a cache line, as CuPy's always do."""
    raw = xp.library.zeros(size + ALIGNMENT, "uint8")
    start = -raw.ctypes.data % ALIGNMENT if isinstance(raw, np.ndarray) else 0
    return raw[start : start + size]
