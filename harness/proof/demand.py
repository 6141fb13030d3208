"""How much computing the threads of this process ask for: the time they run, and the time they
stand in line for a core.

CPU time alone would not do: on a busy machine, or where the scheduler keeps the threads of a short
burst on one core, two threads that work at once get no more of it than one.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

THREADS = Path("/proc/self/task")


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
    seconds: dict[str, float] = {}
    try:
        threads = os.listdir(THREADS)
    except OSError:
        return seconds
    for thread in threads:
        try:
            ran, waited, _ = (THREADS / thread / "schedstat").read_text(encoding="ascii").split()
        except (OSError, ValueError):  # it has just ended, or nothing is counted here
            continue
        seconds[thread] = (int(ran) + int(waited)) / 1e9
    return seconds
