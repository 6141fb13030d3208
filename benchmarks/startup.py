"""`python -m benchmarks.startup [ROUNDS]`: what does a block take, by how its workers start?

The default run's block with fresh workers started one after the other, with fresh ones started all
at once, and three blocks as a run has them, whose workers are forked from processes that import
their frameworks for all three; in random order. A line a block with the seconds until all were
loaded, imports included, and of everything; the last lines have the medians of a block's share.
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


MANNERS = {"alone": 1, "side by side": 1, "forked": 3}
"""How workers start, and blocks in a row of each kind."""


def measure(rounds: int, folder: Path) -> list[dict[str, float]]:
    """Seconds of a block, by manner."""
    config = resolve(None, {})
    plan = make_plan(config)
    (group,) = plan.groups
    taken = []
    with staged_data(plan, folder / "data") as places:

        def block_seconds(engine: LocalEngine, manner: str, round_: int, more: int) -> float:
            block = Block(
                name=f"startup/b{round_:03}.{more}",
                number=round_,
                attempt=1,
                task=group.task,
                setups=group.setups,
                phases=config.phases,
                rounds=config.rounds,
                seed=0,
                trains=False,
                alone=manner == "alone",
                data=str(places[group.task.data]),
                sample_seconds=config.sample_seconds,
                warmup_seconds=config.warmup_seconds,
                more=more,
            )
            watch = Stopwatch()
            engine.run(block, watch)
            loaded, whole = (watch.seconds("launched", it) for it in ("warming up", "done"))
            print(f"{manner:12}  loaded {loaded:5.1f}  block {whole:5.1f}", flush=True)
            return whole

        for number in range(rounds):
            times = {}
            for manner in random.sample(sorted(MANNERS), len(MANNERS)):
                many, fork = MANNERS[manner], manner == "forked"
                with LocalEngine(folder / "logs", folder / "caches", fork=fork) as engine:
                    seconds = [
                        block_seconds(engine, manner, number, more)
                        for more in reversed(range(many))
                    ]
                times[manner] = statistics.fmean(seconds)
            taken.append(times)
    return taken


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        rounds = measure(count, Path(folder))
    for manner in ("side by side", "forked"):
        share = statistics.median(it[manner] / it["alone"] for it in rounds)
        print(f"{manner} ÷ alone: {share:.2f} (median of {count} rounds)")
