"""The terminal: 80 columns, no markup, one line a failure."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from harness.analysis.summary import summarise_run
from harness.cells import LATENCY
from harness.records import Unavailable
from harness.report.terminal import ratios_so_far, render
from tests.builders import (
    ERROR_TASK,
    MANY_LABELS,
    TASK,
    certified,
    make_failure,
    make_record,
    make_run,
    make_setup,
    make_task,
    measured,
)


def shown(run, width=80, **console):
    out = Console(file=io.StringIO(), width=width, **console)
    render(run, summarise_run(run), out)
    return out.file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("speed", [1.0, 1.004, 1.3, 9.0])
def test_everything_fits(width, speed):
    task = make_task("a-long-name-for-a-task[batch_size=32,hidden=1024-1024-1024,threads=1]" * 1)
    labels = [*MANY_LABELS, "a-framework-with-a-long-name:and-a-mode"]
    text = shown(make_run(measured([task], labels, speed=speed), [task]), width)
    assert max(len(it) for it in text.splitlines()) <= width


def test_every_row_of_the_usual_case_takes_one_line():
    text = shown(make_run(measured(blocks=9, noise=0.02)))
    rows = [
        it for it in text.splitlines() if it.startswith(("pytorch:eager ", "tensorflow:graph "))
    ]
    assert sum("MB" in it and ("slower" in it or "baseline" in it) for it in rows) == 4


def test_names_the_winner_or_says_that_there_is_none():
    assert "pytorch:eager is the fastest: 1." in shown(make_run(measured()))
    assert "No winner: 9 blocks cannot tell" in shown(make_run(measured(speed=1.0, noise=0.05)))


def test_says_of_which_ratios_only_the_direction_is_known():
    text = " ".join(shown(make_run(measured(noise=0.15, speed=2.0))).split())
    assert "tensorflow:graph: 0.499 × (0.474–0.512) (target" in text
    assert "(target precision ±3 % not reached: ±" in text
    sharp = make_run(measured(noise=0.001, drift=0.0, speed=2.0))
    assert "target precision" not in shown(sharp)
    asked = {"preset": "quick", "blocks": 9, "precision": 1e-5}
    text = shown(make_run(measured(noise=0.001, speed=2.0), config=asked))
    assert "(target precision ±0.001 % not" in text


def test_quality_lines():
    text = " ".join(shown(make_run(measured([TASK, ERROR_TASK]), [TASK, ERROR_TASK])).split())
    assert "digits-mlp accuracy: At the same seed the final accuracies lie within 0." in text
    assert "diabetes-regression error: At the same seed" in text
    assert "Time to 95.00 %: pytorch:eager" in text


def test_failures_take_one_line_each():
    records = [
        *measured(blocks=1),
        *(make_failure(make_setup(label="x:y"), n, error="long " * 60) for n in range(2)),
        make_failure(make_setup(label="z:y"), 0, "hung", error=None),
    ]
    missing = [Unavailable(what="mnist-*", reason="no data")]
    lines = shown(make_run(records, unavailable=missing)).splitlines()
    (crashed,) = [it for it in lines if it.startswith("x:y on digits-mlp: crashed, 2 trials: long")]
    assert len(crashed) <= 80
    assert "z:y on digits-mlp: hung, 1 trial" in lines
    assert "left out: mnist-*: no data" in lines


def test_a_comparison_that_no_block_was_begun_of_is_named():
    records = measured([TASK, ERROR_TASK], blocks=1)
    begun = [it for it in records if it.setup.task == TASK.name]
    cut = make_run(
        begun, [TASK, ERROR_TASK], stopped_by="budget spent", certificates=certified(records)
    )
    text = " ".join(shown(cut, width=200).split())
    told = f"{ERROR_TASK.name} on cpu, 1 thread, float32: no block of it was begun: budget spent"
    assert f"left out: {told}" in text
    assert "no block" not in shown(make_run(records, [TASK, ERROR_TASK]), width=200)


def test_plain_text_where_there_is_no_terminal():
    assert "\x1b" not in shown(make_run(measured(blocks=2)))
    assert "\x1b[" in shown(make_run(measured(blocks=2)), force_terminal=True)


def test_single_iterations_are_shown_by_their_percentiles():
    records = [
        it.model_copy(
            update={
                "phases": tuple(
                    phase.model_copy(
                        update={
                            "samples": tuple(
                                sample.model_copy(
                                    update={"readings": (0.001,) * 97 + (0.0015,) * 3 + (0.002,)}
                                )
                                for sample in phase.samples
                            )
                        }
                    )
                    for phase in it.phases
                )
            }
        )
        for it in measured(phases=LATENCY, trains=False)
    ]
    text = shown(make_run(records))
    assert "digits-mlp train-latency" in text
    assert "p50" in text
    assert "p99" in text
    assert "examples" not in text
    rows = [it for it in text.splitlines() if it.startswith("pytorch:eager  ")]
    assert rows
    assert all("1.00 ms" in it and "1.50 ms" in it for it in rows)


def test_what_is_not_ranked_says_why():
    run = make_run(measured())
    kept = tuple(it for it in run.certificates if it.setup.framework != "reference")
    text = shown(run.model_copy(update={"certificates": kept}))
    assert text.count("reference:eager: not proven: no certificate") == 2
    (row, *_) = [it for it in text.splitlines() if it.startswith("reference:eager  ")]
    assert "not" in row
    assert "Measured in: 9 blocks" in shown(run.model_copy(update={"certificates": ()}))


def test_means_over_tasks_and_how_well_ratios_are_known():
    tasks = [TASK, make_task("another", batch_size=64)]
    text = " ".join(shown(make_run(measured(tasks), tasks)).split())
    assert "Over 2 tasks tensorflow:graph is 0." in text
    assert "Measured in: 9 blocks; the least well known is" in text
    config = {"precision": 0.02, "least_blocks": 8}
    text = " ".join(shown(make_run(measured(blocks=14), config=config)).split())
    assert "Measured in: 14 blocks, until every ratio was known to ±2 %" in text
    text = " ".join(shown(make_run(measured(tasks, blocks=14), tasks, config=config)).split())
    assert "2 of 2 comparisons reached ±2 %" in text


def test_lanes_have_tables_of_their_own():
    own = [
        it.model_copy(update={"setup": make_setup(TASK, it.setup.label, lane="idiomatic")})
        for it in measured(seed=3, trains=False)
    ]
    text = shown(make_run([*measured(trains=False), *own]))
    assert "digits-mlp train\n" in text.replace(" \n", "\n")
    assert "digits-mlp train, idiomatic" in text


def test_markup_and_control_characters_stay_inert():
    task = make_task("a[red]b[bold]")
    records = [
        *measured([task], blocks=1),
        make_failure(make_setup(task, "x:y"), error="[blink]\x1b[31mred\x1b[0m[/blink]"),
    ]
    text = shown(make_run(records, [task]), force_terminal=True, color_system=None)
    assert "a[red]b[bold]" in text
    assert "[blink]red[/blink]" in text
    assert "\x1b[31m" not in text


def test_nothing_measured_is_said():
    text = shown(make_run([make_failure(make_setup())]))
    assert "No trial ended well" in text
    assert "crashed" in text


def test_what_is_told_while_it_runs_stands_in_columns():
    steps = {"train": [1e-3] * 3, "predict-latency": [2e-3] * 3}
    records = [
        make_record(make_setup(label=label), block, steps)
        for label in ("pytorch:eager", "reference:eager")
        for block in range(3)
    ]
    lines = ratios_so_far(summarise_run(make_run(records)), TASK)
    assert [it.split()[:2] for it in lines] == [
        ["train", "reference:eager"],
        ["predict-latency", "reference:eager"],
    ]
    assert len({it.index("reference:eager") for it in lines}) == 1
