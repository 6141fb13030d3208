"""One step of the reference in this process, for pytest-benchmark's own comparison.

The other benchmarks measure ratios side by side and report them once; a comparison of how long they
take would say nothing. Here what is timed is the step itself, so that
`--benchmark-save` and `--benchmark-compare` mean something: see CONTRIBUTING.md.
"""

from __future__ import annotations

import numpy as np
import pytest

from harness.adapter import Options
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.start import make_start
from impls.reference.adapter import Adapter

TASKS = ("digits-mlp", "diabetes-regression")


@pytest.mark.parametrize("phase", ["train", "predict"])
@pytest.mark.parametrize("mode", ["replay", "eager"])
@pytest.mark.parametrize("name", TASKS)
def test_one_step(benchmark, name, mode, phase):
    task = CATALOGUE[name]
    shape, rng = task.data.shape, np.random.default_rng(0)
    inputs = rng.random((task.batch, shape.features), np.float32)
    targets = (
        rng.integers(0, shape.outputs, task.batch)
        if shape.kind == "classes"
        else rng.random((task.batch, shape.outputs), np.float32)
    )
    adapter = Adapter(task, make_start(task, 0), Options(mode, "cpu", 1, "float32"))
    step = adapter.train_step if phase == "train" else adapter.predict
    benchmark(step, adapter.stage(inputs, targets))
