"""`python -m tests.idioms FRAMEWORK MODE DEVICE DTYPE STEPS FILE [TASK ...]`: see `examined`.

The truth is the reference in float64; for a mode that keeps its framework's stock formulas it is
the reference with those. Differences are relative to the largest entry of each tensor.
"""

from __future__ import annotations

import importlib
import json
import math
import sys
from pathlib import Path

import numpy as np

from harness.adapter import Options, Unsupported
from harness.frameworks import frameworks
from harness.tasks.start import make_start
from impls.reference import adapter
from tests.conformance import TASKS

ROWS = 64
EXACT = Options("eager", "cpu", 1, "float64")


def examined(
    framework: str, mode: str, device: str, dtype: str, steps: int, task
) -> dict[str, object]:
    start = make_start(task, 3)
    threads = 1 if dtype == "float64" else 2  # pipelines may work ahead where there are two
    idiom = importlib.import_module(f"impls.{framework}.idiom").Idiom(
        task, start, Options(mode, device, threads, dtype)
    )
    own = frameworks()[framework].idioms[mode]
    truth = importlib.import_module(own.truth) if own.stock else adapter
    truth = truth.Adapter(task, start, EXACT)
    inputs, targets = rows(task)
    order = batches(task)
    found: dict[str, object] = {"begins": is_start(idiom.state(), start, dtype)}

    worst, losses = lock_step(idiom, truth, inputs, targets, order, steps)
    alone = idiom.state()
    found |= {"worst": worst, "last loss": losses[-1], "mean loss": math.fsum(losses) / steps}
    found["from the task"] = differences(
        alone.weights, taken(adapter.Adapter(task, start, EXACT), inputs, targets, order, steps)
    )

    # All in one call, from a reset, over the loader's end and on: the same place.
    whole = idiom.loader(inputs, targets, order)
    idiom.fit(whole, len(order) + 2)
    idiom.reset()
    found["begins again"] = is_start(idiom.state(), start, dtype)
    found["loss"] = float(idiom.to_numpy(idiom.fit(whole, steps)))
    at_once = idiom.state()
    found["at once"] = max(
        differences(at_once.weights, alone.weights), differences(at_once.slots, alone.slots)
    )
    last = order[(steps - 1) % len(order)]
    staged = idiom.stage(inputs[last], targets[last])
    outputs = idiom.to_numpy(idiom.infer(whole, steps))
    found["infer"] = difference(outputs, idiom.to_numpy(idiom.predict(staged)))

    idiom.reset()
    stepped = taken(idiom, inputs, targets, order, steps)
    found["train_step"] = differences(stepped, alone.weights)
    before = idiom.settings()
    for count in (1, 3, len(order) + 1):
        idiom.fit(whole, count)
        idiom.infer(whole, count)
    taken(idiom, inputs, targets, order, 2)
    found["settings"], found["settings after"] = before, idiom.settings()
    return found


def rows(task) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(7)
    shape = task.data.shape
    inputs = generator.standard_normal((ROWS, shape.features), dtype=np.float32)
    real = generator.standard_normal((ROWS, shape.outputs), dtype=np.float32)
    targets = {
        "classes": generator.integers(0, shape.outputs, ROWS),
        "binary": (real > 0).astype(np.float32),
        "real": real,
    }
    return inputs, targets[shape.kind]


def batches(task) -> np.ndarray:
    """Four batches of rows in a random order, then the first once more, from its end."""
    order = np.random.default_rng(5).permutation(ROWS).reshape(-1, task.batch)
    return np.concatenate([order, order[:1, ::-1]])


def lock_step(idiom, truth, inputs, targets, order, steps):
    """Both take the same steps, the idiom each in a call of its own: the worst of each quantity,
    and the idiom's losses."""
    singles = [idiom.loader(inputs, targets, chosen[None]) for chosen in order]
    worst = dict.fromkeys(("loss", "gradients", "weights", "slots", "outputs"), 0.0)
    losses = []
    for step in range(steps):
        chosen = order[step % len(order)]
        single = singles[step % len(order)]
        ours = idiom.stage(inputs[chosen], targets[chosen])
        theirs = truth.stage(inputs[chosen], targets[chosen])
        seen = {
            "gradients": differences(idiom.gradients(ours), truth.gradients(theirs)),
            "outputs": difference(
                idiom.to_numpy(idiom.infer(single, 1)), truth.to_numpy(truth.predict(theirs))
            ),
        }
        losses.append(float(idiom.to_numpy(idiom.fit(single, 1))))
        seen["loss"] = difference(np.array(losses[-1]), truth.to_numpy(truth.train_step(theirs)))
        state, true = idiom.state(), truth.state()
        seen["weights"] = differences(state.weights, true.weights)
        seen["slots"] = differences(state.slots, true.slots)
        worst = {what: max(size, seen[what]) for what, size in worst.items()}
    return worst, losses


def taken(adapter, inputs, targets, order, steps: int) -> dict[str, np.ndarray]:
    """The weights after so many steps on staged batches."""
    for step in range(steps):
        chosen = order[step % len(order)]
        adapter.train_step(adapter.stage(inputs[chosen], targets[chosen]))
    return adapter.state().weights


def is_start(state, start, dtype: str) -> bool:
    slots = [f"{slot}/{name}" for slot in start.task.optimizer.slots for name in start.weights]
    return (
        state.weights.keys() == start.weights.keys()
        and all(
            np.array_equal(state.weights[name], values.astype(dtype))
            for name, values in start.weights.items()
        )
        and list(state.slots) == slots
        and not any(values.any() for values in state.slots.values())
    )


def differences(ours: dict, reference: dict) -> float:
    assert ours.keys() == reference.keys()
    return max((difference(ours[name], it) for name, it in reference.items()), default=0.0)


def difference(ours: np.ndarray, reference: np.ndarray) -> float:
    assert ours.shape == reference.shape
    assert np.isfinite(ours).all()
    return float(np.max(np.abs(ours - reference)) / np.max(np.abs(reference)))


if __name__ == "__main__":
    framework, mode, device, dtype, steps, file, *names = sys.argv[1:]
    found = {}
    for task in (it for it in TASKS if not names or it.name in names):
        try:
            found[task.name] = examined(framework, mode, device, dtype, int(steps), task)
        except Unsupported as reason:
            found[task.name] = {"unsupported": str(reason)}
    Path(file).write_text(json.dumps(found))
