"""The distribution of single iterations: percentiles of each block, and their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.analysis.compare import Blocks
from harness.analysis.intervals import Interval, median_interval
from harness.cells import Phase
from harness.records import Record
from harness.tasks.frozen import Frozen

PERCENTILES = (50, 95, 99)


class Latency(Frozen):
    """Seconds of single iterations of one cell of a latency phase.

    `p50`, `p95` and `p99` are medians over blocks of that block's percentile, with intervals; None
    where no block has enough readings for it, with the reason in `reason`. `maximum` is the
    largest reading seen in any block: it has no interval, and grows with the number of readings.
    `readings` is the number of readings of all blocks together.
    """

    readings: int
    blocks: int
    p50: Interval | None
    p95: Interval | None
    p99: Interval | None
    maximum: float
    reason: str = ""


def latency(blocks: Blocks, phase: Phase) -> Latency | None:
    """The cell's distribution, or None where no block kept single readings."""
    per_block = [it for record in blocks.values() if (it := readings(record, phase))]
    if not per_block:
        return None
    percentiles = {share: _over_blocks(per_block, share) for share in PERCENTILES}
    return Latency(
        readings=sum(map(len, per_block)),
        blocks=len(per_block),
        p50=percentiles[50],
        p95=percentiles[95],
        p99=percentiles[99],
        maximum=max(it[-1] for it in per_block),
        reason="; ".join(_shortage(it) for it in PERCENTILES if percentiles[it] is None),
    )


def readings(record: Record, phase: Phase) -> list[float]:
    """All single readings of one trial, sorted, in seconds."""
    measured = record.phase(phase)
    return sorted(it for sample in measured.samples for it in sample.readings) if measured else []


def percentile(ordered: Sequence[float], share: int) -> float:
    """The smallest reading that at least `share` percent of them do not exceed.

    A reading that was taken, never a mean of two (definition 1 of Hyndman & Fan 1996).
    """
    return ordered[math.ceil(share * len(ordered) / 100) - 1]


def needed(share: int) -> int:
    """Readings without which a percentile is no more than the maximum: 100 for the 99th."""
    return math.ceil(100 / (100 - share))


def _over_blocks(per_block: Sequence[Sequence[float]], share: int) -> Interval | None:
    values = [percentile(it, share) for it in per_block if len(it) >= needed(share)]
    return median_interval(values) if values else None


def _shortage(share: int) -> str:
    return f"no block has the {needed(share)} readings that p{share} needs"
