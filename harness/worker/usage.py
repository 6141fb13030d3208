"""What a worker uses in its turns and between them, and how much its threads ask for.

CPU time alone does not tell: on a busy machine, or where the scheduler keeps the threads of a short
burst on one core, two threads that work at once get no more of it than one. So the time that they
stand in line for a core counts too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from harness.records import Usage
from harness.worker.measure import SETTLE_LIMIT, settle
from harness.worker.system import (
    PROC,
    cpu_of_descendants,
    descendants,
    queues,
    resident_of_descendants,
    still_running,
    thread_works,
)

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


PATIENT_TURNS = 5
"""So many turns in a row may end without rest before less time is spent on waiting for it."""
SHORT_LIMIT = 0.2


class UsageCount:
    """Counts from its making on; `turn_ended` and `turn_begun` are told in turn."""

    def __init__(self) -> None:
        self._usage = Usage()
        self._restless = 0
        self._last = self._now()

    def settle(self) -> bool:
        """Wait until all threads and processes rest; whether they do."""
        quiet = settle(SHORT_LIMIT if self._restless >= PATIENT_TURNS else SETTLE_LIMIT)
        self._restless = 0 if quiet else self._restless + 1
        return quiet

    def turn_ended(self, quiet: bool) -> None:
        seconds, cpu = self._passed()
        it = self._usage
        self._usage = it.model_copy(
            update={
                "turns": it.turns + 1,
                "unsettled": it.unsettled + (not quiet),
                "turn_seconds": it.turn_seconds + seconds,
                "turn_cpu_seconds": it.turn_cpu_seconds + cpu,
                "processes": max(it.processes, still_running()),
                "memory": max(it.memory, resident_of_descendants()),
            }
        )

    def turn_begun(self) -> None:
        seconds, cpu = self._passed()
        it = self._usage
        self._usage = it.model_copy(
            update={
                "between_seconds": it.between_seconds + seconds,
                "between_cpu_seconds": it.between_cpu_seconds + cpu,
            }
        )

    def found(self) -> Usage:
        return self._usage

    def _passed(self) -> tuple[float, float]:
        """Time and CPU time since this was last asked."""
        before, self._last = self._last, self._now()
        seconds, cpu = (now - then for then, now in zip(before, self._last, strict=True))
        return seconds, max(0.0, cpu)  # an ended process may take its time along

    def _now(self) -> tuple[float, float]:
        return time.perf_counter(), time.process_time() + cpu_of_descendants()
