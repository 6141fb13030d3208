"""The facts of a machine that the doctor judges, from /proc, /sys, counters and short probes.

A fact that this system does not have is None, never a guess. `root` stands for `/`, so that tests
can lay out a machine of their own. Probes run for two seconds in this process with NumPy alone.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import threadpoolctl

from harness.runs.contention import core_times, increase
from harness.runs.files import filesystem
from harness.runs.machine import ROOT, groups, quota, usable
from harness.worker.system import text_of


class Busy(NamedTuple):
    """A process, and the share of one core that it took while it was watched."""

    name: str
    share: float


@dataclass(frozen=True)
class Counted:
    """Counters that only grow, at one moment; CPU times are in seconds, of the usable cores."""

    at: float
    processes: Mapping[int, tuple[str, float]] = field(default_factory=dict)
    busy: float | None = None
    steal: float | None = None
    uptime: float | None = None
    swapped: float | None = None
    throttled: float | None = None
    overheated: float | None = None


@dataclass(frozen=True)
class Watch:
    """What others did for a while.

    `busy_cores` are those that anyone kept busy, even a process too short-lived to be in `busy`;
    `steal_cores` went to other guests of the host. `throttled` counts the periods in which a
    container's quota was spent, `overheated` those in which a core slowed down to cool.
    """

    seconds: float
    busy: tuple[Busy, ...] = ()
    busy_cores: float | None = None
    steal_cores: float | None = None
    swapped: float | None = None
    throttled: float | None = None
    overheated: float | None = None


@dataclass(frozen=True)
class Facts:
    """A machine as one process finds it. Memory in bytes, times in seconds, temperatures in °C.

    `cores` may be used by this process, on `physical` ones; `quota` is in cores. `room` is the
    memory that is free, within the limits of a container too. `hottest` is a sensor's temperature
    and the critical one. `steal_share` and `overheated` count since the machine started. Others are
    watched at rest, while the doctor sleeps, and during the `effort` of its own probe; `repeats`
    are log ratios of the times of equal work. `left_out` are the frameworks that cannot be read,
    each with the reason.
    """

    cores: int
    cores_of_machine: int
    watch: Watch
    physical: int | None = None
    governors: tuple[str, ...] = ()
    steal_share: float | None = None
    overheated: float | None = None
    hottest: tuple[float, float | None] | None = None
    swap_used: int | None = None
    memory: int | None = None
    room: int | None = None
    quota: float | None = None
    compiler: str | None = None
    disk_free: int | None = None
    disk_writable: bool = True
    filesystem: str | None = None
    effort: Watch | None = None
    repeats: tuple[float, ...] = ()
    left_out: tuple[tuple[str, str], ...] | None = None


def watched(before: Counted, after: Counted) -> Watch:
    """What happened between two readings; a process that is in one of them only is left out."""
    seconds = after.at - before.at
    busy, steal = increase(before.busy, after.busy), increase(before.steal, after.steal)
    shares = [
        Busy(name, (spent - before.processes[pid][1]) / seconds)
        for pid, (name, spent) in after.processes.items()
        if pid in before.processes
    ]
    return Watch(
        seconds=seconds,
        busy=tuple(sorted((it for it in shares if it.share > 0), key=lambda it: -it.share)),
        busy_cores=None if busy is None else busy / seconds,
        steal_cores=None if steal is None else steal / seconds,
        swapped=increase(before.swapped, after.swapped),
        throttled=increase(before.throttled, after.throttled),
        overheated=increase(before.overheated, after.overheated),
    )


WATCH_SECONDS = 1.0


def read(output: Path, root: Path = ROOT, seconds: float = WATCH_SECONDS) -> Facts:
    """Everything but the probes; asleep for `seconds` to see what others do meanwhile.

    `output` is the results directory, which need not exist.
    """
    cpus = usable()
    before = count(cpus, root)
    time.sleep(seconds)
    after = count(cpus, root)
    memory = psutil.virtual_memory()
    limits = [it for it in (memory.available, _container_room(root)) if it is not None]
    place = Path(os.path.realpath(output))  # unlike `resolve` it accepts links in a circle
    # Path.exists would raise where a folder above may not be entered.
    directory = next(it for it in (place, *place.parents) if os.path.exists(it))
    return Facts(
        cores=len(cpus),
        cores_of_machine=os.cpu_count() or len(cpus),
        watch=watched(before, after),
        physical=_physical(cpus, root),
        governors=_governors(cpus, root),
        steal_share=after.steal / after.uptime
        if after.steal is not None and after.uptime
        else None,
        overheated=after.overheated,
        hottest=_hottest(),
        swap_used=psutil.swap_memory().used,
        memory=memory.total,
        room=min(limits),
        quota=quota(root),
        compiler=_compiler(),
        disk_free=shutil.disk_usage(directory).free,
        disk_writable=directory.is_dir() and os.access(directory, os.W_OK),
        filesystem=filesystem(directory),
    )


def count(cpus: frozenset[int], root: Path = ROOT) -> Counted:
    """All counters now. The doctor's own time is left out as far as it is known."""
    doctor_seconds = time.process_time()
    times = core_times(cpus, root)
    swap = psutil.swap_memory()
    return Counted(
        at=time.perf_counter(),
        processes={
            it.pid: (
                it.info["name"] or "?",
                it.info["cpu_times"].user + it.info["cpu_times"].system,
            )
            for it in psutil.process_iter(["name", "cpu_times"])
            if it.info["cpu_times"] is not None and it.pid != os.getpid()
        },
        busy=times.busy - doctor_seconds if times else None,
        steal=times.stolen if times else None,
        uptime=times.everything if times else None,
        swapped=swap.sin + swap.sout,
        throttled=_throttled(root),
        overheated=_overheated(cpus, root),
    )


