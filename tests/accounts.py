"""`python -m tests.accounts FRAMEWORK MODE DEVICE DTYPE`: what an adapter tells of itself, as JSON.

For each of TASKS and each phase the logical peak, each of a fresh adapter in a process of its own;
once more without the environment that counting needs; settings after one step and after more; and
the limits.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from functools import partial

from harness.adapter import Options, Work
from harness.cells import THROUGHPUT
from harness.proof.pool import in_child
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.costs import only_predicting
from harness.tasks.spec import Teacher
from harness.tasks.start import make_start
from harness.worker.probe import measure_limits
from tests.conformance import batches

LARGE = CATALOGUE["teacher"].model_copy(
    update={"name": "large-batch", "batch_size": 4096, "data": Teacher(train=4096)}
)
TASKS = {it.name: it for it in (CATALOGUE["mnist-mlp"], LARGE, CATALOGUE["diabetes-regression"])}
LIMIT = 120.0
STEPS = 3


def built(task, framework, options):
    implementation = importlib.import_module(f"impls.{framework}.adapter").Adapter
    return implementation(task, make_start(task, 3), options)


def peak(task, phase, framework, options, counting) -> str:
    if counting:
        os.environ.update(importlib.import_module(f"impls.{framework}").FRAMEWORK.tuning.accounting)
    adapter = built(only_predicting(task) if phase == "predict" else task, framework, options)
    batch = adapter.stage(*next(batches(task)))
    work = {"train": adapter.train_step, "predict": adapter.predict}[phase]

    def run():
        for _ in range(STEPS):
            work(batch)

    return json.dumps(adapter.logical_peak(Work(phase, batch, run)))


def told(framework, options) -> str:
    task = CATALOGUE["digits-mlp"]
    adapter = built(task, framework, options)
    batch = adapter.stage(*next(batches(task)))
    settings = []
    for _ in range(2):
        for _ in range(STEPS):
            adapter.train_step(batch)
            adapter.predict(batch)
        adapter.reset()
        settings.append(adapter.settings())
    limits = measure_limits(adapter, task, options.dtype, THROUGHPUT)
    return json.dumps({"settings": settings, "limits": limits.model_dump()})


def main() -> None:
    framework, mode, device, dtype = sys.argv[1:]
    options = Options(mode, device, 1, dtype)
    importlib.import_module(f"impls.{framework}.adapter")
    mnist = TASKS["mnist-mlp"]

    def ask(function, *arguments):
        return json.loads(in_child(partial(function, *arguments), LIMIT))

    peaks = {
        name: {phase: ask(peak, task, phase, framework, options, True) for phase in THROUGHPUT}
        for name, task in TASKS.items()
    }
    answer = ask(told, framework, options) | {
        "peaks": peaks,
        "uncounted": ask(peak, mnist, "train", framework, options, False),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
