"""`python -m benchmarks.studies.sequential`: what do turns save, for the same half-width?

Two cells, two ways, in one window of time. *Turns*: blocks of both, one log ratio a block.
*Sequential*: fresh processes one after the other without turns, as pyperf runs them, one value a
process. A run is one block and one process of each cell, in random order, so that whatever the
machine does hits both ways alike. Both take as many samples of the same length.

The half-width of an interval after n units is t·s/√n, so the time that a way needs for a given one
grows as s² × seconds a unit; the ratio of these is the result, whatever the half-width. Sequential
processes are given the better of two readings: as two independent groups, which is how pyperf
compares, and as pairs of neighbours, which it does not do.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.studies.journal import Design, Journal, Run, page, percent, table, times
from benchmarks.studies.lab import Bench, asked, default_threads, setups_of, study
from benchmarks.studies.solo import measure
from harness.analysis.stats import CONFIDENCE, quantile
from harness.runs.config import PRESETS, SAMPLE_SECONDS

OURS, THEIRS = "reference:replay", "pytorch:eager"
RUNS, TARGET, BAR = 60, 0.02, 3.0
RESAMPLES = 4000


class Units(NamedTuple):
    """One way's units, in the order in which they were made: log ratios and wall seconds.

    A sequential unit is a process of each cell: `ours` and `theirs` are their log step times.
    """

    turns: list[float]
    turn_seconds: list[float]
    ours: list[float]
    theirs: list[float]
    solo_seconds: list[float]


class Way(NamedTuple):
    """How well one way does: the ratio it finds, s of a unit, seconds a unit, and what it takes to
    reach TARGET."""

    name: str
    ratio: float
    deviation: float
    seconds: float
    needed: float
    half_width: float


def units(runs: Sequence[Run]) -> Units:
    found = Units([], [], [], [], [])
    for run in runs:
        found.turns.extend(run.of(OURS, THEIRS, "train"))
        found.turn_seconds.extend(run.seconds)
        solo = run.extra["solo"]
        found.ours.append(math.log(statistics.median(solo[OURS])))
        found.theirs.append(math.log(statistics.median(solo[THEIRS])))
        found.solo_seconds.append(run.extra["solo_seconds"])
    return found


def ways(it: Units) -> list[Way]:
    """Turns, sequential as groups, sequential as pairs."""
    apart = [theirs - ours for ours, theirs in zip(it.ours, it.theirs, strict=True)]
    together = math.hypot(statistics.stdev(it.ours), statistics.stdev(it.theirs))
    return [
        _way("turns", it.turns, statistics.stdev(it.turns), it.turn_seconds),
        _way("sequential, as groups", apart, together, it.solo_seconds),
        _way("sequential, as pairs", apart, statistics.stdev(apart), it.solo_seconds),
    ]


def _way(name: str, logs: Sequence[float], deviation: float, seconds: Sequence[float]) -> Way:
    unit, n = statistics.fmean(seconds), len(logs)
    return Way(
        name=name,
        ratio=statistics.fmean(logs),
        deviation=deviation,
        seconds=unit,
        needed=unit * needed(deviation, TARGET),
        half_width=quantile(n - 1, (1 + CONFIDENCE) / 2) * deviation / math.sqrt(n),
    )


def needed(deviation: float, half_width: float) -> float:
    """Units for a 95 % interval of this half-width where many are needed: (1.96 s/h)²."""
    return (1.96 * deviation / half_width) ** 2


def saving(it: Units) -> float:
    """How many times as long sequential processes take for the same half-width, at their best."""
    turns, groups, pairs = ways(it)
    return min(groups.needed, pairs.needed) / turns.needed


def interval(
    it: Units, statistic: Callable[[Units], float], resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Its 95 % bootstrap interval, by percentiles: blocks and processes are drawn separately."""
    generator = np.random.default_rng(0)
    blocks, solos = len(it.turns), len(it.ours)
    values = []
    for _ in range(resamples):
        one, two = generator.integers(blocks, size=blocks), generator.integers(solos, size=solos)
        if len(set(one)) > 1 and len(set(two)) > 1:
            values.append(statistic(_drawn(it, one.tolist(), two.tolist())))
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _drawn(it: Units, blocks: Sequence[int], solos: Sequence[int]) -> Units:
    return Units(
        turns=[it.turns[n] for n in blocks],
        turn_seconds=[it.turn_seconds[n] for n in blocks],
        ours=[it.ours[n] for n in solos],
        theirs=[it.theirs[n] for n in solos],
        solo_seconds=[it.solo_seconds[n] for n in solos],
    )


