"""Timing one phase (first calls, warm-up, calibration, samples), and full trainings by epoch."""

from __future__ import annotations

import math
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple, cast

from harness.adapter import Adapter, Array, DeviceMemory, Idiom
from harness.cells import Lane, Phase
from harness.differences import LIMITS
from harness.records import Epoch, Growth, Memory, PhaseRecord, Sample
from harness.tasks.datasets import Arrays
from harness.tasks.metrics import METRICS
from harness.tasks.start import Start
from harness.worker import loops, system
from harness.worker.loops import Loop, Ran

MIN_WARMUP_READINGS, MAX_WARMUP_READINGS = 20, 2000
FEWEST_STEPS, FEWEST_SECONDS = 10, 0.1
"""A sample has so many steps, unless they take longer: the 16 rounds of a block then hold three of
the pauses that come at every fiftieth."""
POLL_SECONDS, SETTLE_LIMIT = 0.001, 1.0
STEPS_TO_DOUBLE = 40
"""How fast a difference of rounding may grow: in a thousand steps of the networks measured it grew
by a factor of a million, which is a doubling every 45 to 50 steps."""
SMALL_LOSS = 0.1
"""The scale of the difference of smaller losses: rounding is that of the logits."""


class Diverged(Exception):
    """The loss became NaN or infinite."""


class OtherWork(Exception):
    """A sample did not do what the sample before it did, from the same start."""


class Turn(NamedTuple):
    """The result and the cost of a timed stretch of steps; `growth` is of held memory, in bytes."""

    ran: Ran
    seconds: float
    spent: system.Counters
    growth: dict[str, float]


def take_turn(
    adapter: Adapter, loop: Loop, waking: int, iterations: int, timed: Loop | None = None
) -> Turn:
    """Steps from the shared start: `waking` ones off the clock, then those of the `timed` loop."""
    adapter.reset()
    woken = loop.run(waking)
    adapter.synchronize()
    timed = timed or loop
    # After the first steps, which take again what a reset gave back. Both times a handle is held.
    before = held_bytes(adapter)
    del woken
    watch = system.SampleCounters()
    begin = time.perf_counter()
    ran = timed.run(iterations, waking)
    adapter.synchronize()
    seconds = time.perf_counter() - begin
    counters, after = watch.spent(), held_bytes(adapter)
    growth = {name: after[name] - it for name, it in before.items() if name in after}
    return Turn(ran, seconds, counters, growth)


def held_bytes(adapter: Adapter) -> dict[str, float]:
    """Memory of this process and its descendants by fields of `Growth`, as far as it is counted."""
    device = adapter.device_memory()
    counts = {
        "resident": system.resident(),
        "allocated": system.allocated(),
        "device": device.allocated if device else None,
    }
    return {name: it for name, it in counts.items() if it is not None}


