"""What a report suggests is accepted: every option and command in it goes through `--dry-run`."""

from __future__ import annotations

import io
import random
import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harness.analysis.advice import blocks_for
from harness.analysis.summary import summarise_run
from harness.analysis.verdicts import compare_blocks
from harness.cells import LATENCY
from harness.cli.app import app
from harness.doctor.checks import examine
from harness.doctor.facts import Facts, Watch
from harness.gate.judging import limits_of
from harness.report.advice_text import QUIETER, UNDECIDED, choices, to_decide, way
from harness.report.check import WORDS
from harness.report.compose import Content, facts
from harness.report.terminal import render
from harness.runs import plan
from harness.runs.config import resolve
from harness.tasks.catalogue import CATALOGUE
from tests.builders import LABELS, make_run, make_task, measured

OPTION = r"--?[a-z]+(?:-[a-z]+)* [\w=%:.\-]+"
OPTIONS = re.compile(rf"(?<![\w-]){OPTION}(?: {OPTION})*")


def run_of(*names, blocks=2, config=None, gpus=None, words=(), **more):
    """A run of tasks of the catalogue as it would be stored, its configuration whole."""
    tasks = [CATALOGUE.get(it) or make_task(it, batch_size=64) for it in names]
    flags = {"tasks": names, "blocks": blocks} | (config or {})
    given = measured(tasks, blocks=blocks, rounds=2, trains=False, **more)
    return make_run(
        [it.model_copy(update={"alone": it.block % 4 == 0}) for it in given],
        tasks,
        config=resolve(None, flags).model_dump(mode="json"),
        command=(
            "python",
            "-m",
            "harness",
            "run",
            *(word for it in names for word in ("-t", it)),
            *words,
        ),
        machine={"gpus": gpus},
    )


RUNS = {
    "two noisy blocks": run_of("digits-mlp", noise=1.0, words=("--blocks", "2", "--seeds=0")),
    "one block": run_of("digits-mlp", blocks=1, words=("--blocks=1",)),
    "too few rows for a large batch": run_of("cancer-binary", noise=0.5),
    "a variant": run_of("digits-mlp[batch_size=64]"),
    "many rows": run_of("teacher", phases=["predict"]),
    "several tasks": run_of("cancer-binary", "teacher", speed=1.0, noise=0.3),
    "latency only": run_of("digits-mlp", phases=LATENCY),
    "a GPU is there": run_of("digits-mlp", gpus="a card"),
    "a precision": run_of(
        "digits-mlp",
        blocks=12,
        speed=1.0,
        noise=0.1,
        config={"precision": "2%", "budget": "2h"},
        words=("--precision", "2%", "--budget=2h"),
    ),
}


def everything_said(run):
    summary, out = summarise_run(run), Console(file=io.StringIO(), width=10_000)
    render(run, summary, out)
    content = Content(run, summary)
    notes = [it for own in (*content.speed, *content.noise) for it in (own.lead, *own.notes)]
    told = [f"{it.answer}. {it.because}" for it in content.choices]
    return "\n".join([out.file.getvalue(), *notes, *told, *(text for _, text in content.facts)])


@pytest.mark.parametrize("name", RUNS)
def test_whatever_is_suggested_is_accepted(name, monkeypatch, tmp_path):
    monkeypatch.setattr(plan, "gpus", lambda: ["a card"])
    monkeypatch.chdir(tmp_path)
    text = everything_said(RUNS[name])
    commands = {tuple(shlex.split(it)[3:]) for it in re.findall(r"python -m harness run.*", text)}
    options = {
        ("run", *(() if "-t " in it else ("-t", "digits-mlp")), *it.split())
        for it in OPTIONS.findall(re.sub(r"python -m harness run.*", "", text))
    }
    assert commands | options
    for words in sorted(commands | options):
        if "[" in "".join(words):  # such a name was typed as -t and --set
            continue
        app(args=[*words, "-f", "reference", "--dry-run"], standalone_mode=False)


