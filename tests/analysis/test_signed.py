"""Intervals of numbers that may be zero or negative."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.analysis.intervals import median_interval
from harness.analysis.signed import signed_interval, student


def test_from_six_values_on_it_is_the_same_interval_of_ordered_values():
    values = [3.0, 1.0, 2.0, 6.0, 5.0, 4.0, 9.0]
    ours, theirs = signed_interval(values), median_interval(values)
    assert (ours.low, ours.estimate, ours.high) == (theirs.low, theirs.estimate, theirs.high)
    moved = signed_interval([it - 5 for it in values])
    assert (moved.low, moved.high) == (ours.low - 5, ours.high - 5)


def test_few_values_get_students_t():
    values = [-1.0, 0.0, 4.0]
    interval = signed_interval(values, of="seeds")
    expected = stats.t.interval(0.95, 2, 1.0, statistics.stdev(values) / math.sqrt(3))
    assert (interval.low, interval.high) == pytest.approx(expected)
    assert interval.estimate == 0.0
    assert interval.method == "student-t"
    assert "seeds" in interval.reason


def test_one_value_and_none():
    assert signed_interval([0.0]).low is None
    assert signed_interval([0.0]).reason
    with pytest.raises(ValueError, match="no values"):
        signed_interval([])


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_the_median_is_always_inside(values):
    interval = signed_interval(values)
    assert interval.low <= interval.estimate <= interval.high


def test_students_p_value_and_resolution():
    values = [0.2, 0.5, 0.1]
    mean = student(values)
    assert mean.p_value(0.1) == pytest.approx(stats.ttest_1samp(values, 0.1).pvalue)
    assert student([1.0, 1.0]).p_value(1.0) == 1.0
    assert student([1.0, 1.0]).p_value(2.0) == 0.0
    assert student([1.0, 1.0], resolution=math.sqrt(12)).error == pytest.approx(1 / math.sqrt(2))


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=9), st.floats(0.01, 2))
def test_equivalence_is_the_narrower_interval_within_the_margin(values, margin):
    mean = student(values, resolution=1e-3)
    within = abs(mean.center) + mean.half_width(0.9) < margin
    p = mean.p_equivalent(margin)
    if abs(p - 0.05) > 1e-9:
        assert within == (p < 0.05)
    above = stats.t.sf((mean.center + margin) / mean.error, mean.n - 1)
    below = stats.t.cdf((mean.center - margin) / mean.error, mean.n - 1)
    assert p == pytest.approx(max(above, below), abs=1e-12)
