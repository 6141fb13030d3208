"""`python -m benchmarks.overhead FRAMEWORK MODE PAIRS`: what the harness adds to a step, as JSON.

One fresh process: the harness's own sampling of an adapter and a loop written by hand for the same
framework, on the same weights and batches, take turns in an order drawn anew for every pair.
"""

from __future__ import annotations

import importlib
import json
import random
import sys
import time

import numpy as np

from harness.adapter import Options
from harness.frameworks import frameworks
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.start import make_start
from harness.worker.loops import IdiomLoop, StepLoop
from harness.worker.measure import PhaseRun

TASK = CATALOGUE["mnist-mlp"]
BATCHES, SAMPLE_SECONDS = 32, 0.15


def pairs(framework: str, mode: str, count: int, threads: int) -> list[tuple[float, float]]:
    """(harness, by hand) step times in seconds."""
    from benchmarks.loops import LOOPS  # imports nothing heavy itself

    start = make_start(TASK, 0)
    generator = np.random.default_rng(0)
    batches = [
        (
            generator.random((TASK.batch, 784), dtype=np.float32),
            generator.integers(0, 10, TASK.batch),
        )
        for _ in range(BATCHES)
    ]
    options = Options(mode, "cpu", threads, "float32")
    if frameworks()[framework].modes:
        module = importlib.import_module(f"impls.{framework}.adapter")
        adapter = module.Adapter(TASK, start, options)
        staged = [adapter.stage(*batch) for batch in batches]
        loop = StepLoop(adapter.train_step, staged)
    else:
        adapter = importlib.import_module(f"impls.{framework}.idiom").Idiom(TASK, start, options)
        rows = [np.concatenate(it) for it in zip(*batches, strict=True)]
        order = np.arange(BATCHES * TASK.batch).reshape(BATCHES, -1)
        loop = IdiomLoop(adapter.fit, adapter.loader(*rows, order), TASK.steps_per_epoch)
    phase = PhaseRun(adapter, "train", loop, "float32")
    phase.first_calls()
    phase.warm_up(SAMPLE_SECONDS, 0.5)
    steps = phase.record.iterations
    weights = [values.astype(np.float32) for values in start.weights.values()]
    reset, run = LOOPS[framework](weights, batches)
    reset()
    run(steps)

    def by_harness() -> float:
        return phase.sample(0, 0).step_seconds

    def by_hand() -> float:
        run(1)  # as the harness does: threads wake and caches fill off the clock
        reset()
        begin = time.perf_counter()
        run(steps)
        return (time.perf_counter() - begin) / steps

    return [_in_random_order(by_harness, by_hand) for _ in range(count)]


def _in_random_order(first, second) -> tuple[float, float]:
    if random.random() < 0.5:
        one = first()
        return one, second()
    two = second()
    return first(), two


if __name__ == "__main__":
    framework, mode, count, threads = sys.argv[1:]
    print(json.dumps(pairs(framework, mode, int(count), int(threads))))
