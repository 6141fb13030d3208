"""The doctor's one reader of /proc, /sys and the operating system's counters.

A fact that this system does not tell is None, never a guess. `root` stands for `/`, so that tests
can lay out a machine of their own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from pathlib import Path

import psutil

from harness.runs.cgroups import ROOT, groups, quota, usable
from harness.runs.contention import core_times
from harness.runs.doctor.vitals import Counted, Facts, watched
from harness.runs.places import filesystem
from harness.worker.descendants import text_of as _text

WATCH_SECONDS = 1.0
PRESSURES = ("cpu", "memory", "io")


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
    place = Path(os.path.realpath(output))  # unlike `resolve` it bears links in a circle
    directory = next(it for it in (place, *place.parents) if _there(it))
    return Facts(
        cores=len(cpus),
        cores_of_machine=os.cpu_count() or len(cpus),
        watch=watched(before, after),
        physical=_physical(cpus, root),
        virtual=_virtual(root),
        governors=_governors(cpus, root),
        turbo=_turbo(root),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        steal_share=after.steal / after.uptime
        if after.steal is not None and after.uptime
        else None,
        overheated=after.overheated,
        hottest=_hottest(),
        swap_used=psutil.swap_memory().used,
        memory=memory.total,
        room=min(limits),
        quota=quota(root),
        clock=_text(root / "sys/devices/system/clocksource/clocksource0/current_clocksource")
        or None,
        peaks_reset=_peaks_reset(root),
        compiler=_compiler(),
        disk_free=shutil.disk_usage(directory).free,
        disk_writable=directory.is_dir() and os.access(directory, os.W_OK),
        filesystem=filesystem(directory),
    )


def count(cpus: frozenset[int], root: Path = ROOT) -> Counted:
    """All counters now. The doctor's own time is left out as far as it is known."""
    own = time.process_time()
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
        busy=times.busy - own if times else None,
        steal=times.stolen if times else None,
        uptime=times.everything if times else None,
        swapped=swap.sin + swap.sout,
        pressure={
            name: waited
            for name in PRESSURES
            if (waited := _waited(root / "proc/pressure" / name)) is not None
        },
        throttled=_throttled(root),
        overheated=_overheated(cpus, root),
    )


def _waited(path: Path) -> float | None:
    """Seconds in which some task waited: the `total` of the line `some`, in microseconds."""
    for line in _text(path).splitlines():
        kind, *fields = line.split()
        total = dict(it.partition("=")[::2] for it in fields).get("total", "")
        if kind == "some" and total.isdigit():
            return int(total) / 1e6
    return None


def _cpu_folder(cpu: int, root: Path) -> Path:
    return root / f"sys/devices/system/cpu/cpu{cpu}"


def _physical(cpus: frozenset[int], root: Path) -> int | None:
    told = {_text(_cpu_folder(it, root) / "topology/thread_siblings_list") for it in cpus}
    return None if "" in told else len(told)


def _virtual(root: Path) -> bool | None:
    told = _text(root / "proc/cpuinfo")
    return " hypervisor" in told if "flags" in told else None


def _governors(cpus: frozenset[int], root: Path) -> tuple[str, ...]:
    told = {_text(_cpu_folder(it, root) / "cpufreq/scaling_governor") for it in cpus}
    return tuple(sorted(told - {""}))


def _turbo(root: Path) -> bool | None:
    """Two drivers tell it, each the other way round."""
    folder = root / "sys/devices/system/cpu"
    off, on = _text(folder / "intel_pstate/no_turbo"), _text(folder / "cpufreq/boost")
    return off == "0" if off else on == "1" if on else None


def _overheated(cpus: frozenset[int], root: Path) -> int | None:
    told = [
        _text(_cpu_folder(cpu, root) / "thermal_throttle" / f"{what}_throttle_count")
        for cpu in cpus
        for what in ("core", "package")
    ]
    counts = [int(it) for it in told if it.isdigit()]
    return sum(counts) if counts else None


def _hottest() -> tuple[float, float | None] | None:
    read_sensors = getattr(psutil, "sensors_temperatures", None)
    if read_sensors is None:
        return None
    sensors = [it for group in read_sensors().values() for it in group]
    hottest = max(sensors, key=lambda it: it.current, default=None)
    return None if hottest is None else (hottest.current, hottest.critical or hottest.high)


def _throttled(root: Path) -> int | None:
    told = [_named(folder / "cpu.stat").get("nr_throttled") for folder in groups("cpu", root)]
    counts = [it for it in told if it is not None]
    return sum(counts) if counts else None


def _container_room(root: Path) -> int | None:
    """What the tightest control group leaves, with the file pages that it would give up."""
    found = []
    for folder in groups("memory", root):
        for limit, usage, cache in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            most, used = _text(folder / limit), _text(folder / usage)
            if most.isdigit() and used.isdigit():
                freed = _named(folder / "memory.stat").get(cache, 0)
                found.append(max(0, int(most) - int(used) + freed))
    return min(found, default=None)


def _peaks_reset(root: Path) -> bool | None:
    path = root / "proc/self/clear_refs"
    if not path.exists():
        return None
    with contextlib.suppress(OSError):
        path.write_text("5", encoding="ascii")
        return True
    return False


def _compiler() -> str | None:
    """The C++ compiler that `torch.compile` would use, if it is there; the PyTorch adapter asks
    the same."""
    named = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    return named if shutil.which(named) else None


def _there(path: Path) -> bool:
    # Not Path.exists, which raises where a folder above may not be entered.
    return os.path.exists(path)


def _named(path: Path) -> dict[str, int]:
    """A file of lines `name number`."""
    rows = [line.split() for line in _text(path).splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}
