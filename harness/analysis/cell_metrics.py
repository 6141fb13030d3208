"""Numbers of one cell: efficiency, latency and memory.

Efficiency compares a cell with what its device can do. A setup that exceeds it did not do its work,
and is not ranked. The limit never comes from the setup itself: it is the best large product of
other frameworks and of plain NumPy in any worker of the group, and the shortest bare products of a
step, less what their calls cost. So a step that is compiled as a whole lies within it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from harness.analysis.pairs import Blocks, Entry
from harness.analysis.stats import Ends, Interval, interval_of, median_interval, reach
from harness.cells import Cell, Phase, Setup
from harness.certificates import Certificate
from harness.records import Limits
from harness.tasks.costs import flops, least_bytes
from harness.tasks.spec import Frozen, Task

PEAK_MARGIN = 2.0
"""NumPy's best large product, by CPU time and in twelve processes on a machine with a load of 15,
came to 58 to 79 GFLOP/s; in float32 no library of one core's is known to be twice as fast."""
PRODUCTS_MARGIN = 4.0
"""Bare products of a small step, less their calls, scattered by a factor of 2, and a library for
small products may need half of the time of another."""


class Peak(Frozen):
    """The rate of one large matrix product on the device of a group, in FLOP/s.

    Every worker multiplies in its own framework; `setup` is the one whose median over blocks,
    `flops`, is the largest, and `by_block` has its rates.
    """

    setup: Setup
    flops: Interval
    by_block: dict[int, float]


class Efficiency(Frozen):
    """Shares and multiples of one cell, each with its interval over blocks.

    `of_peak` is the FLOP/s of the task's matrix products (they alone are counted) ÷ the peak of the
    device in the same block. `products` is the time of the step's bare matrix products in the
    cell's own framework and mode: one program where the mode compiles its step into one, else one
    call a product; `over_products` is the step's time ÷ that. Those of two frameworks do not
    compare: they contain the cost of a call. None without a block in which both were measured, for
    the `reason`.
    """

    of_peak: Interval | None
    over_products: Interval | None
    reason: str = ""
    products: Interval | None = None


def device_peak(setups: Mapping[Setup, Blocks]) -> Peak | None:
    """The best of the setups of one group; None where no worker measured a peak."""
    peaks = []
    for setup, blocks in setups.items():
        limits = {block: record.limits for block, record in blocks.items() if record.limits}
        rates = {block: it.peak_flops for block, it in limits.items() if it.peak_flops}
        if rates:
            rate = median_interval([*rates.values()])
            peaks.append(Peak(setup=setup, flops=rate, by_block=rates))
    return max(peaks, key=lambda it: it.flops.estimate, default=None)


def efficiency(task: Task, phase: Phase, entry: Entry, peak: Peak | None) -> Efficiency:
    rates, steps = peak.by_block if peak else {}, entry.steady[phase]
    work = flops(task, phase)
    products = {
        block: seconds
        for block in steps
        if (limits := entry.blocks[block].limits) and (seconds := limits.product_seconds.get(phase))
    }
    shares = (work / step / rates[block] for block, step in steps.items() if block in rates)
    of_peak = interval_of(shares)
    reasons = []
    if of_peak is None:
        reasons.append("the peak of the device was not measured")
    if not products:
        reasons.append("the bare matrix products were not measured")
    return Efficiency(
        of_peak=of_peak,
        over_products=interval_of(steps[block] / it for block, it in products.items()),
        reason="; ".join(reasons),
        products=interval_of(products.values()),
    )


def impossible(task: Task, entries: Iterable[Entry]) -> dict[Setup, str]:
    """Which setups of one group did what its device cannot do, and what that was."""
    timed = list(entries)
    reasons = {}
    for entry in timed:
        limits = list(_of_others(entry, timed))
        faults = [why for phase in entry.steps if (why := _too_fast(task, phase, entry, limits))]
        if faults:
            reasons[entry.setup] = f"impossible: {'; '.join(faults)}"
    return reasons


def _of_others(entry: Entry, entries: Iterable[Entry]) -> Iterator[Limits]:
    """What other frameworks reached, and NumPy in any worker."""
    for other in entries:
        for record in other.records:
            if record.limits and other.setup.framework != entry.setup.framework:
                yield record.limits
            if record.limits and record.limits.plain:
                yield record.limits.plain


def _too_fast(task: Task, phase: Phase, entry: Entry, limits: Iterable[Limits]) -> str:
    """By the slow end of the step's interval, or of its range where there is none."""
    if not entry.steps[phase]:
        return ""
    step = median_interval([*entry.steady[phase].values()])
    slow = step.high or step.most or step.estimate
    peak = max((it.peak_flops for it in limits if it.peak_flops), default=None)
    if peak and (times := flops(task, phase) / slow / peak) > PEAK_MARGIN:
        return f"{phase} at {times:.3g} × the device's peak"
    arithmetic = [
        it.product_seconds[phase] - it.dispatch_seconds[phase]
        for it in limits
        if phase in it.product_seconds and phase in it.dispatch_seconds
    ]
    if arithmetic and slow * PRODUCTS_MARGIN < min(arithmetic):
        return f"a {phase} step in {slow / min(arithmetic):.2g} × the time of its bare products"
    return ""


PERCENTILES = (50, 95, 99)


