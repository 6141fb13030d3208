"""Where every value of a program lives: pure functions from a program to a memory plan.

Values that are alive at the same time lie apart in one arena; the memory of a dead value is used
again. Some take no room of their own: a view lies in what it looks at; an elementwise result
overwrites an operand of its layout that nothing reads afterwards, and so the next weights come to
lie where the weights were; the arrays that `pack` puts together are computed in their places in the
vector. Constants, and inputs that are no state, stay where they are and are never written.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from impls.reference.instructions import ELEMENTWISE, VIEWS
from impls.reference.program import Program, ProgramError

ALIGNMENT = 64  # bytes: a cache line, and the widest vector register
Spans = dict[int, tuple[int, int]]


@dataclass(frozen=True)
class Plan:
    """For every slot, the slot in whose memory it lies and its first byte in the arena.

    `in_place` names the operand that a result overwrites; of the vectors in `packed` every part is
    computed in its place.
    """

    home: Sequence[int]
    address: Sequence[int]
    in_place: Mapping[int, int]
    packed: frozenset[int]
    arena_bytes: int


def plan(program: Program) -> Plan:
    """The verified memory plan of a checked program."""
    last = _last_reads(program)
    views = {it.output for it in program.instructions if it.operation in VIEWS}
    home, in_place = _homes(program, last, views)
    parts = _parts(program, home, last, views)
    start = [0] * len(home)
    for slot in range(len(home)):
        while home[slot] in parts:
            home[slot], offset = parts[home[slot]]
            start[slot] += offset
    lifetimes = _lifetimes(program, home, last)
    offsets, size = fit({it: program.slots[it].nbytes for it in lifetimes}, lifetimes)
    address = [offsets.get(it, 0) + at for it, at in zip(home, start, strict=True)]
    made = Plan(home, address, in_place, frozenset(it for it, _ in parts.values()), size)
    verify(program, made)
    return made


def fit(sizes: Mapping[int, int], lifetimes: Spans) -> tuple[dict[int, int], int]:
    """Byte offsets such that what lives at one time, both ends included, lies apart; their total.

    Largest first, each at the lowest offset that is free throughout its life: greedy by size
    (Pisarchyk & Lee 2020), seldom far above the lower bound.
    """
    offsets: dict[int, int] = {}
    for item in sorted(sizes, key=lambda each: -sizes[each]):
        born, dies = lifetimes[item]
        alive = [it for it in offsets if lifetimes[it][0] <= dies and born <= lifetimes[it][1]]
        offset = 0
        for it in sorted(alive, key=offsets.__getitem__):
            if offset + sizes[item] <= offsets[it]:
                break
            offset = max(offset, math.ceil((offsets[it] + sizes[it]) / ALIGNMENT) * ALIGNMENT)
        offsets[item] = offset
    return offsets, max((offsets[it] + sizes[it] for it in offsets), default=0)


def _last_reads(program: Program) -> list[int]:
    """The last instruction that reads each slot; one past the end for outputs, -1 for none."""
    last = [-1] * len(program.slots)
    for number, instruction in enumerate(program.instructions):
        for slot in instruction.inputs:
            last[slot] = number
    for slot in program.outputs.values():
        last[slot] = len(program.instructions)
    return last


def _heirs(program: Program, last: list[int]) -> dict[int, int]:
    """The state whose memory a value may take over: what becomes its next value entry by entry."""
    heirs = {after: before for before, after in program.state.values()}
    for instruction in reversed(program.instructions):
        if instruction.operation in ELEMENTWISE and instruction.output in heirs:
            for operand in instruction.inputs:
                if last[operand] < len(program.instructions):
                    heirs.setdefault(operand, heirs[instruction.output])
    return heirs


def _homes(program: Program, last: list[int], views: set[int]) -> tuple[list[int], dict[int, int]]:
    """The slot in which each slot lies, and the operand that each in-place result overwrites."""
    home = list(range(len(program.slots)))
    in_place: dict[int, int] = {}
    heirs = _heirs(program, last)
    state = {before for before, _ in program.state.values()}
    dies = list(last)  # of each home: the last read of anything in it so far
    for number, instruction in enumerate(program.instructions):
        out, operands = instruction.output, instruction.inputs
        if out in views:
            home[out] = home[operands[0]]
        elif instruction.operation in ELEMENTWISE:
            dead = [
                slot
                for slot in operands
                if dies[home[slot]] == number
                and home[slot] not in program.fixed
                and (home[slot] not in state or heirs.get(out) == home[slot])
                and slot not in views
                and program.slots[slot] == program.slots[out]
                and all(it == slot or home[it] != home[slot] for it in operands)
            ]
            if dead:
                best = max(dead, key=lambda it: home[it] in state)
                in_place[out], home[out] = best, home[best]
        dies[home[out]] = max(dies[home[out]], last[out])
    return home, in_place


def _parts(program: Program, home: list[int], last: list[int], views: set[int]) -> Spans:
    """Homes that can be computed in the vector that they are packed into: in which, and where."""
    parts: Spans = {}
    for number, instruction in enumerate(program.instructions):
        if instruction.operation != "pack":
            continue
        homes = {home[slot]: program.slots[slot] for slot in instruction.inputs}
        taken = {*program.constants, *program.inputs.values(), *parts}
        taken |= {home[slot] for slot in range(len(home)) if last[slot] > number}
        in_order = all(list(it.order) == sorted(it.order) for it in homes.values())
        distinct = len(homes) == len(instruction.inputs)
        if in_order and distinct and not taken & homes.keys() and not views & {*instruction.inputs}:
            start = 0
            for it, slot in homes.items():
                parts[it] = instruction.output, start
                start += slot.nbytes
    return parts


def _lifetimes(program: Program, home: list[int], last: list[int]) -> Spans:
    """The first and the last instruction that need each home in the arena; state lives always."""
    written = {instruction.output: n for n, instruction in enumerate(program.instructions)}
    lifetimes: Spans = {}
    for slot, its_home in enumerate(home):
        if its_home not in program.fixed:
            born = written.get(slot, -1)
            first, dies = lifetimes.get(its_home, (born, born))
            lifetimes[its_home] = min(first, born), max(dies, born, last[slot])
    always = -1, len(program.instructions)
    return lifetimes | {before: always for before, _ in program.state.values()}


def verify(program: Program, plan: Plan) -> None:
    """Follow a plan through the program; raise ProgramError where a value is lost before its use.

    Knows nothing of lifetimes: it only watches which values each write destroys.
    """
    slots, intact = program.slots, {*program.inputs.values(), *program.constants}
    region = [range(at, at + slot.nbytes) for at, slot in zip(plan.address, slots, strict=True)]

    def touched(out: int, among: Iterable[int]) -> set[int]:
        near = {it for it in among if plan.home[it] not in program.fixed}
        ours = region[out]
        return {it for it in near if region[it].start < ours.stop and ours.start < region[it].stop}

    def read(reader: str, operands: Iterable[int]) -> None:
        if lost := set(operands) - intact:
            raise ProgramError(f"{reader} reads slots {sorted(lost)} after they were written over")

    for number, instruction in enumerate(program.instructions):
        name, out = f"instruction {number} ({instruction.operation})", instruction.output
        read(name, instruction.inputs)
        if instruction.operation in VIEWS:
            region[out] = region[instruction.inputs[0]]
        elif out not in plan.packed:
            clash = touched(out, instruction.inputs) - {plan.in_place.get(out)}
            if clash or plan.home[out] in program.fixed:
                raise ProgramError(f"{name} writes over {sorted(clash)}, which it may not touch")
            intact -= touched(out, intact)
        intact.add(out)
    for name, (before, after) in program.state.items():
        read(f"the next {name}", [after])
        if plan.home[after] != before:
            intact = intact - touched(before, intact) | {before}
    read("the end", program.results.values())
