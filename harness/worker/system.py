"""What the operating system counts of this process and of all that it started.

That is CPU time, memory, noise while a sample is timed, and processes that work. A process that
leaves the group (`setsid`) stays a descendant: `adopt_orphans` makes this process the parent of
those whose parent ends (Linux). This module also limits the memory of a worker, and hides packages
that are installed for the harness alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import os
import re
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import ClassVar, NamedTuple, cast

import psutil

from harness.adapter import Framework

PROC = Path("/proc")
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LAST_SECONDS = 5.0


class Queue(NamedTuple):
    """Seconds in which a thread ran, and in which it waited for a core."""

    thread: str
    ran: float
    waited: float


def queues(folder: Path) -> Iterator[Queue]:
    """The threads of the process with this folder in /proc, as far as the kernel counts."""
    for thread in folder.glob("task/*"):
        words = text_of(thread / "schedstat").split()
        if len(words) == 3:
            yield Queue(thread.name, int(words[0]) / 1e9, int(words[1]) / 1e9)


def threads_of(pid: int | str) -> list[Path]:
    """The folders in /proc of the threads of a process."""
    return list((PROC / str(pid) / "task").glob("*"))


def process_control(option: int, value: int) -> None:
    """See prctl(2); does nothing where there is none."""
    if sys.platform == "linux":
        LIBC.prctl(option, value)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends (Linux)."""
    process_control(PR_SET_CHILD_SUBREAPER, 1)


def descendants(of: int | None = None) -> list[int]:
    """The processes that a process (this one if none is given) started, and theirs; with those that
    have ended and that nothing waited for."""
    if of in (None, os.getpid()) and not _has_children():
        return []
    parents = [of or os.getpid()]
    if not _lists_children():
        with contextlib.suppress(psutil.Error):
            return [it.pid for it in psutil.Process(parents[0]).children(recursive=True)]
    pids: list[int] = []
    while parents:
        for thread in threads_of(parents.pop()):
            children = [int(it) for it in text_of(thread / "children").split()]
            pids += children
            parents += children
    return pids


def still_running() -> int:
    """How many descendants have not ended."""
    states = (_stat(PROC / str(it))[:1] for it in descendants())
    return sum(it not in ([], ["Z"]) for it in states)


def cpu_of_descendants() -> float:
    """CPU seconds of all processes that this one started, ended ones included."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime + sum(map(_cpu_of, descendants()))


def resident() -> int | None:
    """Resident memory of this process and its descendants in bytes; None if it is unknown."""
    alone = _status_bytes("self", "VmRSS")
    return None if alone is None else alone + resident_of_descendants()


def resident_of_descendants() -> int:
    """Resident memory of all descendants in bytes; pages that they share count again."""
    return sum(_status_bytes(it, "VmRSS") or 0 for it in descendants())


def working_threads() -> set[str]:
    """The threads of this process and its descendants that run or want to."""
    pids: list[int | str] = ["self", *descendants()]
    return {it.name for pid in pids for it in threads_of(pid) if _stat(it)[:1] == ["R"]}


def _stat(folder: Path) -> list[str]:
    """The fields of its `stat` that follow the name, which may hold anything; none if it ended."""
    return text_of(folder / "stat").rpartition(")")[2].split()


def end_descendants(of: int | None = None, *, escaped: bool = False) -> None:
    """End all processes that a process started, or those that have `escaped` from the group of
    this one: no other process finds them later."""
    for pid in descendants(of):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if not escaped or os.getpgid(pid) != os.getpgrp():
                os.kill(pid, signal.SIGKILL)


def end_all() -> None:
    """End all descendants, and wait until they have ended; those that start meanwhile too."""
    late = time.monotonic() + LAST_SECONDS
    while _has_children() and time.monotonic() < late:
        end_descendants()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.001)


def _has_children() -> bool:
    """Whether this process has any; costs next to nothing."""
    if not hasattr(os, "waitid"):
        return True
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


@functools.cache
def _lists_children() -> bool:
    """Whether the kernel lists the children of a thread: not every one is built to."""
    return (PROC / "self" / "task" / str(os.getpid()) / "children").exists()


def _cpu_of(pid: int) -> float:
    """CPU time of a process and of its own ended children; 0 where it has just ended."""
    fields = _stat(PROC / str(pid))
    if len(fields) < 15:
        return 0.0
    ticks = os.sysconf("SC_CLK_TCK")
    try:
        # The clock of another process (clock_getcpuclockid): finer than ticks.
        seconds = time.clock_gettime(~pid << 3 | 2)
    except OSError:
        seconds = (int(fields[11]) + int(fields[12])) / ticks
    return seconds + (int(fields[13]) + int(fields[14])) / ticks


def text_of(path: Path) -> str:
    """A file's text; empty where there is none to be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


TICK, BUSY = 0.01, 0.05
"""Seconds, and the share of them from which on a process works."""


class Counters(NamedTuple):
    """What this process and its descendants used (switches: it alone) and the machine lost."""

    cpu_seconds: float
    voluntary_switches: int
    involuntary_switches: int
    steal_seconds: float | None
    pressure_seconds: float | None


class SampleCounters:
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
    """Processes that run or wait to, averaged over a minute; None if it is unknown."""
    with contextlib.suppress(OSError):
        return os.getloadavg()[0]
    return None


