"""What the statistics promise, kept in thousands of simulated runs of every kind of noise.

The functions are those of the analysis, from block log ratios on; that these are what records give
is a test of its own. Every run is seeded. The bars are the promises themselves, never loosened:
the numbers of runs are such that a true rate at the usual distance from its bar stays three
deviations of the simulation away from it.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest

from harness.analysis.noise import margin
from harness.analysis.pairs import entries, log_ratios
from harness.analysis.ranking import winner
from harness.analysis.stats import LEVEL, least_blocks_for, log_half_width, median_interval
from harness.analysis.stopping import standing
from harness.analysis.summary import geometric_mean, summarise
from harness.analysis.verdicts import LEAST_MARGIN, compare_blocks, judged
from tests.analysis.simulator import (
    KINDS,
    MEASURED_SD,
    SYMMETRIC,
    Shape,
    as_records,
    block_logs,
    simulate,
    stopped,
)
from tests.builders import LABELS, TASK, certified
from tests.sweeps import sweep

COVERAGE, FALSE_ALARMS, POWER = 0.94, 0.05, 0.90
PRECISION = 0.02
RUNS = 2000


@cache
def truth(kind: str) -> float:
    """The median that intervals are to cover: where kinds treat workers alike, that of equals."""
    if kind in SYMMETRIC:
        return 0.0
    return float(np.median(block_logs(simulate(kind, Shape(150_000, 1, 2), seed=77))))


def covers(logs: list[float], value: float) -> bool:
    interval = median_interval([math.exp(it) for it in logs])
    return interval.low <= math.exp(value) <= interval.high


def coverage(kind: str, precision: float, most: int, runs: int = 2 * RUNS) -> float:
    """How often the interval at which a run of two workers stops covers the truth."""
    rows = block_logs(simulate(kind, Shape(runs, most, 2), seed=1)).tolist()
    least = least_blocks_for(1)
    return sum(covers(row[: stopped([row], precision, least)], truth(kind)) for row in rows) / runs


def test_the_simulated_noise_is_what_was_measured():
    logs = block_logs(simulate("measured", Shape(50_000, 1, 2), seed=3))
    assert logs.std() == pytest.approx(MEASURED_SD, rel=0.02)


@pytest.mark.parametrize("kind", SYMMETRIC)
def test_equals_are_equal_under_noise_that_treats_them_alike(kind):
    logs = block_logs(simulate(kind, Shape(50_000, 1, 2), seed=4))
    # Four deviations of a median's own error.
    assert abs(np.median(logs)) < 4 * 1.2533 * logs.std() / math.sqrt(logs.size)


@pytest.mark.parametrize("kind", KINDS)
def test_coverage_with_the_early_stop(kind):
    assert coverage(kind, PRECISION, most=40) >= COVERAGE


@pytest.mark.parametrize("precision", [0.005, 0.0075, 0.01, 0.03])
def test_coverage_whatever_the_target_is_to_the_noise(precision):
    """A target far below the noise takes many looks, and each is a chance to stop by luck."""
    assert coverage("measured", precision, most=90) >= COVERAGE


def test_to_stop_at_the_first_narrow_interval_would_not_do():
    """Why a target has to be met twice running: the same runs, each rule its own way."""
    rng, target, least, most = np.random.default_rng(5), 0.35, 9, 80
    once, twice = 0, 0
    for row in rng.normal(0, 1, (RUNS, most)).tolist():
        looks = range(least, most + 1)
        first = next((n for n in looks if log_half_width(row[:n]) <= target), most)
        once += covers(row[:first], 0.0)
        twice += covers(row[: stopped([row], target, least)], 0.0)
    assert once / RUNS < COVERAGE <= twice / RUNS


@pytest.mark.parametrize("fixed", [9, None], ids=["nine blocks", "early stop"])
@pytest.mark.parametrize("kind", sweep(SYMMETRIC, ("measured", "noisy neighbour").__contains__))
def test_false_alarms_in_any_row_of_a_table(kind, fixed):
    """Four equals and a twin of the baseline, whose A/A bound is the run's δ; as a run does it."""
    times = simulate(kind, Shape(RUNS, fixed or 40, 5), seed=6)
    between = {
        (one, other): block_logs(times, one, other).tolist()
        for one in range(5)
        for other in range(one)
    }
    medians = np.median(times, axis=2)
    alarms, wins = 0, 0
    for run in range(RUNS):
        n = fixed or stopped([between[it, 0][run] for it in (1, 2, 3)], PRECISION, 11)
        delta = max(LEAST_MARGIN, compare_blocks("4", "0", between[4, 0][run][:n]).hidden)

        def pair(one, other, run=run, n=n, delta=delta):
            logs = between[max(one, other), min(one, other)][run][:n]
            logs = logs if one > other else [-it for it in logs]
            return compare_blocks(str(one), str(other), logs, delta)

        pairs = judged([pair(it, 0) for it in (1, 2, 3)])
        alarms += any(it.verdict in ("faster", "slower") for it in pairs)
        by_speed = np.argsort(np.median(medians[run, :n, :4], axis=0)).tolist()
        wins += winner(by_speed, pair) is not None
    assert alarms / RUNS <= FALSE_ALARMS
    assert wins / RUNS <= FALSE_ALARMS


