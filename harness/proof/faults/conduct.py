"""Faults that right numbers do not show: resets, handles, threads, memory, the framework's loop.

Those at the end begin when the proof is over: the worker that measures must notice them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.adapter import Array, DeviceMemory, Setting, Work
from harness.proof.faults.arithmetic import TF32Net, tf32
from harness.proof.faults.fault import Planted, fault

# Resets.


@fault("reset-slots", "reset forgets the slots", "reset")
class ResetSlots(Planted):
    def reset(self) -> None:
        kept = {name: it.copy() for name, it in self._state.items() if name != "weights"}
        super().reset()
        for name, values in kept.items():
            self._state[name][...] = values


@fault("reset-count", "reset forgets the step count", "reset")
class ResetCount(Planted):
    def reset(self) -> None:
        steps = getattr(self, "_steps", 0)
        super().reset()
        self._steps = steps


@fault("reset-weights", "reset leaves the weights as they are", "reset")
class ResetWeights(Planted):
    _begun = False

    def reset(self) -> None:
        kept = self._state["weights"].copy()
        super().reset()
        if self._begun:
            self._state["weights"][...] = kept
        self._begun = True


@fault("handle-overwritten", "the next step writes over a loss", "unwatched")
class HandleOverwritten(Planted):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._loss = np.zeros((), self._options.dtype)

    def train_step(self, batch: Any) -> Any:
        self._loss[...] = super().train_step(batch)
        return self._loss


# Threads and memory.


@fault("threads", "works with more threads than it says", "threads")
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


@fault("memory-zero", "a device memory counter that reports 0", "memory")
class MemoryZero(Planted):
    def device_memory(self) -> DeviceMemory:
        return DeviceMemory(allocated=0, peak_allocated=0, peak_reserved=0)


@fault("logical-zero", "a count of tensors that reports 0", "memory")
class LogicalZero(Planted):
    def logical_peak(self, work: Work) -> int | None:
        work.run()
        return 0


# The framework's own loop.


@fault("fit-short", "fit takes one step fewer than it is asked for", "fit", idiomatic=True)
class FitShort(Planted):
    def fit(self, loader: Any, steps: int) -> Any:
        return super().fit(loader, max(1, steps - 1))


@fault("batch-dropped", "the loader drops the last batch", "fit", idiomatic=True)
class BatchDropped(Planted):
    def loader(self, inputs: Array, targets: Array, order: Array) -> Any:
        return super().loader(inputs, targets, order[:-1] if len(order) > 1 else order)


@fault("loader-shuffles", "the loader shuffles once more", "fit", idiomatic=True)
class LoaderShuffles(Planted):
    def loader(self, inputs: Array, targets: Array, order: Array) -> Any:
        return super().loader(inputs, targets, np.random.default_rng(0).permutation(order))


@fault("infer-repeats", "infer repeats its first batch", "infer", idiomatic=True)
class InferRepeats(Planted):
    def infer(self, loader: Any, steps: int) -> Any:
        return super().infer(loader._replace(order=loader.order[:1]), steps)


HONEST_RESETS = 6
"""So many samples, first calls and warm-ups are right."""


class Later(Planted):
    """Without a fault at first; a subclass adds the later one."""

    _resets = 0

    def reset(self) -> None:
        super().reset()
        self._resets += 1

    @property
    def later(self) -> bool:
        return self._resets > HONEST_RESETS


@fault("samples-shorter", "later samples run half of their steps", "sample", by="run")
class SamplesShorter(Later):
    _last: Any = None

    def train_step(self, batch: Any) -> Any:
        if not self.later or self._last is None:
            self._last = super().train_step(batch)
            return self._last
        last, self._last = self._last, None
        return last


@fault("loss-infinite", "a later loss is infinite", "diverged", by="run")
class LossInfinite(Later):
    def train_step(self, batch: Any) -> Any:
        loss = super().train_step(batch)
        return loss * np.inf if self.later else loss


@fault("retraces", "the step is traced again while it is timed", "settings", by="run")
class Retraces(Later):
    def settings(self) -> dict[str, Setting]:
        return super().settings() | {"train_traces": self._resets}


@fault("tf32-later", "later predictions have 10 mantissa bits", "settings", by="run")
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


@fault("dtype-later", "later samples run in another dtype", "settings", by="run")
class DtypeLater(Later):
    def settings(self) -> dict[str, Setting]:
        return super().settings() | ({"dtype": "float16"} if self.later else {})