def allowed_cores() -> str | None:
    """The cores that the threads of this process may use, such as `0-3`; None if unknown.

    Where some threads may use other cores than others, every distinct set: `0; 1`.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    threads = [int(it.name) for it in threads_of("self")] or [0]
    sets = set()
    for thread in threads:
        with contextlib.suppress(OSError):  # it has ended
            sets.add(tuple(sorted(os.sched_getaffinity(thread))))
    return "; ".join(_ranges(it) for it in sorted(sets))


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
    """Whether another thread of this process runs or wants to, or one of a descendant.

    CPU time shows less and later: Linux adds to it once a tick, every 1 to 10 ms. It is read, while
    the calling thread sleeps, where the states of threads are unknown.
    """
    if threads_of("self"):
        return bool(working_threads() - {str(threading.get_native_id())})
    before = time.process_time()
    time.sleep(TICK)
    return time.process_time() - before > BUSY * TICK


def _since(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _steal_seconds() -> float | None:
    """CPU time that the hypervisor gave to others, all cores; None if it is unknown."""
    with contextlib.suppress(IndexError, ValueError):
        return int(text_of(PROC / "stat").split("\n", 1)[0].split()[8]) / os.sysconf("SC_CLK_TCK")
    return None


def _pressure_seconds() -> float | None:
    """Time in which some task had to wait for a core; None if the kernel does not count it."""
    with contextlib.suppress(IndexError, ValueError):
        some = text_of(PROC / "pressure" / "cpu").split("\n", 1)[0]
        return int(some.rpartition("total=")[2]) / 1e6
    return None


class PeakRSS:
    """High-water mark of resident memory while it is open, from the kernel's VmHWM.

    `incremental` are bytes above the size when it was first opened; None where the mark cannot be
    reset. Descendants count too. It may be opened again: what was allocated before and stayed
    counts on. `ru_maxrss` would not do: it is inherited through fork and exec, so that a small
    child of a large parent reports the parent's size.
    """

    def __init__(self) -> None:
        self.incremental: int | None = 0
        self._base: int | None = None
        self._kept = 0

    def open(self) -> None:
        self._base = None
        _give_back_free_memory()
        with contextlib.suppress(OSError):  # not resettable here
            for pid in ("self", *descendants()):
                (PROC / str(pid) / "clear_refs").write_text("5", encoding="ascii")
            self._base = resident()

    def close(self) -> None:
        peak, base = self.total(), self._base
        if peak is None or base is None or self.incremental is None:
            self.incremental = None
            return
        self.incremental = max(self.incremental, self._kept + peak - base)
        _give_back_free_memory()
        self._kept += max(0, (resident() or 0) - base)

    def total(self) -> int | None:
        """The marks themselves, since they were last reset."""
        mark = _status_bytes("self", "VmHWM")
        if mark is None:
            return None
        return mark + sum(_status_bytes(it, "VmHWM") or 0 for it in descendants())


def _status_bytes(pid: int | str, field: str) -> int | None:
    """A field of /proc/PID/status; None where there is none."""
    words = text_of(PROC / str(pid) / "status").partition(f"\n{field}:")[2].split()
    return int(words[0]) * 1024 if words else None


class _MallInfo(ctypes.Structure):
    """`struct mallinfo2` of glibc."""

    _fields_: ClassVar = [(f"field{it}", ctypes.c_size_t) for it in range(10)]


def allocated() -> int | None:
    """Bytes that the C library has handed out and not got back; None if it does not count."""
    mallinfo = getattr(LIBC, "mallinfo2", None)  # glibc 2.33 or later
    if mallinfo is None:
        return None
    mallinfo.restype = _MallInfo
    counts = mallinfo()
    return int(counts.field7 + counts.field4)  # `uordblks` and `hblkhd`


def _give_back_free_memory() -> None:
    """Return freed heap to the system (glibc), lest an earlier phase's leftovers hide a peak."""
    gc.collect()
    trim = getattr(LIBC, "malloc_trim", None)
    if trim is not None:
        trim(0)


NEARLY = 0.95
FAILED_ALLOCATION = re.compile(
    r"bad_alloc|out of memory|OOM when allocating|allocation still failed"
    r"|failed to map segment"
    r"|(?:can(?:no|')t|unable to|failed to|could not) allocate",
    re.IGNORECASE,
)
"""The words of C++, CUDA, TensorFlow, OpenBLAS, the loader, PyTorch and the C library."""


def limit_memory(size: int) -> None:
    """Let this process and its children hold no more than `size` bytes each (Linux).

    What counts is private memory that can be written: heap, mapped arrays, stacks. Code and the
    address space that a framework only reserves do not. `lift_limit` can take it back.
    """
    resource.setrlimit(resource.RLIMIT_DATA, (size, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def lift_limit() -> int | None:
    """Lift the limit and return it, None where there is none: a worker that ran out of memory
    could not even report that."""
    limit, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
    return None if limit == hard else limit


def exhausted() -> bool:
    """Whether this process holds nearly as much as its limit: any failure is then due to that."""
    limit, hard = resource.getrlimit(resource.RLIMIT_DATA)
    return limit != hard and NEARLY * limit < (_status_bytes("self", "VmData") or 0)


def ran_out(error: BaseException) -> bool:
    """Whether an exception, of whatever framework, says that memory could not be had."""
    return isinstance(error, MemoryError) or is_out_of_memory(f"{type(error).__name__}: {error}")


def is_out_of_memory(text: str) -> bool:
    """Whether a message, or what a process wrote before it died, says so."""
    return FAILED_ALLOCATION.search(text) is not None


def hide_from(framework: Framework) -> None:
    """Make modules that are only for the harness seem absent, unless they are imported already."""
    modules = cast("dict[str, ModuleType | None]", sys.modules)
    for name in framework.tuning.unaware_of:
        modules.setdefault(name, None)
