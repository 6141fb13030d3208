"""A task in JAX as its experts write it: data on the device, and a loop that is compiled whole.

Formulas and optimizer are those of the identical lane.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from harness.adapter import Array, Options, Setting
from harness.tasks.spec import Task
from harness.tasks.start import Start
from impls.jax.adapter import Adapter, Batch, Carried, Weights, copied


class Loader(NamedTuple):
    """All rows, and the row indices of every batch."""

    rows: Batch
    order: jax.Array

    def batch(self, step: Any) -> Batch:
        chosen = self.order[step % len(self.order)]
        return Batch(*(it[chosen] for it in self.rows))


class Idiom(Adapter):
    """See `harness.adapter.Idiom`; `fit` returns the last step's loss."""

    def __init__(self, task: Task, start: Start, options: Options) -> None:
        super().__init__(task, start, options)
        self._fit = jax.jit(self._steps, donate_argnums=0)
        self._infer = jax.jit(self._predictions)
        self._programs = {"train": self._fit, "predict": self._infer}

    def _steps(self, carried: Carried, loader: Loader, steps: int = 1) -> tuple[Carried, jax.Array]:
        first = carried, jnp.zeros((), self._dtype)
        return jax.lax.fori_loop(0, steps, lambda k, it: self._step(it[0], loader.batch(k)), first)

    def _predictions(self, weights: Weights, loader: Loader, steps: int = 1) -> jax.Array:
        first = jnp.zeros((loader.order.shape[1], self._task.widths[-1]), self._dtype)
        return jax.lax.fori_loop(
            0, steps, lambda k, _: self._predicted(weights, loader.batch(k)), first
        )

    def loader(self, inputs: Array, targets: Array, order: Array) -> Loader:
        return Loader(self.stage(inputs, targets), copied(order, "int32"))

    def fit(self, loader: Loader, steps: int) -> jax.Array:
        self._carried, self._last = self._fit(self._carried, loader, steps)
        return self._last

    def infer(self, loader: Loader, steps: int) -> jax.Array:
        self._last = self._infer(self._carried.weights, loader, steps)
        return self._last

    def settings(self) -> dict[str, Setting]:
        return super().settings() | {"loader": "rows gathered by index within the compiled loop"}
