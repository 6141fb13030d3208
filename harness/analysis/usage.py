"""What setups use outside the work that is timed: threads that do not rest, more threads than were
asked for, memory that grows with every step. Records of older stores have none of it.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from harness.analysis.stats import median_of
from harness.cells import PHASES, Phase, Setup
from harness.records import Record
from harness.tasks.spec import Frozen

BETWEEN_LIMIT = 0.05
"""Cores that a worker may keep busy while others are timed."""
LEAST_BETWEEN = 0.2
"""Fewest seconds between turns that show it: counters have steps."""
MORE_THREADS = 0.5
"""Cores that a worker may keep busy in its samples in addition to the threads that were asked for:
handing the work over takes some time as well."""
LEAST_GROWTH = 1024.0
"""Bytes a step. What is less would take a million steps to fill a gigabyte."""
LEAST_SAMPLES, LEAST_BYTES = 5, 2**19
"""Of a block, for its growth: a page now and then is none."""

MemoryGrowth = Literal["resident", "allocated", "device"]


class SetupUsage(Frozen):
    """One setup over all its blocks that counted.

    After `unsettled` of its `turns` threads still worked. `between` are cores that it kept busy
    while others were timed, the median over blocks; `busy` are those in its samples. Of the
    processes that it started `processes` is the most at once, `memory` what they held. `growth` is
    what memory grows by in a phase, `device_growth` that of the device, in bytes a step, where most
    blocks grow.
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
        return bool(self.unsettled or self.processes or self.faults)

    @property
    def faults(self) -> tuple[str, ...]:
        """Why it is not ranked, a sentence each: what it hides slows others, or is not counted."""
        return tuple(self._faults())

    def _faults(self) -> Iterator[str]:
        if 2 * self.unsettled > self.turns:
            yield (
                f"its threads still worked after {self.unsettled} of {self.turns} turns, and slow "
                "whatever is timed next"
            )
        if self.between is not None and self.between > BETWEEN_LIMIT:
            cores = f"{self.between:.2f} cores"
            yield f"it keeps {cores} busy between its turns, while others are timed"
        asked = self.setup.threads
        # What keeps a device busy is not counted in threads.
        on_cpu = self.setup.processor == "cpu"
        if on_cpu and self.busy is not None and self.busy > asked + MORE_THREADS:
            threads = f"{asked} thread{'s' * (asked > 1)}"
            yield f"it keeps {self.busy:.1f} cores busy, with {threads} asked"
        for growth, what in ((self.growth, "memory"), (self.device_growth, "device memory")):
            for phase, size in growth.items():
                yield f"{phase}: {what} grows by {bytes_text(size)} a step"


def setup_usage(records: Iterable[Record]) -> SetupUsage | None:
    """That of one setup, all its good records given; None where none of them counted."""
    counted = [it for it in records if it.usage]
    if not counted:
        return None
    usages = [it.usage for it in counted if it.usage]
    spaced = [it for it in usages if it.between_seconds >= LEAST_BETWEEN]
    return SetupUsage(
        setup=counted[0].setup,
        turns=sum(it.turns for it in usages),
        unsettled=sum(it.unsettled for it in usages),
        between=median_of(it.between_cpu_seconds / it.between_seconds for it in spaced),
        busy=median_of(map(_busy, counted)),
        processes=max(it.processes for it in usages),
        memory=max(it.memory for it in usages),
        growth=_growth(counted, "allocated") | _growth(counted, "resident"),
        device_growth=_growth(counted, "device"),
    )


def usage_faults(records: Iterable[Record]) -> tuple[str, ...]:
    """Why a setup may not be ranked; empty where it may."""
    usage = setup_usage(records)
    return usage.faults if usage else ()


def grown(samples: Sequence[float], iterations: int) -> float:
    """Bytes a step, from those of a block's samples; 0 where most of them show none.

    The smaller of median and mean: memory that is taken once does not move the one, and what is
    taken with every step and given back every now and then, the other.
    """
    if len(samples) < LEAST_SAMPLES:
        return 0.0
    growth = min(statistics.median(samples), statistics.fmean(samples))
    real = growth >= LEAST_GROWTH and growth * iterations * len(samples) >= LEAST_BYTES
    return growth if real else 0.0


def bytes_text(size: float) -> str:
    """`1.2 kB`, `200 kB`, `3.4 MB`."""
    unit, by = ("MB", 1e6) if size >= 1e6 else ("kB", 1e3)
    return f"{size / by:.3g} {unit}"


def _growth(records: Sequence[Record], kind: MemoryGrowth) -> dict[Phase, float]:
    """Of the phases in which most blocks grow, the median of those that do."""
    medians: dict[Phase, float] = {}
    for phase in PHASES:
        counted = [
            grown(samples, measured.iterations)
            for record in records
            if record.usage
            and (measured := record.phase(phase))
            and (growth := record.usage.growth.get(phase))
            and len(samples := getattr(growth, kind)) >= LEAST_SAMPLES
        ]
        grows = [size for size in counted if size]
        if 2 * len(grows) > len(counted):
            medians[phase] = statistics.median(grows)
    return medians


def _busy(record: Record) -> float | None:
    samples = [it for phase in record.phases for it in phase.samples]
    if not samples:
        return None
    return sum(it.cpu_seconds for it in samples) / sum(it.seconds for it in samples)
