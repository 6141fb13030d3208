"""Contestants in processes of their own take turns, so that the machine's moods hit them alike.

`python -m benchmarks.turns NAME` is a contestant: it reads lines `BATCH STEPS` and answers each
with the seconds that those steps took. `measure` starts several and lets them sample one by one.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BATCHES, SAMPLE_SECONDS = 8, 0.06
SETTLE_SECONDS = 0.15
"""Between turns: threads of OpenBLAS and OpenMP that are out of work spin for a while before they
sleep, on the very cores where the next contestant runs. Without it two threads mean little."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")

Samples = dict[str, list[float]]


def measure(names: Sequence[str], batch: int, threads: int, rounds: int) -> Samples:
    """Seconds per step of every contestant in every round, in rounds of random order."""
    workers = {name: _Worker(name, threads) for name in names}
    try:
        steps = {name: worker.calibrate(batch) for name, worker in workers.items()}
        samples: Samples = {name: [] for name in names}
        for _ in range(rounds):
            for name in random.sample(list(names), len(names)):
                samples[name].append(workers[name].seconds(batch, steps[name]) / steps[name])
    finally:
        for worker in workers.values():
            worker.stop()
    return samples


class _Worker:
    def __init__(self, name: str, threads: int) -> None:
        environment = dict.fromkeys(THREADS, str(threads)) | {"TF_CPP_MIN_LOG_LEVEL": "3"}
        self.process: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.turns", name],
            cwd=ROOT,
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self, batch: int, steps: int) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        time.sleep(SETTLE_SECONDS)
        print(batch, steps, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

    def calibrate(self, batch: int) -> int:
        """How many steps make a sample, after a warm-up that is steady."""
        self.seconds(batch, 30)
        return max(3, round(SAMPLE_SECONDS / (self.seconds(batch, 20) / 20)))

    def stop(self) -> None:
        self.process.communicate(timeout=30)  # closes its input, which ends it


def serve(name: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a framework prints goes beside the answers
    runs: dict[int, Any] = {}
    for line in sys.stdin:
        batch, steps = map(int, line.split())
        run = runs.get(batch) or runs.setdefault(batch, _contestant(name, batch))
        run(3)  # the machine has been elsewhere: caches and threads come back untimed
        begin = time.perf_counter()
        run(steps)
        print(time.perf_counter() - begin, file=answers, flush=True)


def _contestant(name: str, batch: int) -> Any:
    import numpy as np

    from benchmarks.contestants import CONTESTANTS
    from harness.tasks.catalogue import CATALOGUE
    from harness.tasks.start import make_start

    task = CATALOGUE["mnist-mlp"].model_copy(update={"batch_size": batch})
    generator = np.random.default_rng(0)
    batches = [
        (generator.random((batch, 784), dtype=np.float32), generator.integers(0, 10, batch))
        for _ in range(BATCHES)
    ]
    weights = [values.astype(np.float32) for values in make_start(task, 0).weights.values()]
    return CONTESTANTS[name](task, weights, batches)


if __name__ == "__main__":
    serve(sys.argv[1])