@pytest.mark.parametrize("kind", SYMMETRIC)
def test_false_alarms_of_one_pair_without_any_margin(kind):
    """The A/A comparison itself: how often an interval excludes 1 between equals."""
    rows = block_logs(simulate(kind, Shape(RUNS, 40, 2), seed=7)).tolist()
    alarms = sum(
        compare_blocks("a", "b", row[: stopped([row], PRECISION, least_blocks_for(1))]).excludes_one
        for row in rows
    )
    assert alarms / RUNS <= FALSE_ALARMS


@pytest.mark.parametrize("rows", sweep([1, 2, 3], lambda it: it != 2))
@pytest.mark.parametrize("stops", [False, True], ids=["fixed", "early stop"])
def test_a_planted_three_percent_is_found(rows, stops):
    """At the project's measured noise, with the run's own A/A bound as δ."""
    least = least_blocks_for(rows)
    times = simulate("measured", Shape(RUNS, 40 if stops else least, rows + 2), seed=8)
    times[..., 1] -= math.log(1.03)
    logs = [block_logs(times, worker, 0).tolist() for worker in range(1, rows + 2)]
    found = 0
    for run in range(RUNS):
        *of_rows, twin = [it[run] for it in logs]
        n = stopped(of_rows, PRECISION, least) if stops else least
        delta = max(LEAST_MARGIN, compare_blocks("twin", "0", twin[:n]).hidden)
        pairs = judged(
            [compare_blocks(str(it), "0", row[:n], delta) for it, row in enumerate(of_rows)]
        )
        found += pairs[0].verdict == "faster"
    assert found / RUNS >= POWER


@pytest.mark.parametrize(
    ("kind", "own"), [*((kind, False) for kind in SYMMETRIC), ("measured", True), ("drift", True)]
)
def test_false_equivalence_at_the_margin(kind, own):
    """A true ratio of exactly 1+δ, be δ 1 % or the run's own A/A bound."""
    times = simulate(kind, Shape(RUNS, 40, 3), seed=9)
    rows, twins = block_logs(times, 1, 0).tolist(), block_logs(times, 2, 0).tolist()
    false = 0
    for row, twin in zip(rows, twins, strict=True):
        n = stopped([row], PRECISION, least_blocks_for(1))
        bound = compare_blocks("twin", "0", twin[:n]).hidden if own else 0
        delta = max(LEAST_MARGIN, bound)
        shifted = [it + math.log1p(delta) for it in row[:n]]
        false += compare_blocks("a", "b", shifted, delta).verdict == "equivalent"
    assert false / RUNS <= LEVEL


@pytest.mark.parametrize("kinds", [("measured",) * 5, SYMMETRIC, ("outliers", "bimodal")])
def test_coverage_of_the_mean_over_tasks(kinds):
    """Each task with a noise of its own, and as many blocks as its own early stop took."""
    tasks = [
        block_logs(simulate(kind, Shape(RUNS, 30, 2), seed=10 + number)).tolist()
        for number, kind in enumerate(kinds)
    ]
    covered = 0
    for rows in zip(*tasks, strict=True):
        ended = [row[: stopped([row], PRECISION, 9)] for row in rows]
        mean = geometric_mean([median_interval([math.exp(it) for it in row]) for row in ended])
        covered += mean.low <= 1 <= mean.high
    assert covered / RUNS >= COVERAGE


def test_records_give_the_ratios_that_are_simulated():
    """The way round by records ends where the short one begins."""
    times = simulate("drift", Shape(1, 12, 3), seed=11)
    records = as_records(times[0], LABELS)
    good = {it.setup.label: it for it in entries(records).values()}
    for worker in (1, 2):
        found = log_ratios(good[LABELS[worker]].steps["train"], good[LABELS[0]].steps["train"])
        assert list(found.values()) == pytest.approx(block_logs(times, worker, 0)[0].tolist())


def test_a_run_of_records_stops_and_says_what_the_short_way_says():
    times = simulate("measured", Shape(1, 30, 3), seed=12)[0]
    times[..., 1] -= math.log(1.05)
    rows = [block_logs(times[None], worker, 0)[0].tolist() for worker in (1, 2)]
    n = stopped(rows, PRECISION, least_blocks_for(2))
    for blocks in range(8, n + 1):
        stand = standing(as_records(times[:blocks], LABELS), precision=PRECISION, least_blocks=8)
        assert stand.reached == (blocks == n)
    records = as_records(times[:n], LABELS)
    (table,) = summarise([TASK], records, certified(records)).tables
    assert table.margin == margin(()) == LEAST_MARGIN
    short = judged([compare_blocks(LABELS[it], LABELS[0], rows[it - 1][:n]) for it in (1, 2)])
    assert {it.label: it.verdict for it in table.pairs} == {it.label: it.verdict for it in short}
    assert table.winner == LABELS[1]
