"""Faults in what an adapter returns, and those that right numbers do not show.

Those at the end begin when the proof is over: the worker that measures must notice them.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.adapter import Array, DeviceMemory, Setting, State
from harness.proof.faults.arithmetic import IN_TF32, tf32
from harness.proof.faults.fault import Planted, fault, returning

# Tensors.

returning(
    "tensor-missing",
    "one gradient is left out",
    "gradients",
    gradients=lambda it: {name: values for name, values in it.items() if name != "layer2.bias"},
)
returning("tensors-none", "no gradients at all", "gradients", gradients=lambda it: {})
returning(
    "gradients-zero",
    "all gradients are zero",
    "gradients",
    gradients=lambda it: {name: np.zeros_like(values) for name, values in it.items()},
)
returning(
    "gradients-float16",
    "gradients handed over in float16",
    "gradients",
    gradients=lambda it: {name: values.astype(np.float16) for name, values in it.items()},
)
returning(
    "shape-broadcasts",
    "a bias of shape (1, n), which would broadcast",
    "gradients",
    gradients=lambda it: it | {"layer1.bias": it["layer1.bias"][None, :]},
)
returning(
    "gradient-transposed",
    "a square gradient, transposed",
    "gradients",
    gradients=lambda it: it | {"layer1.weight": it["layer1.weight"].T},
)
returning(
    "tensor-extra",
    "one weight more than the task has",
    "start",
    state=lambda it: State(it.weights | {"layer3.bias": it.weights["layer2.bias"]}, it.slots),
)
returning("slots-none", "no slots are shown", "start", state=lambda it: State(it.weights, {}))


@fault("gradient-nan", "one gradient holds a NaN", "gradients")
class GradientNaN(Planted):
    def gradients(self, batch: Any) -> dict[str, Array]:
        gradients = super().gradients(batch)
        gradients["layer1.weight"][3, 4] = np.nan
        return gradients


@fault("slots-swapped", "one slot under the name of the other", "slots")
class SlotsSwapped(Planted):
    def state(self) -> State:
        state = super().state()
        names = list(state.slots)
        half = len(names) // 2
        turned = names[half:] + names[:half]
        return State(state.weights, dict(zip(turned, state.slots.values(), strict=True)))


@fault("state-stale", "the state that is shown was kept from the first look", "slots")
class StateStale(Planted):
    _shown: State | None = None

    def state(self) -> State:
        self._shown = self._shown or super().state()
        return self._shown


@fault("state-views", "the state is the weights' own memory", "copies")
class StateViews(Planted):
    def state(self) -> State:
        return State(
            self.views(self._state["weights"]),
            {
                f"{slot}/{name}": it
                for slot in self._rule.slots
                for name, it in self.views(self._state[slot]).items()
            },
        )


@fault("outputs-reused", "the next predict writes over outputs", "copies")
class OutputsReused(Planted):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._outputs: dict[int, Array] = {}

    def predict(self, batch: Any) -> Any:
        outputs = super().predict(batch)
        kept = self._outputs.setdefault(len(outputs), outputs)
        kept[...] = outputs
        return kept


@fault("gradients-step", "asking for gradients moves the weights", "loss")
class GradientsStep(Planted):
    def gradients(self, batch: Any) -> dict[str, Array]:
        gradients = super().gradients(batch)
        self.part("layer2.bias")[...] -= 1e-3 * gradients["layer2.bias"]
        return gradients


# Handles.


@fault("loss-after", "train_step returns the loss after its update", "loss")
class LossAfter(Planted):
    def train_step(self, batch: Any) -> Any:
        super().train_step(batch)
        return self.loss(batch)


@fault("predict-previous", "predict returns its previous answer", "logits")
class PredictPrevious(Planted):
    _last: Any = None

    def predict(self, batch: Any) -> Any:
        outputs = super().predict(batch)
        self._last, shown = outputs, outputs if self._last is None else self._last
        return shown


returning(
    "predict-softmax",
    "predict returns probabilities for logits",
    "logits",
    predict=lambda it: np.exp(it) / np.exp(it).sum(axis=1, keepdims=True),
)


@fault(
    "last-chunk",
    "predict repeats the first rows of a chunk for those of an incomplete last one",
    "last-chunk",
)
class LastChunk(Planted):
    """It goes through the rows 256 at a time."""

    CHUNK = 256

    def predict(self, batch: Any) -> Any:
        outputs = super().predict(batch)
        rest = len(outputs) % self.CHUNK
        if len(outputs) > self.CHUNK and rest:
            outputs[-rest:] = outputs[:rest]
        return outputs


@fault("raises", "an exception in the seventh step", "ended")
class Raises(Planted):
    def train_step(self, batch: Any) -> Any:
        if self._steps == 6:
            raise ArithmeticError("planted")
        return super().train_step(batch)


@fault("dies", "its process dies in the seventh step", "ended")
class Dies(Planted):
    def train_step(self, batch: Any) -> Any:
        if self._steps == 6:
            os._exit(3)
        return super().train_step(batch)


# Settings.

returning(
    "dtype-lie",
    "says another dtype than was asked for",
    "settings",
    settings=lambda it: it | {"dtype": "float16"},
)
returning(
    "device-lie",
    "runs on another device than was asked for",
    "settings",
    settings=lambda it: it | {"device": "gpu:0"},
)
returning("settings-none", "reads nothing back", "settings", settings=lambda it: {})

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


returning(
    "memory-zero",
    "a device memory counter that reports 0",
    "memory",
    device_memory=lambda it: DeviceMemory(allocated=0, peak_allocated=0, peak_reserved=0),
)
returning("logical-zero", "a count of tensors that reports 0", "memory", logical_peak=lambda it: 0)

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
        with self.other(**IN_TF32):
            return super().predict(batch)

    def products(self, pairs: Sequence[tuple[Any, Any]]) -> list[Any]:
        if self.later:
            pairs = [(tf32(left), tf32(right)) for left, right in pairs]
        return super().products(pairs)


@fault("dtype-later", "later samples run in another dtype", "settings", by="run")
class DtypeLater(Later):
    def settings(self) -> dict[str, Setting]:
        return super().settings() | ({"dtype": "float16"} if self.later else {})
