"""What a worker uses in its turns, and between them, while others are timed."""

from __future__ import annotations

import time

from harness.records import Usage
from harness.worker.descendants import (
    cpu_of_descendants,
    resident_of_descendants,
    still_running,
)
from harness.worker.measure import SETTLE_LIMIT, settle

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
