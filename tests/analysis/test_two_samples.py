"""Two independent samples of blocks: exact, also where they are few, tied or skewed."""

from __future__ import annotations

import math
import random

import pytest
from scipy import stats

from harness.analysis import two_samples
from harness.analysis.two_samples import (
    decidable,
    rank_sum_p,
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


@pytest.mark.parametrize(("m", "n"), [(4, 4), (3, 7), (9, 9), (12, 5), (25, 20)])
def test_the_p_value_is_scipys_exact_one(m, n):
    for seed in range(5):
        before, after = samples(m, n, 0.02, seed)
        assert rank_sum_p(before, after) == pytest.approx(
            stats.mannwhitneyu(before, after, method="exact").pvalue
        )


def test_ties_count_for_neither_side():
    assert rank_sum_p([0.0] * 9, [0.0] * 9) == 1
    before, after = [0.0] * 5, [0.1] * 5
    assert rank_sum_p(before, after) == pytest.approx(2 / math.comb(10, 5))
    # One value of each moved onto the other's: three quarters of the evidence at most.
    assert rank_sum_p([*before[1:], 0.1], after) > rank_sum_p(before, after)


@pytest.mark.parametrize(("m", "n"), [(4, 4), (9, 9), (6, 11)])
def test_interval_and_test_are_one(m, n):
    """The interval excludes 1 if and only if the test rejects; of its kind only there."""
    for seed in range(60):
        before, after = samples(m, n, 0.02, seed)
        found = shift_interval(before, after)
        assert found.method == "rank-sum"
        assert (found.low > 1 or found.high < 1) == (rank_sum_p(before, after) <= 0.05)


@pytest.mark.parametrize("draw", ["gauss", "skewed"])
def test_the_interval_covers_as_often_as_it_promises(draw):
    rng, covered, runs = random.Random(7), 0, 1500
    make = (lambda: rng.gauss(0, 0.02)) if draw == "gauss" else lambda: rng.expovariate(30)
    for _ in range(runs):
        found = shift_interval([make() for _ in range(8)], [0.05 + make() for _ in range(7)])
        covered += found.low <= math.exp(0.05) <= found.high
    # Exact, so at least 95 %; three deviations of 1500 runs are allowed for chance.
    assert covered / runs >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / runs)


def test_equivalence_is_two_one_sided_tests():
    before, after = samples(9, 9, spread=0.002)
    assert shift_equivalence_p(before, after, 0.02) <= 0.05
    assert shift_equivalence_p(before, [it + 0.02 for it in after], 0.02) > 0.05
    assert shift_equivalence_p(before, [it - 0.03 for it in after], 0.02) == 1


def test_few_blocks_have_no_exact_interval_and_say_so():
    assert not decidable(3, 3)
    assert decidable(4, 4)
    assert decidable(3, 5)
    two = shift_interval([0.0, 0.01], [0.1, 0.12])
    assert two.method == "student-t"
    assert two.reason == "too few blocks for an exact interval"
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


def test_the_counts_are_those_of_every_order():
    assert two_samples._counts(2, 2) == (1, 1, 2, 1, 1)
    assert sum(two_samples._counts(7, 9)) == math.comb(16, 7)
