"""Numbers as text."""

from __future__ import annotations

import pytest

from harness.analysis.stats import Interval
from harness.report import format as fmt


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0 s"),
        (7.543e-4, "754 µs"),
        (1.0237, "1.02 s"),
        (12.345e-3, "12.3 ms"),
        (99.96e-6, "100 µs"),
        (0.99961, "1.00 s"),
        (0.9994, "999 ms"),
        (3.2e-8, "32.0 ns"),
        (1e-11, "0.0100 ns"),
        (1234.5, "1,230 s"),
    ],
)
def test_seconds(value, text):
    assert fmt.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.4, "0 s"), (99.4, "99 s"), (100, "2 min"), (5990, "100 min"), (9000, "2.5 h")],
)
def test_duration(value, text):
    assert fmt.duration(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0 B"), (999, "999 B"), (12_345_678, "12.3 MB"), (1_234e6, "1.23 GB")],
)
def test_memory(value, text):
    assert fmt.memory(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (45_432.1, "45,400"),
        (1_234_567, "1,230,000"),
        (0.02134, "0.0213"),
        (45.44, "45.4"),
        (1e-6, "1.00e-06"),
        (999.7, "1,000"),
    ],
)
def test_number(value, text):
    assert fmt.number(value) == text


def test_shares_and_qualities():
    assert fmt.percent(0.97424) == "97.42 %"
    assert fmt.whole_percent(1.97) == "197 %"
    assert fmt.whole_percent(0) == "0 %"
    # A small net reaches no whole percent of a large GPU's peak.
    assert fmt.whole_percent(0.000166) == "0.017 %"
    assert fmt.whole_percent(0.00994) == "0.99 %"
    assert fmt.whole_percent(0.00996) == "1 %"
    assert fmt.percent(None) == fmt.whole_percent(None) == fmt.quality(None, "mse") == "–"
    assert fmt.quality(0.9742, "accuracy") == "97.42 %"
    assert fmt.quality(0.4503, "mse") == "0.450"
    assert fmt.difference(0.0031, "accuracy") == "0.31 points"
    assert fmt.difference(0.0031, "mse") == "0.00310"


def test_bounds_have_the_unit_and_the_decimals_of_their_estimate():
    wide = Interval(estimate=754e-6, low=398e-6, high=1.2e-3, n=6, method="order-statistic")
    assert fmt.interval(wide, "seconds") == ("754 µs", "(398–1,200 µs)")
    fast = Interval(estimate=45_432, low=45_051, high=101_111, n=6, method="order-statistic")
    assert fmt.interval(fast) == ("45,400", "(45,100–101,100)")
    alone = Interval(estimate=2.0, low=None, high=None, n=1, method="none")
    assert fmt.interval(alone, "seconds") == ("2.00 s", "")
    early = Interval(estimate=0.48, low=None, high=None, n=3, method="none", least=-0.83, most=0.83)
    assert fmt.interval(early, "seconds") == ("480 ms", "(range of 3: −830–830 ms)")
    assert fmt.interval(alone) == ("2.00", "")
    assert fmt.interval(alone, "ratio") == ("2.00 ×", "")


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (1.0, 3.9, True),
        (1.0, 4.1, False),
        (0.0, 1e-9, False),
        (-1.0, 2.0, False),
        (0.0, 0.0, True),
        (-3.0, -1.0, True),
        (-5.0, -1.0, False),
    ],
)
def test_bounds_that_are_a_factor_of_two_away_to_either_side_are_not_shown(low, high, shown):
    wide = Interval(estimate=(low + high) / 2, low=low, high=high, n=2, method="student-t")
    for unit in ("seconds", "number", "ratio"):
        assert (fmt.interval(wide, unit)[1] == "(not known)") is not shown


def test_no_share_of_a_peak_is_beyond_it():
    assert [fmt.of_peak(it) for it in (0.5, 1.004, 1.03, 57.0, None)] == [
        "50 %",
        "100 %",
        "over 100 %",
        "over 100 %",
        "–",
    ]


def test_counts():
    assert (fmt.count(1, "block"), fmt.count(6, "block")) == ("1 block", "6 blocks")
    assert (fmt.span(6, 6, "block"), fmt.span(4, 6, "block")) == ("6 blocks", "4–6 blocks")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "seconds", "0"),
        (1e-5, "seconds", "10 µs"),
        (2.5e6, "bytes", "2.5 MB"),
        (0.95, "accuracy", "95 %"),
        (20_000, "examples/s", "20,000"),
        (0.30000000000000004, "error", "0.3"),
    ],
)
def test_ticks(value, unit, text):
    assert fmt.tick(value, unit) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "seconds", "–"),
        (True, "flag", "yes"),
        ("a\x1b[31m b", "text", "a b"),
        (12_345, "count", "12,345"),
        (2e6, "bytes", "2.00 MB"),
        (1.0, "ratio", "1 ×"),
        (0.0, "relative difference", "0"),
        (3.14e-16, "relative difference", "3.1e-16"),
        (0.032, "half width", "± 3.2 %"),
        (-0.003, "change", "−0.3 %"),
    ],
)
def test_entries_of_tables(value, unit, text):
    assert fmt.value(value, unit).text == text


def test_an_interval_is_an_entry_with_its_bounds():
    ratio = Interval(estimate=1.31, low=1.28, high=1.34, n=6, method="order-statistic")
    assert fmt.value(ratio, "ratio") == fmt.Value("1.31 ×", "(1.28–1.34)", 1.31, (1.28, 1.34))
