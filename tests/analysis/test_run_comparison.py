"""Two runs: which machine, which cells, and what became of speed, memory and quality."""

from __future__ import annotations

import pytest

from harness.analysis.run_comparison import (
    cell_blocks,
    compare_runs,
    differing_facts,
    same_machine,
)
from harness.analysis.summary import summarise_run
from harness.records import Memory
from tests.builders import (
    ERROR_TASK,
    LABELS,
    MB,
    TASK,
    certified,
    make_certificate,
    make_failure,
    make_info,
    make_quality,
    make_record,
    make_run,
    make_setup,
    make_task,
    measured,
)

HERE = {
    "cpu": "one",
    "cores": 2,
    "cores_of_machine": 4,
    "memory_bytes": 8_000_000_000,
    "gpus": None,
    "architecture": "x86_64",
    "system": "Linux 1",
    "virtual": True,
}


@pytest.mark.parametrize(
    ("changes", "differing"),
    [
        ({}, []),
        ({"system": "Linux 2"}, []),
        ({"memory_bytes": 8_070_000_000}, []),
        ({"memory_bytes": 8_100_000_000}, ["memory_bytes"]),
        ({"cores": 1}, ["cores"]),
        ({"cores_of_machine": 8}, ["cores_of_machine"]),
        ({"gpus": "big", "virtual": False}, ["gpus", "virtual"]),
    ],
)
def test_facts_that_tell_machines_from_each_other(changes, differing):
    assert differing_facts(HERE, HERE | changes) == differing
    assert differing_facts(HERE | changes, HERE) == differing
    assert same_machine(HERE, HERE | changes) == (not differing)


def test_what_an_older_fingerprint_lacks_tells_nothing():
    older = {name: HERE[name] for name in ("cpu", "cores", "gpus", "architecture")}
    assert same_machine(HERE, older)
    assert differing_facts(HERE, older | {"cores": 1}) == ["cores"]


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


EAGER, REPLAY = make_setup(label="pytorch:eager"), make_setup(label="reference:replay")


def between(before, after, task=TASK, **info):
    runs = [make_run(before, [task]), make_run(after, [task], **info)]
    (one, other) = summaries = [summarise_run(it) for it in runs]
    (a, ours), (b, theirs) = (
        (run.info, cell_blocks(run, it)) for run, it in zip(runs, summaries, strict=True)
    )
    return compare_runs(a, ours, b, theirs, (one.qualities, other.qualities))


def peaks(setup, *megabytes):
    return [
        make_record(
            setup,
            block,
            {"train": [1e-3] * 3},
            memory=Memory(incremental_peak_rss=None, total_peak_rss=size and round(size * MB)),
        )
        for block, size in enumerate(megabytes)
    ]


def memory(before, after, **info):
    (table,) = between(before, after, **info).tables
    return {it.label: it for it in table.memory}


QUIET = (200.0, 200.1, 200.3, 199.9, 200.2, 200.0, 199.8, 200.3, 200.1)


def test_who_takes_more_memory_is_named_and_nobody_else():
    before = [*peaks(EAGER, *QUIET), *peaks(REPLAY, *QUIET)]
    after = [*peaks(EAGER, *(1.1 * it for it in QUIET)), *peaks(REPLAY, *QUIET)]
    found = memory(before, after)
    assert {label: it.verdict for label, it in found.items()} == {
        "pytorch:eager": "more",
        "reference:replay": "equivalent",
    }
    more = found["pytorch:eager"]
    assert more.times.low <= 1.1 <= more.times.high
    assert more.after == pytest.approx(1.1 * more.before, rel=1e-3)
    assert memory(after, before)["pytorch:eager"].verdict == "less"


def test_few_blocks_cannot_tell_and_say_why():
    (found,) = memory(peaks(EAGER, 200, 201), peaks(EAGER, 300, 301)).values()
    assert found.verdict == "cannot tell"
    assert "6 blocks" in found.reason


def test_what_was_not_counted_is_not_compared():
    assert memory(peaks(EAGER, *QUIET), peaks(EAGER, *[None] * 9)) == {}


