"""Batches of NumPy arrays, for backends without an input pipeline."""

from __future__ import annotations

import keras

from harness.adapter import Array, Options


class Rows(keras.utils.PyDataset):
    """A number of batches, the first again after the last. Batch k holds the rows `order[k]`."""

    def __init__(self, arrays: tuple[Array, ...], order: Array, steps: int) -> None:
        super().__init__()
        self._arrays, self._order, self._steps = arrays, order, steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> tuple[Array, ...]:
        chosen = self._order[step % len(self._order)]
        return tuple(it[chosen] for it in self._arrays)


class Loader:
    KIND = "PyDataset: rows gathered by index"

    def __init__(self, rows: tuple[Array, Array], order: Array, options: Options) -> None:
        self._rows, self.order = rows, order

    def batches(self, steps: int, *, targets: bool = True) -> Rows:
        return Rows(self._rows if targets else self._rows[:1], self.order, steps)
