"""Random batches for the small tasks of `harness.conformance`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.tasks.spec import Task

BATCHES = 3


def batches(task: Task) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Random batches of the right shapes, the same for everybody."""
    generator = np.random.default_rng(7)
    shape = task.data.shape
    for _ in range(BATCHES):
        inputs = generator.standard_normal((task.batch, shape.features), dtype=np.float32)
        real = generator.standard_normal((task.batch, shape.outputs), dtype=np.float32)
        targets = {
            "classes": generator.integers(0, shape.outputs, task.batch),
            "binary": (real > 0).astype(np.float32),
            "real": real,
        }
        yield inputs, targets[shape.kind]
