"""What a worker uses in its turns and outside of them, and how much its threads ask for.

CPU time alone is not enough: on a busy machine, or where the scheduler keeps the threads of a short
burst on one core, two threads that work at once get no more of it than one. So the time that they
wait for a core counts too.
"""

from __future__ import annotations

import threading
import time

from harness.records import Usage
from harness.worker import system
from harness.worker.measure import SETTLE_LIMIT, settle

WINDOWS = (0.1, 0.2, 0.4)
"""Seconds in which nothing is asked. The least counts: on a busy machine a thread that is about to
sleep may wait for a core first."""
RESTLESS = 0.25
"""Cores that are asked for although nothing is to be done, from which on threads do not rest."""


class Demand:
    """Counts from its making on, without what the counting takes."""

    def __init__(self) -> None:
        self._asked, self._counters = _asked(), system.SampleCounters()

    def since(self, passed: float) -> tuple[float, float]:
        """What all threads, descendants included, got of a core; and with it what they waited for.

        The kernel counts a wait when it ends, however long ago it began: no thread counts for more
        than the time that has passed.
        """
        cpu = self._counters.spent().cpu_seconds
        asked = (it - self._asked.get(thread, 0.0) for thread, it in _asked().items())
        return cpu, max(cpu, sum(min(it, passed) for it in asked))


def restless(*, sure: bool) -> str:
    """Why threads of this process or its descendants work although nothing is asked of them; empty
    where they rest.

    A thread that works at all times shows at once; one that works now and then shows only after a
    moment, for which a caller that wants to be `sure` waits.
    """
    if settle() and not sure:
        return ""
    least = 0.0
    for seconds in WINDOWS:
        threads = _threads_at_work(seconds)
        least = min(least or threads, threads)
        if least < RESTLESS:
            return ""
    return f"{least:.1f} threads work on although nothing is asked of them"


def _threads_at_work(seconds: float) -> float:
    """How many cores all threads but this one ask for while this one sleeps."""
    caller = str(threading.get_native_id())
    before, waiting = _asked(), system.working_threads()
    begin = time.perf_counter()
    time.sleep(seconds)
    passed = time.perf_counter() - begin
    after, waiting = _asked(), waiting & system.working_threads()
    total = 0.0
    for thread, asked in after.items():
        grown = asked - before.get(thread, 0.0)
        # A wait that has not ended is not counted yet.
        grown = passed if grown == 0 and thread in waiting else min(grown, passed)
        total += grown if thread != caller else 0.0
    return total / passed


def _asked() -> dict[str, float]:
    """Of every thread that lives, so far; without those that the kernel does not count."""
    folders = [system.PROC / str(pid) for pid in ("self", *system.descendants())]
    return {it.thread: it.ran + it.waited for folder in folders for it in system.queues(folder)}


PATIENT_TURNS = 5
"""So many turns in a row may end without rest before less time is spent on the wait for it."""
SHORT_LIMIT = 0.2


class UsageCount:
    """Counts from its making on; its caller calls `turn_ended` and `turn_begun` alternately."""

    def __init__(self) -> None:
        self.usage = Usage()
        self._restless = 0
        self._last = self._now()

    def settle(self) -> bool:
        """Wait until all threads and processes rest; whether they do."""
        quiet = settle(SHORT_LIMIT if self._restless >= PATIENT_TURNS else SETTLE_LIMIT)
        self._restless = 0 if quiet else self._restless + 1
        return quiet

    def turn_ended(self, quiet: bool) -> None:
        seconds, cpu = self._passed()
        usage = self.usage
        self.usage = usage.model_copy(
            update={
                "turns": usage.turns + 1,
                "unsettled": usage.unsettled + (not quiet),
                "turn_seconds": usage.turn_seconds + seconds,
                "turn_cpu_seconds": usage.turn_cpu_seconds + cpu,
                "processes": max(usage.processes, system.still_running()),
                "memory": max(usage.memory, system.resident_of_descendants()),
            }
        )

    def turn_begun(self) -> None:
        seconds, cpu = self._passed()
        usage = self.usage
        self.usage = usage.model_copy(
            update={
                "between_seconds": usage.between_seconds + seconds,
                "between_cpu_seconds": usage.between_cpu_seconds + cpu,
            }
        )

    def _passed(self) -> tuple[float, float]:
        """Time and CPU time since the last call."""
        before, self._last = self._last, self._now()
        seconds, cpu = (now - then for then, now in zip(before, self._last, strict=True))
        return seconds, max(0.0, cpu)  # an ended process may take its time along

    def _now(self) -> tuple[float, float]:
        return time.perf_counter(), time.process_time() + system.cpu_of_descendants()
