"""The summary: who wins, what each cell did, what failed."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.summary import summarise
from harness.records import Memory
from harness.tasks.costs import flops
from tests.builders import (
    ERROR_TASK,
    LABELS,
    TASK,
    certified,
    make_failure,
    make_record,
    make_setup,
    make_task,
    measured,
)


def steady(label, step, blocks=range(9), **setup):
    """Records whose every step takes `step` seconds."""
    return [
        make_record(make_setup(label=label, **setup), block, {"train": [step] * 3})
        for block in blocks
    ]


def only_table(*records):
    every = [it for some in records for it in some]
    tables = summarise([TASK], every, certified(every)).tables
    assert len(tables) == 1
    return tables[0]


def test_the_winner_is_faster_than_every_other():
    table = only_table(
        steady("pytorch:eager", 2e-3), steady("reference:eager", 1e-3), steady("x:y", 4e-3)
    )
    assert table.winner == "reference:eager"
    assert [row.cell.setup.label for row in table.rows] == [
        "reference:eager",
        "pytorch:eager",
        "x:y",
    ]
    assert table.sentence == (
        "reference:eager is the fastest: 2.00 × (2.00–2.00) as fast as the next, pytorch:eager."
    )


def test_a_tie_with_one_of_many_is_no_win():
    close = [
        make_record(make_setup(label="x:y"), block, {"train": [1e-3 * (0.9 + 0.04 * block)] * 3})
        for block in range(6)
    ]
    table = only_table(steady("pytorch:eager", 1e-3), close, steady("slow:one", 9e-3))
    assert table.winner is None
    assert table.sentence.startswith("No winner: 6 blocks cannot tell")
    assert "slow:one" not in table.sentence


def test_alone_there_is_no_winner():
    table = only_table(steady("pytorch:eager", 1e-3))
    assert table.winner is None
    assert "ran alone" in table.sentence
    assert table.pairs == ()


def test_one_block_names_no_winner_however_large_the_difference():
    table = only_table(steady("pytorch:eager", 1e-3, [0]), steady("x:y", 9e-3, [0]))
    assert table.winner is None
    assert table.sentence == (
        "No winner: one block says nothing of the spread, so there is no interval."
    )


def test_setups_that_share_no_block_are_not_compared():
    table = only_table(steady("pytorch:eager", 1e-3, range(6)), steady("x:y", 2e-3, range(6, 12)))
    assert table.winner is None
    assert table.pairs == ()
    assert table.sentence == "No winner: pytorch:eager shares no block with x:y."


def test_the_winner_is_whoever_wins_the_blocks_in_common():
    """A setup that was measured in the fast blocks only does not win by that."""
    lucky = steady("lucky:one", 2e-3, range(6)) + steady("lucky:one", 1e-4, range(6, 20))
    table = only_table(lucky, steady("pytorch:eager", 1e-3, range(6)))
    assert [row.cell.setup.label for row in table.rows] == ["pytorch:eager", "lucky:one"]
    assert table.winner == "pytorch:eager"


def crossed():
    """`b` is faster than `a` in 8 of 9 blocks, and yet its median ratio to the baseline is less."""
    for block in range(9):
        a = 1.8 + 0.1 * block
        b = a + (0.06 if block != 4 else -0.08)
        for label, speed in (("pytorch:eager", 0), ("a:x", a), ("b:x", b)):
            step = 1e-2 * math.exp(-speed)
            yield make_record(make_setup(label=label), block, {"train": [step] * 3})


def test_rows_stand_as_their_ratios_do_and_the_sentence_says_where_it_compares_directly():
    table = only_table(crossed())
    ratios = {it.label: it.speed.estimate for it in table.pairs} | {table.baseline: 1.0}
    assert [row.cell.setup.label for row in table.rows] == ["a:x", "b:x", "pytorch:eager"]
    assert ratios["a:x"] > ratios["b:x"] > 1
    assert table.winner == "b:x"
    assert table.sentence == (
        "b:x is the fastest: 1.06 × (1.06–1.06) as fast as the next, a:x, compared directly, in "
        "the same blocks; a:x has a larger ratio to pytorch:eager all the same."
    )


def test_a_tie_in_which_the_first_row_is_the_slower_one_is_compared_directly():
    lucky = [it for it in crossed() if it.block not in (0, 8)]
    table = only_table(lucky)
    assert table.rows[0].cell.setup.label == "a:x"
    assert table.winner is None
    told = "the first is 0.942 × (0.942–1.083) as fast, compared directly, in the same blocks, and "
    assert told in table.sentence


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.floats(-0.4, 0.4)] * 4), min_size=2, max_size=11))
def test_sort_ratio_and_sentence_never_disagree_without_a_word(blocks):
    labels = ("pytorch:eager", "a:x", "b:x", "c:x")
    records = [
        make_record(make_setup(label=label), block, {"train": [1e-3 * math.exp(it)]})
        for block, logs in enumerate(blocks)
        for label, it in zip(labels, logs, strict=True)
    ]
    table = only_table(records)
    ratios = {it.label: it.speed.estimate for it in table.pairs} | {table.baseline: 1.0}
    order = [row.cell.setup.label for row in table.rows]
    assert order == sorted(order, key=lambda it: (-ratios[it], it))
    first = table.winner or order[0]
    direct = {it: directly(records, first, it) for it in order if it != first}
    if table.winner and first != order[0]:
        assert "compared directly" in table.sentence
    if not table.winner and " is 0." in table.sentence:
        assert min(direct.values()) < 0
        assert "compared directly" in table.sentence


def directly(records, one, other):
    """The median of the log ratios of two setups, above 0 where the first is faster."""
    steps = {(it.setup.label, it.block): it.phases[0].samples[0].step_seconds for it in records}
    blocks = {block for _, block in steps}
    return statistics.median(math.log(steps[other, it] / steps[one, it]) for it in blocks)


def test_the_baseline_is_pytorch_eager_where_it_takes_part():
    assert only_table(*(steady(it, 1e-3) for it in LABELS)).baseline == "pytorch:eager"
    table = only_table(steady("tensorflow:graph", 1e-3), steady("reference:eager", 2e-3))
    assert table.baseline == "reference:eager"
    assert [it.label for it in table.pairs] == ["tensorflow:graph"]


def test_numbers_of_a_cell():
    row = only_table(steady("pytorch:eager", 1e-3)).rows[0]
    assert row.step.estimate == pytest.approx(1e-3)
    assert row.examples_per_second.estimate == pytest.approx(TASK.batch / 1e-3)
    assert row.gflops == pytest.approx(flops(TASK, "train") / 1e-3 / 1e9)
    assert row.cpu_share == pytest.approx(0.97)
    assert row.first_call == pytest.approx(40e-3)
    assert row.involuntary_switches_per_second == pytest.approx(2 / (50 * 1e-3))


def test_what_was_not_counted_is_none_and_not_zero():
    setup = make_setup()
    nothing = Memory(incremental_peak_rss=None, total_peak_rss=10)
    records = [
        make_record(setup, 0, {"train": [1.0]}, memory=nothing, import_seconds=None),
        make_record(setup, 1, {"train": [1.0]}, memory=None, import_seconds=None),
    ]
    row = summarise([TASK], records).tables[0].rows[0]
    assert row.import_seconds is None
    assert row.memory.incremental_peak_rss is None
    assert row.memory.total_peak_rss == 10
    assert row.memory.device_peak_allocated is None


def test_tables_stand_in_the_order_of_tasks_train_first():
    summary = summarise([ERROR_TASK, TASK], measured([TASK, ERROR_TASK]))
    assert [(it.task.name, it.phase) for it in summary.tables] == [
        (ERROR_TASK.name, "train"),
        (ERROR_TASK.name, "predict"),
        (TASK.name, "train"),
        (TASK.name, "predict"),
    ]
    assert [it.task.name for it in summary.qualities] == [ERROR_TASK.name, TASK.name]


def test_what_must_be_equal_to_be_compared_is():
    records = [
        *steady("pytorch:eager", 1e-3, threads=1),
        *steady("reference:eager", 1e-3, threads=2),
        *steady("reference:eager", 1e-3, threads=1, dtype="float64"),
        *steady("reference:eager", 1e-3, threads=1, device="gpu:0"),
    ]
    tables = summarise([TASK], records).tables
    assert len(tables) == 4
    assert all(len(it.rows) == 1 for it in tables)


def test_a_copy_of_a_task_under_another_name_has_its_own_table():
    copy = make_task("my-digits", probes=TASK.probes)
    assert copy.digest == TASK.digest
    summary = summarise([TASK, copy], measured([TASK, copy], blocks=2))
    assert {it.task.name for it in summary.tables} == {"digits-mlp", "my-digits"}


def test_failures_are_counted_by_reason_and_left_out_of_tables():
    setup = make_setup(label="tensorflow:xla")
    records = [
        *steady("pytorch:eager", 1e-3),
        make_failure(setup, 0, stderr_tail="first"),
        make_failure(setup, 1, stderr_tail="last"),
        make_failure(setup, 2, stderr_tail=""),
        make_failure(setup, 3, "hung", error="no answer within 60 s"),
        make_failure(setup, 4, "unsupported", error=None),
    ]
    summary = summarise([TASK], records)
    assert [(it.status, it.trials) for it in summary.failures] == [
        ("crashed", 3),
        ("hung", 1),
        ("unsupported", 1),
    ]
    assert summary.failures[0].stderr_tail == "last"
    assert summary.failures[2].error == ""
    assert [row.cell.setup.label for row in summary.tables[0].rows] == ["pytorch:eager"]


def test_nothing_measured_is_an_empty_summary():
    summary = summarise([TASK], [])
    assert (summary.tables, summary.qualities) == ((), ())