class PhaseRun:
    """One phase of one worker: `first_calls`, then `warm_up`, then samples.

    Memory peaks are those of first calls and warm-up: they hold everything that a steady step
    needs. `waking` steps precede those of a sample; `fastest` is the shortest step of any sample.
    The loop goes through the batches of `set`; by set, `losses` are those after a sample's steps,
    and `kept` are outputs of the last sample, with the number of their batch.
    """

    def __init__(self, adapter: Adapter, phase: Phase, loop: Loop, dtype: str) -> None:
        self._adapter = adapter
        self.loop = loop
        self._dtype = dtype
        self._peak = system.PeakRSS()
        self._earlier: DeviceMemory | None = None
        self.set = 0
        self.losses: dict[int, float] = {}
        self.kept: dict[int, tuple[int, Array]] = {}
        self.waking = 1
        self.fastest = math.inf
        self._growth: dict[str, list[float]] = defaultdict(list)
        self.record = PhaseRecord(
            phase=phase,
            first_call=0.0,
            second_call=0.0,
            warmup=(),
            iterations=0,
            staged_batches=loop.staged,
        )

    def first_calls(self) -> None:
        """The first two iterations, each by itself."""
        self._open()
        first, second = self._timed(1, 0), self._timed(1, 1)
        self._keep(first_call=first, second_call=second)

    def warm_up(self, sample_seconds: float, warmup_seconds: float) -> None:
        """Warm-up with every reading kept, and the number of iterations of a sample."""
        self._open()
        fewest, readings, spent = self.loop.fewest, list[float](), 0.0
        while len(readings) < MAX_WARMUP_READINGS and (
            spent < warmup_seconds
            or (len(readings) < MIN_WARMUP_READINGS and spent < 10 * warmup_seconds)
        ):
            seconds = self._timed(fewest, fewest * len(readings))
            readings.append(seconds / fewest)
            spent += seconds
        # The fastest: a neighbour that comes in bursts must not make all samples of a block short.
        fastest = min(readings[len(readings) // 2 :])
        fitting = min(round(sample_seconds / max(fastest, 1e-9)), self.loop.most or sys.maxsize)
        self.waking = max(1, fitting)
        steps = min(FEWEST_STEPS, round(FEWEST_SECONDS / max(fastest, 1e-9)))
        self._keep(warmup=tuple(readings), iterations=max(fewest, fitting, steps))

    def sample(self, round_: int, turn: int) -> Sample:
        """One sample, synchronised at its end; the same steps from the shared start every time.

        The first are off the clock, for about as long as a sample lasts: others ran meanwhile,
        threads wake and caches fill, and a framework's first steps after a reset take up to twice
        as long as later ones.
        Raises Diverged, and OtherWork if the loss is not that of the samples before.
        """
        iterations, train = self.record.iterations, self.record.phase.startswith("train")
        number = round_ // loops.ROUNDS_OF_A_SET % loops.SETS
        if number != self.set:
            loop = self.loop.over_set(number)
            if loop is not self.loop:
                self.loop, self.set = loop, number
        taken = take_turn(self._adapter, self.loop, self.waking, iterations)
        ran = taken.ran
        self.fastest = min(self.fastest, taken.seconds / iterations)
        for name, grown in taken.growth.items():
            self._growth[name].append(grown / iterations)
        if ran.kept and not train:
            call, handle = ran.kept
            batch = (self.waking + call) % self.loop.staged
            self.kept[self.set] = batch, self._adapter.to_numpy(handle)
        return Sample(
            round=round_,
            turn=turn,
            iterations=iterations,
            seconds=taken.seconds,
            load=system.load(),
            loss=self._checked(ran.handle) if train else None,
            readings=ran.readings,
            **taken.spent._asdict(),
        )

    @property
    def growth(self) -> Growth:
        """Of all samples so far."""
        return Growth(**{name: tuple(its) for name, its in self._growth.items()})

    def _checked(self, handle: object) -> float:
        loss, steps = finite_loss(self._adapter, handle), self.waking + self.record.iterations
        before = self.losses.setdefault(self.set, loss)
        if abs(loss - before) > allowed(before, loss, steps, self._dtype):
            raise OtherWork(
                f"a sample did other work than the one before: after {steps} steps from the "
                f"same start the loss was {loss:.9g}, not {before:.9g}"
            )
        return loss

    def _timed(self, iterations: int, offset: int) -> float:
        begin = time.perf_counter()
        self.loop.run(iterations, offset)
        self._adapter.synchronize()
        return time.perf_counter() - begin

    def _open(self) -> None:
        self._adapter.reset()
        self._adapter.synchronize()
        self._peak.open()
        anew = self._adapter.reset_device_memory()
        self._earlier = None if anew else self._adapter.device_memory()

    def _keep(self, **fields: object) -> None:
        peaks = {"total_peak_rss": self._peak.total()}
        device, earlier = self._adapter.device_memory(), self._earlier
        # A larger peak from before `_open` hides that of now.
        if device and not (earlier and device.peak_allocated <= earlier.peak_allocated):
            peaks["device_peak_allocated"] = device.peak_allocated
            peaks["device_peak_reserved"] = device.peak_reserved
        self._peak.close()
        before = self.record.memory or Memory(incremental_peak_rss=None, total_peak_rss=None)
        memory: dict[str, int | None] = {"incremental_peak_rss": self._peak.incremental}
        for name, peak in peaks.items():
            counts = [it for it in (peak, getattr(before, name)) if it is not None]
            memory[name] = max(counts, default=None)
        fields["memory"] = before.model_copy(update=memory)
        self.record = self.record.model_copy(update=fields)


def finite_loss(adapter: Adapter, handle: object) -> float:
    """The loss behind a handle; raises Diverged."""
    loss = float(adapter.to_numpy(handle))
    if not math.isfinite(loss):
        raise Diverged(f"the training loss became {loss}")
    return loss


def allowed(one: float, other: float, steps: int, dtype: str) -> float:
    """How far two losses of so many steps from one start may differ.

    Sums of floating-point numbers may be added in another order each time; from there on the
    difference grows with every step, until such a comparison says nothing any more.
    """
    return LIMITS[dtype].trajectory * growth(steps) * max(abs(one), abs(other), SMALL_LOSS)


def growth(steps: int) -> float:
    """How many times a difference of rounding may have grown after so many steps."""
    return math.exp2(min(steps / STEPS_TO_DOUBLE, 60))


def settle(most: float | None = None) -> bool:
    """Return when no other thread of this process works any more, at the latest after `most`
    seconds (SETTLE_LIMIT unless given); whether none does.

    A turn ends here: idle threads spin before they sleep (OpenBLAS about 100 ms, OpenMP about
    10 ms), on the cores where the next worker is timed.
    """
    limit = time.perf_counter() + (SETTLE_LIMIT if most is None else most)
    while True:
        time.sleep(POLL_SECONDS)
        if not system.others_work():
            return True
        if time.perf_counter() > limit:
            return False


@dataclass
class Training:
    """Trains from the shared start; epoch 0 begins there anew. `done` says whether any epoch was.

    In the idiomatic lane the adapter is an `Idiom`.
    """

    adapter: Adapter
    lane: Lane
    start: Start
    arrays: Arrays
    done: bool = False

    def epoch(self, number: int) -> Epoch:
        """The next epoch; its quality is evaluated off the clock. Raises Diverged."""
        if number == 0:
            self.adapter.reset()
        self.done = True
        train = self._in_portions if self.lane == "identical" else self._at_once
        seconds, loss = train(number)
        metric = self.start.task.metric
        outputs = loops.held_out(self.adapter, self.arrays)
        quality = METRICS[metric].function(outputs, self.arrays.y_test)
        if not math.isfinite(quality):
            raise Diverged(f"{metric} is {quality} on the test rows")
        return Epoch(epoch=number, seconds=seconds, loss=loss, quality=quality)

    def _in_portions(self, epoch: int) -> tuple[float, float]:
        """The harness's own loop; every portion of the data is staged off the clock."""
        adapter = self.adapter
        seconds, loss = 0.0, math.nan
        for portion in loops.epoch_portions(adapter, self.start, self.arrays, epoch):
            adapter.synchronize()
            begin = time.perf_counter()
            for batch in portion:
                handle = adapter.train_step(batch)
            adapter.synchronize()
            seconds += time.perf_counter() - begin
            loss = finite_loss(adapter, handle)
        return seconds, loss

    def _at_once(self, epoch: int) -> tuple[float, float]:
        """The framework's own loop, over a pipeline that it made off the clock."""
        idiom, order = cast(Idiom, self.adapter), self.start.epoch_order(epoch)
        loader = idiom.loader(self.arrays.x_train, self.arrays.y_train, order)
        idiom.synchronize()
        begin = time.perf_counter()
        handle = idiom.fit(loader, len(order))
        idiom.synchronize()
        seconds = time.perf_counter() - begin
        return seconds, finite_loss(idiom, handle)
