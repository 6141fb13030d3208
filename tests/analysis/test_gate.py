"""The gate's statistics: exact ends, what they promise, and how often it holds."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest

from harness.analysis.verdicts import CHECKPOINTS, slowdown_between_runs, slowdown_in_blocks

FIVE = math.log(1.05)
TWO_CELLS = 2 * len(CHECKPOINTS)


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
    assert slowdown_in_blocks(logs, 0.05, TWO_CELLS).outcome == outcome


def test_too_few_blocks_say_so():
    slowdown = slowdown_in_blocks([0.5] * 4, 0.05, TWO_CELLS)
    assert slowdown.ratio.low is None
    assert "4 blocks are too few" in slowdown.ratio.reason
    between = slowdown_between_runs([0.0] * 2, [0.5] * 2, 0.05, TWO_CELLS)
    assert between.outcome == "cannot tell"


def test_shifts_cancel_what_both_runs_share():
    rng = random.Random(0)
    before = [2 + rng.gauss(0, 0.004) for _ in range(12)]
    now = [2 + FIVE + rng.gauss(0, 0.004) for _ in range(12)]
    assert slowdown_between_runs(before, now, 0.05, 2).outcome == "regression"
    assert slowdown_between_runs(before, before, 0.05, 2).outcome == "fine"
    assert slowdown_between_runs(now, before, 0.05, 2).outcome == "improved"


def _check(rng: random.Random, slowdown: float, deviation: float, cells: int) -> str:
    """One whole check: all checkpoints over cells with normal noise and a block of ten far off."""
    family, worst = cells * len(CHECKPOINTS), "fine"
    for _ in range(cells):
        blocks = [
            slowdown + rng.gauss(0, deviation * (6 if rng.random() < 0.1 else 1))
            for _ in range(CHECKPOINTS[-1])
        ]
        for checkpoint in CHECKPOINTS:
            outcome = slowdown_in_blocks(blocks[:checkpoint], 0.05, family).outcome
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
