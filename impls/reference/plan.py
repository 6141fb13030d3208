"""Where every value of a program lives: pure functions from a program to a memory plan.

Values that are alive at the same time lie apart in one arena; the memory of a dead value is used
again. Some values take no room of their own:

- a view lies in what it looks at;
- an elementwise result overwrites an operand of the same layout that nothing reads afterwards, and
  so the next weights come to lie where the weights were;
- the parts of a vector that `concatenate` puts together are computed in their place in it;
- constants and inputs that are no state have memory of their own, which is never written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from impls.reference.instructions import ELEMENTWISE, VIEWS
from impls.reference.program import Program, ProgramError

ALIGNMENT = 64  # bytes: a cache line, and the widest vector register


@dataclass(frozen=True)
class Plan:
    """`home` gives for each slot the slot whose memory it uses, `address` its home's first byte in
    the arena (-1 outside it), `in_place` the operand that a result overwrites, and `assembled` the
    concatenations of which nothing is left to do."""

    home: Sequence[int]
    address: Sequence[int]
    in_place: Mapping[int, int]
    assembled: frozenset[int]
    arena_bytes: int


def plan(program: Program) -> Plan:
    """Plan the memory of a checked program, and verify the plan."""
    last = _last_reads(program)
    home, in_place = _homes(program, last)
    parts = _parts(program, home, last)
    roots = [_root(parts, slot) for slot in home]
    lifetimes = _lifetimes(program, [root for root, _ in roots], last)
    sizes = {root: program.slots[root].nbytes for root in lifetimes}
    offsets, arena_bytes = pack(sizes, lifetimes)
    address = [offsets[root] + start if root in offsets else -1 for root, start in roots]
    assembled = frozenset(vector for vector, _ in parts.values())
    made = Plan(home, address, in_place, assembled, arena_bytes)
    verify(program, made)
    return made


def pack(
    sizes: Mapping[int, int], lifetimes: Mapping[int, tuple[int, int]]
) -> tuple[dict[int, int], int]:
    """Byte offsets such that what lives at the same time never overlaps, and their total.

    Lifetimes include both ends. Largest first, each at the lowest offset that is free throughout
    its life: greedy by size (Pisarchyk & Lee 2020), seldom far above the lower bound.
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


def _homes(program: Program, last: list[int]) -> tuple[list[int], dict[int, int]]:
    """Each slot's home, and the operand that each in-place result overwrites."""
    home = list(range(len(program.slots)))
    in_place: dict[int, int] = {}
    before = {after: before for before, after in program.state.values()}
    dies = list(last)  # of each home: the last read of anything in it so far
    partial: set[int] = set()  # slots that see a part of their home, or see it repeated
    for number, instruction in enumerate(program.instructions):
        out, operands = instruction.output, instruction.inputs
        if instruction.operation in VIEWS:
            home[out] = home[operands[0]]
            if operands[0] in partial or instruction.operation in ("getitem", "broadcast_to"):
                partial.add(out)
        elif instruction.operation in ELEMENTWISE:
            dead = [
                slot
                for slot in operands
                if home[slot] not in program.fixed
                and dies[home[slot]] == number
                and slot not in partial
                and program.slots[slot].layout == program.slots[out].layout
                and all(it == slot or home[it] != home[slot] for it in operands)
            ]
            if dead:  # best where this value has to end up, then where other state was
                state = before.values()
                best = max(dead, key=lambda it: (home[it] == before.get(out), home[it] in state))
                in_place[out] = best
                home[out] = home[best]
        dies[home[out]] = max(dies[home[out]], last[out])
    return home, in_place


def _parts(program: Program, home: list[int], last: list[int]) -> dict[int, tuple[int, int]]:
    """Homes that can be computed inside the vector they are put together to: (vector, first byte)."""
    dies: dict[int, int] = {}
    for slot, its_home in enumerate(home):
        dies[its_home] = max(dies.get(its_home, -1), last[slot])
    parts: dict[int, tuple[int, int]] = {}
    for number, instruction in enumerate(program.instructions):
        vector = program.slots[instruction.output]
        homes = [home[slot] for slot in instruction.inputs]
        taken = {*program.constants, *program.inputs.values(), *parts}
        if (
            instruction.operation == "concatenate"
            and len(vector.shape) == 1
            and len(set(homes) - taken) == len(homes)
            and sum(program.slots[it].nbytes for it in homes) == vector.nbytes
            and all(dies[it] == number and program.slots[it].row_major for it in homes)
        ):
            start = 0
            for it in homes:
                parts[it] = instruction.output, start
                start += program.slots[it].nbytes
    return parts


def _root(parts: Mapping[int, tuple[int, int]], home: int) -> tuple[int, int]:
    """The home that a home lies in, through all vectors it is part of, and its first byte there."""
    start = 0
    while home in parts:
        home, offset = parts[home]
        start += offset
    return home, start


def _lifetimes(program: Program, roots: list[int], last: list[int]) -> dict[int, tuple[int, int]]:
    """The first and the last instruction that need each root of the arena; state lives always."""
    end = len(program.instructions)
    born = {instruction.output: n for n, instruction in enumerate(program.instructions)}
    lifetimes: dict[int, tuple[int, int]] = {}
    for slot, root in enumerate(roots):
        if root not in program.fixed:
            first, dies = lifetimes.get(root, (end, -1))
            written = born.get(slot, -1)
            lifetimes[root] = min(first, written), max(dies, written, last[slot])
    lifetimes.update({before: (-1, end) for before, _ in program.state.values()})
    return lifetimes


def verify(program: Program, plan: Plan) -> None:
    """Follow a plan through the program; raise ProgramError where a value is lost before its use.

    Knows nothing of lifetimes: it only watches which values each write destroys.
    """
    ends = [plan.address[s] + program.slots[plan.home[s]].nbytes for s in range(len(plan.home))]
    intact = {*program.inputs.values(), *program.constants}

    def overlap(a: int, b: int) -> bool:
        apart = ends[a] <= plan.address[b] or ends[b] <= plan.address[a]
        return min(plan.address[a], plan.address[b]) >= 0 and not apart

    def read(slot: int, reader: str) -> None:
        if slot not in intact:
            raise ProgramError(f"{reader} reads slot {slot} after its memory was written over")

    def write(slot: int) -> None:
        if plan.address[slot] < 0:
            raise ProgramError(f"slot {slot} would be written outside the arena")
        intact.difference_update([it for it in intact if overlap(it, slot)])
        intact.add(slot)

    for number, instruction in enumerate(program.instructions):
        name, out = f"instruction {number} ({instruction.operation})", instruction.output
        for slot in instruction.inputs:
            read(slot, name)
        if instruction.operation in VIEWS or out in plan.assembled:
            intact.add(out)
            continue
        for slot in instruction.inputs:
            if overlap(slot, out) and slot != plan.in_place.get(out):
                raise ProgramError(f"{name} writes over its own operand, slot {slot}")
        write(out)
    for name, (before, after) in program.state.items():
        read(after, f"the next {name}")
        if plan.home[after] != before:
            write(before)
    for name in program.outputs.keys() - program.inputs.keys():
        read(program.outputs[name], name)
