"""Populations of final values and of block levels: seeded, with medians that are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Draw = Callable[[np.random.Generator, tuple[int, ...]], Any]
BAD = 0.1


@dataclass(frozen=True)
class Population:
    draw: Draw
    median: float


def _with_bad(values: Any, rng: np.random.Generator) -> Any:
    """One in ten is far below all others."""
    return np.where(rng.random(values.shape) < BAD, values - 20.0, values)


def _autocorrelated(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Each value resembles the one before it: AR(1) with a correlation of 0.6."""
    noise = rng.normal(size=shape)
    for place in range(1, shape[-1]):
        noise[..., place] = 0.6 * noise[..., place - 1] + 0.8 * noise[..., place]
    return noise


def _levels(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Batches of four consecutive values share a level, as on a machine that changes its mood."""
    batches = rng.normal(0, 2, (*shape[:-1], -(-shape[-1] // 4)))
    return np.repeat(batches, 4, axis=-1)[..., : shape[-1]] + rng.normal(size=shape)


POPULATIONS: Mapping[str, Population] = {
    "normal": Population(lambda rng, shape: rng.normal(size=shape), 0.0),
    "heavy-tailed": Population(lambda rng, shape: rng.standard_t(2, shape), 0.0),
    "skewed": Population(lambda rng, shape: rng.exponential(size=shape) - np.log(2), 0.0),
    "coarse grid": Population(lambda rng, shape: np.round(rng.normal(0, 0.6, shape)), 0.0),
    "two values": Population(lambda rng, shape: (rng.random(shape) < 0.4).astype(float), 0.0),
    "one in ten is bad": Population(
        # Below the median of all lies 4/9 of the good ones.
        lambda rng, shape: _with_bad(rng.normal(size=shape), rng),
        -0.1397102989,
    ),
    "censored": Population(
        # One in five never arrives; a time has no end then.
        lambda rng, shape: np.where(
            rng.random(shape) < 0.2, np.inf, np.exp(0.3 * rng.normal(size=shape))
        ),
        float(np.exp(0.3 * 0.3186393640)),
    ),
}
DEPENDENT: Mapping[str, Population] = {
    "each like the last": Population(_autocorrelated, 0.0),
    "levels of four": Population(_levels, 0.0),
}
