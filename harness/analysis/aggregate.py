"""A setup over all tasks: the geometric mean of its ratios, with an interval.

The tasks were measured in blocks of their own, so that their ratios err independently, and each
has an interval of its own. The mean of the logarithms gets its interval from theirs by the method
of variance estimates recovery (Zou & Donner 2008, Statistics in Medicine 27, 1693): with estimates
xₜ in (lₜ, uₜ) over T tasks, it reaches from x̄ − √Σ(xₜ − lₜ)² ÷ T to x̄ + √Σ(uₜ − xₜ)² ÷ T. It
stands skewed intervals and different numbers of blocks; `tests/analysis/test_simulated.py` shows
its coverage. The tasks are those of the run, not a sample of all tasks: of others it says nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from harness.analysis.intervals import Interval, exp
from harness.analysis.tables import Table
from harness.analysis.verdicts import Pair
from harness.cells import Lane, Phase
from harness.tasks.frozen import Frozen

LEAST_TASKS = 2


class Aggregate(Frozen):
    """The geometric mean of a setup's speed ratios over `tasks`, in one phase and lane.

    `missing` are tasks in which the two are not ranked against each other, or pauses deny their
    ratio: over them nothing is claimed, and a mean over other tasks is no rival of this one.
    `speed.n` is the smallest number of blocks of any task.
    """

    phase: Phase
    lane: Lane
    device: str
    threads: int
    dtype: str
    label: str
    baseline: str
    speed: Interval
    tasks: tuple[str, ...]
    missing: tuple[str, ...]


def aggregates(tables: Iterable[Table]) -> tuple[Aggregate, ...]:
    """Every setup that is ranked against the same baseline in at least two tasks."""
    groups: dict[tuple[Phase, Lane, str, int, str], list[Table]] = defaultdict(list)
    for it in tables:
        groups[it.phase, it.lane, it.device, it.threads, it.dtype].append(it)
    return tuple(found for group in groups.values() for found in _group(group))


def geometric_mean(speeds: Sequence[Interval]) -> Interval:
    """The geometric mean of independent ratios, each with its interval.

    Without bounds where one of them has none. Raises ValueError for no ratio.
    """
    if not speeds:
        raise ValueError("no ratios")
    logs = [math.log(it.estimate) for it in speeds]
    mean, n = math.fsum(logs) / len(logs), min(it.n for it in speeds)
    below = [log - math.log(it.low) for it, log in zip(speeds, logs, strict=True) if it.low]
    above = [math.log(it.high) - log for it, log in zip(speeds, logs, strict=True) if it.high]
    if len(below) < len(speeds) or len(above) < len(speeds):
        reason = "a task has no interval"
        return Interval(
            estimate=math.exp(mean), low=None, high=None, n=n, method="none", reason=reason
        )
    return Interval(
        estimate=math.exp(mean),
        low=exp(mean - math.hypot(*below) / len(speeds)),
        high=exp(mean + math.hypot(*above) / len(speeds)),
        n=n,
        method="combined",
    )


def _group(tables: Sequence[Table]) -> list[Aggregate]:
    pairs: dict[tuple[str, str], dict[str, Pair]] = defaultdict(dict)
    for table in tables:
        for it in table.pairs:
            if it.verdict != "not ranked" and not it.denied_by:
                pairs[it.label, it.baseline][table.task.name] = it
    first, names = tables[0], [it.task.name for it in tables]
    return [
        Aggregate(
            phase=first.phase,
            lane=first.lane,
            device=first.device,
            threads=first.threads,
            dtype=first.dtype,
            label=label,
            baseline=baseline,
            speed=geometric_mean([it.speed for it in by_task.values()]),
            tasks=tuple(by_task),
            missing=tuple(it for it in names if it not in by_task),
        )
        for (label, baseline), by_task in pairs.items()
        if len(by_task) >= LEAST_TASKS
    ]
