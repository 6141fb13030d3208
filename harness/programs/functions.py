"""The three-function form of a program, for NumPy, JAX and everything else that has arrays.

docs/own-task.md defines the functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.tasks.programs import (
    Array,
    Description,
    LayerFacts,
    Parts,
    ShownStep,
    Unreadable,
)

FUNCTIONS = ("weights", "forward", "step")


class Functions:
    """See `harness.tasks.programs.UserProgram`; `parts.model` maps the three names to functions."""

    def __init__(self, parts: Parts) -> None:
        weights, self._forward, self._step = (parts.model[it] for it in FUNCTIONS)
        self._now = _arrays(weights(), "weights()")
        self._slots: dict[str, Any] = {}
        self._t = 0
        self._layers = tuple(_layers(self._now))

    def description(self) -> Description:
        return Description(framework="functions", layers=self._layers, ordered=False)

    def weights(self) -> dict[str, Array]:
        return dict(self._now)

    def load(self, weights: Mapping[str, Array]) -> None:
        self._now, self._slots, self._t = dict(weights), {}, 0

    def step(self, inputs: Array, targets: Array) -> ShownStep:
        logits = self.predict(inputs)
        answer = self._updated(inputs, targets)
        gradients = _arrays(answer.get("gradients") or {}, "step: gradients")
        slots = _arrays(self._slots, "step: slots")
        return ShownStep(logits, float(answer["loss"]), gradients, self.weights(), slots)

    def update(self, inputs: Array, targets: Array) -> None:
        self._updated(inputs, targets)

    def _updated(self, inputs: Array, targets: Array) -> Mapping[str, Any]:
        self._t += 1
        answer = self._step(dict(self._now), self._slots, inputs, targets, self._t)
        if not isinstance(answer, Mapping) or not {"loss", "weights"} <= set(answer):
            raise Unreadable("step must return a dictionary with loss and weights at least")
        moved = _arrays(answer["weights"], "step: weights")
        if {k: it.shape for k, it in moved.items()} != {k: it.shape for k, it in self._now.items()}:
            raise Unreadable("step returned weights of other names or shapes than it was given")
        self._now, self._slots = moved, dict(answer.get("slots") or {})
        return answer

    def predict(self, inputs: Array) -> Array:
        return np.array(self._forward(dict(self._now), inputs), np.float64)

    def without_dropout(self) -> None:
        """Their own code decides."""


def _arrays(values: Any, what: str) -> dict[str, Array]:
    if not isinstance(values, Mapping):
        raise Unreadable(f"{what} is a {type(values).__name__}, not a dictionary of arrays")
    return {str(name): np.array(it, np.float64) for name, it in values.items()}


def _layers(weights: Mapping[str, Array]) -> list[LayerFacts]:
    """Dense layers by their weights; raises Unreadable for other names."""
    layers = []
    for index in range(len(weights)):
        if (weight := weights.get(f"layer{index}.weight")) is None:
            break
        if weight.ndim != 2:
            raise Unreadable(f"layer{index}.weight has shape {weight.shape}; (in, out) is due")
        bias = f"layer{index}.bias" in weights
        options = {"inputs": weight.shape[0], "outputs": weight.shape[1], "bias": bias}
        shown = f"layer{index} {weight.shape}"
        layers.append(LayerFacts(kind="dense", shown=shown, options=options))
    known = {f"layer{it}.{part}" for it in range(len(layers)) for part in ("weight", "bias")}
    if strange := sorted(set(weights) - known):
        raise Unreadable(f"weights() has {strange[0]!r}; names are layer0.weight, layer0.bias, …")
    if not layers:
        raise Unreadable("weights() has no layer0.weight")
    return layers
