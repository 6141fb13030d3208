"""A pause that a median hides is in the throughput, and denies a verdict."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from harness.analysis.pairs import log_ratios
from harness.analysis.stats import ratio_interval
from harness.analysis.summary import summarise, summarise_run
from harness.analysis.verdicts import compare_blocks, contradicts, ends_of, mean_ratio
from harness.records import Record
from harness.report.advice_text import choices, to_decide
from harness.report.frames import FRAMES
from tests.analysis.simulator import SYMMETRIC, Shape, simulate
from tests.builders import (
    TASK,
    certified,
    make_quality,
    make_record,
    make_run,
    make_setup,
    make_task,
)

BLOCKS, ROUNDS = 9, 16
LABELS = ("pauses:eager", "even:eager")


def run_of(
    pausing: float,
    trainings: tuple[int, float] = (0, 1.0),
    pause: float = 20.0,
    phase: str = "train",
) -> list[Record]:
    """Two setups, 1 and 1.3 ms a step. Of the faster one's samples a share is `pause` times as
    long, and its `trainings`, so many of them, take so many times as long as the other's."""
    rng, records = random.Random(1), []
    for block in range(BLOCKS):
        for label, step in zip(LABELS, (1e-3, 1.3e-3), strict=True):
            steps = [step * math.exp(rng.gauss(0, 0.01)) for _ in range(ROUNDS)]
            if label == LABELS[0]:
                many = round(pausing * ROUNDS)
                steps[:many] = [it * pause for it in steps[:many]]
            seconds = (trainings[1] if label == LABELS[0] else 1.0) * math.exp(rng.gauss(0, 0.01))
            quality = make_quality([0.9, 0.95], block, seconds) if block < trainings[0] else None
            setup = make_setup(label=label)
            records.append(make_record(setup, block, {phase: steps}, quality=quality))
    return records


def table_of(records: list[Record]):
    (table,) = summarise([TASK], records, certified(records)).tables
    return table


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        (run_of(0.0), ""),
        (run_of(0.0, (5, 0.8)), ""),
        (run_of(0.0, (2, 3.0)), ""),  # two trainings are too few
        (run_of(0.1, pause=2.0), ""),  # slower by its pauses, and still the faster one
        (run_of(0.1), "faster in the median step, slower in the mean of all steps: pauses"),
        (run_of(0.1, (5, 1.3)), "faster in the median step, slower in whole trainings: pauses"),
        (
            run_of(0.1, (5, 0.8)),
            "faster in the median step, slower in the mean of all steps: pauses",
        ),
        (run_of(0.0, (5, 1.3)), "faster in the median step, slower in whole trainings"),
        (run_of(0.0, (9, 1.3)), "faster in the median step, slower in whole trainings"),
    ],
)
def test_no_winner_where_the_mean_or_full_trainings_contradict(records, reason):
    table = table_of(records)
    (pair,) = table.pairs
    assert pair.reason == reason
    assert (table.winner is None) is bool(reason)
    assert (pair.verdict == "cannot tell") is bool(reason)
    if reason:
        assert f"No winner: pauses:eager against even:eager is {reason} (1.3" in table.sentence


def test_equal_in_the_median_and_slower_in_the_mean_is_not_equivalent():
    records = [
        make_record(
            make_setup(label=label),
            block,
            {"train": [1e-3 * (1 + 1e-4 * (block % 3))] * 14 + [last] * 2},
        )
        for block in range(12)
        for label, last in zip(LABELS, (1e-2, 1e-3), strict=True)
    ]
    (pair,) = table_of(records).pairs
    assert (pair.verdict, pair.denied_by) == ("cannot tell", "mean")
    assert pair.reason.startswith("no different in the median step, ")