class Latency(Frozen):
    """Seconds of single iterations of one cell of a latency phase.

    `p50`, `p95` and `p99` are medians over blocks of that block's percentile; None where no block
    has enough readings, for the `reason`. `maximum` is the largest of all `readings`: it has no
    interval, and grows with their number.
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
    measured = [it.samples for record in blocks.values() if (it := record.phase(phase))]
    readings = (sorted(it for sample in samples for it in sample.readings) for samples in measured)
    per_block = [it for it in readings if it]
    if not per_block:
        return None
    percentiles = {
        share: interval_of(percentile(it, share) for it in per_block if len(it) >= needed(share))
        for share in PERCENTILES
    }
    missing = (
        f"no block has the {needed(share)} readings that p{share} needs"
        for share in PERCENTILES
        if percentiles[share] is None
    )
    return Latency(
        readings=sum(map(len, per_block)),
        blocks=len(per_block),
        p50=percentiles[50],
        p95=percentiles[95],
        p99=percentiles[99],
        maximum=max(it[-1] for it in per_block),
        reason="; ".join(missing),
    )


def percentile(ordered: Sequence[float], share: int) -> float:
    """The smallest reading that at least `share` percent of them do not exceed: never a mean of two
    (definition 1 of Hyndman & Fan 1996)."""
    return ordered[math.ceil(share * len(ordered) / 100) - 1]


def needed(share: int) -> int:
    """Readings without which a percentile is no more than the maximum: 100 for the 99th."""
    return math.ceil(100 / (100 - share))


UNCOUNTED = "the counter reads 0, so it does not count"


class Amount(Frozen):
    """Bytes, as the median of `n` counts, with the least and the most of them.

    None, never zero, where nothing was counted, for the `reason`.
    """

    bytes: int | None
    low: int | None = None
    high: int | None = None
    n: int = 0
    reason: str = ""

    @property
    def reach(self) -> Ends | None:
        """Where its counts lie, see `stats.reach`; None of too few."""
        return None if self.low is None or self.high is None else reach(self.low, self.high, self.n)


class MemoryPeaks(Frozen):
    """Peaks of one cell, in bytes. Two kinds are never compared with one another.

    `incremental_rss` is the growth of resident memory over the phase's first calls and warm-up,
    code pages included; `total_rss` is all of the process; `logical` is the framework's own account
    of its tensors, from the proof's untimed process; `device_allocated` and `device_reserved` are
    the framework's count of device memory. `least` is what the mathematics needs: weights, slots,
    gradients, one batch, the activations that the gradients need.
    """

    incremental_rss: Amount
    total_rss: Amount
    logical: Amount
    device_allocated: Amount
    device_reserved: Amount
    least: int

    @property
    def logical_over_least(self) -> float | None:
        """How many times the least the framework's own account comes to."""
        return None if self.logical.bytes is None else self.logical.bytes / self.least


MemoryKind = Literal["total_rss", "device_allocated"]
"""Two kinds of `MemoryPeaks`."""


def scarce(device: str, peaks: Iterable[MemoryPeaks]) -> MemoryKind:
    """The kind of memory that is scarce: on a GPU what frameworks allocate there, if all of them
    count it, else the resident memory of the whole process."""
    counted = device != "cpu" and all(it.device_allocated.bytes for it in peaks)
    return "device_allocated" if counted else "total_rss"


def memory_peaks(
    task: Task, cell: Cell, blocks: Blocks, certificate: Certificate | None
) -> MemoryPeaks:
    """All peaks of one cell; `certificate` is its setup's, where it has one."""
    phases = [it for record in blocks.values() if (it := record.phase(cell.phase))]
    counted = [it.memory for it in phases if it.memory]
    no_mark = "the kernel's high-water mark could not be reset or read"
    device = (
        "runs on the CPU"
        if cell.setup.processor == "cpu"
        else "the framework keeps no such count for this device, or cannot begin a new one"
    )
    return MemoryPeaks(
        incremental_rss=_amount([it.incremental_peak_rss for it in counted], no_mark, zero=True),
        total_rss=_amount([it.total_peak_rss for it in counted], no_mark),
        logical=_logical(cell, certificate),
        device_allocated=_amount([it.device_peak_allocated for it in counted], device),
        device_reserved=_amount([it.device_peak_reserved for it in counted], device),
        least=least_bytes(task, cell.phase, cell.setup.dtype),
    )


def _amount(read: Iterable[int | None], reason: str, *, zero: bool = False) -> Amount:
    """The median of what was counted. Only a growth can be `zero`: all else holds the weights."""
    values = [it for it in read if it is not None]
    counts = [it for it in values if it or zero]
    if not counts:
        return Amount(bytes=None, reason=UNCOUNTED if values else reason)
    return Amount(
        bytes=round(statistics.median(counts)), low=min(counts), high=max(counts), n=len(counts)
    )


def _logical(cell: Cell, certificate: Certificate | None) -> Amount:
    if certificate is None:
        return Amount(bytes=None, reason="this setup has no certificate")
    if cell.phase not in certificate.logical_peak:
        return Amount(bytes=None, reason="the proof did not look at this phase")
    peak = certificate.logical_peak[cell.phase]
    if peak is None:
        return Amount(bytes=None, reason="the framework keeps no account of its tensors")
    if peak == 0:
        return Amount(bytes=None, reason=UNCOUNTED)
    return Amount(bytes=peak, low=peak, high=peak, n=1)
