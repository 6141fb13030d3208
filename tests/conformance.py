"""`python -m tests.conformance FRAMEWORK MODE DEVICE DTYPE STEPS FILE [TASK ...]`: see `computed`.

Small tasks that together use every loss, activation, optimizer and initializer; random batches of
the right shapes, the same for everybody.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator

import numpy as np

from harness.adapter import Options
from harness.tasks.data import Known, Teacher
from harness.tasks.optimizers import SGD, Adam, AdamW, RMSprop
from harness.tasks.spec import Model, Task
from harness.tasks.start import make_start

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


def computed(
    framework: str, mode: str, device: str, dtype: str, steps: int, names: list[str]
) -> dict[str, np.ndarray]:
    """Everything comparable, under names `task/what`; `loss` has one entry a step."""
    implementation = importlib.import_module(f"impls.{framework}.adapter").Adapter
    results: dict[str, np.ndarray] = {}
    for task in (it for it in TASKS if it.name in names):
        adapter = implementation(task, make_start(task, 3), Options(mode, device, 1, dtype))
        staged = [adapter.stage(*batch) for batch in batches(task)]
        found = {f"gradient {name}": it for name, it in adapter.gradients(staged[0]).items()}
        for _ in range(2):  # the second time, a reset must have undone the first
            adapter.reset()
            found["start outputs"] = adapter.to_numpy(adapter.predict(staged[1]))
            losses = [adapter.train_step(staged[step % BATCHES]) for step in range(steps)]
            found["loss"] = np.array([float(adapter.to_numpy(loss)) for loss in losses[-1:]])
        state = adapter.state()
        found["outputs"] = adapter.to_numpy(adapter.predict(staged[1]))
        found |= {f"weight {name}": it for name, it in state.weights.items()}
        found |= {f"slot {name}": it for name, it in state.slots.items()}
        results |= {f"{task.name}/{what}": values for what, values in found.items()}
    return results


if __name__ == "__main__":
    framework, mode, device, dtype, steps, file, *names = sys.argv[1:]
    names = names or [task.name for task in TASKS]
    np.savez(
        file, allow_pickle=False, **computed(framework, mode, device, dtype, int(steps), names)
    )
