"""Where a steady state begins: found where it is, not where it is not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.changepoints import FEWEST, steadiness, steady_from, theil_sen
from tests.builders import entry_of, make_phase, make_record, make_setup

SETUP = make_setup()


def noisy(levels, seed, noise=0.03, correlation=0.0):
    """Readings around given logarithmic levels, with AR(1) noise."""
    rng = np.random.default_rng(seed)
    shocks = rng.normal(0, noise, len(levels))
    error, errors = 0.0, []
    for shock in shocks:
        error = correlation * error + math.sqrt(1 - correlation**2) * shock
        errors.append(error)
    return list(np.exp(np.asarray(levels) + errors) * 1e-3)


@pytest.mark.parametrize(("correlation", "allowed"), [(0.0, 0.05), (0.62, 0.10)])
def test_a_flat_series_is_steady_from_its_first_reading(correlation, allowed):
    alarms = sum(
        steady_from(noisy([0.0] * 300, seed, correlation=correlation)) != 0 for seed in range(400)
    )
    assert alarms <= allowed * 400


def test_a_slow_warm_up_is_found_and_left_behind():
    found = [steady_from(noisy([0.7] * 60 + [0.0] * 240, seed)) for seed in range(50)]
    assert all(it is not None and 50 <= it <= 75 for it in found)


def test_a_warm_up_in_steps_is_followed_to_its_end():
    levels = [1.0] * 40 + [0.5] * 40 + [0.0] * 220
    found = [steady_from(noisy(levels, seed)) for seed in range(50)]
    assert all(it is not None and 70 <= it <= 100 for it in found)


def test_what_changes_until_the_end_is_never_steady():
    assert steady_from(noisy([0.0] * 270 + [0.8] * 30, 1)) is None
    assert all(steady_from(noisy(np.linspace(2, 0, 300), seed)) is None for seed in range(20))


def test_single_outliers_count_for_nothing():
    levels = [0.0] * 300
    levels[40] = levels[150] = levels[299] = 3.0
    assert sum(steady_from(noisy(levels, seed)) == 0 for seed in range(50)) >= 47


@given(st.lists(st.floats(1e-6, 1.0), min_size=FEWEST, max_size=200), st.floats(1e-3, 1e3))
def test_any_series_has_an_answer_and_a_constant_one_is_steady_in_any_unit(readings, unit):
    found = steady_from(readings)
    assert found is None or 0 <= found < len(readings)
    if len(set(readings)) == 1:
        assert found == steady_from([it * unit for it in readings]) == 0


@given(st.floats(-5, 5), st.floats(-5, 5), st.integers(3, 20))
def test_the_slope_of_a_line_is_its_slope(slope, start, n):
    places = list(range(n))
    assert theil_sen(places, [start + slope * it for it in places]) == pytest.approx(
        slope, abs=1e-9
    )


def test_no_two_places_no_slope():
    assert theil_sen([1, 1], [2, 3]) is None


def made(block, warmup, steps):
    phase = make_phase(steps).model_copy(update={"warmup": tuple(warmup)})
    return make_record(SETUP, block, phases=(phase,))


def test_a_drift_over_the_rounds_of_every_block_is_a_trend():
    rising = [1e-3 * math.exp(0.01 * it) for it in range(11)]
    found = steadiness(
        entry_of({it: made(it, noisy([0.0] * 100, it), rising) for it in range(9)}), "train"
    )
    assert found.verdict == "trend"
    assert found.trend is not None
    assert found.trend.estimate == pytest.approx(math.expm1(0.1))
    assert "11 % slower by the end" in found.sentence


def test_never_steady_is_said_and_kept():
    changing = noisy([0.0] * 90 + [0.8] * 10, 3)
    found = steadiness(entry_of({it: made(it, changing, [1e-3] * 5) for it in range(4)}), "train")
    assert (found.verdict, found.settled, found.blocks) == ("never steady", 0, 4)
    assert found.sentence == "never steady in 4 of 4 blocks"


def test_few_readings_say_nothing():
    found = steadiness(entry_of({0: made(0, [1e-3] * (FEWEST - 1), [1e-3])}), "train")
    assert found.blocks == 0
    assert found.verdict in ("cannot tell", "steady")
