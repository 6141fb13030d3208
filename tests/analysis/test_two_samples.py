"""Two independent samples of blocks; their rates are simulated in test_rates."""

from __future__ import annotations

import math
import random

import pytest
from scipy import stats

from harness.analysis.stats import (
    dependence,
    shift_equivalence_p,
    shift_interval,
    welch_interval,
)


def samples(m, n, shift=0.0, seed=0, spread=0.02):
    draw = random.Random(seed)
    return (
        [draw.gauss(0, spread) for _ in range(m)],
        [draw.gauss(shift, spread) for _ in range(n)],
    )


def test_values_that_rise_widen_the_interval():
    values = [0.01 * it for it in range(12)]
    shuffled = values[::3] + values[1::3] + values[2::3]
    assert dependence((0.5,) * 12) == 1
    assert dependence(tuple(values)) > dependence(tuple(shuffled))


def test_equivalence_is_two_one_sided_tests():
    before, after = samples(9, 9, spread=0.002)
    assert shift_equivalence_p(before, after, 0.02) <= 0.05
    assert shift_equivalence_p(before, [it + 0.02 for it in after], 0.02) > 0.05
    assert shift_equivalence_p(before, [it - 0.03 for it in after], 0.02) == 1


def test_few_blocks_have_no_interval_and_say_so():
    assert shift_interval([0.0] * 5, [0.1] * 9).low is None
    assert shift_interval([0.0] * 6, [0.1] * 6).low is not None
    few = shift_interval([0.0, 0.01], [0.1, 0.12])
    assert (few.low, few.reason) == (None, "too few blocks for an interval")
    one = shift_interval([0.0], [0.1, 0.12, 0.11])
    assert (one.method, one.low, one.n) == ("none", None, 1)
    with pytest.raises(ValueError, match="no blocks"):
        shift_interval([], [0.1])


def test_welch_is_scipys():
    before, after = samples(9, 6, 0.03, 3)
    found = welch_interval(before, after)
    theirs = stats.ttest_ind(after, before, equal_var=False).confidence_interval()
    assert math.log(found.low) == pytest.approx(theirs.low)
    assert math.log(found.high) == pytest.approx(theirs.high)
    assert welch_interval([0.0, 0.0], [0.0, 0.0]).low == 1
