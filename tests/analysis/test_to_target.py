"""Time to the target where not reached is infinite and counts."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.stats import time_to_target

NEVER = math.inf


def test_all_reached_it():
    row = time_to_target([3.0, 1.0, 2.0, 5.0, 4.0, 6.0])
    assert (row.low, row.estimate, row.high) == (1.0, 3.5, 6.0)
    assert (row.reached, row.n, row.method, row.reason) == (6, 6, "order-statistic", "")


def test_some_did_not_and_the_interval_has_no_end():
    row = time_to_target([1.0, 2.0, 3.0, 4.0, 5.0, NEVER])
    assert (row.low, row.estimate, row.high) == (1.0, 3.5, None)
    assert (row.reached, row.n, row.method) == (5, 6, "order-statistic")


def test_one_lost_of_nine_leaves_it_finite():
    row = time_to_target([*map(float, range(1, 9)), NEVER])
    assert (row.low, row.estimate, row.high, row.reached) == (2.0, 5.0, 8.0, 8)


def test_the_median_itself_is_infinite():
    row = time_to_target([1.0, 2.0, NEVER, NEVER, NEVER, NEVER])
    assert (row.low, row.estimate, row.high, row.method) == (1.0, None, None, "order-statistic")
    none = time_to_target([NEVER] * 6)
    assert (none.low, none.estimate, none.reached, none.method) == (
        None,
        None,
        0,
        "order-statistic",
    )


@pytest.mark.parametrize(
    ("times", "least", "most"),
    [
        ([1.0, 2.0, 3.0, 4.0, NEVER], 1.0, None),
        ([1.0, 2.0, NEVER], 1.0, None),
        ([1.0, 2.0, 4.0], 1.0, 4.0),
        ([NEVER, NEVER], None, None),
    ],
)
def test_few_have_their_range_and_no_interval(times, least, most):
    row = time_to_target(times)
    assert (row.low, row.high, row.method) == (None, None, "none")
    assert (row.least, row.most, row.reason) == (least, most, "fewer than 6 seeds")


def test_one_seed():
    row = time_to_target([2.0])
    assert (row.estimate, row.low, row.high, row.method) == (2.0, None, None, "none")
    assert "one seed" in row.reason
    with pytest.raises(ValueError, match="no times"):
        time_to_target([])


@given(st.lists(st.floats(1e-3, 1e6) | st.just(NEVER), min_size=1, max_size=20))
def test_bounds_are_in_order_and_losing_a_training_never_helps(times):
    def number(value):
        return NEVER if value is None else value

    row = time_to_target(times)
    if row.method != "none":
        assert number(row.low) <= number(row.estimate) <= number(row.high)
    worse = time_to_target([*times[:-1], NEVER])
    assert number(worse.estimate) >= number(row.estimate)
    if "order-statistic" == row.method == worse.method and len(times) > 5:
        assert number(worse.low) >= number(row.low)
        assert number(worse.high) >= number(row.high)


@pytest.mark.parametrize("n", [8, 12])
def test_coverage_with_trainings_that_never_arrive(n):
    """A third never arrives; the true median is exponential's at two thirds of the mass."""
    rng = random.Random(n)
    truth = -math.log(1 - 0.5 / (2 / 3))
    repeats, covered = 1500, 0
    for _ in range(repeats):
        row = time_to_target(
            [rng.expovariate(1.0) if rng.random() < 2 / 3 else NEVER for _ in range(n)]
        )
        low, high = row.low or NEVER, row.high or NEVER
        covered += low <= truth <= high
    assert covered / repeats >= 0.95 - 2 * math.sqrt(0.05 * 0.95 / repeats)
