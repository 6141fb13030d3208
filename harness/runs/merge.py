"""Runs of several machines, or the shards of one, as one run.

A block is never split over machines, so no measurement changes. Blocks of one machine are pooled.
With several machines the devices of setups carry the name of their machine, so that no table, ratio
or mean ever holds two of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from harness.adapter import Setting
from harness.analysis.run_comparison import same_machine
from harness.cells import Setup
from harness.certificates import Certificate
from harness.errors import NotComparable, UsageError
from harness.records import Record, Run, RunInfo, Source
from harness.runs.store import Store
from harness.tasks.spec import Task


class Part(NamedTuple):
    """A run with the name that its user gives its machine; empty for none."""

    machine: str
    run: Run


def merge_runs(
    parts: Sequence[Part], name: str, created: str, command: tuple[str, ...]
) -> tuple[Run, int]:
    """One run of them all; and the number of trainings that are left out, since a seed that was
    trained twice is no second seed.

    Raises NotComparable for tasks or machines that differ, UsageError for a repeated run.
    """
    parts = _named(parts)
    tasks = _tasks(parts)
    records: list[Record] = []
    trainings: set[tuple[Setup, int]] = set()
    repeated = 0
    for number, part in enumerate(parts):
        for record in _shifted(part, tasks, records):
            key = (record.setup, record.quality.seed) if record.quality else None
            if key in trainings:
                record, repeated = record.model_copy(update={"quality": None}), repeated + 1
            elif key:
                trainings.add(key)
            records.append(record.model_copy(update={"trial": f"{name}/{number}/{record.trial}"}))
    run = Run(
        info=_info(parts, name, created, command),
        tasks=tuple(tasks.values()),
        records=tuple(records),
        stopped_by="; ".join(
            dict.fromkeys(it.run.stopped_by or "a run that did not end by itself" for it in parts)
        ),
        seconds=sum(it.run.seconds or 0 for it in parts),
        certificates=tuple(_certificates(parts, tasks)),
    )
    return run, repeated


def _named(parts: Sequence[Part]) -> list[Part]:
    """Every part with the name of its machine; all names empty where there is but one machine."""
    _unlike(parts)
    machines: dict[str, RunInfo] = {}
    named = []
    for part in parts:
        info = part.run.info
        fitting = (
            it for it, first in machines.items() if same_machine(first.machine, info.machine)
        )
        name = part.machine or next(fitting, f"m{len(machines) + 1}")
        first = machines.setdefault(name, info)
        _must_agree(first, info, name)
        named.append(Part(name, part.run))
    return named if len(machines) > 1 else [Part("", it.run) for it in named]


def _unlike(parts: Sequence[Part]) -> None:
    """Raises UsageError where a trial is in two of the runs, or a run has several machines."""
    seen: dict[object, str] = {}
    for part in parts:
        info = part.run.info
        if len(info.machines) > 1:
            raise UsageError(f"{info.name} was merged already; merge the runs that it was made of")
        for record in part.run.records:
            times = tuple(it.seconds for phase in record.phases for it in phase.samples)
            key = (record.trial, times)
            if times and key in seen:
                raise UsageError(f"{info.name} and {seen[key]} hold the same trial {record.trial}")
            seen[key] = info.name


def _must_agree(one: RunInfo, other: RunInfo, machine: str) -> None:
    """Raises NotComparable where the runs differ in anything that could change a time."""
    if not same_machine(one.machine, other.machine):
        raise NotComparable(f"{one.name} and {other.name} are not of one machine {machine!r}")
    facts, others = (
        {**it.versions, **it.environment, "system": it.machine.get("system"), "commit": it.commit}
        for it in (one, other)
    )
    for what in dict.fromkeys((*facts, *others)):
        if facts.get(what) != others.get(what):
            raise NotComparable(
                f"{one.name} and {other.name} are of one machine, but differ in {what} "
                f"({facts.get(what)}, {others.get(what)}); to keep them apart give each a name: "
                "NAME=RUN"
            )


def _tasks(parts: Iterable[Part]) -> dict[str, Task]:
    """Every task once, by digest, under the name that it has first."""
    by_digest: dict[str, Task] = {}
    names: dict[str, str] = {}
    for part in parts:
        for task in part.run.tasks:
            if names.setdefault(task.name, task.digest) != task.digest:
                raise NotComparable(
                    f"{part.run.info.name}: the task {task.name!r} is another one here: its digest "
                    f"is {task.digest}, not {names[task.name]}"
                )
            by_digest.setdefault(task.digest, task)
    return by_digest


def _placed(setup: Setup, part: Part, tasks: Mapping[str, Task]) -> Setup:
    """The setup as it stands in the merged run."""
    device = f"{setup.processor}@{part.machine}" if part.machine else setup.device
    return setup.model_copy(update={"task": tasks[setup.digest].name, "device": device})


def _shifted(part: Part, tasks: Mapping[str, Task], there: Iterable[Record]) -> list[Record]:
    """A part's records in their place; all blocks get new numbers if any of them is taken there."""
    taken = {(it.setup.group, it.block) for it in there}
    records = [
        it.model_copy(update={"setup": _placed(it.setup, part, tasks)}) for it in part.run.records
    ]
    if taken.isdisjoint((it.setup.group, it.block) for it in records):
        return records
    offset = 1 + max(block for _, block in taken)
    return [it.model_copy(update={"block": it.block + offset}) for it in records]


