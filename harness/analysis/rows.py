"""One row of a table: what a cell did over all its blocks."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence

from harness.analysis.compare import Entry
from harness.analysis.efficiency import Efficiency, Peak, efficiency
from harness.analysis.intervals import Interval, median_interval
from harness.analysis.latency import Latency, latency
from harness.analysis.memory import MemoryPeaks, memory_peaks
from harness.analysis.startup import Startup, startups
from harness.analysis.steadiness import Steadiness, steadiness
from harness.cells import Cell, Phase
from harness.certificates import Certificate
from harness.records import Memory, PhaseRecord
from harness.tasks.costs import flops, rows_of
from harness.tasks.frozen import Frozen
from harness.tasks.spec import Task


class CellRow(Frozen):
    """One cell over all its blocks. Times in seconds, memory in bytes, medians over blocks.

    `step` is the median step of a block and `mean_step` its mean, pauses included; throughput
    (`examples_per_second`, `gflops`) is that of the mean step.
    `cpu_share` is CPU time ÷ wall time, all threads together: 2 means two busy cores. None means
    that nothing was counted; imports and builds count only where a worker started alone, and so do
    first calls, unless none did. `starts` has them with intervals, warm and cold caches apart;
    `peaks` has every kind of memory beside the least possible; `latency` is None but in the latency
    phases. `proof` says why the setup counts as unproven, empty where it is
    proven; `faults` are settings of its own that bar it from the ranking.
    """

    cell: Cell
    step: Interval
    examples_per_second: Interval
    gflops: float
    import_seconds: float | None
    build_seconds: float | None
    first_call: float
    second_call: float
    cpu_share: float
    involuntary_switches_per_second: float
    memory: Memory
    peaks: MemoryPeaks
    starts: tuple[Startup, ...]
    steadiness: Steadiness
    latency: Latency | None
    efficiency: Efficiency
    proof: str = ""
    faults: tuple[str, ...] = ()
    mean_step: Interval | None = None

    @property
    def unranked(self) -> str:
        """Why the cell is not ranked; empty where it may be."""
        return self.proof or "; ".join(self.faults)


def cell_row(
    task: Task,
    entry: Entry,
    phase: Phase,
    *,
    peak: Peak | None = None,
    certificate: Certificate | None = None,
    proof: str = "",
    faults: tuple[str, ...] = (),
) -> CellRow:
    """The row of an entry that has step times in the phase; `peak` is what its device reaches."""
    cell = Cell(setup=entry.setup, phase=phase)
    timed = entry.steps[phase]
    records = [entry.blocks[block] for block in timed]
    alone = [it for it in records if it.alone]
    phases = [it for record in records if (it := record.phase(phase))]
    firsts = [it for record in alone or records if (it := record.phase(phase))]
    step = median_interval([*entry.steady[phase].values()])
    mean_step = median_interval(
        [statistics.fmean(it.values()) for it in entry.means[phase].values()]
    )
    samples = [sample for it in phases for sample in it.samples]
    wall = sum(sample.seconds for sample in samples)
    return CellRow(
        cell=cell,
        step=step,
        examples_per_second=mean_step.inverted(rows_of(task, phase)),
        gflops=flops(task, phase) / mean_step.estimate / 1e9,
        import_seconds=_median(it.import_seconds for it in alone),
        build_seconds=_median(it.build_seconds for it in alone),
        first_call=statistics.median(it.first_call for it in firsts),
        second_call=statistics.median(it.second_call for it in firsts),
        cpu_share=sum(sample.cpu_seconds for sample in samples) / wall,
        involuntary_switches_per_second=sum(it.involuntary_switches for it in samples) / wall,
        memory=_memory(phases),
        peaks=memory_peaks(task, cell, entry.blocks, certificate),
        starts=startups(entry, phase),
        steadiness=steadiness(entry, phase),
        latency=latency(entry.blocks, phase),
        efficiency=efficiency(task, phase, entry, peak),
        proof=proof,
        faults=faults,
        mean_step=mean_step,
    )


def _median(values: Iterable[float | None]) -> float | None:
    """The median of what was counted, or None."""
    counted = [it for it in values if it is not None]
    return statistics.median(counted) if counted else None


def _memory(phases: Sequence[PhaseRecord]) -> Memory:
    def median(count: Callable[[Memory], int | None]) -> int | None:
        peak = _median(count(it.memory) for it in phases if it.memory)
        return None if peak is None else int(peak)

    return Memory(
        incremental_peak_rss=median(lambda it: it.incremental_peak_rss),
        total_peak_rss=median(lambda it: it.total_peak_rss),
        device_peak_allocated=median(lambda it: it.device_peak_allocated),
        device_peak_reserved=median(lambda it: it.device_peak_reserved),
    )
