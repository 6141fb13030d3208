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
SETS, ROUNDS_OF_A_SET = 4, 4
"""Samples go through other rows every few rounds, in every framework alike: what remembers batches,
or their contents, has not seen them."""


def batches_at_once(task: Task) -> int:
    """How many batches are staged together; the same in every framework and dtype."""
    row = 4 * task.data.shape.features
    return max(1, min(64, PORTION_BYTES // (task.batch * row), task.steps_per_epoch))


def set_of(round_: int) -> int:
    """The number of the set of batches that the samples of a round go through."""
    return round_ // ROUNDS_OF_A_SET % SETS


def sample_order(task: Task, start: Start, number: int = 0) -> NDArray[np.int64]:
    """The rows of a set of batches that a sample cycles through, (batches, rows): the first ones of
    an epoch."""
    return start.epoch_order(number)[: batches_at_once(task)]


def single_order(start: Start, number: int = 0) -> NDArray[np.int64]:
    """The rows of a set of single examples, (examples, 1): the first ones of an epoch."""
    return start.epoch_order(number).ravel()[:SINGLE_EXAMPLES, None]


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
