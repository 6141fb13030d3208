"""Quality seed by seed: equivalent, different, or not to be told; and Holm's correction."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.analysis.quality import quality_pairs
from harness.tasks.metrics import METRICS
from tests.builders import ERROR_TASK, TASK

BASE = {seed: 0.950 + 0.002 * (seed % 5) for seed in range(30)}
GRID = 1 / TASK.data.shape.test


def only(finals, base=None, task=TASK):
    (pair,) = quality_pairs(task, {"ours": finals, "base": base or BASE}, "base")
    return pair


def shifted(by, noise=(0, 0, 0, 0, 0), base=None):
    values = (base or BASE).items()
    return {seed: value + by + noise[seed % len(noise)] for seed, value in values}


def test_the_same_values_are_equivalent():
    pair = only(BASE)
    assert (pair.verdict, pair.beyond, pair.p) == ("equivalent", 0, 1.0)
    assert pair.p_equivalent == pytest.approx(stats.binom.cdf(0, 30, 0.1))
    assert pair.difference.estimate == 0


def test_a_difference_by_hand():
    noise = (0.010, -0.004, 0.006, 0.000, 0.008)
    pair = only(shifted(0.02, noise))
    assert pair.difference.estimate == pytest.approx(0.026)
    assert (pair.difference.low, pair.difference.high) == pytest.approx((0.02, 0.028))
    assert pair.p == pytest.approx(2 / 2**30)
    assert (pair.verdict, pair.beyond) == ("differs", 30)


@pytest.mark.parametrize(("bad", "verdict"), [(0, "equivalent"), (1, "cannot tell")])
def test_one_bad_seed_of_thirty_is_too_many(bad, verdict):
    pair = only({seed: value - 0.2 * (seed < bad) for seed, value in BASE.items()})
    assert (pair.verdict, pair.beyond) == (verdict, bad)
    if bad:
        assert pair.reason == "29 of 30 lie within it, which shows it from 46 seeds on"


def test_a_real_difference_within_the_margin_is_equivalent():
    base = dict.fromkeys(range(30), 0.95)
    ours = {seed: 0.952 + 0.0005 * (-1) ** seed for seed in base}
    pair = only(ours, base)
    assert pair.p < 0.05
    assert pair.verdict == "equivalent"


def test_few_noisy_seeds_cannot_tell():
    assert only(shifted(0.0, (0.03, -0.03, 0.02, -0.02, 0.0))).verdict == "cannot tell"


def test_two_seeds_that_differ_by_one_row_each_are_no_difference():
    pair = only({0: 0.9 + GRID, 1: 0.9 + GRID}, {0: 0.9, 1: 0.9})
    assert (pair.verdict, pair.difference.low) == ("cannot tell", None)
    assert pair.difference.least == pair.difference.most == pytest.approx(GRID)


def test_one_seed_has_a_difference_and_no_interval():
    pair = only({0: 0.97}, {0: 0.95})
    assert (pair.verdict, pair.p) == ("cannot tell", 1.0)
    assert pair.difference.estimate == pytest.approx(0.02)
    assert pair.difference.low is None
    assert pair.reason == "1 of 1 lie beyond it"


def test_no_seed_in_common():
    pair = only({77: 0.9})
    assert (pair.verdict, pair.difference, pair.reason) == (
        "cannot tell",
        None,
        "no seed in common",
    )


def test_seeds_that_only_one_has_are_left_out():
    pair = only({**BASE, 99: 0.1})
    assert pair.seeds == tuple(BASE)
    assert pair.verdict == "equivalent"


def test_where_one_of_two_diverged_they_are_not_equivalent():
    pair = only({**BASE, 4: None})
    assert (pair.verdict, len(pair.seeds)) == ("cannot tell", 29)
    assert "seed 4" in pair.reason
    both = only({**BASE, 4: None}, {**BASE, 4: None})
    assert both.verdict == "equivalent"
    assert only(dict.fromkeys(BASE), BASE).difference is None


def test_errors_are_compared_by_their_ratio():
    base = {seed: 0.4 + 0.1 * (seed % 3) for seed in range(29)}
    ours = {seed: value * 1.2 for seed, value in base.items()}
    pair = only(ours, base, ERROR_TASK)
    assert pair.relative
    assert pair.difference.estimate == pytest.approx(0.2)
    assert pair.verdict == "differs"
    close = only({seed: value * 1.01 for seed, value in base.items()}, base, ERROR_TASK)
    assert close.verdict == "equivalent"


def test_the_margin_of_errors_is_the_same_up_and_down():
    base = dict.fromkeys(range(29), 1.0)
    assert METRICS["mse"].margin == 0.05
    for factor, verdict in ((1.049, "equivalent"), (1.051, "differs")):
        for ours in (factor, 1 / factor):
            assert only(dict.fromkeys(base, ours), base, ERROR_TASK).verdict == verdict


def test_an_error_of_zero_has_no_ratio():
    pair = only({0: 0.0, 1: 0.1}, {0: 0.1, 1: 0.1}, ERROR_TASK)
    assert (pair.verdict, pair.difference) == ("cannot tell", None)
    assert "no ratio" in pair.reason


def test_many_pairs_must_be_surer_than_one():
    """Holm's correction: what one pair may say by itself, one of many may not."""
    assert (only(BASE).verdict, only(shifted(0.02)).verdict) == ("equivalent", "differs")
    few = dict(list(BASE.items())[:6])
    noisy = {seed: value + 0.03 * (-1) ** seed for seed, value in BASE.items()}
    far = {seed: value + 0.02 for seed, value in few.items()}
    finals = {"close": BASE, "far": far, **{str(it): noisy for it in range(5)}, "base": BASE}
    pairs = {it.label: it for it in quality_pairs(TASK, finals, "base")}
    assert {it.verdict for it in pairs.values()} == {"cannot tell"}
    # What is kept is not corrected.
    assert pairs["close"].p_equivalent == only(BASE).p_equivalent <= 0.05
    assert pairs["far"].p == only(far).p <= 0.05
    assert "from 47 seeds on" in pairs["close"].reason


