"""Cells as another run can be compared with them: one value a block, and nothing else.

What of two runs may be compared, on what ground, and why the rest may not.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from harness.adapter import Setting
from harness.analysis.cell_metrics import MemoryKind, scarce
from harness.analysis.pairs import Entry, entries, log_ratios
from harness.analysis.summary import Summary, Table
from harness.cells import Phase, Setup
from harness.records import Positive, Run, RunInfo
from harness.tasks.spec import Frozen


class CellBlocks(Frozen):
    """One cell of a run, one value a block, in the order of its blocks.

    `step_seconds` are medians over rounds; `ratios` say how many times as fast the cell was as
    `baseline` in the blocks that both finished, and are empty for the baseline itself. `peaks` are
    bytes of the memory that is `scarce` there, in the phase that the process began with; empty in
    any other. `unranked` says why the cell may not be ranked, empty where it may; `margin` is its
    table's δ.
    """

    setup: Setup
    phase: Phase
    step_seconds: Annotated[tuple[Positive, ...], Field(min_length=1)]
    baseline: str
    ratios: tuple[Positive, ...]
    margin: Annotated[float, Field(ge=0, le=1e100)]
    unranked: str = ""
    scarce: MemoryKind = "total_rss"
    peaks: tuple[Annotated[int, Field(ge=1, lt=2**63)], ...] = ()

    @property
    def table(self) -> tuple[object, ...]:
        return (*self.setup.ranking, self.phase)

    @property
    def key(self) -> tuple[object, ...]:
        """What a cell of another run must share. Names of tasks do not count, digests do."""
        return (*self.table[1:], self.setup.label)


def cell_blocks(run: Run, summary: Summary) -> tuple[CellBlocks, ...]:
    """Every cell of a run's tables, one value a block."""
    good = entries(run.records)
    return tuple(it for table in summary.tables for it in _of_table(table, good))


def cell_name(cell: CellBlocks) -> str:
    """A cell in words, e.g. `digits-mlp train, pytorch:eager, identical, cpu, 2 threads`."""
    it = cell.setup
    threads = f"{it.threads} thread" + ("s" if it.threads != 1 else "")
    return ", ".join(
        (f"{it.task} {cell.phase}", it.label, it.lane, it.device, threads, str(it.dtype))
    )


def _of_table(table: Table, good: Mapping[Setup, Entry]) -> Iterator[CellBlocks]:
    of_label = {row.cell.setup.label: good[row.cell.setup] for row in table.rows}
    baseline = of_label[table.baseline]
    kind = scarce(table.device, [row.peaks for row in table.rows if not row.unranked])
    for row in table.rows:
        setup = row.cell.setup
        timed = of_label[setup.label].steps[table.phase]
        ratios = (
            {} if setup.label == table.baseline else log_ratios(timed, baseline.steps[table.phase])
        )
        yield CellBlocks(
            setup=setup,
            phase=table.phase,
            step_seconds=tuple(of_label[setup.label].steady[table.phase].values()),
            baseline=table.baseline,
            ratios=tuple(map(math.exp, ratios.values())),
            margin=table.margin,
            unranked=row.unranked,
            scarce=kind,
            peaks=tuple(_peaks(of_label[setup.label], table.phase, kind)),
        )


def _peaks(entry: Entry, phase: Phase, kind: MemoryKind) -> Iterator[int]:
    for record in entry.records:
        began = next(iter(record.phases), None)  # none where it was only trained
        if began and began.phase == phase and began.memory:
            count = {
                "total_rss": began.memory.total_peak_rss,
                "device_allocated": began.memory.device_peak_allocated,
            }[kind]
            yield from [count] if count else []


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
