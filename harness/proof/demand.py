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

    def seconds(self) -> tuple[float, float]:
        """CPU time; and with it the waiting, of those threads that still live."""
        cpu = time.process_time() - self._cpu
        return cpu, max(cpu, _asked() - self._asked)


def _asked() -> float:
    """Of all threads that live, so far; 0 where the kernel does not count their waiting."""
    total = 0
    try:
        threads = os.listdir(THREADS)
    except OSError:
        return 0.0
    for thread in threads:
        try:
            ran, waited, _ = (THREADS / thread / "schedstat").read_text(encoding="ascii").split()
        except (OSError, ValueError):  # it has just ended, or nothing is counted here
            continue
        total += int(ran) + int(waited)
    return total / 1e9
