"""Advice in words: the same in the page, in Markdown and in the terminal, each with its tables."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from harness.analysis.summary import summarise_run
from harness.report.advice_text import DEPENDS, UNKNOWN, choices
from harness.report.terminal import render
from tests.builders import (
    LABELS,
    TASK,
    certified,
    make_certificate,
    make_run,
    make_task,
    measured,
)
from tests.report.reading import Page, words


def told(tasks, records, certificates=None, **info):
    proofs = certified(records) if certificates is None else certificates
    run = make_run(records, tasks, certificates=proofs, **info)
    summary = summarise_run(run)
    return {it.scenario: it for it in choices(run, summary)}


@pytest.fixture(scope="module")
def said(written):
    return choices(written.run, written.summary)


def test_every_choice_leads_to_its_tables(written, said):
    page = Page(written.text("report.html"))
    markdown = written.text("report.md")
    anchors = {anchor for it in said for anchor, _ in it.anchors}
    assert {it.rstrip("0123456789") for it in anchors} == {"speed-", "phases-", "memory-"}
    assert anchors <= set(page.ids)
    links = {it["href"] for tag, it in page.tags if tag == "a" and "href" in it}
    assert {f"#{it}" for it in anchors} <= links
    assert all(f'<a id="{it}"></a>' in markdown for it in anchors)


def test_page_markdown_and_terminal_say_the_same(written, said):
    console = Console(file=io.StringIO(), width=80)
    render(written.run, written.summary, console)
    terminal, page = (
        words(console.file.getvalue()),
        words("".join(Page(written.text("report.html")).text)),
    )
    markdown = written.text("report.md").replace("\\", "")
    assert len(said) == 6
    for it in said:
        assert it.scenario in terminal
        assert f"{it.answer}. {it.because}" in page
        assert f"{it.scenario}: **{it.answer}.** {it.because}" in markdown
        if it.answer != UNKNOWN:
            assert f"{it.scenario}: {it.answer}" in terminal


def test_the_terminal_has_eighty_columns(written):
    console = Console(file=io.StringIO(), width=80)
    render(written.run, written.summary, console)
    text = console.file.getvalue()
    assert max(map(len, text[text.index("Which should I choose?") :].splitlines())) <= 80


def test_a_winner_is_named_with_its_ratio_and_what_was_not_measured_with_the_way():
    made = told([TASK], measured())
    assert made["Long training"].answer == "pytorch:eager"
    assert "× (" in made["Long training"].because
    assert made["Work on a GPU"].answer == UNKNOWN
    assert "no GPU was found" in made["Work on a GPU"].because
    machine = {"gpus": "a card"}
    assert "--device gpu" in told([TASK], measured(), machine=machine)["Work on a GPU"].because


def test_who_is_not_proven_is_in_no_answer():
    records = measured()
    proofs = [
        make_certificate(it.setup, "gradients are twice as large")
        if it.setup.label == "pytorch:eager"
        else it
        for it in certified(records)
    ]
    made = told([TASK], records, proofs)
    assert made["Long training"].answer == "tensorflow:graph"
    assert not any("pytorch:eager" in it.answer for it in made.values())


def test_no_answer_is_a_name_where_there_is_no_winner():
    made = told([TASK], measured(labels=LABELS[:2], speed=1.0, noise=0.05, blocks=6))
    assert made["Long training"].answer == "Cannot tell"
    made = told([TASK], measured(labels=LABELS[:2], speed=1.0001, noise=1e-4))
    assert made["Long training"].answer.startswith("No difference that matters: ")
    assert "no difference larger than 1 %" in made["Long training"].because
    made = told([TASK], measured(labels=LABELS[:1]))
    assert made["Long training"].answer == "Nothing to choose from"


def test_where_tasks_differ_each_is_said():
    tasks = [make_task(f"task-{n}") for n in range(12)]
    it = told(tasks, measured(tasks, trains=False, rounds=2, labels=LABELS[:2]))["Long training"]
    assert it.answer == DEPENDS
    assert it.because == (
        "pytorch:eager in task-0, task-2, task-4 and 3 more; "
        "tensorflow:graph in task-1, task-3, task-5 and 3 more."
    )
    assert len(it.anchors) == 12
