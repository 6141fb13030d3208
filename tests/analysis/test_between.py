"""Two runs side by side: what may be compared is judged, what may not is named with the reason."""

from __future__ import annotations

import pytest

from harness.analysis.run_comparison import cell_blocks, compare_runs
from harness.analysis.summary import summarise_run
from tests.builders import (
    ERROR_TASK,
    LABELS,
    TASK,
    certified,
    make_certificate,
    make_info,
    make_run,
    make_setup,
    make_task,
    measured,
)

MACHINE = make_info().machine
OTHER = MACHINE | {"cpu": "another"}


def side(records, tasks=(TASK,), **info):
    run = make_run(records, tasks, **info)
    return run.info, cell_blocks(run, summarise_run(run))


def runs(before, after):
    return compare_runs(*before, *after)


def verdicts(comparison, phase="train"):
    (table,) = [it for it in comparison.tables if it.phase == phase]
    return {it.label: it.shift.verdict for it in table.changes}


def quiet(**changes):
    return measured(**({"drift": 0.003, "noise": 0.003, "trains": False} | changes))


def slowed(records, label, factor):
    """The same records with every sample of one setup so many times as long."""

    def sample(it):
        return it.model_copy(update={"seconds": it.seconds * factor})

    def phase(it):
        return it.model_copy(update={"samples": tuple(map(sample, it.samples))})

    return [
        it.model_copy(update={"phases": tuple(map(phase, it.phases))})
        if it.setup.label == label
        else it
        for it in records
    ]


def test_what_became_slower_is_named_and_nothing_else():
    after = slowed(quiet(seed=1), "reference:eager", 1.05)
    found = runs(side(quiet(seed=0)), side(after))
    assert found.basis == "time"
    assert verdicts(found) == {
        "pytorch:eager": "equivalent",
        "tensorflow:graph": "equivalent",
        "reference:eager": "slower",
    }
    (table, _) = found.tables
    (slow,) = [it for it in table.changes if it.shift.verdict == "slower"]
    assert slow.shift.speed.low <= 1 / 1.05 <= slow.shift.speed.high
    assert slow.after.estimate == pytest.approx(1.05 * slow.before.estimate, rel=0.02)
    assert table.changes[0].relative is None  # the baseline


def test_a_run_against_itself_shows_nothing():
    one = side(quiet())
    found = runs(one, one)
    assert not found.facts
    assert all(it.shift.speed.estimate == 1 for table in found.tables for it in table.changes)
    assert {it.shift.verdict for table in found.tables for it in table.changes} == {"equivalent"}


def test_between_machines_only_ratios_to_one_baseline_count():
    """The second machine takes twice as long for everything, and a twentieth more for one."""
    after = quiet(seed=1)
    for label in LABELS:
        after = slowed(after, label, 2)
    after = slowed(after, "reference:eager", 1.05)
    found = runs(side(quiet(seed=0)), side(after, machine=OTHER))
    assert found.basis == "ratio"
    assert verdicts(found) == {"tensorflow:graph": "equivalent", "reference:eager": "slower"}
    assert "weaker" in found.notes[0]
    assert ("cpu", "another") in [(it.what, it.b) for it in found.facts]


def test_a_machine_at_another_moment_is_told_and_cancels_in_ratios():
    after = quiet(seed=1)
    for label in LABELS:
        after = slowed(after, label, 1.25)
    after = slowed(after, "reference:eager", 1.05)
    found = runs(side(quiet(seed=0)), side(after))
    assert set(verdicts(found).values()) == {"slower"}
    assert "Every cell is slower than before, by 2" in found.notes[0]
    relative = {it.label: it.relative for it in found.tables[0].changes}
    assert relative["pytorch:eager"] is None
    assert relative["tensorflow:graph"].verdict == "equivalent"
    assert relative["reference:eager"].verdict == "slower"
    one_only = runs(side(quiet(seed=0)), side(slowed(quiet(seed=1), "reference:eager", 1.05)))
    assert not any("Every cell" in it for it in one_only.notes)


