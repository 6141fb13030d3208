"""Timing one phase (first calls, warm-up, calibration, samples), and full trainings by epoch.

The quality of a training is evaluated off the clock.
"""

from __future__ import annotations

import math
import sys
import time
from typing import NamedTuple, cast

import numpy as np

from harness.adapter import Adapter, Array, DeviceMemory, Idiom
from harness.cells import Lane, Phase
from harness.records import Epoch, Growth, Memory, PhaseRecord, Sample
from harness.tasks.datasets import Arrays
from harness.tasks.metrics import METRICS
from harness.tasks.spec import Task
from harness.tasks.start import Start
from harness.worker import loops
from harness.worker.loops import Loop, Ran, set_of
from harness.worker.system import (
    Counters,
    PeakRSS,
    SampleCounters,
    allocated,
    load,
    others_work,
    resident,
)

MIN_WARMUP_READINGS, MAX_WARMUP_READINGS = 20, 2000
FEWEST_STEPS, FEWEST_SECONDS = 10, 0.1
"""A sample has so many steps, unless they take longer: the 16 rounds of a block then hold three of
the pauses that come at every fiftieth."""
LOOK_SECONDS, SETTLE_LIMIT = 0.001, 1.0
ROUNDING = {"float32": 1e-5, "float64": 1e-9}
"""By how much losses of the same steps may differ: what the proof of sameness allows over its
first steps."""
STEPS_TO_DOUBLE = 40
"""How fast such a difference may grow: in a thousand steps of the networks measured it grew by a
factor of a million, which is a doubling every 45 to 50 steps."""
SMALL_LOSS = 0.1
"""Of smaller losses the difference counts in this scale: rounding is that of the logits."""


class Diverged(Exception):
    """The loss became NaN or infinite."""


class OtherWork(Exception):
    """A sample did not do what the sample before it did, from the same start."""


class HeldMemory(NamedTuple):
    """Memory that is held at one moment, in bytes, and its growth in bytes a step; None where it
    is not counted."""

    resident: float | None
    allocated: float | None
    device: float | None


class Turn(NamedTuple):
    """What a timed stretch of steps handed out and took; what was held before it and after it."""

    ran: Ran
    seconds: float
    spent: Counters
    before: HeldMemory
    after: HeldMemory

    def growth(self, iterations: int) -> HeldMemory:
        """What is held since, a step."""
        return HeldMemory(
            *(
                None if before is None or after is None else (after - before) / iterations
                for before, after in zip(self.before, self.after, strict=True)
            )
        )


def take_turn(
    adapter: Adapter, loop: Loop, waking: int, iterations: int, timed: Loop | None = None
) -> Turn:
    """Steps from the shared start: some off the clock, then those that are timed.

    The timed steps are those of another loop where one is given.
    """
    adapter.reset()
    woken = loop.run(waking)
    adapter.synchronize()
    timed = timed or loop
    # After the first steps: what a reset gave back they take again. Both times a handle is held.
    before = held(adapter)
    del woken
    watch = SampleCounters()
    begin = time.perf_counter()
    ran = timed.run(iterations, waking)
    adapter.synchronize()
    seconds = time.perf_counter() - begin
    return Turn(ran, seconds, watch.spent(), before, held(adapter))


def held(adapter: Adapter) -> HeldMemory:
    """What this process and its descendants hold now."""
    device = adapter.device_memory()
    return HeldMemory(resident(), allocated(), device.allocated if device else None)


class Kept(NamedTuple):
    """Outputs of a call in a sample that was timed, for the batch of a number."""

    batch: int
    outputs: Array


class PhaseRun:
    """One phase of one worker: `first_calls`, then `warm_up`, then samples.

    Memory peaks are those of first calls and warm-up: they hold everything that a steady step
    needs. `waking` steps precede those of a sample; `fastest` is the shortest step of any sample.
    The loop goes through the batches of `set`; by set, `losses` are those after a sample's steps,
    and `kept` are outputs of the last sample.
    """

    def __init__(self, adapter: Adapter, phase: Phase, loop: Loop, dtype: str) -> None:
        self._adapter = adapter
        self.loop = loop
        self._dtype = dtype
        self._peak = PeakRSS()
        self._total: int | None = None
        self._device: DeviceMemory | None = None
        self._earlier: DeviceMemory | None = None
        self.set = 0
        self.losses: dict[int, float] = {}
        self.kept: dict[int, Kept] = {}
        self.waking = 1
        self.fastest = math.inf
        self._growth: list[HeldMemory] = []
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
        if (number := set_of(round_)) != self.set:
            loop = self.loop.over_set(number)
            if loop is not self.loop:
                self.loop, self.set = loop, number
        taken = take_turn(self._adapter, self.loop, self.waking, iterations)
        ran, seconds, spent = taken.ran, taken.seconds, taken.spent
        self.fastest = min(self.fastest, seconds / iterations)
        self._growth.append(taken.growth(iterations))
        if ran.kept and not train:
            call, handle = ran.kept
            batch = (self.waking + call) % self.loop.staged
            self.kept[self.set] = Kept(batch, self._adapter.to_numpy(handle))
        return Sample(
            round=round_,
            turn=turn,
            iterations=iterations,
            seconds=seconds,
            cpu_seconds=spent.cpu_seconds,
            voluntary_switches=spent.voluntary_switches,
            involuntary_switches=spent.involuntary_switches,
            steal_seconds=spent.steal_seconds,
            pressure_seconds=spent.pressure_seconds,
            load=load(),
            loss=self._checked(ran.handle) if train else None,
            readings=ran.readings,
        )

    @property
    def growth(self) -> Growth:
        """What all samples so far came to."""
        return Growth(
            **{
                name: tuple(it for held in self._growth if (it := getattr(held, name)) is not None)
                for name in HeldMemory._fields
            }
        )

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
        self._device = _larger(self._device, self._device_peak())
        self._total = _largest(self._total, self._peak.total())
        self._peak.close()
        memory = Memory(
            incremental_peak_rss=self._peak.incremental(),
            total_peak_rss=self._total,
            device_peak_allocated=self._device.peak_allocated if self._device else None,
            device_peak_reserved=self._device.peak_reserved if self._device else None,
        )
        self.record = self.record.model_copy(update={**fields, "memory": memory})

    def _device_peak(self) -> DeviceMemory | None:
        """That of what was run since `_open`; None where an earlier one hides it."""
        device = self._adapter.device_memory()
        if device and self._earlier and device.peak_allocated <= self._earlier.peak_allocated:
            return None
        return device


