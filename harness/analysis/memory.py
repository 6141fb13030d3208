"""Memory of one cell: kinds that are never mixed, beside the least that the mathematics needs."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from harness.analysis.compare import Blocks
from harness.cells import Cell
from harness.certificates import Certificate
from harness.records import Memory
from harness.tasks.costs import least_bytes
from harness.tasks.frozen import Frozen
from harness.tasks.spec import Task

UNCOUNTED = "the counter reads 0, so it does not count"


class Amount(Frozen):
    """Bytes, as the median of `n` counts, the least and the most of them.

    All are None where nothing was counted, with the reason in `reason`; never zero for that.
    """

    bytes: int | None
    low: int | None = None
    high: int | None = None
    n: int = 0
    reason: str = ""


class MemoryPeaks(Frozen):
    """Peaks of one cell, in bytes. Two kinds are never compared with one another.

    `incremental_rss` is the growth of resident memory over the phase's first calls and warm-up,
    code pages included; `total_rss` is all of the process; `logical` is the framework's own
    account of its tensors, from the proof's untimed process; `device_allocated` and
    `device_reserved` are the framework's count of device memory. `least` is what the mathematics
    needs: weights, slots, gradients, one batch, the activations that the gradients need.
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
    """The kind of memory that setups on one device run short of.

    On a GPU it is what frameworks allocate there, if all of them count it, else the resident memory
    of the whole process: all that the machine must have.
    """
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
        else "the framework keeps no such count for this device"
    )
    return MemoryPeaks(
        incremental_rss=_amount(counted, lambda it: it.incremental_peak_rss, no_mark, zero=True),
        total_rss=_amount(counted, lambda it: it.total_peak_rss, no_mark),
        logical=_logical(cell, certificate),
        device_allocated=_amount(counted, lambda it: it.device_peak_allocated, device),
        device_reserved=_amount(counted, lambda it: it.device_peak_reserved, device),
        least=least_bytes(task, cell.phase, cell.setup.dtype),
    )


def _amount(
    memories: Sequence[Memory],
    count: Callable[[Memory], int | None],
    reason: str,
    *,
    zero: bool = False,
) -> Amount:
    """The median of what was counted. Only a growth can be `zero`: all else holds the weights."""
    values = [it for memory in memories if (it := count(memory)) is not None]
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
