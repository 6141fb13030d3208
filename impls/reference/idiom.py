"""A task in the reference engine as it is meant to be used: replay, rows gathered by index."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from harness.adapter import Array, Setting
from impls.reference.adapter import Adapter, Batch


class Loader(NamedTuple):
    """All rows, the row indices of every batch, and the memory into which a batch is gathered."""

    rows: Batch
    order: Any
    batch: Batch


class Idiom(Adapter):
    """See `harness.adapter.Idiom`; `fit` returns the last step's loss."""

    def loader(self, inputs: Array, targets: Array, order: Array) -> Loader:
        """Raises ValueError for a row index out of range."""
        if order.size and not 0 <= order.min() <= order.max() < len(inputs):
            raise ValueError(f"row indices must be from 0 to {len(inputs) - 1}")
        rows = self.stage(inputs, targets)
        empty = self._xp.library.empty
        batch = Batch(*(empty((order.shape[1], *it.shape[1:]), it.dtype) for it in rows))
        return Loader(rows, self._array(np.ascontiguousarray(order)), batch)

    def fit(self, loader: Loader, steps: int) -> Any:
        for step in range(steps):
            loss = self.train_step(self._gathered(loader, step))
        return loss

    def infer(self, loader: Loader, steps: int) -> Any:
        for step in range(steps):
            outputs = self.predict(self._gathered(loader, step))
        return outputs

    def _gathered(self, loader: Loader, step: int) -> Batch:
        """The rows of a step's batch, in memory that the next batch writes over.

        The program reads the very same arrays at every step, so it is bound to them once.
        """
        chosen = loader.order[step % len(loader.order)]
        # The range was checked once; "clip" lets NumPy write into `out` without a copy in between.
        mode = {"mode": "clip"} if self._xp.library is np else {}
        for rows, batch in zip(loader.rows, loader.batch, strict=True):
            self._xp.library.take(rows, chosen, axis=0, out=batch, **mode)
        return loader.batch

    def settings(self) -> dict[str, Setting]:
        return super().settings() | {"loader": "rows gathered by index into one batch's memory"}
