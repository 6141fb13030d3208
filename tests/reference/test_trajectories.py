"""A hundred steps of every catalogue task in float64, beside PyTorch in float64.

A fifth of them where a step takes as long as fifty of another: millions of weights, whole epochs.
"""

from __future__ import annotations

import numpy as np
import pytest

from harness.adapter import Options
from harness.tasks.start import make_start
from impls.reference.adapter import Adapter
from tests.reference.batches import TASKS, batches
from tests.sweeps import sweep

STEPS, TOLERANCE = 100, 1e-9
FEWER, MUCH = 20, 100_000_000


def quick(task):
    return task.parameters * task.batch < 3_000_000


@pytest.mark.parametrize("task", sweep(TASKS, quick), ids=lambda task: task.name)
def test_the_trajectory_is_that_of_pytorch(task):
    pytest.importorskip("torch")
    from impls.pytorch.adapter import Adapter as PyTorch

    start = make_start(task, 1)
    options = Options("eager", "cpu", 2, "float64")
    theirs = PyTorch(task, start, options)
    ours = Adapter(task, start, Options("replay", "cpu", 1, "float64"))
    given = batches(task, 4)
    pairs = [(ours.stage(*batch), theirs.stage(*batch)) for batch in given]
    steps = FEWER if task.parameters * task.batch > MUCH else STEPS
    for step in range(steps):
        a, b = pairs[step % len(pairs)]
        close(
            "loss", step, ours.to_numpy(ours.train_step(a)), theirs.to_numpy(theirs.train_step(b))
        )
        if step + 1 in (1, 10, steps):
            mine, other = ours.state(), theirs.state()
            for kind in ("weights", "slots"):
                left, right = getattr(mine, kind), getattr(other, kind)
                assert left.keys() == right.keys()
                for name in left:
                    close(name, step, left[name], right[name])
            close("outputs", step, ours.predict(a), theirs.to_numpy(theirs.predict(b)))


def close(name, step, ours, theirs):
    assert ours.shape == theirs.shape, name
    assert np.isfinite(ours).all(), name
    difference = np.max(np.abs(ours - theirs))
    assert difference <= TOLERANCE * np.max(np.abs(theirs)), f"{name}, step {step}: {difference}"
