"""What became of memory and of quality between two runs."""

from __future__ import annotations

import pytest

from harness.analysis.run_comparison import cell_blocks, compare_runs
from harness.analysis.summary import summarise_run
from harness.records import Memory
from tests.builders import (
    ERROR_TASK,
    MB,
    TASK,
    make_failure,
    make_info,
    make_quality,
    make_record,
    make_run,
    make_setup,
)

EAGER, REPLAY = make_setup(label="pytorch:eager"), make_setup(label="reference:replay")


def between(before, after, task=TASK, **info):
    runs = [make_run(before, [task]), make_run(after, [task], **info)]
    summaries = [summarise_run(it) for it in runs]
    (a, ours), (b, theirs) = (
        (run.info, cell_blocks(run, it)) for run, it in zip(runs, summaries, strict=True)
    )
    return compare_runs(a, ours, b, theirs, (summaries[0].qualities, summaries[1].qualities))


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