@given(
    st.dictionaries(st.integers(0, 5), st.none() | st.floats(0, 1), max_size=6),
    st.dictionaries(st.integers(0, 5), st.none() | st.floats(0, 1), max_size=6),
    st.sampled_from([TASK, ERROR_TASK]),
)
def test_any_values_get_a_verdict_with_its_grounds(ours, theirs, task):
    pair = only(ours, theirs or {0: 0.5}, task)
    if pair.difference and pair.difference.low is not None:
        assert pair.difference.low <= pair.difference.estimate <= pair.difference.high
    else:
        assert pair.verdict == "cannot tell"
        assert pair.reason
    if pair.verdict == "equivalent":
        assert abs(pair.difference.estimate) < 0.06


@pytest.mark.parametrize("rows", [3, 7])
def test_equal_setups_differ_no_more_often_than_claimed(rows):
    """Seven setups that differ by noise alone: a table with any `differs` in 5 % at most."""
    rng = random.Random(rows)
    repeats, wrong = 400, 0
    for _ in range(repeats):
        finals = {
            str(row): {seed: 0.9 + rng.gauss(0, 0.02) for seed in range(9)} for row in range(rows)
        }
        wrong += any(it.verdict == "differs" for it in quality_pairs(TASK, finals, "0"))
    assert wrong / repeats <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / repeats)


def test_a_difference_at_the_margin_is_called_equivalent_no_more_often_than_claimed():
    rng = random.Random(1)
    repeats, wrong = 1000, 0
    for _ in range(repeats):
        ours = {seed: 0.905 + rng.gauss(0, 0.002) for seed in range(29)}
        wrong += only(ours, dict.fromkeys(range(29), 0.9)).verdict == "equivalent"
    assert wrong / repeats <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / repeats)
