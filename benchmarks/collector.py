"""What Python's garbage collector costs a step, and what of it a frozen heap hides.

`python -m benchmarks.collector`: each framework in a process of its own takes the same training
steps with its heap frozen (as workers have it), not frozen (as a user's script has it) and with the
collector off. Collections are timed by `gc.callbacks`, in CPU time.
"""

from __future__ import annotations

import gc
import importlib
import statistics
import subprocess
import sys
import time
from collections import defaultdict

from harness.adapter import Options
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.datasets import load
from harness.tasks.start import make_start
from harness.worker import loops

SETUPS = ("pytorch:eager", "tensorflow:graph", "tensorflow:eager", "reference:eager")
STEPS, ROUNDS = 400, 5
HEAPS = ("frozen", "not frozen", "collector off")


class Timer:
    """Counts collections by generation, and their CPU time, while it listens."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = defaultdict(int)
        self.seconds = self.longest = self._begin = 0.0

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._begin = time.process_time()
            return
        took = time.process_time() - self._begin
        self.counts[info["generation"]] += 1
        self.seconds += took
        self.longest = max(self.longest, took)


def measure(label: str) -> None:
    framework, _, mode = label.partition(":")
    task = CATALOGUE["digits-mlp"]
    start, arrays = make_start(task, 0), load(task.data, None)
    kind = importlib.import_module(f"impls.{framework}.adapter").Adapter
    adapter = kind(task, start, Options(mode, "cpu", 1, "float32"))
    batches = loops.staged(adapter, arrays, loops.sample_order(start))
    steps: dict[str, list[float]] = defaultdict(list)
    full: dict[str, list[float]] = defaultdict(list)
    timers = {heap: Timer() for heap in HEAPS}
    for round_ in range(-1, ROUNDS):
        for heap in HEAPS:
            gc.collect()
            gc.freeze() if heap == "frozen" else gc.unfreeze()
            gc.disable() if heap == "collector off" else gc.enable()
            begin = time.process_time()
            gc.collect()
            full[heap].append(time.process_time() - begin)
            if round_ >= 0:
                gc.callbacks.append(timers[heap])
            begin = time.process_time()
            for step in range(STEPS):
                adapter.train_step(batches[step % len(batches)])
            adapter.synchronize()
            took = time.process_time() - begin
            if round_ >= 0:
                gc.callbacks.pop()
                steps[heap].append(took / STEPS)
    for heap in HEAPS:
        timer, step = timers[heap], statistics.median(steps[heap])
        counts = [timer.counts[it] for it in range(3)]
        print(
            f"| {label} | {heap} | {1e6 * step:.1f} | {counts} | "
            f"{1e6 * timer.seconds / STEPS / ROUNDS:.3f} | {1e3 * timer.longest:.2f} | "
            f"{1e3 * min(full[heap]):.1f} |",
            flush=True,
        )


def main() -> None:
    if len(sys.argv) > 1:
        measure(sys.argv[1])
        return
    head = ("setup", "heap", "µs a step", "collections", "µs of them a step", "longest, ms")
    print(f"| {' | '.join(head)} | a full one, ms |")
    print("| :-- | :-- | --: | --: | --: | --: | --: |")
    for label in SETUPS:
        subprocess.run([sys.executable, "-m", "benchmarks.collector", label], check=True)


if __name__ == "__main__":
    main()
