"""Which setups run in which blocks: the plan, made before anything is started or written.

For a resumed run it also says what the run has already, and whether it can go on as it began.
"""

from __future__ import annotations

import fnmatch
import itertools
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from harness.analysis.pairs import baseline_of
from harness.analysis.run_comparison import differing_facts
from harness.cells import LANES, Dtype, Lane, Setup
from harness.errors import DataError, UsageError, unknown
from harness.frameworks import (
    absence,
    contestants,
    frameworks,
    modes_of,
    phases_of,
    trains,
    undeclared,
)
from harness.records import Record, Run, Status, Unavailable
from harness.runs import machine
from harness.runs.config import RunConfig, part_of
from harness.runs.machine import cores, gpus
from harness.tasks.datasets import data_directory, missing
from harness.tasks.spec import Task
from harness.tasks.start import kept_weights, started_from
from harness.tasks.variants import hints, known_tasks, parse_settings, variants
from harness.venvs import named

Contestant = tuple[str, str, Lane]
"""Framework (with its version, as in `tensorflow@2.18.1`), mode and lane."""


@dataclass(frozen=True)
class Group:
    """One task on one device with so many threads in one dtype: setups that take turns."""

    task: Task
    setups: tuple[Setup, ...]


@dataclass(frozen=True)
class Plan:
    """`unavailable` names what was left out, and why; `notes` say what was made of the request,
    where something else may have been meant."""

    config: RunConfig
    data_directory: Path | None
    groups: tuple[Group, ...]
    unavailable: tuple[Unavailable, ...]
    notes: tuple[str, ...] = ()

    @property
    def tasks(self) -> tuple[Task, ...]:
        return tuple({group.task.digest: group.task for group in self.groups}.values())

    @property
    def setups(self) -> tuple[Setup, ...]:
        return tuple(setup for group in self.groups for setup in group.setups)


def make_plan(config: RunConfig) -> Plan:
    """Resolve names to setups. Raises UsageError, with nothing started and nothing written."""
    if config.memory_limit is not None and sys.platform != "linux":
        raise UsageError("a memory limit needs Linux; leave it out here")
    directory = data_directory(Path(config.data_dir) if config.data_dir else None)
    devices = dict.fromkeys(_device(name) for name in config.devices)
    threads = dict.fromkeys(_threads(count) for count in config.threads or (cores(),))
    dtypes = dict.fromkeys(config.dtypes)
    chosen, absent = _contestants(config)
    tasks, lacking = _tasks(config, directory)
    groups = tuple(
        Group(task, _setups(task, device, count, dtype, chosen, config.twin))
        for task, device, count, dtype in itertools.product(tasks, devices, threads, dtypes)
    )
    if config.weights:  # a run that is resumed needs their file no more
        config = config.model_copy(update={"weights": tasks[0].model.weights})
    notes = (*hints(parse_settings(config.settings)), *_moved(config, chosen))
    return Plan(config, directory, _part(groups, config.shard), (*absent, *lacking), notes)


def _part(groups: tuple[Group, ...], shard: str | None) -> tuple[Group, ...]:
    """A shard takes whole groups, so that no ratio ever spans two machines."""
    if shard is None:
        return groups
    first, step = part_of(shard)
    if first > len(groups):
        raise UsageError(
            f"shard {shard} would be empty: there are {len(groups)} comparisons to share (task × "
            "device × threads × dtype)"
        )
    return groups[first - 1 :: step]


def _setups(
    task: Task, device: str, threads: int, dtype: Dtype, chosen: Iterable[Contestant], twin: bool
) -> tuple[Setup, ...]:
    """Every lane, and with `twin` a baseline once more."""
    setups = [
        Setup(
            task=task.name,
            digest=task.digest,
            framework=framework,
            version=version,
            mode=mode,
            lane=lane,
            device=device,
            threads=threads,
            dtype=dtype,
        )
        for name, mode, lane in chosen
        for framework, _, version in [name.partition("@")]
    ]
    if twin:  # of the first lane in which one trains, so that every phase has a noise floor
        able = [it for it in setups if trains(it.framework)] or setups
        candidates = {it.label: it for it in able if it.lane == able[0].lane}
        baseline = candidates[baseline_of(candidates)]
        setups.append(baseline.model_copy(update={"twin": True}))
    return tuple(setups)


