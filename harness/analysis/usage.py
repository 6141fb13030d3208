"""What setups use beside the work that is timed: threads that do not rest, more threads than were
asked for, memory that grows with every step.

Records of stores that kept none of it are silent: they disqualify nobody.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Literal

from harness.cells import PHASES, Phase, Setup
from harness.records import Record
from harness.tasks.spec import Frozen

BETWEEN_LIMIT = 0.05
"""Cores that a worker may keep busy while others are timed."""
LEAST_BETWEEN = 0.2
"""Seconds between turns without which that is not told: counters have steps."""
MORE_THREADS = 0.5
"""Cores that a worker may keep busy in its samples beside the threads that were asked for: whoever
hands the work over needs some time as well."""
LEAST_GROWTH = 1024.0
"""Bytes a step. What is less would take a million steps to fill a gigabyte."""
LEAST_SAMPLES, LEAST_BYTES = 5, 2**19
"""Of a block, for its growth: a page now and then is none."""

MemoryGrowth = Literal["resident", "allocated", "device"]


class SetupUsage(Frozen):
    """One setup over all its blocks that counted.

    Of `turns`, threads still worked at the end of `unsettled`. `between` are cores that it kept
    busy while others were timed, the median over blocks; `busy` are those in its samples. Of the
    processes that it started `processes` is the most at once, `memory` what they held. `growth` is
    what memory grows by in a phase, `device_growth` that of the device, in bytes a step;
    phases in which most blocks do not grow are left out.
    """

    setup: Setup
    turns: int
    unsettled: int
    between: float | None
    busy: float | None
    processes: int
    memory: int
    growth: dict[Phase, float]
    device_growth: dict[Phase, float]

    @property
    def remarkable(self) -> bool:
        """Whether there is anything to say of it."""
        return bool(self.unsettled or self.processes or self.faults)

    @property
    def faults(self) -> tuple[str, ...]:
        """Why it is not ranked, a sentence each: what it hides slows others, or is not counted."""
        return tuple(
            why
            for why in (
                self._unsettled,
                self._between,
                self._busy,
                *_grows(self.growth, "memory"),
                *_grows(self.device_growth, "device memory"),
            )
            if why
        )

    @property
    def _unsettled(self) -> str:
        if 2 * self.unsettled <= self.turns:
            return ""
        return (
            f"its threads still worked after {self.unsettled} of {self.turns} turns, and slow "
            "whatever is timed next"
        )

    @property
    def _between(self) -> str:
        if self.between is None or self.between <= BETWEEN_LIMIT:
            return ""
        return f"it keeps {self.between:.2f} cores busy between its turns, while others are timed"

    @property
    def _busy(self) -> str:
        asked = self.setup.threads
        # What keeps a device busy is not counted in threads.
        if self.setup.processor != "cpu" or self.busy is None or self.busy <= asked + MORE_THREADS:
            return ""
        return f"it keeps {self.busy:.1f} cores busy, with {asked} thread{'s' * (asked > 1)} asked"


def setup_usage(records: Iterable[Record]) -> SetupUsage | None:
    """That of one setup, all its good records given; None where none of them counted."""
    counted = [it for it in records if it.usage]
    if not counted:
        return None
    usages = [it.usage for it in counted if it.usage]
    between = [
        it.between_cpu_seconds / it.between_seconds
        for it in usages
        if it.between_seconds >= LEAST_BETWEEN
    ]
    busy = [it for record in counted if (it := _busy(record)) is not None]
    return SetupUsage(
        setup=counted[0].setup,
        turns=sum(it.turns for it in usages),
        unsettled=sum(it.unsettled for it in usages),
        between=statistics.median(between) if between else None,
        busy=statistics.median(busy) if busy else None,
        processes=max(it.processes for it in usages),
        memory=max(it.memory for it in usages),
        growth=_growth(counted, "allocated") | _growth(counted, "resident"),
        device_growth=_growth(counted, "device"),
    )


def usage_faults(records: Iterable[Record]) -> tuple[str, ...]:
    """Why a setup may not be ranked; empty where it may."""
    found = setup_usage(records)
    return found.faults if found else ()


def grown(samples: Sequence[float], iterations: int) -> float:
    """Bytes a step, from those of a block's samples of so many iterations; 0 where most of them
    show none.

    The smaller of median and mean: memory that is taken once does not move the one, and what is
    taken with every step and given back every now and then, the other.
    """
    if len(samples) < LEAST_SAMPLES:
        return 0.0
    found = min(statistics.median(samples), statistics.fmean(samples))
    real = found >= LEAST_GROWTH and found * iterations * len(samples) >= LEAST_BYTES
    return found if real else 0.0


def bytes_text(size: float) -> str:
    """`1.2 kB`, `200 kB`, `3.4 MB`."""
    unit, by = ("MB", 1e6) if size >= 1e6 else ("kB", 1e3)
    return f"{size / by:.3g} {unit}"


def _growth(records: Sequence[Record], kind: MemoryGrowth) -> dict[Phase, float]:
    """Of the phases in which most blocks grow, the median of those that do."""
    found: dict[Phase, float] = {}
    for phase in PHASES:
        judged = [
            grown(samples, measured.iterations)
            for record in records
            if record.usage
            and (measured := record.phase(phase))
            and (growth := record.usage.growth.get(phase))
            and len(samples := getattr(growth, kind)) >= LEAST_SAMPLES
        ]
        grows = [it for it in judged if it]
        if 2 * len(grows) > len(judged):
            found[phase] = statistics.median(grows)
    return found


def _grows(growth: dict[Phase, float], what: str) -> list[str]:
    return [f"{phase}: {what} grows by {bytes_text(it)} a step" for phase, it in growth.items()]


def _busy(record: Record) -> float | None:
    samples = [it for phase in record.phases for it in phase.samples]
    if not samples:
        return None
    return sum(it.cpu_seconds for it in samples) / sum(it.seconds for it in samples)