def test_a_run_that_cannot_tell_a_setup_from_itself_claims_no_equality():
    info, cells = side(quiet())
    loud = [it.model_copy(update={"margin": 0.5}) for it in cells]
    assert set(verdicts(compare_runs(info, cells, info, loud)).values()) == {"cannot tell"}
    loud = [it.model_copy(update={"margin": 0.05}) for it in cells]
    assert set(verdicts(compare_runs(info, cells, info, loud)).values()) == {"equivalent"}


def test_another_baseline_is_no_baseline():
    after = quiet(labels=("tensorflow:graph", "reference:eager"), seed=1)
    found = runs(side(quiet()), side(after, machine=OTHER))
    assert not found.tables
    assert any("its ratios are to pytorch:eager in one run" in it.reason for it in found.apart)


def test_a_new_version_of_the_baseline_is_told():
    newer = make_info().versions | {"pytorch": "9.9"}
    found = runs(side(quiet()), side(quiet(seed=1), machine=OTHER, versions=newer))
    assert "pytorch 2.13.0 before, 9.9 after" in found.notes[1]
    assert ("pytorch", "2.13.0", "9.9") in [(it.what, it.a, it.b) for it in found.facts]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"threads": 2}, "with threads 2 only"),
        ({"dtype": "float64"}, "with dtype float64 only"),
        ({"lane": "idiomatic"}, "with lane idiomatic only"),
        ({"device": "gpu:0"}, "with device gpu:0 only"),
    ],
)
def test_what_differs_in_place_or_lane_is_never_compared(changes, reason):
    found = runs(side(quiet()), side(quiet(seed=1, **changes)))
    assert not found.tables
    assert all(reason in it.reason for it in found.apart if it.side == "a")


def test_another_digest_is_another_task():
    other = make_task(batch_size=64)
    found = runs(side(quiet()), side(quiet(tasks=(other,)), (other,)))
    assert not found.tables
    assert f"its digest is {other.digest}, not {TASK.digest}" in found.apart[0].reason


def test_another_name_is_the_same_task():
    mine = make_task("mine")
    found = runs(side(quiet()), side(quiet(tasks=(mine,), seed=1), (mine,)))
    assert len(found.tables) == 2
    assert not found.apart


def test_what_one_run_lacks_is_named_beside_what_both_have():
    found = runs(side(quiet(tasks=(TASK, ERROR_TASK)), (TASK, ERROR_TASK)), side(quiet(seed=1)))
    assert {it.task for it in found.tables} == {"digits-mlp"}
    assert {it.reason for it in found.apart} == {"the other run has no such cell"}


def test_what_is_not_proven_in_one_of_them_is_not_ranked():
    records = quiet(seed=1)
    failed = make_certificate(make_setup(label="reference:eager"), "too far")
    proofs = [it for it in certified(records) if it.setup != failed.setup]
    found = runs(
        side(quiet()), side(slowed(records, "reference:eager", 2), certificates=[*proofs, failed])
    )
    (table, _) = found.tables
    (barred,) = [it for it in table.changes if it.label == "reference:eager"]
    assert barred.shift.verdict == "not ranked"
    assert "too far" in barred.shift.reason
    assert {it.shift.family for it in table.changes if it is not barred} == {2}


def test_three_blocks_cannot_tell():
    found = runs(side(quiet(blocks=3)), side(slowed(quiet(blocks=3), "pytorch:eager", 3)))
    assert set(verdicts(found).values()) == {"cannot tell"}
    assert found.tables[0].changes[0].shift.reason == "it takes 6 blocks in each"


def test_memory_that_a_kernel_keeps_makes_no_other_machine():
    near = MACHINE | {"memory_bytes": MACHINE["memory_bytes"] - 10_000_000, "system": "Linux 7"}
    assert runs(side(quiet()), side(quiet(seed=1), machine=near)).basis == "time"
    half = MACHINE | {"memory_bytes": MACHINE["memory_bytes"] // 2}
    assert runs(side(quiet()), side(quiet(seed=1), machine=half)).basis == "ratio"