def _tasks(config: RunConfig, directory: Path | None) -> tuple[list[Task], list[Unavailable]]:
    absent: dict[str, str] = {}
    known = known_tasks(Path(config.task_file) if config.task_file else None, absent)
    names: dict[str, None] = {}
    for pattern in config.tasks:
        matching = [name for name in (*known, *absent) if fnmatch.fnmatchcase(name, pattern)]
        if not matching:
            raise unknown("task", pattern, (*known, *absent))
        names |= dict.fromkeys(matching)
    settings = parse_settings(config.settings)
    tasks = [task for name in names if name in known for task in variants(known[name], settings)]
    if config.weights:
        tasks = started_from(config.weights, tasks)
    for task in tasks:
        if task.model.weights is not None:
            kept_weights(task)  # raises where they are not here
    lacking = {name: absent[name] for name in names if name not in known}
    lacking |= {task.name: reason for task in tasks if (reason := missing(task.data, directory))}
    if lacking and lacking.keys() >= {task.name for task in tasks}:
        name, reason = next(iter(lacking.items()))
        raise DataError(f"task {name!r} is unavailable: {reason}")
    if not tasks:
        raise UsageError("no task chosen; see: python -m harness list")
    return (
        [task for task in tasks if task.name not in lacking],
        [Unavailable(what=f"task {name}", reason=reason) for name, reason in lacking.items()],
    )


def _contestants(config: RunConfig) -> tuple[list[Contestant], list[Unavailable]]:
    known = frameworks()
    lanes: tuple[Lane, ...] = config.lanes or (() if config.frameworks else ("identical",))
    chosen = contestants(config.frameworks, config.modes, lanes)
    asked = {name for name, _, _ in contestants(config.frameworks, config.modes, LANES)}
    absent = {
        name: reason
        for name in (asked if config.frameworks else known)
        if (reason := absence(known[name.partition("@")[0]], named(name)))
    }
    patterns = [re.split("[@:]", it)[0] for it in config.frameworks] or ["*"]
    absent |= {
        name: why
        for name, why in undeclared().items()
        if any(fnmatch.fnmatch(name, it) for it in patterns)
    }
    present = [it for it in chosen if it[0] not in absent]
    idle = {name for name, *_ in present if not phases_of(name, config.phases)}
    if present and len(idle) == len({name for name, *_ in present}):
        raise UsageError(f"framework {min(idle)!r} only predicts; use --phase predict")
    present = [it for it in present if it[0] not in idle]
    if not present and absent:
        name, reason = next(iter(absent.items()))
        raise UsageError(f"framework {name!r} is {reason}")
    if not present:
        raise UsageError(f"no framework has a mode in the lane {' or '.join(lanes)}")
    return present, [
        *(Unavailable(what=f"framework {name}", reason=it) for name, it in absent.items()),
        *(Unavailable(what=f"framework {it}", reason="it only predicts") for it in sorted(idle)),
        *(
            Unavailable(what=f"framework {name}", reason=_not_in(lane, lanes))
            for name in sorted(asked - absent.keys())
            for lane in lanes
            if not modes_of(known[name.partition("@")[0]], lane)
        ),
    ]


def _not_in(lane: Lane, asked: Iterable[Lane]) -> str:
    """Why a framework is left out of a lane, and where it is measured instead."""
    (other,) = (it for it in LANES if it != lane)
    where = "it is measured in" if other in asked else "--lane both measures it in"
    return f"it has no mode in the {lane} lane; {where} the {other} one"


def _moved(config: RunConfig, chosen: Iterable[Contestant]) -> list[str]:
    """A note on frameworks for which no lane was asked and which have no mode in the usual one."""
    names = {name: None for name, _, lane in chosen if lane != "identical"}
    if config.lanes or not names:
        return []
    return [
        f"measured in the idiomatic lane: {', '.join(names)} (no mode in the identical one); "
        "--lane both measures others there too"
    ]


