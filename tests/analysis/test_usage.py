"""What setups use beside the work that is timed: what bars them, and what is only said."""

from __future__ import annotations

import pytest

from harness.analysis.settings import setup_faults
from harness.analysis.summary import summarise
from harness.analysis.usage import grown, setup_usage
from harness.records import Growth, Usage
from tests.builders import LABELS, TASK, certified, make_record, make_setup, measured

QUIET = Usage(
    turns=100,
    turn_seconds=5.0,
    turn_cpu_seconds=4.0,
    between_seconds=20.0,
    between_cpu_seconds=0.02,
    growth={"train": Growth(resident=(0.0, 80.0, 0.0, -80.0, 0.0, 0.0))},
)


def records(blocks: int = 3, cpu: float = 1.0, **usage: object):
    found = []
    for block in range(blocks):
        record = make_record(make_setup(TASK, LABELS[0], threads=1), block, {"train": [1e-3] * 6})
        phases = [
            phase.model_copy(
                update={
                    "samples": tuple(
                        it.model_copy(update={"cpu_seconds": cpu * it.seconds})
                        for it in phase.samples
                    )
                }
            )
            for phase in record.phases
        ]
        changed = {"usage": QUIET.model_copy(update=usage), "phases": tuple(phases)}
        found.append(record.model_copy(update=changed))
    return found


def test_who_rests_and_holds_no_more_has_no_fault():
    assert setup_faults(records()) == ()
    assert setup_faults([it.model_copy(update={"usage": None}) for it in records()]) == ()


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        ({"unsettled": 60}, "its threads still worked after 180 of 300 turns"),
        ({"between_cpu_seconds": 19.0}, "it keeps 0.95 cores busy between its turns"),
        ({"cpu": 2.0}, "it keeps 2.0 cores busy, with 1 thread asked"),
        (
            {"growth": {"train": Growth(resident=(2e5,) * 16)}},
            "train: memory grows by 200 kB a step",
        ),
        (
            {"growth": {"train": Growth(device=(3e6,) * 16)}},
            "train: device memory grows by 3 MB a step",
        ),
    ],
)
def test_what_is_hidden_bars_the_ranking_and_is_told(usage, told):
    (fault,) = setup_faults(records(**usage))
    assert fault.startswith(told)


def test_a_few_turns_without_rest_are_told_and_do_not_bar():
    found = setup_usage(records(unsettled=3))
    assert not found.faults
    assert found.remarkable


def test_one_block_of_many_does_not_bar():
    odd = records(between_cpu_seconds=19.0, growth={"train": Growth(resident=(2e5,) * 16)})[:1]
    assert setup_faults([*odd, *records()]) == ()


def test_cores_beside_a_device_are_no_threads():
    on_gpu = [
        it.model_copy(update={"setup": it.setup.model_copy(update={"device": "gpu:0"})})
        for it in records(cpu=2.0)
    ]
    assert setup_usage(on_gpu).faults == ()


@pytest.mark.parametrize(
    ("samples", "iterations", "grows"),
    [
        ([2e5] * 8, 50, True),
        ([2e5] * 4, 50, False),  # too few
        ([0.0] * 7 + [1e7], 50, False),  # taken once
        ([5e3] * 7 + [-5e4], 50, False),  # taken with every step, given back now and then
        ([4096.0] * 8, 1, False),  # a page now and then
        ([100.0] * 8, 1000, False),  # a million steps for less than a gigabyte
    ],
)
def test_only_what_grows_with_every_step_is_growth(samples, iterations, grows):
    assert bool(grown(samples, iterations)) is grows


def test_a_barred_setup_cannot_win_and_the_reason_stands_in_its_row():
    every = measured(blocks=9)
    winner = summarise([TASK], every, certified(every)).tables[0].winner
    restless = [
        it.model_copy(update={"usage": QUIET.model_copy(update={"unsettled": 100})})
        if it.setup.label == winner
        else it
        for it in every
    ]
    table = summarise([TASK], restless, certified(every)).tables[0]
    assert table.winner != winner
    (row,) = [it for it in table.rows if it.cell.setup.label == winner]
    assert "its threads still worked after" in row.unranked
