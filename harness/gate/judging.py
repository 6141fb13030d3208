"""What no clock decides, held to what it was: a line for every quantity that is compared."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Literal

from harness.cells import Phase, Setup
from harness.gate.baseline import Entry, Numbers, Parity, Program, Sketch
from harness.tasks.frozen import Frozen

Outcome = Literal["fine", "improved", "changed", "regression", "cannot tell", "not proven"]

ONE_STEP, TRAJECTORY = 1e-12, 1e-9
"""The limits of a proof in float64 (harness/tolerances.py): other processors and libraries round
differently, and by no more than that. A change of 1e-6 is a million times as much as the one."""
EARLY = ("first gradients", "first slots")


class Limits(Frozen):
    """By how much something may grow: shares of what it was."""

    speed: float = 0.05
    memory: float = 0.02
    program: float = 0.0


class Line(Frozen):
    """One thing that was compared. `change` is relative: 0.05 is 5 % more than before.

    `low` and `high` are the ends of its interval, where it has one.
    """

    setup: Setup
    phase: Phase | None
    what: str
    outcome: Outcome
    change: float | None = None
    low: float | None = None
    high: float | None = None
    threshold: float | None = None
    detail: str = ""


def proofs(setup: Setup, parity: tuple[Parity, ...]) -> Iterator[Line]:
    """One for every dtype."""
    for it in parity:
        worst = "" if it.worst is None else f"at most {it.worst:.1e} from the float64 reference"
        yield Line(
            setup=setup,
            phase=None,
            what=f"parity, {it.dtype}",
            outcome="fine" if it.proven else "not proven",
            detail=it.detail or f"{worst}, {it.steps} steps",
        )


def numbers(setup: Setup, now: Numbers, before: Numbers) -> Iterator[Line]:
    """Losses, then tensors by place; a change beyond its limit is a regression, however small."""
    exact = now.digest == before.digest and now.losses == before.losses
    yield _numeric(setup, "losses", _losses(now, before), exact)
    for place in dict.fromkeys((*before.sketches, *now.sketches)):
        mine, theirs = now.sketches.get(place, {}), before.sketches.get(place, {})
        yield _numeric(setup, place, _tensors(mine, theirs, place), exact)


def _numeric(setup: Setup, what: str, found: tuple[float, float, str], exact: bool) -> Line:
    """Of the change that is largest beside its limit: change, limit, where."""
    change, limit, where = found
    fine = change <= limit
    detail = "to the bit" if exact and not change else f"{where}: {change:.1e} of its size"
    return Line(
        setup=setup,
        phase=None,
        what=what,
        outcome="fine" if fine else "regression",
        change=change if math.isfinite(change) else None,
        threshold=limit,
        detail=detail if math.isfinite(change) else where,
    )


def _losses(now: Numbers, before: Numbers) -> tuple[float, float, str]:
    if (len(now.losses), now.rows, now.seed) != (len(before.losses), before.rows, before.seed):
        return math.inf, TRAJECTORY, "other steps, rows or start"
    return max(
        (
            (_apart(one, other, abs(other)), limit, f"step {step}")
            for step, (one, other) in enumerate(zip(now.losses, before.losses, strict=True), 1)
            for limit in [ONE_STEP if step == 1 else TRAJECTORY]
        ),
        key=_excess,
    )


def _tensors(
    now: Mapping[str, Sketch], before: Mapping[str, Sketch], place: str
) -> tuple[float, float, str]:
    """Relative to a tensor's norm, beside which the rounding of its sums stays small."""
    limit = ONE_STEP if place in EARLY else TRAJECTORY
    if strange := now.keys() ^ before.keys():
        return math.inf, limit, f"{min(strange)}: in one of the two only"
    largest = max((it[0] for it in before.values()), default=0.0)
    return max(
        (
            (_apart(one, other, before[name][0] or largest), limit, name)
            for name, sketch in now.items()
            for one, other in zip(sketch, before[name], strict=True)
        ),
        key=_excess,
    )


def _excess(found: tuple[float, float, str]) -> float:
    return found[0] / found[1]


def _apart(one: float, other: float, scale: float) -> float:
    if one == other:
        return 0.0
    return abs(one - other) / scale if scale else math.inf


def programs(
    setup: Setup, now: Mapping[Phase, Program], before: Mapping[Phase, Program], limits: Limits
) -> Iterator[Line]:
    """Counts of the captured step, of the phases that both tell."""
    for phase in [it for it in before if it in now]:
        mine, theirs = now[phase], before[phase]
        for what, limit in (
            ("instructions", limits.program),
            ("flops", limits.program),
            ("buffers", limits.program),
            ("arena_bytes", limits.memory),
            ("fed_bytes", limits.memory),
            ("unshared_bytes", limits.memory),
        ):
            yield _count(setup, phase, what, getattr(mine, what), getattr(theirs, what), limit)
        if others := _differing(mine.operations, theirs.operations):
            yield Line(
                setup=setup, phase=phase, what="operations", outcome="changed", detail=others
            )


Peaks = Mapping[Phase, int | None]


def memory(setup: Setup, now: Peaks, before: Peaks, limits: Limits) -> Iterator[Line]:
    """The framework's own account of its memory, in bytes, where it keeps one."""
    for phase, theirs in before.items():
        mine = now.get(phase)
        if mine is not None and theirs:
            yield _count(setup, phase, "logical peak", mine, theirs, limits.memory)


def _count(setup: Setup, phase: Phase, what: str, now: int, before: int, threshold: float) -> Line:
    change = (now - before) / before if before else float(now > 0)
    outcome: Outcome = "fine"
    if change > threshold:
        outcome = "regression"
    elif change < -threshold:
        outcome = "improved"
    said = f"{now:,}" if now == before else f"{before:,} → {now:,}"
    return Line(
        setup=setup,
        phase=phase,
        what=what.replace("_", " "),
        outcome=outcome,
        change=change,
        threshold=threshold,
        detail=said,
    )


def _differing(now: Mapping[str, int], before: Mapping[str, int]) -> str:
    return ", ".join(
        f"{name} {before.get(name, 0)} → {now.get(name, 0)}"
        for name in sorted(now.keys() | before.keys())
        if now.get(name, 0) != before.get(name, 0)
    )


def deterministic(now: Entry, before: Entry, limits: Limits) -> Iterator[Line]:
    """Everything of one setup that no clock decides."""
    setup = now.setup
    yield from proofs(setup, now.parity)
    yield from numbers(setup, now.numbers, before.numbers)
    yield from programs(setup, now.programs, before.programs, limits)
    yield from memory(setup, now.logical_peak, before.logical_peak, limits)
