"""Which initializer of a task drew a program's weights, and fresh weights for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import get_args

import numpy as np

from harness.adapter import Array
from harness.tasks.programs import Description
from harness.tasks.spec import Initializer
from harness.tasks.start import draw_layer, limit

INITIALIZERS: tuple[Initializer, ...] = get_args(Initializer)
RARE = 1e-6
"""The chance that a uniform draw is rejected because its largest entry is too small."""


def initializer_of(description: Description, weights: Mapping[str, Array]) -> Initializer | None:
    """The initializer that every dense layer names, unless the weights exclude it; else the most
    likely one. None where no initializer of a task can have drawn these weights."""
    possible = [it for it in INITIALIZERS if _can_draw(it, weights)]
    for candidate in possible or INITIALIZERS:
        if {*description.initializers} == {candidate}:
            return candidate
    return min(possible, key=lambda it: _log_volume(it, weights), default=None)


def _dense(weights: Mapping[str, Array]) -> Iterator[tuple[str, str]]:
    """The names of every dense layer's weight and bias."""
    for name in weights:
        if name.endswith(".weight"):
            yield name, name.removesuffix("weight") + "bias"


def _can_draw(initializer: Initializer, weights: Mapping[str, Array]) -> bool:
    for name, bias_name in _dense(weights):
        weight, bias = weights[name], weights.get(bias_name)
        reach = limit(initializer, *weight.shape) * (1 + 1e-6)  # a model in float32 rounds them
        if not reach * RARE ** (1 / weight.size) <= np.abs(weight).max() <= reach:
            return False
        if bias is not None:
            largest = np.abs(bias).max()
            if not (0 < largest <= reach if initializer == "fan-in-uniform" else largest == 0):
                return False
    return True


def _log_volume(initializer: Initializer, weights: Mapping[str, Array]) -> float:
    """Minus the log of the likelihood of weights that it can have drawn."""
    dense = [weights[name] for name, _ in _dense(weights)]
    return sum(it.size * float(np.log(limit(initializer, *it.shape))) for it in dense)


def fresh_weights(
    weights: Mapping[str, Array], initializer: Initializer | None, seed: int
) -> dict[str, Array]:
    """The weights with dense layers drawn anew; without an initializer, every tensor with its
    entries in another order."""
    generator = np.random.default_rng(seed)
    if initializer is None:
        return {k: generator.permutation(it.ravel()).reshape(it.shape) for k, it in weights.items()}
    fresh = dict(weights)
    for name, bias_name in _dense(weights):
        fresh[name], bias = draw_layer(initializer, generator, *weights[name].shape)
        if bias_name in weights:
            fresh[bias_name] = bias
    return fresh
