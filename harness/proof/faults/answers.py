"""Faults in the values that an adapter returns: tensors, handles, and wrong settings."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from harness.adapter import Array, Setting, State
from harness.proof.faults.fault import Planted, fault

# Tensors.


@fault("gradient-nan", "one gradient holds a NaN", "gradients")
class GradientNaN(Planted):
    def gradients(self, batch: Any) -> dict[str, Array]:
        gradients = super().gradients(batch)
        gradients["layer1.weight"][3, 4] = np.nan
        return gradients


@fault("tensor-missing", "one gradient is left out", "gradients")
class TensorMissing(Planted):
    def gradients(self, batch: Any) -> dict[str, Array]:
        return {name: it for name, it in super().gradients(batch).items() if name != "layer2.bias"}


@fault("tensors-none", "no gradients at all", "gradients")
class TensorsNone(Planted):
    def gradients(self, batch: Any) -> dict[str, Array]:
        return {}


@fault("tensor-extra", "one weight more than the task has", "start")
class TensorExtra(Planted):
    def state(self) -> State:
        state = super().state()
        return State(
            state.weights | {"layer3.bias": np.zeros(10, self._options.dtype)}, state.slots
        )


@fault("slots-none", "no slots are shown", "start")
class SlotsNone(Planted):
    def state(self) -> State:
        return State(super().state().weights, {})


@fault("gradients-zero", "all gradients are zero", "gradients")
class GradientsZero(Planted):
    def gradients(self, batch: Any) -> dict[str, Array]:
        return {name: np.zeros_like(it) for name, it in super().gradients(batch).items()}


@fault("gradients-float16", "gradients handed over in float16", "gradients")
class GradientsFloat16(Planted):
    def gradients(self, batch: Any) -> dict[str, Array]:
        return {name: it.astype(np.float16) for name, it in super().gradients(batch).items()}


@fault("slots-swapped", "one slot under the name of the other", "slots")
class SlotsSwapped(Planted):
    def state(self) -> State:
        state = super().state()
        names = list(state.slots)
        half = len(names) // 2
        turned = names[half:] + names[:half]
        return State(state.weights, dict(zip(turned, state.slots.values(), strict=True)))


@fault("shape-broadcasts", "a bias of shape (1, n), which would broadcast", "gradients")
class ShapeBroadcasts(Planted):
    def gradients(self, batch: Any) -> dict[str, Array]:
        gradients = super().gradients(batch)
        return gradients | {"layer1.bias": gradients["layer1.bias"][None, :]}


@fault("gradient-transposed", "a square gradient, transposed", "gradients")
class GradientTransposed(Planted):
    def gradients(self, batch: Any) -> dict[str, Array]:
        gradients = super().gradients(batch)
        return gradients | {"layer1.weight": gradients["layer1.weight"].T}


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


@fault("predict-softmax", "predict returns probabilities for logits", "logits")
class PredictSoftmax(Planted):
    def predict(self, batch: Any) -> Any:
        e = np.exp(super().predict(batch))
        return e / e.sum(axis=1, keepdims=True)


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


@fault("dtype-lie", "says another dtype than was asked for", "settings")
class DtypeLie(Planted):
    def settings(self) -> dict[str, Setting]:
        return super().settings() | {"dtype": "float16"}


@fault("device-lie", "runs on another device than was asked for", "settings")
class DeviceLie(Planted):
    def settings(self) -> dict[str, Setting]:
        return super().settings() | {"device": "gpu:0"}


@fault("settings-none", "reads nothing back", "settings")
class SettingsNone(Planted):
    def settings(self) -> dict[str, Setting]:
        return {}
