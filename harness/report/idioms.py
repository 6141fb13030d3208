"""Two views across tables: what idiom gains over the identical lane, and means over tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from harness.analysis.aggregate import Aggregate
from harness.analysis.idioms import Gain
from harness.report import format as fmt
from harness.report import values
from harness.report.content import Column, Grid, Scope, Section, Value
from harness.report.inert import line
from harness.report.looks import label, place, scope


def gain_sections(gains: Sequence[Gain]) -> tuple[Section, ...]:
    """One section a task and phase: each framework's own way against the same steps for all."""

    def key(it: Gain) -> tuple[object, ...]:
        return (*it.idiom.arena, it.phase)

    groups = groupby(gains, key)  # they stand in this order
    return tuple(_gains(list(own), number) for number, (_, own) in enumerate(groups, start=1))


def _gains(gains: Sequence[Gain], number: int) -> Section:
    setup, phase = gains[0].idiom, gains[0].phase
    columns = (
        Column("idiomatic", "name"),
        Column("identical", "name"),
        Column("× as fast"),
        Column("verdict", "text"),
        Column("blocks"),
    )
    rows = tuple(
        (
            Value(label(it.idiom)),
            Value(label(it.plain)),
            values.ratio(it.pair.speed),
            Value(it.pair.verdict, line(it.pair.reason)),
            values.count(it.pair.n),
        )
        for it in gains
    )
    return Section(
        anchor=f"idioms-{number}",
        task=line(setup.task),
        phase=phase,
        place=place(setup),
        lead="",
        grid=Grid(columns, rows),
        scope=replace(scope(setup), lane=""),
    )


def aggregate_sections(aggregates: Sequence[Aggregate]) -> tuple[Section, ...]:
    """One section a phase and lane: geometric means over the run's tasks."""

    def key(it: Aggregate) -> tuple[object, ...]:
        return (it.device, it.threads, it.dtype, it.lane, it.phase)

    groups = groupby(aggregates, key)  # they stand in this order
    return tuple(_means(list(own), number) for number, (_, own) in enumerate(groups, start=1))


def _means(means: Sequence[Aggregate], number: int) -> Section:
    first = means[0]
    columns = (
        Column("framework:mode", "name"),
        Column(f"× as fast as {line(first.baseline)}"),
        Column("tasks"),
        Column("without", "text"),
    )
    rows = tuple(
        (
            Value(line(it.label)),
            values.ratio(it.speed),
            values.count(len(it.tasks)),
            Value(line(", ".join(it.missing)) or fmt.NONE),
        )
        for it in sorted(means, key=lambda it: -it.speed.estimate)
    )
    threads = f"{first.threads} thread" + ("s" if first.threads != 1 else "")
    lane = "" if first.lane == "identical" else f", {first.lane}"
    return Section(
        anchor=f"means-{number}",
        task="all tasks",
        phase=f"{first.phase}{lane}",
        place=f"{first.device}, {threads}, {first.dtype}",
        lead="",
        grid=Grid(columns, rows),
        notes=(
            "Geometric means of the ratios of this run’s tasks; of other tasks they say nothing.",
        ),
        scope=Scope(device=first.device, lane=first.lane),
    )
