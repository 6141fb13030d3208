"""Timing one phase: first calls, warm-up, calibration, and samples."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from harness.adapter import Adapter
from harness.cells import Phase
from harness.records import Memory, PhaseRecord, Sample
from harness.worker.counters import PeakRSS, read_counters

MIN_WARMUP_CALLS, MAX_WARMUP_CALLS = 10, 2000
QUIET_SHARE, LOOK_SECONDS, SETTLE_LIMIT = 0.05, 0.01, 1.0


def iteration(adapter: Adapter, phase: Phase) -> Callable[[Any], Any]:
    """What one iteration of a phase calls, with a staged batch."""
    return {"train": adapter.train_step, "predict": adapter.predict}[phase]


def prepare_phase(
    adapter: Adapter,
    phase: Phase,
    batches: Sequence[Any],
    sample_seconds: float,
    warmup_seconds: float,
) -> PhaseRecord:
    """First and second call, warm-up with every reading kept, and the number of iterations.

    Memory peaks are those of these calls: they hold everything that a steady step needs.
    """
    run = iteration(adapter, phase)
    adapter.reset()
    adapter.synchronize()
    peak = PeakRSS()
    peak.reset()
    adapter.reset_device_memory()

    def timed(batch: Any) -> float:
        begin = time.perf_counter()
        run(batch)
        adapter.synchronize()
        return time.perf_counter() - begin

    cycle = itertools.cycle(batches)
    first, second = timed(next(cycle)), timed(next(cycle))
    warmup: list[float] = []
    while len(warmup) < MAX_WARMUP_CALLS and (
        sum(warmup) < warmup_seconds
        or (len(warmup) < MIN_WARMUP_CALLS and sum(warmup) < 10 * warmup_seconds)
    ):
        warmup.append(timed(next(cycle)))
    steady = statistics.median(warmup[len(warmup) // 2 :])
    device = adapter.device_memory()
    return PhaseRecord(
        phase=phase,
        first_call=first,
        second_call=second,
        warmup=tuple(warmup),
        iterations=max(1, round(sample_seconds / steady)),
        staged_batches=len(batches),
        memory=Memory(
            incremental_peak_rss=peak.incremental(),
            total_peak_rss=peak.total(),
            device_peak_allocated=device.peak_allocated if device else None,
            device_peak_reserved=device.peak_reserved if device else None,
        ),
    )


def take_sample(
    adapter: Adapter, phase: Phase, batches: Sequence[Any], iterations: int, round_: int, turn: int
) -> tuple[Sample, Any]:
    """One sample from the shared start, synchronised once, at its end; and its last handle."""
    run = iteration(adapter, phase)
    # Others ran meanwhile: threads wake and caches fill off the clock.
    run(batches[0])
    adapter.reset()
    adapter.synchronize()
    before = read_counters()
    begin = time.perf_counter()
    for batch in itertools.islice(itertools.cycle(batches), iterations):
        handle = run(batch)
    adapter.synchronize()
    seconds = time.perf_counter() - begin
    spent = read_counters().since(before)
    sample = Sample(
        round=round_,
        turn=turn,
        iterations=iterations,
        seconds=seconds,
        cpu_seconds=spent.cpu_seconds,
        voluntary_switches=spent.voluntary_switches,
        involuntary_switches=spent.involuntary_switches,
        steal_seconds=spent.steal_seconds,
    )
    return sample, handle


def settle() -> None:
    """Return when no thread of this process works any more, at the latest after SETTLE_LIMIT.

    A turn ends here: threads that are out of work spin before they sleep (OpenBLAS about 100 ms,
    OpenMP about 10 ms), on the very cores where the next worker is timed.
    """
    limit = time.perf_counter() + SETTLE_LIMIT
    while True:
        wall, cpu = time.perf_counter(), time.process_time()
        time.sleep(LOOK_SECONDS)
        quiet = time.process_time() - cpu < QUIET_SHARE * (time.perf_counter() - wall)
        if quiet or time.perf_counter() > limit:
            return
