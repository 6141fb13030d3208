"""The shared start: initial weights and batch order, made once in NumPy for every framework."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.tasks.spec import Initializer, Task
from harness.tasks.weights import kept

WEIGHTS, ORDER = 0, 1  # streams of one seed: drawing more of one never moves the other

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Start:
    """Where a training begins and in which order it sees the data.

    `weights` maps `layer0.weight` (shape (in, out)) and `layer0.bias` (shape (out,)), and so on
    from inputs to outputs, to float64 arrays; an adapter casts them to its cell's dtype.
    """

    task: Task
    seed: int
    weights: dict[str, Float64]

    def epoch_order(self, epoch: int) -> NDArray[np.int64]:
        """Row indices of every batch of an epoch (from 0), shape (steps, batch)."""
        steps, batch = self.task.steps_per_epoch, self.task.batch
        rows = np.arange(self.task.data.shape.train)
        if self.task.shuffle:
            rows = _generator(self.seed, ORDER, epoch).permutation(rows)
        return rows[: steps * batch].reshape(steps, batch)


def make_start(task: Task, seed: int) -> Start:
    """Draw the initial weights of a task from a seed (any integer ≥ 0), or read the user's own.

    Raises DataError where these are not on this machine.
    """
    if task.model.weights is not None:
        return Start(task, seed, kept(task))
    generator = _generator(seed, WEIGHTS)
    weights: dict[str, Float64] = {}
    for index, shape in enumerate(task.layers):
        drawn = draw_layer(task.model.initializer, generator, *shape)
        weights[f"layer{index}.weight"], weights[f"layer{index}.bias"] = drawn
    return Start(task, seed, weights)


def draw_layer(
    initializer: Initializer, generator: np.random.Generator, fan_in: int, fan_out: int
) -> tuple[Float64, Float64]:
    """The weight and the bias of one layer."""
    reach = limit(initializer, fan_in, fan_out)
    weight = generator.uniform(-reach, reach, (fan_in, fan_out))
    if initializer == "fan-in-uniform":
        return weight, generator.uniform(-reach, reach, fan_out)
    return weight, np.zeros(fan_out)


def limit(initializer: Initializer, fan_in: int, fan_out: int) -> float:
    squared = {
        "glorot-uniform": 6 / (fan_in + fan_out),
        "he-uniform": 6 / fan_in,
        "fan-in-uniform": 1 / fan_in,
    }
    return float(np.sqrt(squared[initializer]))


def _generator(seed: int, *stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *stream])))
