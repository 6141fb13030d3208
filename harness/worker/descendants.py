"""This process and all that it started: their CPU time, their memory, and who works.

A process that leaves the group (`setsid`) stays a descendant. Where its parent ends, the nearest
process above that adopts orphans becomes its parent: `adopt_orphans` (Linux).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

PROC = Path("/proc")
PR_SET_CHILD_SUBREAPER = 36
LAST_SECONDS = 5.0
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class Queue(NamedTuple):
    """Seconds in which a thread ran, and in which it stood in line for a core."""

    thread: str
    ran: float
    waited: float


def queues(folder: Path) -> Iterator[Queue]:
    """Every thread of the process with this folder in /proc; none where the kernel does not count.

    A thread that has just ended is left out.
    """
    for thread in folder.glob("task/*"):
        words = text_of(thread / "schedstat").split()
        if len(words) == 3:
            yield Queue(thread.name, int(words[0]) / 1e9, int(words[1]) / 1e9)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def descendants(of: int | None = None) -> list[int]:
    """The processes that a process started, and those that they started; ended ones that nobody
    waited for are among them. None is the process that asks."""
    own = os.getpid()
    if of in (None, own) and not _has_children():
        return []
    if not _tells_children():
        return _by_psutil(own if of is None else of)
    found: list[int] = []
    parents = [own if of is None else of]
    while parents:
        for thread in (PROC / str(parents.pop()) / "task").glob("*"):
            children = [int(it) for it in text_of(thread / "children").split()]
            found += children
            parents += children
    return found


def still_running() -> int:
    """How many descendants have not ended."""
    states = (text_of(PROC / str(it) / "stat").rpartition(")")[2].split() for it in descendants())
    return sum(it[:1] not in ([], ["Z"]) for it in states)


def cpu_of_descendants() -> float:
    """CPU seconds of all that this process started, ended ones included."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime + sum(map(_cpu_of, descendants()))


def resident() -> int | None:
    """Resident memory of this process and its descendants in bytes; None where it is not told."""
    own = _resident(os.getpid())
    return None if own is None else own + resident_of_descendants()


def resident_of_descendants() -> int:
    """Resident memory of all that this process started, in bytes; pages that they share with it
    count again."""
    return sum(_resident(it) or 0 for it in descendants())


def any_works() -> bool:
    """Whether a thread of a descendant runs or wants to."""
    return any(
        thread_works(it) for pid in descendants() for it in (PROC / str(pid) / "task").glob("*")
    )


def thread_works(thread: Path) -> bool:
    """Whether the thread with this folder in /proc runs or wants to."""
    # The name before it, in brackets, may hold anything.
    return text_of(thread / "stat").rpartition(")")[2].split()[:1] == ["R"]


def end_descendants(of: int | None = None) -> None:
    """End all that a process started, whatever group it is in."""
    for pid in descendants(of):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def end_all() -> None:
    """End what this process started, and wait until it has ended; what it starts meanwhile too."""
    late = time.monotonic() + LAST_SECONDS
    while _has_children() and time.monotonic() < late:
        end_descendants()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.001)


def end_escaped() -> None:
    """End what this process started and what has left its group: nobody else finds it later."""
    for pid in descendants():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(pid) != os.getpgrp():
                os.kill(pid, signal.SIGKILL)


def _has_children() -> bool:
    """Whether this process has any: a question that costs next to nothing."""
    if not hasattr(os, "waitid"):
        return True
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


@functools.cache
def _tells_children() -> bool:
    """Whether the kernel lists the children of a thread: not every one is built to."""
    return (PROC / "self" / "task" / str(os.getpid()) / "children").exists()


def _by_psutil(pid: int) -> list[int]:
    try:
        return [it.pid for it in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []


def _cpu_of(pid: int) -> float:
    """CPU time of a process and of its own ended children; 0 where it has just ended."""
    fields = text_of(PROC / str(pid) / "stat").rpartition(")")[2].split()
    if len(fields) < 15:
        return 0.0
    ticks = os.sysconf("SC_CLK_TCK")
    try:
        # The clock of another process (clock_getcpuclockid): finer than ticks.
        own = time.clock_gettime(~pid << 3 | 2)
    except OSError:
        own = (int(fields[11]) + int(fields[12])) / ticks
    return own + (int(fields[13]) + int(fields[14])) / ticks


def _resident(pid: int) -> int | None:
    words = text_of(PROC / str(pid) / "statm").split()
    return int(words[1]) * PAGE if len(words) > 1 else None


def text_of(path: Path) -> str:
    """A file's text; empty where there is none to be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
