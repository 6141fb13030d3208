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
from harness.cells import Phase
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
    declared = frameworks()[framework]
    kind = "adapter" if declared.modes else "idiom"
    implementation = getattr(importlib.import_module(f"impls.{framework}.{kind}"), kind.title())
    adapter = implementation(TASK, start, Options(mode, "cpu", threads, "float32"))
    phase = _phase(adapter, batches, trains="train" in declared.phases, idiom=kind == "idiom")
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


def _phase(adapter, batches, *, trains: bool, idiom: bool) -> PhaseRun:
    """Its training steps, or its predictions where it does not train, in the loop of its lane."""
    name: Phase = "train" if trains else "predict"
    if idiom:
        inputs, targets = (np.concatenate(it) for it in zip(*batches, strict=True))
        order = np.arange(len(inputs)).reshape(len(batches), -1)
        work = adapter.fit if trains else adapter.infer
        loop = IdiomLoop(work, adapter.loader(inputs, targets, order), len(batches))
        return PhaseRun(adapter, name, loop, "float32")
    staged = [adapter.stage(*batch) for batch in batches]
    work = adapter.train_step if trains else adapter.predict
    return PhaseRun(adapter, name, StepLoop(work, staged), "float32")


def _in_random_order(first, second) -> tuple[float, float]:
    if random.random() < 0.5:
        one = first()
        return one, second()
    two = second()
    return first(), two


if __name__ == "__main__":
    framework, mode, count, threads = sys.argv[1:]
    print(json.dumps(pairs(framework, mode, int(count), int(threads))))