def robust(it: Units) -> float:
    """The same saving with deviations that outliers do not move, for what a median is worth."""
    apart = [theirs - ours for ours, theirs in zip(it.ours, it.theirs, strict=True)]
    groups = math.hypot(_spread(it.ours), _spread(it.theirs))
    best = min(groups, _spread(apart))
    sequential = best**2 * statistics.fmean(it.solo_seconds)
    turns = _spread(it.turns) ** 2 * statistics.fmean(it.turn_seconds)
    return sequential / turns if turns else math.inf


def _spread(values: Sequence[float]) -> float:
    middle = statistics.median(values)
    return 1.4826 * statistics.median(abs(it - middle) for it in values)


def summary(journal: Journal) -> str:
    found = units(journal.runs)
    if len(found.turns) < 2:
        return page("Turns or one after the other", journal, "One run says nothing yet.")
    factor = saving(found)
    low, high = interval(found, saving)
    said = "met" if low >= BAR else "not met" if factor < BAR else "met, but not surely"
    return page(
        "Turns or one after the other",
        journal,
        f"For the same half-width, sequential fresh processes take {factor:.1f} × as long as "
        f"turns ({low:.1f}–{high:.1f}); at least {BAR:g} × were asked for: **{said}**. With "
        f"deviations that outliers do not move: {robust(found):.1f} ×.",
        table(
            (
                "way",
                f"{OURS} ÷ {THEIRS}",
                "s of a unit",
                "seconds a unit",
                f"minutes to ±{percent(TARGET, 0)}",
                "half-width here",
                "minutes here",
            ),
            [
                (
                    it.name,
                    times(it.ratio),
                    percent(it.deviation),
                    f"{it.seconds:.2f}",
                    f"{it.needed / 60:.1f}",
                    percent(it.half_width),
                    f"{it.seconds * len(journal.runs) / 60:.1f}",
                )
                for it in ways(found)
            ],
        ),
        "A unit is a block of turns, or one fresh process of each cell after the other. The "
        "interval of the factor is a bootstrap over units. Both ways take the same number of "
        "samples, of the same length, with the same code.",
    )


def measured(bench: Bench, design: Design, number: int) -> Run:
    """A block, and a process of each cell, whichever comes first."""
    began = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    solo: dict[str, list[float]] = {}
    solo_seconds = block_seconds = 0.0
    records = []
    order = random.Random(f"{design.study}/{number}")
    for way in order.sample(["turns", "sequential"], 2):
        begin = time.perf_counter()
        if way == "turns":
            records = bench.block(number, 0)
            block_seconds = time.perf_counter() - begin
            continue
        for setup in order.sample(list(design.setups), len(design.setups)):
            solo[setup.label] = measure(setup, design, bench.data, seed=0)
        solo_seconds = time.perf_counter() - begin
    extra = {"solo": solo, "solo_seconds": solo_seconds}
    return bench.kept(number, began, records, [block_seconds], extra)


def main() -> None:
    given = asked("sequential", "Turns beside pyperf's way.", RUNS, default_threads())
    task = "digits-mlp"
    design = Design(
        study="sequential",
        task=task,
        setups=setups_of([OURS, THEIRS], task, given.threads),
        pairs=((OURS, THEIRS),),
        phases=("train",),
        blocks=1,
        rounds=3 if given.quick else PRESETS["quick"]["rounds"],
        sample_seconds=SAMPLE_SECONDS,
        warmup_seconds=0.2,
    )
    study(design, given, lambda bench, number: measured(bench, design, number), summary)


if __name__ == "__main__":
    main()
