"""`python -m benchmarks.startup [PAIRS]`: what it saves to start a block's workers side by side.

The default run's block, with its workers started one after the other and all at once, in
alternation; a line a block with the seconds until all were loaded, from there until all were warm,
and of everything. The last line is the median share that is left of a block's time.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from harness.cells import Setup
from harness.records import Record
from harness.runs.block import Block, Step
from harness.runs.config import resolve
from harness.runs.engines import LocalEngine
from harness.runs.plan import make_plan
from harness.runs.runner import staged_data


class Stopwatch:
    """An observer that notes when each step of a block began."""

    def __init__(self) -> None:
        self.began: dict[str, float] = {"launched": time.perf_counter()}

    def started(self, trial: str, block: Block, setup: Setup) -> None:
        pass

    def ended(self, record: Record) -> None:
        if record.status != "ok":
            sys.exit(f"{record.setup.id}: {record.status}: {record.error}")

    def progress(self, block: Block, step: Step, setup: Setup | None, done: float) -> None:
        self.began.setdefault(step, time.perf_counter())

    def seconds(self, begin: str, end: str) -> float:
        return self.began[end] - self.began[begin]


def measure(pairs: int, folder: Path) -> list[tuple[float, float]]:
    """Seconds of whole blocks, (alone, side by side)."""
    config = resolve(None, {})
    plan = make_plan(config)
    (arena,) = plan.arenas
    engine = LocalEngine(folder / "logs", folder / "caches")
    taken = []
    with staged_data(plan, folder / "data") as places:

        def block_seconds(alone: bool, number: int) -> float:
            block = Block(
                name=f"startup/b{number:03}.{int(alone)}",
                number=number,
                attempt=1,
                task=arena.task,
                setups=arena.setups,
                phases=config.phases,
                rounds=config.rounds,
                seed=0,
                trains=False,
                alone=alone,
                data=str(places[arena.task.data]),
                sample_seconds=config.sample_seconds,
                warmup_seconds=config.warmup_seconds,
            )
            watch = Stopwatch()
            engine.run(block, watch)
            loaded = watch.seconds("launched", "warming up")
            warm, whole = watch.seconds("warming up", "sampling"), watch.seconds("launched", "done")
            manner = "alone" if alone else "side by side"
            print(f"{manner:12}  loaded {loaded:5.1f}  warm {warm:5.1f}  block {whole:5.1f}")
            return whole

        for number in range(pairs):
            times = {alone: block_seconds(alone, number) for alone in _shuffled()}
            taken.append((times[True], times[False]))
    return taken


def _shuffled() -> list[bool]:
    return random.sample([True, False], 2)


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        ratios = [beside / alone for alone, beside in measure(count, Path(folder))]
    print(f"side by side ÷ alone: {statistics.median(ratios):.2f} (median of {count} pairs)")
