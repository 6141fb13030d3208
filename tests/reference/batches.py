"""Batches of a task: real data where they are at hand, else random ones of the same shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.tasks import datasets
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.spec import DOWNLOADED, Task

SMALLER = {"mnist-wide": 16, "article-pytorch": 600}  # rows; the nets stay as they are
TASKS = [
    task.model_copy(update={"batch_size": SMALLER.get(task.name, task.batch_size)})
    for task in CATALOGUE.values()
]


def batches(task: Task, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """`count` different batches of inputs and targets."""
    shape, rows = task.data.shape, task.batch
    if task.data.name not in DOWNLOADED:
        arrays = datasets.load(task.data, Path("/nowhere"))
        order = np.random.default_rng(0).permutation(shape.train)
        picks = [order[np.arange(i * rows, (i + 1) * rows) % shape.train] for i in range(count)]
        return [(arrays.x_train[rows], arrays.y_train[rows]) for rows in picks]
    random = np.random.default_rng(0)
    made = []
    for _ in range(count):
        labels = random.integers(0, 10, rows)
        brightness = (labels[:, None] + 1).astype(np.float32) / 10
        pixels = random.random((rows, shape.features), np.float32) * brightness
        made.append((pixels, labels if shape.kind == "classes" else pixels))
    return made