def finite_loss(adapter: Adapter, handle: object) -> float:
    """The loss behind a handle; raises Diverged."""
    loss = float(adapter.to_numpy(handle))
    if not math.isfinite(loss):
        raise Diverged(f"the training loss became {loss}")
    return loss


def allowed(one: float, other: float, steps: int, dtype: str) -> float:
    """How far two losses of so many steps from one start may lie apart.

    Sums of floating-point numbers may be added in another order each time; from there on the
    difference grows with every step, until such a comparison says nothing any more.
    """
    return ROUNDING[dtype] * growth(steps) * max(abs(one), abs(other), SMALL_LOSS)


def growth(steps: int) -> float:
    """How many times a difference of rounding may have grown after so many steps."""
    return math.exp2(min(steps / STEPS_TO_DOUBLE, 60))


def _larger(one: DeviceMemory | None, other: DeviceMemory | None) -> DeviceMemory | None:
    if one is None or other is None:
        return other if one is None else one
    return DeviceMemory(
        other.allocated,
        max(one.peak_allocated, other.peak_allocated),
        _largest(one.peak_reserved, other.peak_reserved),
    )


def _largest(*counts: int | None) -> int | None:
    return max((it for it in counts if it is not None), default=None)


def settle(most: float | None = None) -> bool:
    """Return when no other thread of this process works any more, at the latest after `most`
    seconds (SETTLE_LIMIT unless given); whether none does.

    A turn ends here: threads that are out of work spin before they sleep (OpenBLAS about 100 ms,
    OpenMP about 10 ms), on the very cores where the next worker is timed.
    """
    limit = time.perf_counter() + (SETTLE_LIMIT if most is None else most)
    while True:
        time.sleep(LOOK_SECONDS)
        if not others_work():
            return True
        if time.perf_counter() > limit:
            return False


class Training:
    """Trains from the shared start of `start`'s seed; epoch 0 begins there anew.

    `done` says whether any epoch was.
    """

    def __init__(
        self, adapter: Adapter | Idiom, lane: Lane, task: Task, start: Start, arrays: Arrays
    ) -> None:
        self._adapter = adapter
        self._lane = lane
        self._task = task
        self._start = start
        self._arrays = arrays
        self.done = False

    def epoch(self, number: int) -> Epoch:
        """The next epoch; raises Diverged."""
        if number == 0:
            self._adapter.reset()
        self.done = True
        train = self._in_portions if self._lane == "identical" else self._at_once
        seconds, loss = train(number)
        return Epoch(epoch=number, seconds=seconds, loss=loss, quality=self._quality())

    def _in_portions(self, epoch: int) -> tuple[float, float]:
        """The harness's own loop; every portion of the data is staged off the clock."""
        adapter = self._adapter
        seconds, loss = 0.0, math.nan
        portions = loops.epoch_portions(adapter, self._task, self._start, self._arrays, epoch)
        for portion in portions:
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
        idiom = cast(Idiom, self._adapter)
        order = self._start.epoch_order(epoch)
        loader = idiom.loader(self._arrays.x_train, self._arrays.y_train, order)
        idiom.synchronize()
        begin = time.perf_counter()
        handle = idiom.fit(loader, len(order))
        idiom.synchronize()
        seconds = time.perf_counter() - begin
        return seconds, finite_loss(idiom, handle)

    def held_out(self) -> Array:
        """The outputs for all test rows at the present weights."""
        return np.concatenate(
            [
                self._adapter.to_numpy(self._adapter.predict(batch))
                for batch in loops.held_out_batches(self._adapter, self._arrays)
            ]
        )

    def _quality(self) -> float:
        outputs = self.held_out()
        quality = METRICS[self._task.metric].function(outputs, self._arrays.y_test)
        if not math.isfinite(quality):
            raise Diverged(f"{self._task.metric} is {quality} on the test rows")
        return quality