def _certificates(parts: Iterable[Part], tasks: Mapping[str, Task]) -> list[Certificate]:
    """Each setup's, failed ones last: the last one counts."""
    certificates = []
    for part in parts:
        for certificate in part.run.certificates:
            # Another key: no later run may take a proof from elsewhere for one of its own.
            key = f"{certificate.key}@{part.machine or 'merged'}"
            setup = _placed(certificate.setup, part, tasks)
            certificates.append(certificate.model_copy(update={"setup": setup, "key": key}))
    return sorted(certificates, key=lambda it: not it.proven)


def _info(parts: Sequence[Part], name: str, created: str, command: tuple[str, ...]) -> RunInfo:
    infos = [it.run.info for it in parts]
    machines = [it.machine for it in parts]
    return RunInfo(
        name=name,
        created=created,
        command=command,
        config=_shared([it.config for it in infos]),
        machine=_shared([it.machine for it in infos]),
        versions=_all_values(machines, [it.versions for it in infos]),
        environment=_all_values(machines, [it.environment for it in infos]),
        commit=_values_by_machine(machines, [it.commit for it in infos]) or None,
        unavailable=tuple(dict.fromkeys(it for info in infos for it in info.unavailable)),
        merged=tuple(Source(machine=it.machine, info=it.run.info) for it in parts),
    )


def _shared(facts: Sequence[Mapping[str, Setting]]) -> dict[str, Setting]:
    """The facts that all of them share."""
    first, *rest = facts
    return {
        name: it for name, it in first.items() if all(name in o and o[name] == it for o in rest)
    }


def _all_values(machines: Sequence[str], facts: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Every fact that any machine has; see `_values_by_machine`."""
    names = dict.fromkeys(name for it in facts for name in it)
    return {name: _values_by_machine(machines, [it.get(name) for it in facts]) for name in names}


def _values_by_machine(machines: Sequence[str], values: Sequence[str | None]) -> str:
    """The value if it is the same on every machine, else each one's with its machine."""
    if len(set(values)) == 1:
        return values[0] or ""
    by_machine = dict(zip(machines, values, strict=True))
    return ", ".join(f"{it or 'none'} ({machine})" for machine, it in by_machine.items())


def keep(run: Run, store: Store) -> None:
    """Write everything of a run into a store, or, on any failure, nothing of it."""
    name = run.info.name
    with store.together():
        store.add_run(run.info, run.tasks)
        for certificate in run.certificates:
            store.add_certificate(certificate)
        store.relate(name, [it.key for it in run.certificates])
        for record in run.records:
            store.start(name, record.trial, record.block, record.attempt, record.setup)
            store.end(record)
        if run.stopped_by:
            store.stop(name, run.stopped_by, run.seconds or 0)
