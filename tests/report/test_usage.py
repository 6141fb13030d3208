"""What setups use beside their steps stands on the page, and in the terminal's notes."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from harness.analysis.summary import summarise_run
from harness.records import Growth, Usage
from harness.report import noise_sections, terminal
from tests.builders import LABELS, make_run, measured

QUIET = Usage(turns=100, turn_seconds=5.0, between_seconds=20.0, between_cpu_seconds=0.02)


def shown(**usage):
    """The section of a run in which the first setup used this, and all that the terminal says."""
    records = [
        it.model_copy(
            update={
                "usage": QUIET.model_copy(update=usage if it.setup.label == LABELS[0] else {}),
            }
        )
        for it in measured(blocks=3, trains=False)
    ]
    run = make_run(records)
    summary = summarise_run(run)
    output = io.StringIO()
    terminal.render(run, summary, Console(file=output, width=200))
    section = [it for it in noise_sections.sections(summary, "") if it.anchor.startswith("usage")]
    return section, output.getvalue()


def test_where_there_is_nothing_to_say_nothing_is_said():
    section, said = shown()
    assert section == []
    assert "Without rest" not in said


@pytest.mark.parametrize(
    ("usage", "text"),
    [
        (
            {"growth": {"train": Growth(resident=(2e5,) * 16)}},
            "train: memory grows by 200 kB a step",
        ),
        ({"unsettled": 90}, "its threads still worked after 270 of 300 turns"),
    ],
)
def test_what_bars_is_told_in_both(usage, text):
    ((section,), said) = shown(**usage)
    assert section.lead == "1 setup used more than its turns show: not ranked."
    assert text in said
    if "growth" in usage:
        assert "200 kB" in [it.text for row in section.grid.rows for it in row]


def test_a_few_turns_without_rest_are_told_in_both():
    ((section,), said) = shown(unsettled=2)
    assert section.lead == "No setup used more than its turns show."
    assert f"Without rest: {LABELS[0]}: threads still worked after 6 of 300 turns" in said
