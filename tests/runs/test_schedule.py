"""A group's way through its blocks, decided from records whose times are given."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.stats import least_blocks_for
from harness.records import Sample
from harness.runs.block import Block
from harness.runs.config import resolve
from harness.runs.plan import Group, Plan
from harness.runs.schedule import Clock, Course, courses, following, planned_seconds, verdict
from harness.tasks.spec import Model
from tests.builders import make_failure, make_record
from tests.fakes import TASK, setup

SETUPS = (setup("pytorch"), setup("tensorflow", "graph"), setup("pytorch", twin=True))
GROUP = Group(TASK, SETUPS)


def course(group: Group = GROUP, **flags) -> Course:
    return Course(group, resolve(None, {"repeat_noisy": True} | flags))


def records(number: int, spread: float = 0.001, waiting: float = 0.0):
    """A block in which TensorFlow takes twice as long, give or take the spread."""
    rng = random.Random(number)
    made = []
    for it in SETUPS:
        base = 2e-3 if it.framework == "tensorflow" else 1e-3
        steps = [base * (1 + rng.gauss(0, spread))] * 3
        record = make_record(it, number, {"train": steps, "predict": steps})
        phases = [
            phase.model_copy(update={"samples": tuple(_waited(phase.samples, waiting))})
            for phase in record.phases
        ]
        made.append(record.model_copy(update={"phases": tuple(phases)}))
    return made


def _waited(samples: tuple[Sample, ...], share: float):
    return [it.model_copy(update={"pressure_seconds": share * it.seconds}) for it in samples]


def timed(block: Block) -> bool:
    return bool(block.phases)


def numbers(made: Course) -> list[int]:
    return [it.number for it in made.left()]


def run_to_its_end(made: Course, **fields) -> list[Block]:
    taken = []
    while left := made.left():
        taken.append(left[0])
        made.learn(left[0].number, records(left[0].number, **fields))
    return taken


def test_every_fourth_block_is_alone_from_the_first_on():
    blocks = course(blocks=60).left()
    assert [it.number for it in blocks if it.alone] == list(range(0, 36, 4))  # nine are enough
    assert [it.generation for it in blocks[:9]] == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert course(blocks=1).left()[0].alone


def test_seeds_beyond_the_timed_blocks_have_blocks_of_their_own_without_a_twin():
    blocks = course(blocks=2, seeds=4).left()
    assert [(timed(it), it.trains) for it in blocks] == [(True, True)] * 2 + [(False, True)] * 2
    assert [len(it.setups) for it in blocks] == [3, 3, 2, 2]


def test_a_precision_that_is_reached_ends_the_group():
    made = course(precision=0.02, least_blocks=8, seeds=1)
    taken = run_to_its_end(made)
    assert made.reached
    assert 8 <= len(taken) < 24
    assert all(map(timed, taken))


def test_a_precision_that_is_not_reached_ends_with_the_most_blocks():
    made = course(precision=0.02, blocks=12, seeds=1)
    assert len(run_to_its_end(made, spread=0.2)) == 12
    assert not made.reached


def test_without_a_precision_the_number_of_blocks_is_fixed():
    assert len(run_to_its_end(course(blocks=20, seeds=1))) == 20


def test_trainings_go_on_after_the_precision_is_reached():
    made = course(precision=0.02, least_blocks=8, seeds=12)
    taken = run_to_its_end(made)
    assert [it.number for it in taken if it.trains] == list(range(12))
    assert not any(map(timed, taken[10:]))


def test_nobody_waits_for_the_ratio_of_a_setup_that_may_not_be_ranked():
    def stops_at(**fields) -> int:
        made = Course(GROUP, resolve(None, {"precision": "2%", "seeds": 0}), **fields)
        while left := made.left():
            noise = random.Random(left[0].number).uniform(0.5, 2)
            made.learn(left[0].number, [_slowed(it, noise) for it in records(left[0].number)])
        return len(made.done)

    assert stops_at() == 24
    assert stops_at(unranked=frozenset({SETUPS[1]})) == 8


def _slowed(record, factor: float):
    if record.setup.framework != "tensorflow":
        return record
    phases = [
        phase.model_copy(
            update={
                "samples": tuple(
                    it.model_copy(update={"seconds": factor * it.seconds}) for it in phase.samples
                )
            }
        )
        for phase in record.phases
    ]
    return record.model_copy(update={"phases": tuple(phases)})


WIDE = setup("reference", "replay")
FIELD = Group(TASK, (*SETUPS, WIDE, setup("tensorflow", "graph", lane="idiomatic")))


LEAST = least_blocks_for(2)


def field_block(number: int):
    """All of SETUPS with next to no noise; the ratio of WIDE is anybody's guess."""
    made = records(number)
    factor = random.Random(number).uniform(0.5, 2)
    own = [factor * 1e-3] * 3
    return [*made, make_record(WIDE, number, {"train": own, "predict": own})]


def test_whose_ratios_are_known_rests_and_the_baseline_goes_on_with_its_twin():
    made = course(FIELD, precision=0.02, seeds=0, blocks=14)
    for number in range(LEAST):
        assert made.left()[0].setups == FIELD.setups
        made.learn(number, field_block(number))
    going_on = [it for it in FIELD.setups if it.framework != "tensorflow"]
    assert [list(it.setups) for it in made.left()] == [going_on] * 4
    made.learn(LEAST, [it for it in field_block(LEAST) if it.setup in going_on])
    assert list(made.left()[0].setups) == going_on
    assert made.covers(LEAST, [make_record(it, LEAST, {}) for it in going_on])
    assert not made.reached


