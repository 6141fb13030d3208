"""What of two runs may be compared, on what ground, and why the rest may not."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from harness.adapter import Setting
from harness.analysis.blocks import CellBlocks, cell_name
from harness.cells import Setup
from harness.records import RunInfo
from harness.tasks.frozen import Frozen

Basis = Literal["time", "ratio"]
"""`time`: steps of one machine; `ratio`: each setup's ratio to the baseline of its own run."""

MACHINE_FACTS = ("cpu", "cores", "cores_of_machine", "gpus", "architecture", "virtual")
"""Facts that must be equal for two runs to share a machine; its system may be updated."""
SAME_MEMORY = 0.01
"""The share by which its memory may differ, which is what kernels keep to themselves."""


class Apart(Frozen):
    """A cell of one run with no counterpart in the other; `side` is the run that has it."""

    side: Literal["a", "b"]
    cell: str
    reason: str


class Fact(Frozen):
    """Something on which the runs differ; None where a run lacks it."""

    what: str
    a: Setting
    b: Setting


def same_machine(one: Mapping[str, Setting], other: Mapping[str, Setting]) -> bool:
    """Whether two fingerprints may be those of one machine."""
    return not differing_facts(one, other)


def differing_facts(one: Mapping[str, Setting], other: Mapping[str, Setting]) -> list[str]:
    """Names of the facts that tell two machines from each other.

    A fact that one of them lacks tells nothing: older fingerprints have fewer.
    """
    both = one.keys() & other.keys()
    found = [name for name in MACHINE_FACTS if name in both and one[name] != other[name]]
    sizes = [it.get("memory_bytes") for it in (one, other)]
    known = [float(it) for it in sizes if isinstance(it, int | float)]
    if len(known) == 2 and not math.isclose(*known, rel_tol=SAME_MEMORY):
        found.append("memory_bytes")
    return found


def missing(
    side: Literal["a", "b"], ours: Iterable[CellBlocks], theirs: Sequence[CellBlocks]
) -> Iterator[Apart]:
    there = {it.key for it in theirs}
    lacking = [it for it in ours if it.key not in there]
    if not lacking:
        return
    near: dict[tuple[str, ...], list[Setup]] = defaultdict(list)
    for it in theirs:
        for key in _near(it):
            near[key].append(it.setup)
    for it in lacking:
        others = [setup for key in _near(it) for setup in near.get(key, ())]
        yield Apart(side=side, cell=cell_name(it), reason=_why_missing(it.setup, others))


def _near(cell: CellBlocks) -> tuple[tuple[str, ...], ...]:
    """What a counterpart shares: setup and phase, and the task by its name or its digest."""
    setup = cell.setup
    return (
        ("name", setup.task, setup.label, cell.phase),
        ("digest", setup.digest, setup.label, cell.phase),
    )


def _why_missing(setup: Setup, others: Iterable[Setup]) -> str:
    """By the counterpart that comes nearest."""
    return min(
        (_differing(setup, it) for it in others),
        key=len,
        default=["the other run has no such cell"],
    )[0]


def _differing(one: Setup, other: Setup) -> list[str]:
    if one.digest != other.digest:
        return [f"the task is another one there: its digest is {other.digest}, not {one.digest}"]
    names = ("lane", "dtype", "threads", "device")
    return [
        f"the other run has it with {name} {getattr(other, name)} only"
        for name in names
        if getattr(one, name) != getattr(other, name)
    ]


def facts(a: RunInfo, b: RunInfo) -> Iterator[Fact]:
    sides: tuple[tuple[str, Mapping[str, Setting], Mapping[str, Setting]], ...] = (
        ("", {"commit": a.commit}, {"commit": b.commit}),
        ("", a.versions, b.versions),
        ("", a.machine, b.machine),
        ("environment ", a.environment, b.environment),
    )
    told: set[str] = set()
    for prefix, one, other in sides:
        for name in dict.fromkeys((*one, *other)):
            what = f"{prefix}{name}"
            if one.get(name) != other.get(name) and what not in told:
                told.add(what)
                yield Fact(what=what, a=one.get(name), b=other.get(name))


def notes(a: RunInfo, b: RunInfo, basis: Basis, baselines: Iterable[str]) -> Iterator[str]:
    if basis == "time":
        yield (
            "The runs were made at two times on a machine with one fingerprint. What else changed "
            "between them is in no interval: only a run that measures both side by side takes it "
            "out."
        )
        return
    yield (
        "The machines differ, so no times are compared, only each setup’s ratio to the same "
        "baseline within its own run. That is weaker: a ratio depends on the machine too, and no "
        "interval here says how much."
    )
    for name in sorted({it.partition(":")[0] for it in baselines}):
        one, other = a.versions.get(name), b.versions.get(name)
        if one != other:
            yield (
                f"The baseline itself is another: {name} {one or 'unknown'} before, "
                f"{other or 'unknown'} after. A change of a ratio may be the baseline’s."
            )
