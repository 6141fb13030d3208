"""Pairs of setups that took turns: the planted ratio comes back, whatever the machine did."""

from __future__ import annotations

import math
import random

import pytest

from harness.analysis.pairs import log_ratios, step_times, steps
from harness.analysis.stats import LEVEL
from harness.analysis.verdicts import compare_blocks
from tests.builders import make_record, make_setup, measured

OURS, THEIRS = make_setup(label="pytorch:eager"), make_setup(label="tensorflow:graph")


def blocks_of(records, setup):
    return {it.block: it for it in records if it.setup == setup}


def compare(label, ours, baseline, theirs, phase):
    logs = log_ratios(steps(ours, phase), steps(theirs, phase))
    return compare_blocks(label, baseline, list(logs.values())) if logs else None


def block_log_ratio(ours, theirs, phase):
    return -log_ratios(steps({0: ours}, phase), steps({0: theirs}, phase))[0]


def pair(records, phase="train"):
    ours, theirs = blocks_of(records, OURS), blocks_of(records, THEIRS)
    return compare("ours", ours, "theirs", theirs, phase)


@pytest.mark.parametrize("planted", [1.0, 1.02, 1.3, 4.0])
@pytest.mark.parametrize("phase", ["train", "predict"])
def test_planted_ratio_is_recovered_under_drift(planted, phase):
    labels = ("pytorch:eager", "tensorflow:graph")
    records = measured(
        labels=labels, blocks=9, rounds=15, noise=0.01, drift=0.3, speed=planted, trains=False
    )
    found = pair(records, phase)
    assert found.speed.estimate == pytest.approx(planted, rel=0.01)
    assert found.speed.low <= planted <= found.speed.high
    assert found.verdict == ("equivalent" if planted == 1 else "faster")


def test_false_alarms_are_as_rare_as_promised():
    labels, wrong, repeats = ("pytorch:eager", "tensorflow:graph"), 0, 150
    for seed in range(repeats):
        records = measured(
            labels=labels, blocks=6, rounds=3, drift=0.2, speed=1.0, trains=False, seed=seed
        )
        wrong += pair(records).p <= LEVEL
    # At most 5 %, exactly 1/32 for 6 blocks; 4 deviations of a binomial above that.
    assert wrong / repeats <= 1 / 32 + 4 * math.sqrt(1 / 32 * 31 / 32 / repeats)


def test_antisymmetric():
    records = measured(labels=("pytorch:eager", "tensorflow:graph"), trains=False)
    ours, theirs = blocks_of(records, OURS), blocks_of(records, THEIRS)
    one = compare("a", ours, "b", theirs, "train").speed
    other = compare("b", theirs, "a", ours, "train").speed
    assert one.low == pytest.approx(1 / other.high)
    assert one.high == pytest.approx(1 / other.low)
    for block in ours:
        assert block_log_ratio(ours[block], theirs[block], "train") == pytest.approx(
            -block_log_ratio(theirs[block], ours[block], "train")
        )


def test_an_odd_number_of_blocks_is_antisymmetric_in_its_median_too():
    records = measured(labels=("pytorch:eager", "tensorflow:graph"), blocks=7, trains=False)
    ours, theirs = blocks_of(records, OURS), blocks_of(records, THEIRS)
    one = compare("a", ours, "b", theirs, "train").speed
    other = compare("b", theirs, "a", ours, "train").speed
    assert one.estimate == pytest.approx(1 / other.estimate)


def test_only_rounds_in_common_are_paired():
    ours = make_record(OURS, 0, {"train": [1.0, 1.0, 9.0]})
    theirs = make_record(THEIRS, 0, {"train": [2.0, 2.0]})
    assert block_log_ratio(ours, theirs, "train") == pytest.approx(math.log(0.5))


def test_rounds_are_matched_by_number_and_not_by_place():
    ours = make_record(OURS, 0, {"train": [1.0, 2.0, 3.0]})
    theirs = make_record(THEIRS, 0, {"train": [2.0, 4.0, 6.0]})
    phase = theirs.phases[0]
    shuffled = list(phase.samples)
    random.Random(1).shuffle(shuffled)
    theirs = theirs.model_copy(
        update={"phases": (phase.model_copy(update={"samples": tuple(shuffled)}),)}
    )
    assert block_log_ratio(ours, theirs, "train") == pytest.approx(math.log(0.5))


def test_only_blocks_in_common_are_paired():
    ours = {n: make_record(OURS, n, {"train": [1.0]}) for n in (0, 1, 2)}
    theirs = {n: make_record(THEIRS, n, {"train": [2.0]}) for n in (1, 2, 5)}
    found = compare("a", ours, "b", theirs, "train")
    assert found.speed.n == 2
    assert found.speed.estimate == pytest.approx(2.0)


def test_nothing_in_common_gives_nothing():
    ours = {0: make_record(OURS, 0, {"train": [1.0]})}
    assert compare("a", ours, "b", {1: make_record(THEIRS, 1, {"train": [1.0]})}, "train") is None
    assert compare("a", ours, "b", {0: make_record(THEIRS, 0)}, "train") is None
    assert compare("a", ours, "b", ours, "predict") is None


def test_step_times_by_round():
    record = make_record(OURS, 0, {"train": [0.5, 0.25]})
    assert step_times(record, "train") == {0: 0.5, 1: 0.25}
    assert step_times(record, "predict") == {}
