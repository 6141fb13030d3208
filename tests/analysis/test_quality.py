"""Quality: time to the target, never dropping who did not reach it, and the spread at a seed."""

from __future__ import annotations

import pytest

from harness.analysis.quality import quality_table
from harness.analysis.summary import summarise
from tests.builders import (
    ERROR_TASK,
    TASK,
    make_failure,
    make_quality,
    make_record,
    make_setup,
    make_task,
)


def trained(task, *curves, label="pytorch:eager", seconds=0.5):
    """One record a curve, seeds counted from 0; records without any phase are fine."""
    setup = make_setup(task, label)
    return [
        make_record(setup, seed, quality=make_quality(curve, seed, seconds))
        for seed, curve in enumerate(curves)
    ]


def only(task, *records):
    tables = summarise([task], [it for some in records for it in some]).qualities
    assert len(tables) == 1
    return tables[0]


def test_time_to_target_is_the_time_until_it_was_first_met():
    row = only(TASK, trained(TASK, [0.5, 0.94, 0.96, 0.90, 0.97])).rows[0].trainings[0]
    assert row.seconds_to_target == pytest.approx(1.5)
    assert row.seconds == pytest.approx(2.5)
    assert row.final == 0.97


def test_an_error_is_met_from_above():
    row = only(ERROR_TASK, trained(ERROR_TASK, [0.9, 0.6, 0.7])).rows[0]
    assert row.seconds_to_target == pytest.approx(1.0)


def test_not_reached_counts_as_infinite_and_is_never_dropped():
    good, bad = [0.5, 0.97], [0.5, 0.6]
    row = only(TASK, trained(TASK, good, bad, bad)).rows[0]
    assert (row.reached, row.seconds_to_target) == (1, None)
    row = only(TASK, trained(TASK, good, good, bad)).rows[0]
    assert (row.reached, row.seconds_to_target) == (2, pytest.approx(1.0))
    row = only(TASK, trained(TASK, good, bad)).rows[0]
    assert (row.reached, row.seconds_to_target) == (1, None)


def test_without_a_target_nothing_is_reached():
    task = make_task("aimless", target=None)
    row = only(task, trained(task, [1.0])).rows[0]
    assert (row.reached, row.seconds_to_target) == (0, None)


def test_spread_is_taken_at_the_same_seed_only():
    ours = trained(TASK, [0.90], [0.80])
    theirs = trained(TASK, [0.91], [0.83], label="tensorflow:graph")
    spread = only(TASK, ours, theirs).spread
    assert spread.value == pytest.approx(0.03)
    assert spread.seed == 1
    assert set(spread.setups) == {"pytorch:eager", "tensorflow:graph"}


def test_no_seed_in_common_has_no_spread():
    ours = trained(TASK, [0.9])
    theirs = [
        make_record(make_setup(TASK, "x:y"), 3, quality=make_quality([0.5], seed=3)),
    ]
    table = only(TASK, ours, theirs)
    assert table.spread is None
    assert table.seeds == (0, 3)


def test_two_trainings_of_one_setup_are_no_spread_between_setups():
    setup = make_setup()
    records = [
        make_record(setup, block, quality=make_quality([value], seed=0))
        for block, value in enumerate((0.9, 0.8))
    ]
    assert only(TASK, records).spread is None


def test_the_curve_is_the_median_over_seeds():
    row = only(TASK, trained(TASK, [0.1, 0.4], [0.2, 0.5], [0.3, 0.9])).rows[0]
    assert row.curve == ((0.5, 0.2), (1.0, 0.5))
    assert row.final == 0.5


def test_all_trainings_of_all_setups_are_listed():
    summary = summarise([TASK], [*trained(TASK, [0.1], [0.2]), *trained(TASK, [0.3], label="x:y")])
    trainings = [it for row in summary.qualities[0].rows for it in row.trainings]
    assert [it.final for it in trainings] == [0.1, 0.2, 0.3]


