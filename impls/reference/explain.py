"""What a captured program does and where its values lie, for a reader who wants to see one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from harness.tasks.costs import least_bytes
from harness.tasks.spec import Task
from impls.reference.adapter import capture_task
from impls.reference.instructions import ELEMENTWISE, VIEWS
from impls.reference.plan import Plan, plan
from impls.reference.program import Instruction, Program


@dataclass(frozen=True)
class Row:
    """One instruction and its result.

    `buffer` numbers the pieces of memory in the order of their first use, None for what is fed and
    for constants; `memory` says how the result came by its buffer: `new`, `reused` (after a value
    that is dead), `in place` (over an operand), `view`, or `packed` (a part of a vector).
    """

    operation: str
    operands: tuple[str, ...]
    result: str
    shape: str
    bytes: int
    flops: int
    buffer: int | None
    memory: str


@dataclass(frozen=True)
class Explanation:
    """All rows of a program, and its totals in floating-point operations and bytes.

    `fed_bytes` are batch, constants and numbers that are fed; `arena_bytes` hold all else;
    `unshared_bytes` would hold it if every result had memory of its own; `least_bytes` is what the
    mathematics needs at once.
    """

    title: str
    rows: tuple[Row, ...]
    flops: int
    fed_bytes: int
    arena_bytes: int
    unshared_bytes: int
    least_bytes: int

    @property
    def peak_bytes(self) -> int:
        return self.arena_bytes + self.fed_bytes

    def __str__(self) -> str:
        """Plain text: a line for each instruction, then the totals."""
        table = [("", "result", "shape", "", "operation", "", "bytes", "FLOPs", "buffer", "memory")]
        for number, row in enumerate(self.rows):
            what = row.result, row.shape, "=", row.operation, ", ".join(row.operands)
            buffer = "–" if row.buffer is None else str(row.buffer)
            table.append(
                (str(number), *what, f"{row.bytes:,}", f"{row.flops:,}", buffer, row.memory)
            )
        columns = []
        for at, column in enumerate(zip(*table, strict=True)):
            side = str.ljust if 0 < at < 6 or at == 9 else str.rjust
            width = max(map(len, column))
            columns.append([side(cell, width) for cell in column])
        lines = ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]
        totals = (
            f"{len(self.rows)} instructions, {self.flops:,} floating-point operations",
            f"{self.unshared_bytes:,} bytes if every result had its own memory",
            f"{self.peak_bytes:,} bytes in use: an arena of {self.arena_bytes:,} and "
            f"{self.fed_bytes:,} fed",
            f"{self.least_bytes:,} bytes are the least that the mathematics needs at once "
            f"(in use: {self.peak_bytes / self.least_bytes:.2f} times that)",
        )
        return "\n".join((self.title, "", *lines, "", *totals))


def explain(
    task: Task, *, phase: str = "train", rows: int | None = None, dtype: str = "float32"
) -> Explanation:
    """Capture one `train` or `predict` iteration of a task and explain the program.

    `rows` is the number of examples, the task's batch by default. Runs the iteration once, on
    zeros, so it needs no data but the memory and time of one step.
    """
    rows = task.batch if rows is None else rows
    program = capture_task(task, phase, rows, dtype)
    planned = plan(program)
    state = {slot for pair in program.state.values() for slot in pair[:1]}
    own = {it.output for it in program.instructions if it.operation not in VIEWS} | state
    table = _rows(program, planned)
    return Explanation(
        title=f"{task.name}: one {phase} iteration over {rows} examples in {dtype}",
        rows=table,
        flops=sum(row.flops for row in table),
        fed_bytes=sum(program.slots[slot].nbytes for slot in program.fixed),
        arena_bytes=planned.arena_bytes,
        unshared_bytes=sum(program.slots[slot].nbytes for slot in own),
        least_bytes=least_bytes(task, phase, dtype, rows),
    )


def _rows(program: Program, planned: Plan) -> tuple[Row, ...]:
    buffers: dict[int, int] = {}
    written: list[tuple[int, int]] = []
    for before, _ in program.state.values():
        buffers.setdefault(planned.address[before], len(buffers))
        written.append(_span(program, planned, before))
    rows = []
    for instruction in program.instructions:
        out = instruction.output
        slot = program.slots[out]
        memory, buffer = _memory(program, planned, instruction, written), None
        if planned.home[out] not in program.fixed:
            buffer = buffers.setdefault(planned.address[out], len(buffers))
            if memory != "view":
                written.append(_span(program, planned, out))
        rows.append(
            Row(
                operation=instruction.operation,
                operands=tuple(_name(program, operand) for operand in instruction.inputs),
                result=_name(program, out),
                shape=str(slot),
                bytes=0 if memory == "view" else slot.nbytes,
                flops=_flops(program, instruction),
                buffer=buffer,
                memory=memory,
            )
        )
    return tuple(rows)


def _memory(program: Program, planned: Plan, it: Instruction, written: list[Any]) -> str:
    out = it.output
    if it.operation in VIEWS:
        return "view"
    if out in planned.in_place:
        return "in place"
    if out in planned.packed or planned.home[out] != out:
        return "packed"
    start, stop = _span(program, planned, out)
    return "reused" if any(a < stop and start < b for a, b in written) else "new"


def _span(program: Program, planned: Plan, slot: int) -> tuple[int, int]:
    return planned.address[slot], planned.address[slot] + program.slots[slot].nbytes


def _name(program: Program, slot: int) -> str:
    following = {after: f"{name}′" for name, (_, after) in program.state.items()}
    outputs = {number: name for name, number in program.outputs.items()}
    return following.get(slot) or outputs.get(slot) or program.slots[slot].name or f"%{slot}"


def _flops(program: Program, instruction: Instruction) -> int:
    """One for each entry computed, or summed over; two for each product of a matrix product."""
    first = program.slots[instruction.inputs[0]].shape
    entries = math.prod(program.slots[instruction.output].shape)
    if instruction.operation == "matmul":
        return 2 * entries * first[-1]
    if instruction.operation in ("sum", "max"):
        return math.prod(first)
    return entries if instruction.operation in ELEMENTWISE | {"where"} else 0
