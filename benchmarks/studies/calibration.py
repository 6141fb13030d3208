"""`python -m benchmarks.studies.calibration DATA ROUNDS`: what the planted slowdowns come to.

One process with nothing of the harness's measuring in it: the three modes of `slowed`, in random
order, each timed over whole periods of both slowdowns. Prints JSON: by mode the counted share of
steps taken twice, and the log ratios of its time to `plain` in the same round.
"""

from __future__ import annotations

import importlib
import json
import math
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from harness.adapter import Options
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.datasets import open_staged
from harness.tasks.start import make_start

TASK = CATALOGUE["digits-mlp"]
STEPS = 660
"""Whole periods of 33 and of 20."""
PLAIN = "plain"


def calibrate(data: Path, rounds: int) -> dict[str, Any]:
    module = importlib.import_module("impls.slowed.adapter")
    start, arrays = make_start(TASK, 0), open_staged(data)
    adapters, batches = {}, {}
    for mode in module.PERIODS:
        adapter = module.Adapter(TASK, start, Options(mode, "cpu", 1, "float32"))
        rows = start.epoch_order(0)
        batches[mode] = [adapter.stage(arrays.x_train[it], arrays.y_train[it]) for it in rows]
        adapters[mode] = adapter

    def seconds(mode: str) -> float:
        adapter, staged = adapters[mode], batches[mode]
        adapter.train_step(staged[0])
        adapter.reset()
        begin = time.perf_counter()
        for number in range(STEPS):
            adapter.train_step(staged[number % len(staged)])
        return time.perf_counter() - begin

    for mode in adapters:
        seconds(mode)
    logs: dict[str, list[float]] = {mode: [] for mode in adapters if mode != PLAIN}
    for _ in range(rounds):
        taken = {mode: seconds(mode) for mode in random.sample(list(adapters), len(adapters))}
        for mode, known in logs.items():
            known.append(math.log(taken[mode] / taken[PLAIN]))
    settings = {mode: adapters[mode].settings() for mode in logs}
    return {
        mode: {
            "share": settings[mode]["steps_twice"] / settings[mode]["steps_taken"],
            "log": statistics.median(logs[mode]),
            "logs": logs[mode],
        }
        for mode in logs
    }


if __name__ == "__main__":
    folder, count = sys.argv[1:]
    print(json.dumps(calibrate(Path(folder), int(count))))
