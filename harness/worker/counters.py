"""What the operating system counts: noise while a sample is timed, and resident memory."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import os
import resource
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from harness.worker.descendants import (
    any_works,
    cpu_of_descendants,
    descendants,
    resident,
    text_of,
    thread_works,
)

PROC = Path("/proc")
TICK, BUSY = 0.01, 0.05
"""Seconds; and the share of them from which on somebody works."""


class Counters(NamedTuple):
    """What this process, its threads and its descendants used (switches: it alone), and what the
    whole machine lost meanwhile."""

    cpu_seconds: float
    voluntary_switches: int
    involuntary_switches: int
    steal_seconds: float | None
    pressure_seconds: float | None


class Watch:
    """Counts from its making to `spent`. The machine's own counters cost CPU time to read: they
    are read outside the stretch in which this process is counted."""

    def __init__(self) -> None:
        self._steal, self._pressure = _steal_seconds(), _pressure_seconds()
        self._descendants = cpu_of_descendants()
        self._usage = resource.getrusage(resource.RUSAGE_SELF)
        self._cpu = time.process_time()

    def spent(self) -> Counters:
        cpu = time.process_time() - self._cpu
        usage = resource.getrusage(resource.RUSAGE_SELF)
        # One that ended and was not waited for takes its time along.
        cpu += max(0.0, cpu_of_descendants() - self._descendants)
        return Counters(
            cpu,
            usage.ru_nvcsw - self._usage.ru_nvcsw,
            usage.ru_nivcsw - self._usage.ru_nivcsw,
            _since(self._steal, _steal_seconds()),
            _since(self._pressure, _pressure_seconds()),
        )


def load() -> float | None:
    """Processes that run or wait to, averaged over a minute; None where it is not told."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return None


def allowed_cores() -> str | None:
    """The cores that the threads of this process may use, such as `0-3`; None where it is not told.

    Where some threads may use other cores than others, every distinct set: `0; 1`.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    threads = [int(it.name) for it in (PROC / "self" / "task").glob("*")] or [0]
    found = set()
    for thread in threads:
        with contextlib.suppress(OSError):  # it has ended
            found.add(tuple(sorted(os.sched_getaffinity(thread))))
    return "; ".join(_ranges(it) for it in sorted(found))


def _ranges(numbers: Iterable[int]) -> str:
    """`0-3, 6` for 0, 1, 2, 3, 6."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{it[0]}-{it[-1]}" if len(it) > 1 else f"{it[0]}" for it in runs)


def others_work() -> bool:
    """Whether a thread of this process, other than the one that asks, runs or wants to; or one of
    a process that it started.

    Their CPU time tells less and later: Linux adds to it once a tick, every 1 to 10 ms. It is
    looked at where no thread's state is told.
    """
    threads, own = list((PROC / "self" / "task").glob("*")), str(threading.get_native_id())
    if not threads:
        return _uses_cpu()
    return any(thread_works(it) for it in threads if it.name != own) or any_works()


def _uses_cpu() -> bool:
    """Whether this process does, while the one that asks sleeps."""
    before = time.process_time()
    time.sleep(TICK)
    return time.process_time() - before > BUSY * TICK


def _since(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _steal_seconds() -> float | None:
    """CPU time that the hypervisor gave to others, all cores; None where it is not told."""
    try:
        fields = (PROC / "stat").read_text(encoding="ascii").split("\n", 1)[0].split()
        return int(fields[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return None


def _pressure_seconds() -> float | None:
    """Time in which some task had to wait for a core; None where the kernel does not count it."""
    try:
        some = (PROC / "pressure" / "cpu").read_text(encoding="ascii").split("\n", 1)[0]
        return int(some.rpartition("total=")[2]) / 1e6
    except (OSError, ValueError):
        return None


class PeakRSS:
    """High-water mark of resident memory while it is open, from the kernel's VmHWM.

    What this process started counts too. It may be opened again: what was allocated before and
    stayed counts on. `ru_maxrss` would not do: it is inherited through fork and exec, so that a
    small child of a large parent reports the parent's size.
    """

    def __init__(self) -> None:
        self._base: int | None = None
        self._kept = 0
        self._incremental: int | None = 0

    def open(self) -> None:
        self._base = None
        _give_back_free_memory()
        try:
            for pid in ("self", *descendants()):
                (PROC / str(pid) / "clear_refs").write_text("5", encoding="ascii")
        except OSError:
            return  # not resettable here: the incremental peak is unknown, never 0
        self._base = resident()

    def close(self) -> None:
        peak, base = self.total(), self._base
        if peak is None or base is None or self._incremental is None:
            self._incremental = None
            return
        self._incremental = max(self._incremental, self._kept + peak - base)
        _give_back_free_memory()
        self._kept += max(0, (resident() or 0) - base)

    def incremental(self) -> int | None:
        """Bytes above the size when first opened; None where the mark could not be reset."""
        return self._incremental

    def total(self) -> int | None:
        """The marks themselves, since they were last reset."""
        own = _mark("self")
        return None if own is None else own + sum(_mark(it) or 0 for it in descendants())


def _mark(pid: int | str) -> int | None:
    for line in text_of(PROC / str(pid) / "status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


class _MallInfo(ctypes.Structure):
    """`struct mallinfo2` of glibc."""

    _fields_: ClassVar = [(f"field{it}", ctypes.c_size_t) for it in range(10)]


@functools.cache
def _mallinfo() -> Callable[[], Any] | None:
    """What tells of glibc's allocations; None elsewhere, and before 2.33."""
    found = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if found is not None:
        found.restype = _MallInfo
    return found


def allocated() -> int | None:
    """Bytes that the C library has handed out and not got back; None where it does not tell."""
    mallinfo = _mallinfo()
    if mallinfo is None:
        return None
    found = mallinfo()
    return int(found.field7 + found.field4)  # `uordblks` and `hblkhd`


def _give_back_free_memory() -> None:
    """Return freed heap to the system (glibc), lest an earlier phase's leftovers hide a peak."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