def test_latencies_are_judged_by_the_mean_of_their_readings_too():
    records = []
    for it in run_of(0.0, phase="train-latency"):
        (phase,) = it.phases
        pause = 3 if it.setup.label == LABELS[0] else 1
        samples = tuple(
            sample.model_copy(
                update={
                    "readings": (sample.mean_seconds,) * sample.iterations,
                    "seconds": sample.seconds * pause,
                }
            )
            for sample in phase.samples
        )
        phases = (phase.model_copy(update={"samples": samples}),)
        records.append(it.model_copy(update={"phases": phases}))
    (pair,) = table_of(records).pairs
    assert pair.speed.estimate > 1
    assert pair.denied_by == "mean"


def test_throughput_is_of_the_mean_step_and_the_median_stands_beside():
    row = next(it for it in table_of(run_of(0.125)).rows if it.cell.setup.label == LABELS[0])
    assert row.step.estimate == pytest.approx(1e-3, rel=0.02)
    assert row.mean_step
    assert row.mean_step.estimate == pytest.approx(1e-3 * (14 + 2 * 20) / 16, rel=0.02)
    assert row.examples_per_second.estimate == pytest.approx(TASK.batch / row.mean_step.estimate)


def test_the_reason_stands_in_the_choice_and_more_blocks_are_not_suggested():
    run = make_run(run_of(0.1, (5, 1.3)))
    summary = summarise_run(run)
    told = choices(run, summary)
    assert any("slower in whole trainings: pauses" in it.because for it in told)
    assert not any("--blocks" in it.because for it in told)
    assert to_decide(run, summary) == ""
    (line,) = FRAMES["pairs"].lines(run, lambda: summary)
    assert line["denied_by"] == "trainings"
    assert line["mean_time_ratio"] < 1 < line["speed_ratio"]
    assert line["training_time_ratio"] == pytest.approx(1 / 1.3, rel=0.02)


def test_a_denied_ratio_is_in_no_mean_over_tasks():
    other = make_task("another")
    records = [
        it.model_copy(update={"setup": it.setup.model_copy(update={"task": task.name})})
        for task, pausing in ((TASK, 0.1), (other, 0.0))
        for it in run_of(pausing)
    ]
    calm = [
        it.model_copy(update={"setup": it.setup.model_copy(update={"task": other.name})})
        for it in run_of(0.0)
    ] + run_of(0.0)
    assert summarise([TASK, other], calm, certified(calm)).aggregates
    assert not summarise([TASK, other], records, certified(records)).aggregates


def test_an_overlap_denies_nothing_and_another_size_of_the_same_verdict_neither():
    (pair,) = table_of(run_of(0.0)).pairs
    speed = pair.speed.model_copy(update={"estimate": 1.3, "low": 1.25, "high": 1.35})

    def other(low: float, high: float) -> bool:
        found = speed.model_copy(update={"estimate": (low + high) / 2, "low": low, "high": high})
        assert ends_of(found) == (low, high)
        mirrored = contradicts("slower", speed.inverted(), found.inverted(), 0.01)
        assert contradicts("faster", speed, found, 0.01) is mirrored
        return mirrored

    assert not other(0.9, 1.26)
    assert not other(1.1, 1.2)
    assert other(0.9, 1.2)
    assert other(0.8, 0.9)


@pytest.mark.parametrize("kind", SYMMETRIC)
@pytest.mark.parametrize("faster", [0.0, 0.05])
def test_honest_setups_under_heavy_noise_are_not_denied(kind, faster):
    runs, denied = 200, 0
    times = np.exp(simulate(kind, Shape(runs, BLOCKS, 2, ROUNDS), 7) - [faster, 0])
    trainings = np.random.default_rng(8).standard_t(2, (runs, BLOCKS)) / 20 + faster
    for number, logs in enumerate(trainings):
        ours, theirs = (
            {block: dict(enumerate(it[:, worker])) for block, it in enumerate(times[number])}
            for worker in range(2)
        )
        pair = compare_blocks(
            *LABELS,
            [*log_ratios(ours, theirs).values()],
            mean=mean_ratio(ours, theirs),
            trainings=ratio_interval(logs[: 3 + number % 7]),
        )
        denied += bool(pair.denied_by)
    assert denied <= 0.05 * runs
