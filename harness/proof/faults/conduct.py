"""Faults that right numbers do not show: resets, skipped work, threads, memory, the clock.

Those at the end begin when the proof is over: the worker that measures must notice them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from harness.adapter import Array, DeviceMemory, Setting, State, Work
from harness.proof.faults.arithmetic import TF32Net, tf32
from harness.proof.faults.fault import DIGITS, Planted, fault

# Resets.


@fault("reset-slots", "reset forgets the slots", DIGITS, "reset")
class ResetSlots(Planted):
    def reset(self) -> None:
        kept = {name: it.copy() for name, it in self._state.items() if name != "weights"}
        super().reset()
        for name, values in kept.items():
            self._state[name][...] = values


@fault("reset-count", "reset forgets the step count", DIGITS, "reset")
class ResetCount(Planted):
    def reset(self) -> None:
        steps = getattr(self, "_steps", 0)
        super().reset()
        self._steps = steps


@fault("reset-weights", "reset leaves the weights as they are", DIGITS, "reset")
class ResetWeights(Planted):
    _begun = False

    def reset(self) -> None:
        kept = self._state["weights"].copy()
        super().reset()
        if self._begun:
            self._state["weights"][...] = kept
        self._begun = True


# Work that is done only while somebody looks.


@fault("iterations-fewer", "runs fewer iterations than claimed", DIGITS, "unwatched")
class IterationsFewer(Planted):
    """Of the steps between two looks only the first is taken."""

    _watched = True
    _last: Any = None

    def train_step(self, batch: Any) -> Any:
        if self._watched:
            self._watched, self._last = False, super().train_step(batch)
        return self._last

    def state(self) -> State:
        self._watched = True
        return super().state()

    def reset(self) -> None:
        self._watched = True
        super().reset()


@fault("handle-overwritten", "the next step writes over a loss", DIGITS, "unwatched")
class HandleOverwritten(Planted):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._loss = np.zeros((), self._options.dtype)

    def train_step(self, batch: Any) -> Any:
        self._loss[...] = super().train_step(batch)
        return self._loss


# The clock.


class DeviceQueue:
    """A device with a queue and a time of its own."""

    SECONDS = 0.005

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1)

    def submit(self, function: Callable[[Any], Any], batch: Any) -> Future[Any]:
        def work() -> Any:
            time.sleep(self.SECONDS)
            return function(batch)

        return self._worker.submit(work)

    def finish(self) -> None:
        self._worker.submit(int).result()


@fault("synchronize", "synchronize returns before the device is done", DIGITS, "synchronize")
class Asynchronous(Planted):
    """Every result is waited for, but not when the device is."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._queue = DeviceQueue()

    def train_step(self, batch: Any) -> Any:
        return self._queue.submit(super().train_step, batch)

    def predict(self, batch: Any) -> Any:
        return self._queue.submit(super().predict, batch)

    def to_numpy(self, handle: Any) -> Array:
        return super().to_numpy(handle.result() if isinstance(handle, Future) else handle)

    def state(self) -> State:
        self._queue.finish()
        return super().state()

    def gradients(self, batch: Any) -> dict[str, Array]:
        self._queue.finish()
        return super().gradients(batch)

    def reset(self) -> None:
        if hasattr(self, "_queue"):
            self._queue.finish()
        super().reset()


# Threads and memory.


@fault("threads", "works with more threads than it says", DIGITS, "threads")
class MoreThreads(Planted):
    """Threads of its own are busy while steps are asked for, and for a moment longer."""

    HELPERS, LONGER = 6, 0.02

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._asked = threading.Event()
        self._until = 0.0
        for _ in range(self.HELPERS):
            threading.Thread(target=self._help, daemon=True).start()

    def _help(self) -> None:
        numbers = np.ones(2**17)
        while self._asked.wait():
            np.cos(numbers, out=numbers)  # without the interpreter's lock
            if time.monotonic() > self._until:
                self._asked.clear()

    def _ask(self) -> None:
        self._until = time.monotonic() + self.LONGER
        self._asked.set()

    def train_step(self, batch: Any) -> Any:
        self._ask()
        return super().train_step(batch)

    def predict(self, batch: Any) -> Any:
        self._ask()
        return super().predict(batch)


@fault("memory-zero", "a device memory counter that reports 0", DIGITS, "memory")
class MemoryZero(Planted):
    def device_memory(self) -> DeviceMemory:
        return DeviceMemory(allocated=0, peak_allocated=0, peak_reserved=0)


@fault("logical-zero", "a count of tensors that reports 0", DIGITS, "memory")
class LogicalZero(Planted):
    def logical_peak(self, work: Work) -> int | None:
        work.run()
        return 0


# The framework's own loop.


@fault("fit-short", "fit takes one step fewer than it is asked for", DIGITS, "fit", idiomatic=True)
class FitShort(Planted):
    def fit(self, loader: Any, steps: int) -> Any:
        return super().fit(loader, max(1, steps - 1))


@fault("batch-dropped", "the loader drops the last batch", DIGITS, "fit", idiomatic=True)
class BatchDropped(Planted):
    def loader(self, inputs: Array, targets: Array, order: Array) -> Any:
        return super().loader(inputs, targets, order[:-1] if len(order) > 1 else order)


@fault("loader-shuffles", "the loader shuffles once more", DIGITS, "fit", idiomatic=True)
class LoaderShuffles(Planted):
    def loader(self, inputs: Array, targets: Array, order: Array) -> Any:
        return super().loader(inputs, targets, np.random.default_rng(0).permutation(order))


@fault("infer-repeats", "infer repeats its first batch", DIGITS, "infer", idiomatic=True)
class InferRepeats(Planted):
    def infer(self, loader: Any, steps: int) -> Any:
        return super().infer(loader[:1], steps)


HONEST_RESETS = 6
"""So many samples, first calls and warm-ups are right."""


class Later(Planted):
    """Without a fault at first; what comes after is up to a subclass."""

    _resets = 0

    def reset(self) -> None:
        super().reset()
        self._resets += 1

    @property
    def later(self) -> bool:
        return self._resets > HONEST_RESETS


@fault("samples-shorter", "later samples run half of their steps", DIGITS, "sample", by="run")
class SamplesShorter(Later):
    _last: Any = None

    def train_step(self, batch: Any) -> Any:
        if not self.later or self._last is None:
            self._last = super().train_step(batch)
            return self._last
        last, self._last = self._last, None
        return last


@fault("loss-infinite", "a later loss is infinite", DIGITS, "diverged", by="run")
class LossInfinite(Later):
    def train_step(self, batch: Any) -> Any:
        loss = super().train_step(batch)
        return loss * np.inf if self.later else loss


@fault("retraces", "the step is traced again while it is timed", DIGITS, "settings", by="run")
class Retraces(Later):
    def settings(self) -> dict[str, Setting]:
        return super().settings() | {"train_traces": self._resets}


@fault("tf32-later", "later predictions have 10 mantissa bits", DIGITS, "settings", by="run")
class TF32Later(Later):
    def predict(self, batch: Any) -> Any:
        if not self.later:
            return super().predict(batch)
        with self.other(TF32Net):
            return super().predict(batch)

    def products(self, pairs: Sequence[tuple[Any, Any]]) -> list[Any]:
        if self.later:
            pairs = [(tf32(left), tf32(right)) for left, right in pairs]
        return super().products(pairs)


@fault("dtype-later", "later samples run in another dtype", DIGITS, "settings", by="run")
class DtypeLater(Later):
    def settings(self) -> dict[str, Setting]:
        return super().settings() | ({"dtype": "float16"} if self.later else {})
