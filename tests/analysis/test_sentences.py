"""What a comparison says, and that no ratio reads as 1 unless it is."""

from __future__ import annotations

import math

import pytest

from harness.analysis.sentences import decimals, imprecise, listed, precision_sentence, ratio
from harness.analysis.stats import Interval
from harness.analysis.stopping import Standing, Width
from harness.analysis.verdicts import compare_blocks


def interval(estimate, low=None, high=None):
    method = "none" if low is None else "order-statistic"
    return Interval(estimate=estimate, low=low, high=high, n=6, method=method)


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ((1.3141, 1.2791, 1.3402), "1.31 × (1.28–1.34)"),
        ((0.7649, 0.7512, 1.0249), "0.765 × (0.751–1.025)"),
        ((12.34, 11.9, 13.0), "12.3 × (11.9–13.0)"),
        ((123.4, 100.0, 399.0), "123 × (100–399)"),
        ((123.4, 100.0, 401.0), "123 × (not known to a factor of 2)"),
        ((8.85, 0.004, 8523.36), "8.85 × (not known to a factor of 2)"),
        ((0.01234, 0.012, 0.0131), "0.0123 × (0.0120–0.0131)"),
        ((9.996, 9.9, 10.2), "10.0 × (9.9–10.2)"),
        ((1.004, 1.001, 1.007), "1.004 × (1.001–1.007)"),
        ((1.02, 1.0004, 1.05), "1.0200 × (1.0004–1.0500)"),
        ((1.0, 1.0, 1.0), "1.00 × (1.00–1.00)"),
        ((2.5,), "2.50 ×"),
    ],
)
def test_ratio(bounds, text):
    assert ratio(interval(*bounds)) == text


def test_decimals():
    assert [decimals(it) for it in (0, 0.5, 1, 9.999, 12, 345, 6789)] == [0, 3, 2, 1, 1, 0, 0]


def test_listed():
    assert [listed(it) for it in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


def standing(half_width=0.0312, precision=0.02, reached=False, blocks=24):
    widest = Width(
        lane="identical",
        phase="train",
        label="a:x",
        baseline="b:y",
        n=blocks,
        half_width=half_width,
        known=reached,
    )
    return Standing(
        precision=precision,
        least_blocks=9,
        blocks=blocks,
        widths=(widest,),
        widest=widest,
        reached=reached,
    )


@pytest.mark.parametrize(
    ("stand", "text"),
    [
        (standing(), "24 blocks; a:x ÷ b:y (train) is known to ±3.2 %, not ±2 %"),
        (standing(0.018, reached=True), "24 blocks, until every ratio was known to ±2 %"),
        (
            standing(0.018),
            "24 blocks; every ratio is within ±2 %, but not yet for two blocks running",
        ),
        (
            standing(precision=None, blocks=9),
            "9 blocks; the widest ratio, a:x ÷ b:y (train), is known to ±3.2 %",
        ),
        (standing(1.43, None), "24 blocks; the widest ratio, a:x ÷ b:y (train), is not known"),
        (standing(1.43), "24 blocks; a:x ÷ b:y (train) is not known"),
        (standing(None, blocks=1), "1 block; a:x ÷ b:y (train) has no interval"),
        (standing().model_copy(update={"widest": None, "widths": ()}), "24 blocks"),
    ],
)
def test_how_well_the_ratios_are_known(stand, text):
    assert precision_sentence(stand) == text


def spread(middle, width, label="b:y"):
    """A pair of nine blocks, whose exact interval reaches from the second to the eighth."""
    logs = [math.log(middle) + width * it for it in (-2, -1, -0.5, -0.2, 0, 0.2, 0.5, 1, 2)]
    return compare_blocks(label, "a:x", logs)


def test_a_difference_that_is_sure_in_its_direction_only():
    wide, sharp = spread(1.3, 0.053), spread(0.7, 0.0299, "c:z")
    assert (wide.verdict, sharp.verdict) == ("faster", "slower")
    missed = "target precision ±3 % not reached"
    assert imprecise([wide, sharp], 0.03) == f"b:y: {ratio(wide.speed)} ({missed}: ±5.3 %)."
    assert imprecise([wide, sharp], 0.02).endswith(
        f"; c:z: {ratio(sharp.speed)} (target precision ±2 % not reached: ±3 %)."
    )
    assert imprecise([sharp], 0.03) == ""
    many = [spread(1.3, 0.05 + it / 100, f"b:{it}") for it in range(5)]
    assert imprecise([*many, sharp], 0.03) == f"5 of 6 ratios: {missed} (±5 % to ±9 %)."


def test_no_size_is_asked_of_what_is_no_difference():
    unclear, same = spread(1.01, 0.2), spread(1, 0.001)
    assert (unclear.verdict, same.verdict) == ("cannot tell", "equivalent")
    assert imprecise([unclear, same], 0.0001) == ""
    assert imprecise([compare_blocks("b:y", "a:x", [0.3])], 0.03) == ""
