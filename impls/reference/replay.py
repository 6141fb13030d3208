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

    `state` maps the names of the program's state to arrays that every run updates in place.
    """

    def __init__(self, program: Program, xp: Namespace = NUMPY) -> None:
        self.program = program
        self.plan = plan(program)
        self._xp = xp
        self._memory = _aligned(xp, self.plan.arena_bytes)
        self._arrays: dict[int, Array] = dict(program.constants)
        for slot in program.inputs.values():
            if slot in program.fixed and not program.slots[slot].shape:
                self._arrays[slot] = xp.zeros((), program.slots[slot].dtype)
        self.state = {name: self._array(slots[0]) for name, slots in program.state.items()}
        self._readers = {
            slot: [
                number
                for number, instruction in enumerate(program.instructions)
                if slot in {self.plan.home[operand] for operand in instruction.inputs}
            ]
            for slot in program.inputs.values()
        }
        self._calls: dict[int, Call] = {}
        self._outputs: dict[str, Array] = {}

    @property
    def peak_bytes(self) -> int:
        """All memory that a run needs: the arena, constants, and what it is fed."""
        slots = self.program.slots
        return self.plan.arena_bytes + sum(slots[it].nbytes for it in self.program.fixed)

    def run(self, **inputs: Array | float) -> Mapping[str, Array]:
        """Run once; an input that is not given keeps its last value.

        Returns the outputs but for the state, as arrays that the next run writes over. Raises
        ProgramError for an array of another shape, dtype or layout than was captured.
        """
        for name, value in inputs.items():
            self._feed(name, value)
        if not self._calls:
            self._bind_all()
        for function, arguments in self._calls.values():
            function(*arguments)
        return self._outputs

    def _feed(self, name: str, value: Array | float) -> None:
        slot = self.program.inputs.get(name)
        if slot is None or name in self.state:
            raise ProgramError(f"replay has no input {name!r}")
        wanted = self.program.slots[slot]
        if not wanted.shape:
            self._array(slot).fill(value)
        elif value is not self._arrays.get(slot):
            _check(name, value, wanted)
            self._arrays[slot] = value
            if self._calls:
                for number in self._readers[slot]:
                    self._bind(number)

    def _bind_all(self) -> None:
        if missing := [n for n, slot in self.program.inputs.items() if slot not in self._arrays]:
            raise ProgramError(f"replay was never given {', '.join(missing)}")
        for number in range(len(self.program.instructions)):
            self._bind(number)
        for before, after in self.program.state.values():
            if self.plan.home[after] != before:
                copy = self._xp.library.copyto, (self._array(before), self._array(after))
                self._calls[len(self._calls) + len(self.program.instructions)] = copy
        for name in self.program.outputs.keys() - self.state.keys():
            self._outputs[name] = self._array(self.program.outputs[name])

    def _bind(self, number: int) -> None:
        """Make the call of an instruction, or the array of a view, from the present arrays."""
        instruction = self.program.instructions[number]
        function = getattr(self._xp, instruction.operation)
        operands = tuple(self._arrays[slot] for slot in instruction.inputs)
        if instruction.operation in VIEWS:
            self._arrays[instruction.output] = function(*operands, **instruction.static)
            return
        out = self._array(instruction.output)
        if instruction.output in self.plan.assembled:
            return
        if instruction.operation in OUT_BY_POSITION:
            self._calls[number] = function, (*operands, out)
        else:
            self._calls[number] = partial(function, out=out, **instruction.static), operands

    def _array(self, slot: int) -> Array:
        """The array of a slot: that of the operand which it overwrites, or a piece of the arena."""
        if slot not in self._arrays:
            operand = self.plan.in_place.get(slot)
            if operand is None:
                self._arrays[slot] = self._carve(self.program.slots[slot], self.plan.address[slot])
            else:
                self._arrays[slot] = self._array(operand)
        return self._arrays[slot]

    def _carve(self, slot: Slot, address: int) -> Array:
        flat = self._memory[address : address + slot.nbytes].view(slot.dtype)
        back = sorted(range(len(slot.order)), key=slot.order.__getitem__)
        return flat.reshape([slot.shape[axis] for axis in slot.order]).transpose(back)


def _check(name: str, value: Array, wanted: Slot) -> None:
    given = f"{'×'.join(map(str, value.shape)) or 'scalar'} {value.dtype}"
    if given != str(wanted):
        raise ProgramError(
            f"replay: {name} is {given}, but the step was captured for {wanted}; "
            "capture it again for another shape or dtype"
        )
    if not value.flags.c_contiguous:
        raise ProgramError(f"replay: {name} is not contiguous; stage a contiguous copy")


def _aligned(xp: Namespace, size: int) -> Array:
    """Bytes that begin on a cache line (CuPy's always do)."""
    raw = xp.zeros(size + ALIGNMENT, "uint8")
    start = -raw.ctypes.data % ALIGNMENT if isinstance(raw, np.ndarray) else 0
    return raw[start : start + size]
