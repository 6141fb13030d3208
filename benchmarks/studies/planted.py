"""`python -m benchmarks.studies.planted [--neighbour]`: is a known slowdown found?

The reference against itself with 3 % and 5 % more work (`planted_impls/slowed`). The share is known
without any clock: every 33rd or 20th step is taken twice, the second time on a scratch copy. A
calibration in one process, without the harness's measuring, says what that comes to in time.

Every run is judged as a run's table is: two rows against the baseline `slowed:plain`, corrected for
their number, with δ from the run's own A/A pair. With `--neighbour` another process keeps one core
busy in bursts of 0.1 to 2 s meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.studies.journal import Design, Journal, Run, page, percent, table
from benchmarks.studies.lab import Bench, add_frameworks, asked, setups_of, study
from benchmarks.studies.neighbour import neighbour
from harness.analysis.stats import median_interval
from harness.analysis.verdicts import LEAST_MARGIN, Pair, compare_blocks, judged
from harness.runs.config import PRESETS, SAMPLE_SECONDS
from harness.runs.process import ROOT, THREAD_VARIABLES

IMPLS = Path(__file__).parent / "planted_impls"
PLAIN, AGAIN = "slowed:plain", "slowed:plain again"
SLOWER = {"slowed:slower-3": 1 / 33, "slowed:slower-5": 1 / 20}
"""More work than `plain`, as a share of it."""
RUNS, BLOCKS = 20, 9


class Row(NamedTuple):
    """One slowdown over all runs. `covered` counts the intervals that hold the truth.

    `found` are the runs that say `slower` in their table, `alone` those that would say so if it
    had this row only. `slowdown` is the median over runs of the estimate, `wrong` counts runs
    that say `faster` or `equivalent`.
    """

    label: str
    planted: float
    runs: int
    found: int
    alone: int
    wrong: int
    covered: int
    slowdown: float
    deviation: float


def floor(run: Run) -> Pair:
    """The run's A/A pair."""
    return compare_blocks(AGAIN, PLAIN, run.of(AGAIN, PLAIN, "train"))


def margin(run: Run) -> float:
    """δ, as in a run's table."""
    return max(LEAST_MARGIN, floor(run).hidden or 0.0)


def verdicts(run: Run) -> dict[str, Pair]:
    """The rows of the run's table, by label."""
    delta = margin(run)
    pairs = [compare_blocks(it, PLAIN, run.of(it, PLAIN, "train"), delta) for it in SLOWER]
    return {it.label: it for it in judged(pairs)}


def rows(runs: Sequence[Run], truth: Mapping[str, float] = SLOWER) -> list[Row]:
    """`truth` is the slowdown by label: 0.05 is 5 % more time."""
    return [_row(label, planted, runs) for label, planted in truth.items()]


def _row(label: str, planted: float, runs: Sequence[Run]) -> Row:
    logs = [run.of(label, PLAIN, "train") for run in runs]
    told = [verdicts(run)[label] for run in runs]
    alone = [
        compare_blocks(label, PLAIN, it, margin(run)) for run, it in zip(runs, logs, strict=True)
    ]
    return Row(
        label=label,
        planted=planted,
        runs=len(runs),
        found=sum(it.verdict == "slower" for it in told),
        alone=sum(it.verdict == "slower" for it in alone),
        wrong=sum(it.verdict in ("faster", "equivalent") for it in told),
        covered=sum(_holds(it, 1 / (1 + planted)) for it in told),
        slowdown=statistics.median(1 / it.speed.estimate for it in told) - 1,
        deviation=math.sqrt(statistics.fmean(statistics.variance(it) for it in logs)),
    )


def _holds(pair: Pair, value: float) -> bool:
    low, high = pair.speed.low, pair.speed.high
    return low is not None and high is not None and low <= value <= high


def summary(journal: Journal) -> str:
    calibrated = journal.known
    truth = {it: math.exp(calibrated[it]["log"]) - 1 for it in SLOWER}
    alarms = sum(floor(run).excludes_one for run in journal.runs)
    bursts = journal.design.study.endswith("neighbour")
    where = "while another process keeps one core busy in bursts" if bursts else "with nobody else"
    found = rows(journal.runs, truth)
    said = ", ".join(f"{percent(SLOWER[it.label], 1)} in {it.found} of {it.runs}" for it in found)
    head = (
        "planted",
        "in time, calibrated",
        "found",
        "found if alone",
        "wrong",
        "interval holds it",
        "median estimate",
        "s of block log ratios",
    )
    return page(
        f"A planted slowdown, {where}",
        journal,
        f"Found: {said} runs of {journal.design.blocks} blocks.",
        table(
            head,
            [
                (
                    f"1/{round(1 / SLOWER[it.label])} = {percent(SLOWER[it.label])}",
                    f"{percent(it.planted)} ± {percent(_spread(calibrated[it.label]['logs']))}",
                    f"{it.found} of {it.runs}",
                    it.alone,
                    it.wrong,
                    it.covered,
                    percent(it.slowdown),
                    percent(it.deviation),
                )
                for it in found
            ],
        ),
        "The share of steps that are taken twice is planted; what it comes to in time was measured "
        "in one process without workers or turns (± half of the 95 % interval). *Found*: the "
        "run's table says `slower`, corrected over its two rows. *Wrong*: it says `faster` or "
        f"`equivalent`. The A/A interval of {alarms} of {len(journal.runs)} runs excludes 1.",
    )


def _spread(logs: Sequence[float]) -> float:
    interval = median_interval([math.exp(it) for it in logs])
    assert interval.low is not None
    assert interval.high is not None
    return (interval.high - interval.low) / 2


def calibrated(bench: Bench, rounds: int) -> dict[str, Any]:
    """By label; see `benchmarks.studies.calibration`."""
    told = subprocess.run(
        [sys.executable, "-m", "benchmarks.studies.calibration", str(bench.data), str(rounds)],
        cwd=ROOT,
        env=os.environ | dict.fromkeys(THREAD_VARIABLES, "1"),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return {f"slowed:{mode}": it for mode, it in json.loads(told.stdout).items()}


def main() -> None:
    given = asked(
        "planted",
        "A known slowdown of the reference on this machine.",
        RUNS,
        1,
        neighbour="while another process keeps one core busy in bursts",
    )
    add_frameworks(IMPLS)
    bursts, task = "neighbour" in given.flags, "digits-mlp"
    design = Design(
        study="planted-neighbour" if bursts else "planted",
        task=task,
        setups=setups_of([PLAIN, PLAIN, *SLOWER], task, given.threads),
        pairs=((AGAIN, PLAIN), *((it, PLAIN) for it in SLOWER)),
        phases=("train",),
        blocks=3 if given.quick else BLOCKS,
        rounds=3 if given.quick else PRESETS["quick"]["rounds"],
        sample_seconds=SAMPLE_SECONDS,
        warmup_seconds=0.1,
    )

    def run(bench: Bench, number: int) -> Run:
        with neighbour(number) if bursts else contextlib.nullcontext():
            return bench.run(number)

    study(design, given, run, summary, lambda bench: calibrated(bench, 6 if given.quick else 60))


if __name__ == "__main__":
    main()
