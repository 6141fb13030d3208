"""How much computing the threads of this process ask for: the time they run, and the time they
stand in line for a core.

CPU time alone would not do: on a busy machine, or where the scheduler keeps the threads of a short
burst on one core, two threads that work at once get no more of it than one.
"""

from __future__ import annotations

import time
from pathlib import Path

from harness.runs.contention import queues

SELF = Path("/proc/self")


class Demand:
    """Counts from its making on."""

    def __init__(self) -> None:
        self._cpu, self._asked = time.process_time(), _asked()

    def seconds(self, passed: float) -> tuple[float, float]:
        """CPU time; and with it the waiting, of those threads that still live.

        The kernel books a wait when it ends, however long ago it began: no thread counts for more
        than the time that has passed.
        """
        cpu = time.process_time() - self._cpu
        asked = (it - self._asked.get(thread, 0.0) for thread, it in _asked().items())
        return cpu, max(cpu, sum(min(it, passed) for it in asked))


def _asked() -> dict[str, float]:
    """Of every thread that lives, so far; without those of which the kernel counts nothing."""
    return {it.thread: it.ran + it.waited for it in queues(SELF)}
