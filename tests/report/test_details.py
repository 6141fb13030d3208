"""What the phase times say in words."""

from __future__ import annotations

import pytest

from harness.analysis.startup import BreakEven
from harness.analysis.stats import Interval
from harness.report.sections import break_even


def found(verdict, estimate, low, high):
    steps = Interval(estimate=estimate, low=low, high=high, n=6, method="combined")
    return BreakEven(
        label="a:x", baseline="b:y", cold=False, n=6, verdict=verdict, steps=steps, seconds=steps
    )


def test_when_one_overtakes_the_other():
    told = break_even(found("overtakes", 1200.0, 900.0, 2000.0))
    assert told.startswith("Counting its start, a:x overtakes b:y after 1,200 (900–2,000) steps, ")


@pytest.mark.parametrize(
    ("verdict", "told"),
    [
        ("overtakes", "a:x seems to be ahead of b:y throughout, which is not sure."),
        ("is overtaken", "b:y seems to be ahead of a:x throughout, which is not sure."),
    ],
)
def test_after_no_steps_nobody_overtakes(verdict, told):
    """The start of whoever steps faster is no later in half of the blocks, but not surely."""
    assert break_even(found(verdict, 0.0, 0.0, 500.0)) == f"Counting its start, {told}"
