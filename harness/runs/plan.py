"""Which setups run in which blocks: the plan, made before anything is started or written."""

from __future__ import annotations

import fnmatch
import itertools
import re
from dataclasses import dataclass
from pathlib import Path

from harness.cells import Setup
from harness.errors import DataError, UsageError, unknown
from harness.frameworks import frameworks, select, version
from harness.records import Unavailable
from harness.runs.config import RunConfig
from harness.runs.machine import cores, gpus
from harness.tasks.datasets import data_directory, missing
from harness.tasks.files import known_tasks
from harness.tasks.spec import Task
from harness.tasks.vary import parse_settings, variants


@dataclass(frozen=True)
class Arena:
    """One task on one device with so many threads in one dtype: setups that may be compared."""

    task: Task
    setups: tuple[Setup, ...]


@dataclass(frozen=True)
class Plan:
    """`unavailable` names what was left out, and why."""

    config: RunConfig
    data_directory: Path
    arenas: tuple[Arena, ...]
    unavailable: tuple[Unavailable, ...]

    @property
    def tasks(self) -> tuple[Task, ...]:
        return tuple({arena.task.digest: arena.task for arena in self.arenas}.values())

    @property
    def blocks(self) -> int:
        """Blocks of each arena; a seed beyond the timed blocks has one without timing."""
        return max(self.config.blocks, self.config.seeds)


def make_plan(config: RunConfig) -> Plan:
    """Resolve names to setups. Raises UsageError, with nothing started and nothing written."""
    directory = data_directory(Path(config.data_dir) if config.data_dir else None)
    devices = [_device(name) for name in config.devices]
    threads = [_threads(count) for count in config.threads or (cores(),)]
    chosen, absent = _frameworks(config)
    tasks, lacking = _tasks(config, directory)
    arenas = tuple(
        Arena(
            task,
            tuple(
                Setup(
                    task=task.name,
                    digest=task.digest,
                    framework=framework,
                    mode=mode,
                    device=device,
                    threads=count,
                    dtype=dtype,
                )
                for framework, mode in chosen
            ),
        )
        for task, device, count, dtype in itertools.product(tasks, devices, threads, config.dtypes)
    )
    return Plan(config, directory, arenas, (*absent, *lacking))


def _tasks(config: RunConfig, directory: Path) -> tuple[list[Task], list[Unavailable]]:
    known = known_tasks(Path(config.task_file) if config.task_file else None)
    names: dict[str, None] = {}
    for pattern in config.tasks:
        found = [name for name in known if fnmatch.fnmatchcase(name, pattern)]
        if not found:
            raise unknown("task", pattern, known)
        names |= dict.fromkeys(found)
    settings = parse_settings(config.settings)
    tasks = [task for name in names for task in variants(known[name], settings)]
    lacking = {task.name: reason for task in tasks if (reason := missing(task.data, directory))}
    if tasks and len(lacking) == len(tasks):
        name, reason = next(iter(lacking.items()))
        raise DataError(f"task {name!r} is unavailable: {reason}")
    if not tasks:
        raise UsageError("no task chosen; see: python -m harness list")
    return (
        [task for task in tasks if task.name not in lacking],
        [Unavailable(what=f"task {name}", reason=reason) for name, reason in lacking.items()],
    )


def _frameworks(config: RunConfig) -> tuple[list[tuple[str, str]], list[Unavailable]]:
    known = frameworks()
    chosen = select(config.frameworks, config.modes)
    absent = {
        name: f"not installed; get it with: {known[name].install}"
        for name in (dict(chosen) if config.frameworks else known)
        if version(known[name]) is None
    }
    present = [(name, mode) for name, mode in chosen if name not in absent]
    if not present:
        name, reason = next(iter(absent.items()))
        raise UsageError(f"framework {name!r} is {reason}")
    return present, [
        Unavailable(what=f"framework {name}", reason=reason) for name, reason in absent.items()
    ]


def _device(name: str) -> str:
    if name == "cpu":
        return name
    match = re.fullmatch(r"gpu(?::(\d{1,2}))?", name)
    if not match:
        raise unknown("device", name, ("cpu", "gpu", "gpu:0", "gpu:1"))
    index = int(match[1] or 0)
    if index >= len(gpus()):
        found = f"{len(gpus())} GPUs here" if gpus() else "no GPU found on this machine"
        raise UsageError(f"device {name!r}: {found}; use --device cpu")
    return f"gpu:{index}"


def _threads(count: int) -> int:
    if count > cores():
        raise UsageError(f"threads {count}: this machine has {cores()} cores to use")
    return count