def test_who_trains_does_not_rest():
    made = course(FIELD, precision=0.02, seeds=12, blocks=14)
    for number in range(LEAST):
        made.learn(number, field_block(number))
    assert [len(it.setups) for it in made.left()] == [5, 5, 3, 3]


@given(st.randoms())
def test_who_rests_depends_on_the_records_only(shuffler):
    shuffled = list(range(LEAST + 1))
    shuffler.shuffle(shuffled)
    lefts = []
    for order in (range(LEAST + 1), shuffled):
        made = course(FIELD, precision=0.02, seeds=0, blocks=14)
        for number in order:
            made.learn(number, field_block(number))
        lefts.append(made.left())
    assert lefts[0] == lefts[1]


def test_each_noisy_block_adds_one_up_to_a_third():
    made = course(blocks=9, seeds=1)
    made.learn(0, records(0))
    assert made.noise(0) == ""
    assert made.added == 0
    for number in range(1, 6):
        made.learn(number, records(number, waiting=0.6))
        assert "waited" in made.noise(number)
        assert made.added == min(number, 3)
    assert numbers(made) == [6, 7, 8, 9, 10, 11]
    assert all(timed(it) and not it.trains for it in made.left())


def test_added_blocks_follow_the_trainings():
    made = course(blocks=3, seeds=5)
    made.learn(0, records(0, waiting=0.6))
    assert [(it.number, timed(it)) for it in made.left()] == [
        (1, True),
        (2, True),
        (3, False),
        (4, False),
        (5, True),
    ]


@pytest.mark.parametrize("config", [{"blocks": 9, "repeat_noisy": False}, {"preset": "quick"}])
def test_no_block_is_added_where_that_was_not_asked_for(config):
    made = Course(GROUP, resolve(None, config))
    made.learn(0, records(0, waiting=0.9))
    assert made.added == 0
    assert len(numbers(made)) == 8


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.randoms())
def test_what_is_left_depends_on_the_records_only(noisy, shuffler):
    done = {number: records(number, waiting=0.6 * it) for number, it in enumerate(noisy)}
    in_order, in_any_order = (course(precision=0.02, blocks=12, seeds=2) for _ in range(2))
    for number, block in done.items():
        in_order.learn(number, block)
    shuffled = list(done)
    shuffler.shuffle(shuffled)
    for number in shuffled:
        in_any_order.learn(number, done[number])
    assert in_order.left() == in_any_order.left()
    assert in_order.reached == in_any_order.reached


def test_trials_that_failed_reach_no_precision_and_are_not_noise():
    made = course(precision=0.02, blocks=10, seeds=0)
    for number in range(9):
        made.learn(number, [make_failure(it, number) for it in SETUPS])
        assert made.noise(number) == ""
    assert numbers(made) == [9]


def other_group() -> Group:
    task = TASK.model_copy(update={"name": "other", "batch_size": 16})
    moved = [it.model_copy(update={"task": task.name, "digest": task.digest}) for it in SETUPS]
    return Group(task, tuple(moved))


def plan(tmp_path, **flags) -> Plan:
    return Plan(resolve(None, flags), tmp_path, (GROUP, other_group()), ())


def test_one_block_of_every_group_before_the_second_of_any(tmp_path):
    both = courses(plan(tmp_path, blocks=3))
    seen = []
    while found := following(both):
        made, block = found
        seen.append((block.number, block.task.name))
        made.learn(block.number, records(block.number))
    assert seen == [(number, name) for number in range(3) for name in (TASK.name, "other")]


def test_the_rule_that_ended_a_run_says_where_the_precision_was_reached(tmp_path):
    both = courses(plan(tmp_path, precision=0.02, seeds=0))
    assert verdict(both) == "all blocks done"
    run_to_its_end(both[0])
    run_to_its_end(both[1], spread=0.2)
    assert verdict(both) == (
        "precision reached in 1 of 2 comparisons, all blocks done in the others"
    )
    assert verdict(both[:1]) == "precision reached"


def test_a_block_that_starts_side_by_side_is_expected_to_be_shorter(monkeypatch):
    monkeypatch.setattr("harness.runs.schedule.cores", lambda: 2)
    clock = Clock()
    alone, beside = course(blocks=2, seeds=0).left()
    assert clock.expected(beside) < clock.expected(alone)
    clock.learn(alone, 30.0)
    assert clock.expected(alone) == 30.0
    assert 0 < clock.expected(beside) < 30.0
    clock.learn(beside, 21.0)
    assert clock.expected(beside) == 21.0
    trains = course(blocks=2, seeds=2).left()[1]
    assert clock.expected(trains) > 21.0


def test_the_time_of_a_plan_grows_with_its_blocks(tmp_path):
    few, many = (planned_seconds(plan(tmp_path, blocks=it)) for it in (3, 9))
    assert few == pytest.approx(many / 3, rel=0.2)


def test_a_step_is_expected_to_be_shorter_on_more_threads_and_on_a_gpu():
    wide = TASK.model_copy(update={"model": Model(hidden=(4096, 4096)), "batch_size": 512})

    def expected(device: str, threads: int) -> float:
        moved = {"task": wide.name, "digest": wide.digest, "device": device, "threads": threads}
        group = Group(wide, tuple(it.model_copy(update=moved) for it in SETUPS))
        return Clock().expected(course(group).left()[0])

    assert expected("gpu:0", 16) < expected("cpu", 16) < expected("cpu", 2)