def _device(name: str) -> str:
    if name == "cpu":
        return name
    match = re.fullmatch(r"gpu(?::(\d{1,2}))?", name)
    if not match:
        raise _unknown_device(name)
    index = int(match[1] or 0)
    if index >= len(gpus()):
        present = f"{len(gpus())} GPUs here" if gpus() else "no GPU found on this machine"
        raise UsageError(f"device {name!r}: {present}; use --device cpu")
    return f"gpu:{index}"


NVIDIA = ("gpu", "cuda", "nvidia")
ELSEWHERE = ("mps", "metal", "rocm", "hip", "amd", "xpu", "npu", "tpu", "ipu", "hpu", "xla")
"""What frameworks call devices that none of the adapters has code for."""


def _unknown_device(name: str) -> UsageError:
    match = re.fullmatch(r"([a-z]+):?(\d{0,2})", name.lower(), re.ASCII)
    kind, index = match.groups() if match else ("", "")
    if kind in ELSEWHERE:
        return UsageError(f"device {name!r} is not supported; use cpu, or gpu for an NVIDIA GPU")
    aliases = {name.lower(): kind if kind == "cpu" else ""}
    if kind in NVIDIA:
        aliases = {name.lower(): f"gpu:{index}" if index else "gpu"}
    return unknown("device", name, ("cpu", "gpu", "gpu:0", "gpu:1"), aliases)


def _threads(count: int) -> int:
    if count > cores():
        raise UsageError(f"threads {count}: this machine has {cores()} cores to use")
    return count


RETRIED = frozenset(get_args(Status)) - {"ok", "unsupported"}
"""The statuses of trials that a resumed run repeats if it is to repeat its failures."""


@dataclass(frozen=True)
class Done:
    """Blocks that a resumed run need not repeat, and how often each was begun.

    The keys are a group's, and a block's number.
    """

    finished: Mapping[tuple[object, ...], tuple[Record, ...]]
    attempts: Mapping[tuple[object, ...], int]

    def of(self, group: Group) -> dict[int, tuple[Record, ...]]:
        """The records of a group's finished blocks, in order of their numbers."""
        shared = group.setups[0].group
        blocks = {it[0].block: it for key, it in self.finished.items() if key[:-1] == shared}
        return dict(sorted(blocks.items()))


def finished_blocks(
    records: Iterable[Record],
    attempts: Mapping[tuple[object, ...], int] | None = None,
    *,
    retry: bool = False,
) -> Done:
    """What a resumed run has already: blocks in which no trial was interrupted.

    With `retry` those in which one failed are left out: pairs share an attempt, so the whole block
    is repeated. `attempts` also counts attempts whose records were replaced.
    """
    again = RETRIED if retry else {"interrupted"}
    blocks: dict[tuple[object, ...], list[Record]] = defaultdict(list)
    for record in records:
        blocks[*record.setup.group, record.block].append(record)
    return Done(
        finished={
            key: tuple(of_block)
            for key, of_block in blocks.items()
            if all(it.status not in again for it in of_block)
        },
        attempts=attempts
        or {key: max(it.attempt for it in of_block) for key, of_block in blocks.items()},
    )


def refuse_changed(run: Run, plan: Plan) -> None:
    """Raises UsageError where a run could not go on as it began: other tasks, versions, machine."""
    begun = {it.name: it.digest for it in run.tasks}
    for task in plan.tasks:
        if begun.get(task.name) != task.digest:
            raise _changed(run, f"task {task.name!r} is another one now")
    now = machine.versions(plan.setups)
    names = {it.setup.name for it in run.records} | {it.name for it in plan.setups}
    for name in ("python", *sorted(names)):
        if (before := run.info.versions.get(name)) != now.get(name):
            raise _changed(run, f"{name} was {before or 'absent'} and is {now.get(name, 'absent')}")
    here = machine.fingerprint()
    for fact in differing_facts(run.info.machine, here):
        raise _changed(run, f"{fact} was {run.info.machine[fact]} and is {here[fact]}")


def _changed(run: Run, what: str) -> UsageError:
    return UsageError(f"run {run.info.name!r} cannot be resumed: {what}; start a new one")