def _cpu_folder(cpu: int, root: Path) -> Path:
    return root / f"sys/devices/system/cpu/cpu{cpu}"


def _physical(cpus: frozenset[int], root: Path) -> int | None:
    siblings = {text_of(_cpu_folder(it, root) / "topology/thread_siblings_list") for it in cpus}
    return None if "" in siblings else len(siblings)


def _governors(cpus: frozenset[int], root: Path) -> tuple[str, ...]:
    governors = {text_of(_cpu_folder(it, root) / "cpufreq/scaling_governor") for it in cpus}
    return tuple(sorted(governors - {""}))


def _overheated(cpus: frozenset[int], root: Path) -> int | None:
    texts = [
        text_of(_cpu_folder(cpu, root) / "thermal_throttle" / f"{what}_throttle_count")
        for cpu in cpus
        for what in ("core", "package")
    ]
    counts = [int(it) for it in texts if it.isdigit()]
    return sum(counts) if counts else None


def _hottest() -> tuple[float, float | None] | None:
    read_sensors = getattr(psutil, "sensors_temperatures", None)
    if read_sensors is None:
        return None
    sensors = [it for group in read_sensors().values() for it in group]
    hottest = max(sensors, key=lambda it: it.current, default=None)
    return None if hottest is None else (hottest.current, hottest.critical or hottest.high)


def _throttled(root: Path) -> int | None:
    statistics = [_named(folder / "cpu.stat") for folder in groups("cpu", root)]
    counts = [it["nr_throttled"] for it in statistics if "nr_throttled" in it]
    return sum(counts) if counts else None


def _container_room(root: Path) -> int | None:
    """What the tightest control group leaves, with the file pages that it would give up."""
    rooms = []
    for folder in groups("memory", root):
        for limit, usage, cache in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            most, used = text_of(folder / limit), text_of(folder / usage)
            if most.isdigit() and used.isdigit():
                freed = _named(folder / "memory.stat").get(cache, 0)
                rooms.append(max(0, int(most) - int(used) + freed))
    return min(rooms, default=None)


def _compiler() -> str | None:
    """The C++ compiler of `torch.compile`, if it is there; the PyTorch adapter asks the same."""
    named = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    return named if shutil.which(named) else None


def _named(path: Path) -> dict[str, int]:
    """A file of lines `name number`."""
    rows = [line.split() for line in text_of(path).splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


REPEAT_SECONDS, SAMPLE_SECONDS = 2.0, 0.025
PRODUCT_SIZE = 256


def repeats(threads: int, seconds: float = REPEAT_SECONDS) -> tuple[float, ...]:
    """Log ratios of the times of one matrix product and itself, which take turns.

    The first of a pair is the second of the next, so that no drift favours either.
    """
    generator = np.random.default_rng(0)
    left, right = generator.random((2, PRODUCT_SIZE, PRODUCT_SIZE), dtype=np.float32)
    result = np.empty_like(left)

    def run(iterations: int) -> float:
        begin = time.perf_counter()
        for _ in range(iterations):
            np.matmul(left, right, out=result)
        return time.perf_counter() - begin

    with threadpoolctl.threadpool_limits(threads):
        # The shortest, so that a busy machine does not make samples of it too short.
        shortest = min(run(5) / 5 for _ in range(5))
        iterations = max(1, round(SAMPLE_SECONDS / shortest))
        ratios: list[float] = []
        begin = time.perf_counter()
        while time.perf_counter() - begin < seconds:
            first, second = run(iterations), run(iterations)
            ratios.append(math.log(first / second) * (-1) ** len(ratios))
    return tuple(ratios)
