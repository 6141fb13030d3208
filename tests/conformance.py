"""Small tasks that together use every loss, activation, optimizer and initializer."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.tasks.spec import SGD, Adam, AdamW, Known, Model, RMSprop, Task, Teacher

BATCHES = 3


def task(name, data, loss, optimizer, **model) -> Task:
    model = Model(**{"hidden": (16, 16), **model})
    return Task(
        name=name,
        data=data,
        model=model,
        loss=loss,
        optimizer=optimizer,
        batch_size=16,
        epochs=1,
    )


CLASSES = Teacher(features=12, classes=4, train=64, test=16)
TASKS = (
    task("relu-sgd", CLASSES, "cross-entropy", SGD(learning_rate=0.1)),
    task(
        "tanh-momentum",
        Known(name="diabetes"),
        "mse",
        SGD(learning_rate=0.05, momentum=0.9),
        activation="tanh",
    ),
    task(
        "sigmoid-nesterov",
        Known(name="cancer"),
        "binary-cross-entropy",
        SGD(learning_rate=0.05, momentum=0.9, nesterov=True),
        activation="sigmoid",
    ),
    task("gelu-adam", CLASSES, "cross-entropy", Adam(), activation="gelu"),
    task(
        "probabilities-adamw",
        CLASSES,
        "cross-entropy-of-probabilities",
        AdamW(weight_decay=0.1),
        output="softmax",
    ),
    task(
        "double-softmax-rmsprop",
        CLASSES,
        "cross-entropy",
        RMSprop(),
        output="softmax",
        initializer="fan-in-uniform",
    ),
    task("linear", CLASSES, "cross-entropy", Adam(epsilon=1e-3), hidden=()),
    task("deep", CLASSES, "cross-entropy", Adam(), hidden=(8,) * 9, initializer="he-uniform"),
)


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
