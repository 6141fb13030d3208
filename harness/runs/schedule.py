"""When to run which block, and when to stop."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping

from harness.cells import Setup
from harness.runs.config import RunConfig
from harness.runs.plan import Arena, Plan
from harness.tasks.costs import train_flops
from harness.tasks.spec import Task

# Rough figures for a first estimate only; after one block the run's own times take over.
START_SECONDS, FLOPS_PER_SECOND, STEP_OVERHEAD = 4.0, 2e10, 0.5e-3


def order(plan: Plan) -> Iterator[tuple[int, Arena]]:
    """(block number, arena): one block of every arena before the second of any, so that a budget
    that ends early has cut all of them alike."""
    for number in range(plan.blocks):
        for arena in plan.arenas:
            yield number, arena


class Clock:
    """How long blocks take: guessed before any has run, learnt from then on."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._timed: Mapping[tuple[object, ...], list[float]] = defaultdict(list)

    def learn(self, arena: Arena, trains: bool, seconds: float) -> None:
        self._timed[_key(arena, trains)].append(seconds)

    def expected(self, arena: Arena, trains: bool) -> float:
        """Seconds that a block of the arena will take."""
        own = self._timed.get(_key(arena, trains))
        if own:
            return statistics.fmean(own)
        other = self._timed.get(_key(arena, not trains))
        if other:
            extra = sum(_training_seconds(arena.task) for _ in arena.setups)
            return max(0.0, statistics.fmean(other) + (extra if trains else -extra))
        return sum(self._guess(arena.task, setup, trains) for setup in arena.setups)

    def _guess(self, task: Task, setup: Setup, trains: bool) -> float:
        config = self._config
        step = _step_seconds(task)
        turns = config.rounds * max(config.sample_seconds, step)
        measured = len(config.phases) * (turns + max(config.warmup_seconds, 10 * step))
        return START_SECONDS + measured + (_training_seconds(task) if trains else 0)


def _key(arena: Arena, trains: bool) -> tuple[object, ...]:
    return (*arena.setups[0].arena, trains)


def _step_seconds(task: Task) -> float:
    return train_flops(task) / FLOPS_PER_SECOND + STEP_OVERHEAD


def _training_seconds(task: Task) -> float:
    return task.epochs * task.steps_per_epoch * _step_seconds(task)