def test_a_process_is_weighed_once_in_the_phase_that_it_began_with():
    both = [
        make_record(EAGER, block, {"train": [1e-3] * 3, "predict": [1e-3] * 3})
        for block in range(6)
    ]
    found = between(both, both).tables
    assert [(it.phase, len(it.memory)) for it in found] == [("train", 1), ("predict", 0)]


def test_blocks_that_only_trained_have_no_peak():
    beyond = [make_record(EAGER, 9, {}, quality=make_quality([0.9], 9))]
    both = [*peaks(EAGER, *QUIET), *beyond]
    assert memory(both, both)["pytorch:eager"].times.n == 9


@pytest.mark.parametrize(("counted", "kind"), [(True, "device_allocated"), (False, "total_rss")])
def test_on_a_gpu_it_is_what_all_allocate_there(counted, kind):
    def allocated(times):
        return [
            make_record(
                make_setup(label=label, device="gpu:0"),
                block,
                {"train": [1e-3] * 3},
                memory=Memory(
                    incremental_peak_rss=None,
                    total_peak_rss=300 * MB,
                    device_peak_allocated=round(times * size * MB)
                    if counted or label == "pytorch:eager"
                    else None,
                ),
            )
            for label in ("pytorch:eager", "tensorflow:graph")
            for block, size in enumerate(QUIET)
        ]

    found = memory(allocated(1), allocated(1.1))
    assert {it.kind for it in found.values()} == {kind}
    verdict = "more" if counted else "equivalent"
    assert {it.verdict for it in found.values()} == {verdict}


def test_memory_of_two_machines_is_not_compared():
    both = [*peaks(EAGER, *QUIET), *peaks(REPLAY, *QUIET)]
    assert memory(both, both, machine=make_info().machine | {"cpu": "another"}) == {}


def trained(setup, *finals, task=TASK):
    return [
        make_record(
            setup,
            seed,
            {"train": [1e-3] * 3},
            quality=make_quality([final - 0.1, final], seed),
        )
        for seed, final in enumerate(finals)
    ]


def quality(before, after, task=TASK, **info):
    (found,) = between(before, after, task, **info).qualities
    return found


GOOD = (0.960, 0.962, 0.958, 0.961, 0.959)


def test_the_same_seeds_are_compared_one_by_one():
    """Seeds differ by far more than the runs do."""
    before = [0.90, 0.96, 0.93, 0.91, 0.95, 0.94]
    found = quality(trained(EAGER, *before), trained(EAGER, *(it + 0.02 for it in before)))
    (change,) = found.changes
    assert change.pair.verdict == "differs"
    assert change.pair.difference.estimate == pytest.approx(0.02)
    assert (change.before, change.after) == pytest.approx((0.935, 0.955))
    assert found.metric == "accuracy"


def test_equal_trainings_are_equally_good_on_another_machine_too():
    other = {"machine": make_info().machine | {"cpu": "another"}}
    both = [*trained(EAGER, *GOOD * 8), *trained(REPLAY, *GOOD * 8)]
    found = quality(both, both, **other)
    assert [it.label for it in found.changes] == ["pytorch:eager", "reference:replay"]
    assert {it.pair.verdict for it in found.changes} == {"equivalent"}


def test_a_training_that_diverges_now_is_told():
    lost = [
        *trained(EAGER, *GOOD[:4]),
        make_failure(EAGER, 4, "diverged", quality=make_quality([0.2], 4)),
    ]
    (change,) = quality(trained(EAGER, *GOOD), lost).changes
    assert change.pair.verdict == "cannot tell"
    assert "diverged from seed 4" in change.pair.reason


def test_an_error_is_compared_by_its_size():
    setups = make_setup(ERROR_TASK, "pytorch:eager")
    before = trained(setups, 100.0, 102.0, 98.0, 101.0, 99.0, 100.0, task=ERROR_TASK)
    after = trained(setups, 120.0, 122.0, 118.0, 121.0, 119.0, 120.0, task=ERROR_TASK)
    (change,) = quality(before, after, ERROR_TASK).changes
    assert change.pair.relative
    assert change.pair.verdict == "differs"
    assert change.pair.difference.estimate == pytest.approx(0.2, abs=0.01)


def test_who_was_trained_once_only_is_not_compared():
    assert not between(trained(EAGER, *GOOD), peaks(EAGER, *QUIET)).qualities
