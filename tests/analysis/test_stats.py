"""The intervals: exact ranks, honest coverage, and nothing where nothing can be said."""

from __future__ import annotations

import math
import random

import pytest
from scipy import stats

from harness.analysis.stats import CONFIDENCE, mean_interval, median_interval


@pytest.mark.parametrize("n", range(6, 21))
def test_ranks_are_those_of_the_binomial(n):
    values = [float(it) for it in range(1, n + 1)]
    random.Random(n).shuffle(values)
    interval = median_interval(values)
    assert interval.method == "order-statistic"
    rank = int(interval.low)
    assert interval.high == n + 1 - rank
    assert 1 - 2 * stats.binom.cdf(rank - 1, n, 0.5) >= CONFIDENCE
    # The next narrower pair would not cover enough.
    assert 1 - 2 * stats.binom.cdf(rank, n, 0.5) < CONFIDENCE


@pytest.mark.parametrize(("n", "rank"), [(6, 1), (8, 1), (9, 2), (12, 3), (17, 5), (20, 6)])
def test_ranks_known_from_tables(n, rank):
    interval = median_interval([float(it) for it in range(1, n + 1)])
    assert (interval.low, interval.high) == (rank, n + 1 - rank)


@pytest.mark.parametrize("n", [6, 9, 15])
def test_coverage_by_simulation_is_the_binomials(n):
    """Skewed values with outliers: the exact interval does not mind the distribution."""
    rng, repeats = random.Random(n), 3000
    rank = int(median_interval([float(it) for it in range(1, n + 1)]).low)
    exact = 1 - 2 * float(stats.binom.cdf(rank - 1, n, 0.5))
    covered = 0
    for _ in range(repeats):
        values = [math.exp(rng.gauss(0, 0.2) * (10 if rng.random() < 0.1 else 1)) for _ in range(n)]
        interval = median_interval(values)
        covered += interval.low <= 1 <= interval.high
    deviation = math.sqrt(exact * (1 - exact) / repeats)
    assert covered / repeats == pytest.approx(exact, abs=4 * deviation)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_few_blocks_have_their_range_and_no_interval(n):
    interval = median_interval([1.0 + 0.1 * it for it in range(n)])
    assert (interval.low, interval.high, interval.method) == (None, None, "none")
    assert (interval.least, interval.most) == (1.0, pytest.approx(1 + 0.1 * (n - 1)))
    assert interval.reason == "fewer than 6 blocks"
    assert mean_interval([1.0] * n) is None


def test_one_block_has_no_interval_and_says_why():
    interval = median_interval([2.0])
    assert (interval.estimate, interval.low, interval.high) == (2.0, None, None)
    assert interval.method == "none"
    assert "one block" in interval.reason


def test_no_values_are_refused():
    with pytest.raises(ValueError, match="no values"):
        median_interval([])


def test_scaling_and_inverting_keep_the_order_of_the_bounds():
    interval = median_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert interval.mapped(lambda value: 2 * value).high == 12
    throughput = interval.inverted(32)
    assert (throughput.low, throughput.estimate, throughput.high) == (32 / 6, 32 / 3.5, 32)
    assert (throughput.n, throughput.method) == (interval.n, interval.method)
    alone = median_interval([4.0])
    assert alone.inverted().low is alone.inverted().high is None
    assert alone.inverted(2).estimate == 0.5