def test_a_large_batch_is_one_that_the_rows_allow():
    def large(name):
        run = RUNS[name]
        summary = summarise_run(run)
        made = {it.scenario: it for it in choices(run, summary)}
        return made["Large batches"].because

    assert "-t digits-mlp --set batch_size=1024 does" in large("two noisy blocks")
    assert "-t digits-mlp --set batch_size=1024 does" in large("too few rows for a large batch")
    assert "-t teacher --set batch_size=2048 does" in large("many rows")


@pytest.mark.parametrize("name", RUNS)
def test_whatever_cannot_be_told_says_why_and_what_would_decide_it(name):
    run = RUNS[name]
    summary = summarise_run(run)
    for it in choices(run, summary):
        if it.answer == UNDECIDED:
            assert re.search(
                r": .+; (--blocks \d+ may decide it|more blocks would not)", it.because
            )
    for table in summary.tables:
        if "cannot tell" in table.sentence:
            assert re.search(r", and (an exact|this run|the interval|its 90)", table.sentence)


def test_the_terminal_gives_the_reason_too():
    out = Console(file=io.StringIO(), width=500)
    run = RUNS["two noisy blocks"]
    render(run, summarise_run(run), out)
    (memory,) = [it for it in out.file.getvalue().splitlines() if it.startswith("Tight memory")]
    assert "Cannot tell: " in memory
    assert "2 counts of each, and it takes 3; --blocks 9 may decide it" in memory


def test_the_command_is_the_runs_own_with_enough_blocks_for_all_that_is_open():
    told = dict(facts(RUNS["two noisy blocks"], summarise_run(RUNS["two noisy blocks"])))
    command = "python -m harness run -t digits-mlp --seeds=0 --blocks 10"
    assert told["To decide what is open"] == command
    sharp = RUNS["a precision"]
    told = to_decide(sharp, summarise_run(sharp))
    assert re.search(r"-t digits-mlp --blocks \d+ --precision 2% --budget \d+s$", told)


@pytest.mark.parametrize(
    ("blocks", "shift", "spread", "wanted"),
    [
        (2, 0.3, 0.2, 9),  # the exact test of one row that stands one outlier
        (12, 0.05, 0.2, range(13, 200)),
        (12, 0.0, 0.5, None),  # to come within 1 % takes thousands
    ],
)
def test_how_many_blocks_would_decide_a_pair(blocks, shift, spread, wanted):
    rng = random.Random(1)
    pair = compare_blocks(
        "a:x", "b:y", [shift + rng.uniform(-spread, spread) for _ in range(blocks)]
    )
    table = summarise_run(RUNS["one block"]).tables[0].model_copy(update={"pairs": (pair,)})
    found = blocks_for(pair, table)
    assert found in wanted if isinstance(wanted, range) else found == wanted
    assert (way(found, "speed") == QUIETER) == (wanted is None)


@given(st.integers(1, 64), st.integers(1, 64), st.floats(0.1, 80))
def test_the_doctor_names_a_number_of_threads_that_a_run_accepts(cores, physical, quota):
    watch = Watch(seconds=1.0, throttled=0)
    facts = Facts(cores, cores, watch, physical=min(physical, cores), quota=quota)
    for finding in examine(facts).findings:
        for threads in re.findall(r"--threads (\d+)", finding.advice):
            assert 1 <= int(threads) <= cores


def test_a_check_that_cannot_tell_names_an_option_that_it_has():
    (limit,) = re.findall(r"--fail-on (\w+:\d+%)", WORDS["cannot tell"])
    assert limits_of([limit]).speed == 0.1


def test_nothing_is_suggested_where_nothing_is_open():
    run = make_run(measured(labels=LABELS[:2], blocks=12, speed=2.0))
    assert to_decide(run, summarise_run(run)) == ""