def diverged(seed, *curve, block=None, label="pytorch:eager"):
    """A training that ended in NaN after the epochs given."""
    quality = make_quality(curve, seed) if curve else None
    block = seed if block is None else block
    return make_failure(make_setup(TASK, label), block, "diverged", quality=quality)


def by_setup(records):
    setups = {}
    for it in records:
        setups.setdefault(it.setup, []).append(it)
    return setups


def table_of(records, lost):
    return quality_table(TASK, by_setup(records), lost)


def test_a_training_that_diverged_counts_as_not_reached():
    good = [0.5, 0.97]
    row = table_of(trained(TASK, good), [diverged(1, 0.3), diverged(2, 0.2)]).rows[0]
    assert row.diverged == (1, 2)
    assert (row.reached, row.to_target.n, row.seconds_to_target) == (1, 3, None)
    assert row.final == 0.97


def test_one_that_diverged_at_once_has_the_seed_of_its_block():
    theirs = trained(TASK, [0.9], [0.9], label="x:y")
    records = [*trained(TASK, [0.97]), *theirs]
    table = table_of(records, [diverged(None, block=1), diverged(None, block=7)])
    assert [row.diverged for row in table.rows] == [(1,), ()]
    assert (table.pairs[0].verdict, table.pairs[0].seeds) == ("cannot tell", (0,))


def test_a_seed_that_was_trained_after_all_did_not_diverge():
    row = table_of(trained(TASK, [0.97]), [diverged(0, 0.2)]).rows[0]
    assert row.diverged == ()


def test_pairs_stand_against_the_baseline():
    good, bad = [[0.95]] * 40, [[0.55]] * 40
    records = [
        *trained(TASK, *good),
        *trained(TASK, *good, label="x:y"),
        *trained(TASK, *bad, label="broken:one"),
    ]
    table = quality_table(TASK, by_setup(records))
    assert table.baseline == "pytorch:eager"
    assert [(it.label, it.verdict) for it in table.pairs] == [
        ("broken:one", "differs"),
        ("x:y", "equivalent"),
    ]
    assert quality_table(TASK, by_setup(records[40:])).baseline == "broken:one"


def test_the_final_value_of_few_seeds_has_a_range():
    row = only(TASK, trained(TASK, [0.90], [0.92], [0.94])).rows[0]
    assert row.final == row.final_interval.estimate == 0.92
    assert (row.final_interval.low, row.final_interval.high) == (None, None)
    assert (row.final_interval.least, row.final_interval.most) == (0.90, 0.94)
    assert row.final_interval.reason == "fewer than 6 seeds"
    alone = only(TASK, trained(TASK, [0.9])).rows[0]
    assert alone.final_interval.low is None


def test_without_a_target_there_is_no_time_to_it():
    task = make_task("aimless", target=None)
    assert only(task, trained(task, [1.0])).rows[0].to_target is None


def test_bands_hold_every_seed_while_there_are_few():
    bands = only(TASK, trained(TASK, [0.1, 0.4], [0.2, 0.5], [0.3, 0.9])).rows[0].bands
    assert [(it.epoch, it.low, it.quality, it.high) for it in bands] == [
        (1, 0.1, 0.2, 0.3),
        (2, 0.4, 0.5, 0.9),
    ]
    assert [it.seconds for it in bands] == [0.5, 1.0]
    assert not bands[0].quartiles


def test_bands_of_many_seeds_are_quartiles():
    bands = only(TASK, trained(TASK, *([it / 10] for it in range(1, 10)))).rows[0].bands
    assert bands[0].quartiles
    assert (bands[0].low, bands[0].quality, bands[0].high) == pytest.approx((0.3, 0.5, 0.7))


def test_bands_end_where_the_shortest_training_does():
    row = only(TASK, trained(TASK, [0.1, 0.4, 0.6], [0.2, 0.5])).rows[0]
    assert [it.epoch for it in row.bands] == [1, 2]
    assert row.final == pytest.approx(0.55)
