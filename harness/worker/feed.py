"""Batches on the device: a few to cycle through while timing, or an epoch in portions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.adapter import Adapter
from harness.tasks.datasets import Arrays
from harness.tasks.spec import Task
from harness.tasks.start import Start

PORTION_BYTES = 16 * 2**20
"""Staged at once: enough to outlast caches, little enough for any device."""
TEST_ROWS = 2000
SINGLE_EXAMPLES = 64


def batches_at_once(task: Task) -> int:
    """How many batches are staged together; the same in every framework and dtype."""
    row = 4 * task.data.shape.features
    return max(1, min(64, PORTION_BYTES // (task.batch * row), task.steps_per_epoch))


def sample_batches(adapter: Adapter, task: Task, start: Start, arrays: Arrays) -> list[Any]:
    """The batches that every sample cycles through: the first ones of epoch 0."""
    return staged(adapter, arrays, sample_order(task, start))


def single_examples(adapter: Adapter, start: Start, arrays: Arrays) -> list[Any]:
    """Batches of one row each: the first rows of epoch 0."""
    return staged(adapter, arrays, single_order(start))


def sample_order(task: Task, start: Start) -> NDArray[np.int64]:
    """The rows of those batches, (batches, rows)."""
    return start.epoch_order(0)[: batches_at_once(task)]


def single_order(start: Start) -> NDArray[np.int64]:
    """The rows of single examples, (examples, 1)."""
    return start.epoch_order(0).ravel()[:SINGLE_EXAMPLES, None]


def epoch_portions(
    adapter: Adapter, task: Task, start: Start, arrays: Arrays, epoch: int
) -> Iterator[list[Any]]:
    """All batches of an epoch, a portion at a time."""
    order, size = start.epoch_order(epoch), batches_at_once(task)
    for first in range(0, len(order), size):
        yield staged(adapter, arrays, order[first : first + size])


def staged(adapter: Adapter, arrays: Arrays, order: NDArray[np.int64]) -> list[Any]:
    """A batch on the device for each row of `order`."""
    return [adapter.stage(arrays.x_train[rows], arrays.y_train[rows]) for rows in order]


def held_out_batches(adapter: Adapter, arrays: Arrays) -> Iterator[Any]:
    """The test rows, in order, at most TEST_ROWS at once."""
    for first in range(0, len(arrays.x_test), TEST_ROWS):
        chunk = slice(first, first + TEST_ROWS)
        yield adapter.stage(arrays.x_test[chunk], arrays.y_test[chunk])
