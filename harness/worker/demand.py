"""How much computing the threads of this process ask for: the time they run, and the time they
stand in line for a core.

CPU time alone would not do: on a busy machine, or where the scheduler keeps the threads of a short
burst on one core, two threads that work at once get no more of it than one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from harness.worker.descendants import (
    PROC,
    cpu_of_descendants,
    descendants,
    queues,
    thread_works,
)
from harness.worker.measure import settle

SELF = Path("/proc/self")
WINDOWS = (0.1, 0.2, 0.4)
"""Seconds in which nothing is asked. The least counts: on a busy machine a thread that is about to
sleep may stand in line for a while first."""
RESTLESS = 0.25
"""Cores that are asked for although nothing is to be done, from which on threads do not rest."""


class Asked(NamedTuple):
    """What was asked for since a `Demand` was made: `cpu_seconds` is what all threads got of a
    core, `seconds` also what they waited for one. Processes that this one started count."""

    cpu_seconds: float
    seconds: float


class Demand:
    """Counts from its making on. What its own looks take is not counted."""

    def __init__(self) -> None:
        self._asked, self._started = _asked(), cpu_of_descendants()
        self._cpu = time.process_time()

    def since(self, passed: float) -> Asked:
        """CPU time; and with it the waiting, of those threads that still live.

        The kernel books a wait when it ends, however long ago it began: no thread counts for more
        than the time that has passed.
        """
        cpu = time.process_time() - self._cpu
        cpu += max(0.0, cpu_of_descendants() - self._started)
        asked = (it - self._asked.get(thread, 0.0) for thread, it in _asked().items())
        return Asked(cpu, max(cpu, sum(min(it, passed) for it in asked)))


def restless(*, sure: bool) -> str:
    """Why threads of this process, or processes that it started, do not rest although nothing is
    asked of them; empty where they do.

    One that works at all times shows at once; to be `sure` of one that works now and then it is
    watched for a moment longer.
    """
    if settle() and not sure:
        return ""
    least = 0.0
    for seconds in WINDOWS:
        found = _asked_meanwhile(seconds)
        least = min(least or found, found)
        if least < RESTLESS:
            return ""
    return f"{least:.1f} threads work on although nothing is asked of them"


def _asked_meanwhile(seconds: float) -> float:
    """Cores that all threads but this one ask for while this one sleeps."""
    own = str(threading.get_native_id())
    before, in_line = _asked(), set(_in_line())
    begin = time.perf_counter()
    time.sleep(seconds)
    passed = time.perf_counter() - begin
    after, in_line = _asked(), in_line & set(_in_line())
    total = 0.0
    for thread, asked in after.items():
        grown = asked - before.get(thread, 0.0)
        # A wait that has not ended is not booked yet.
        grown = passed if grown == 0 and thread in in_line else min(grown, passed)
        total += grown if thread != own else 0.0
    return total / passed


def _asked() -> dict[str, float]:
    """Of every thread that lives, so far; without those of which the kernel counts nothing."""
    return {it.thread: it.ran + it.waited for folder in _folders() for it in queues(folder)}


def _in_line() -> Iterator[str]:
    for folder in _folders():
        yield from (it.name for it in folder.glob("task/*") if thread_works(it))


def _folders() -> Iterator[Path]:
    yield SELF
    for pid in descendants():
        yield PROC / str(pid)
