"""The gate's statistics: exact ends, what they promise, and how often it holds."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest

from harness.analysis.gate import LOOKS, anchored, one_sided, paired

FIVE = math.log(1.05)


@pytest.mark.parametrize(
    ("logs", "outcome"),
    [
        ([-0.001, 0.0, 0.001] * 4, "fine"),
        ([0.04, 0.05, 0.06] * 4, "regression"),
        ([-0.02, 0.03, 0.06] * 4, "cannot tell"),
        ([-0.04, -0.05, -0.06] * 4, "improved"),
        # Surely slower, but surely by less than may be.
        ([0.019, 0.02, 0.021] * 4, "fine"),
        ([0.05] * 4, "cannot tell"),
    ],
)
def test_both_ends_decide(logs, outcome):
    assert paired(logs, 0.05, one_sided(2)).outcome == outcome


def test_too_few_blocks_say_so():
    told = paired([0.5] * 4, 0.05, one_sided(2))
    assert told.ratio.low is None
    assert "4 blocks are too few" in told.ratio.reason
    assert anchored([0.5] * 2, [0.0] * 2, 0.05, one_sided(2)).outcome == "cannot tell"


def test_shifts_cancel_what_both_runs_share():
    rng = random.Random(0)
    before = [2 + rng.gauss(0, 0.004) for _ in range(12)]
    now = [2 + FIVE + rng.gauss(0, 0.004) for _ in range(12)]
    assert anchored(now, before, 0.05, one_sided(2, 1)).outcome == "regression"
    assert anchored(before, before, 0.05, one_sided(2, 1)).outcome == "fine"
    assert anchored(before, now, 0.05, one_sided(2, 1)).outcome == "improved"


def _check(rng: random.Random, slowdown: float, deviation: float, cells: int) -> str:
    """One whole check: all looks over cells with normal noise and one block of ten far off."""
    level, worst = one_sided(cells), "fine"
    for _ in range(cells):
        blocks = [
            slowdown + rng.gauss(0, deviation * (6 if rng.random() < 0.1 else 1))
            for _ in range(LOOKS[-1])
        ]
        for look in LOOKS:
            outcome = paired(blocks[:look], 0.05, level).outcome
            if outcome != "cannot tell":
                break
        if outcome == "regression":
            return outcome
        worst = outcome if outcome == "cannot tell" else worst
    return worst


@pytest.mark.parametrize("deviation", [0.01, 0.025, 0.05])
def test_unchanged_code_rarely_raises_an_alarm(deviation):
    rng = random.Random(1)
    told = Counter(_check(rng, 0.0, deviation, cells=2) for _ in range(400))
    assert told["regression"] <= 0.05 * 400
    assert told["fine"] >= 0.9 * 400


@pytest.mark.parametrize("deviation", [0.01, 0.025, 0.04])
def test_a_slowdown_of_the_threshold_is_found(deviation):
    rng = random.Random(2)
    told = Counter(_check(rng, FIVE, deviation, cells=1) for _ in range(400))
    assert told["regression"] >= 0.9 * 400
    assert told["fine"] + told["improved"] <= 0.05 * 400
