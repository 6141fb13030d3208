"""How near a cell comes to what its device can do, and how much of a step is framework.

What no device could do was not done: it bars a setup from the ranking. The yardstick is never its
own. It is the best large product of other frameworks and of plain NumPy in any worker of the arena,
and the shortest bare products of a step, less what their calls cost. So a step that is compiled as
a whole, where dispatch is all that a small batch costs, lies within it.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping

from harness.analysis.compare import Blocks, Entry
from harness.analysis.intervals import Interval, median_interval
from harness.cells import Phase, Setup
from harness.records import Limits
from harness.tasks.costs import flops
from harness.tasks.frozen import Frozen
from harness.tasks.spec import Task

PEAK_MARGIN = 2.0
"""NumPy's best large product, by CPU time and in twelve processes on a machine with a load of 15,
came to 58 to 79 GFLOP/s; in float32 no library of one core's is known to be twice as fast."""
PRODUCTS_MARGIN = 4.0
"""Bare products of a small step, less their calls, scattered by a factor of 2, and a library for
small products may need half of the time of another."""


class Peak(Frozen):
    """What the device of an arena reaches in one large matrix product, in FLOP/s.

    Every worker multiplies in its own framework; `setup` is the one whose median over blocks is
    the largest, `flops` is that median, and `by_block` its rates.
    """

    setup: Setup
    flops: Interval
    by_block: dict[int, float]


class Efficiency(Frozen):
    """Shares and multiples of one cell, each with its interval over blocks.

    `of_peak` is the FLOP/s that the task's matrix products came to (they alone are counted) ÷ the
    peak of the device in the same block: 1 would be a device that never waits. `products` is the
    time of the step's bare matrix products in the cell's own framework, each called by itself;
    `over_products` is the step's time ÷ that. It may lie below 1, and two frameworks' do not
    compare: each product costs a dispatch, which a step that is compiled as a whole does without.
    Only blocks in which both were measured count. None where there is no such block, with the
    reason in `reason`.
    """

    of_peak: Interval | None
    over_products: Interval | None
    reason: str = ""
    products: Interval | None = None


def device_peak(setups: Mapping[Setup, Blocks]) -> Peak | None:
    """The best of the setups of one arena; None where no worker measured a peak."""
    peaks = [
        Peak(setup=setup, flops=median_interval(list(rates.values())), by_block=rates)
        for setup, blocks in setups.items()
        if (rates := _peaks(blocks))
    ]
    return max(peaks, key=lambda it: it.flops.estimate, default=None)


def efficiency(task: Task, phase: Phase, entry: Entry, peak: Peak | None) -> Efficiency:
    """One cell against its device."""
    measured = {} if peak is None else peak.by_block
    work = flops(task, phase)
    of_peak, over_products, bare = [], [], []
    for block, times in entry.steps[phase].items():
        record, step = entry.blocks[block], statistics.median(times.values())
        if block in measured:
            of_peak.append(work / step / measured[block])
        if record.limits and (products := record.limits.product_seconds.get(phase)):
            over_products.append(step / products)
            bare.append(products)
    reasons = []
    if not of_peak:
        reasons.append("the peak of the device was not measured")
    if not over_products:
        reasons.append("the bare matrix products were not measured")
    return Efficiency(
        of_peak=median_interval(of_peak) if of_peak else None,
        over_products=median_interval(over_products) if over_products else None,
        reason="; ".join(reasons),
        products=median_interval(bare) if bare else None,
    )


def _peaks(blocks: Blocks) -> dict[int, float]:
    return {
        block: it.limits.peak_flops
        for block, it in blocks.items()
        if it.limits and it.limits.peak_flops
    }


def impossible(task: Task, entries: Iterable[Entry]) -> dict[Setup, str]:
    """Which setups of one arena did what its device cannot do, and what that was."""
    timed = list(entries)
    found = {}
    for it in timed:
        limits = list(_of_others(it, timed))
        told = [why for phase in it.steps if (why := _too_fast(task, phase, it, limits))]
        if told:
            found[it.setup] = f"impossible: {'; '.join(told)}"
    return found


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
