"""The reference is in every table, and no winner or advice names it beside frameworks."""

from __future__ import annotations

import pytest

from harness.adapter import FrameworkFacts
from harness.analysis.summary import rebased, summarise
from tests.builders import TASK, certified, make_record, make_setup, measured

FACTS = FrameworkFacts(references={"reference": "NumPy reference"})
LABELS = ("reference:replay", "tensorflow:graph", "pytorch:eager", "other:eager")


def summary_of(records, facts=FACTS):
    return summarise([TASK], records, certified(records), facts)


def steady(**steps):
    """Nine blocks of each `framework_mode`, every step the same."""
    return [
        make_record(make_setup(label=name.replace("_", ":")), block, {"train": [step] * 3})
        for name, step in steps.items()
        for block in range(9)
    ]


FAST = {"reference_replay": 1e-3, "tensorflow_graph": 5e-3, "pytorch_eager": 6e-3}


def test_the_winner_is_a_framework_and_the_reference_shows_the_overhead():
    (table,) = summary_of(steady(**FAST)).tables
    assert table.rows[0].cell.setup.label == "reference:replay"
    assert {it.label: it.verdict for it in table.pairs}["reference:replay"] == "faster"
    assert table.winner == "tensorflow:graph"
    assert table.yardsticks == {"reference:replay": "NumPy reference"}
    assert table.sentence == (
        "Of the frameworks, tensorflow:graph is the fastest: 1.20 × (1.20–1.20) as fast as "
        "pytorch:eager. The NumPy reference needs 1/5 of its time: overhead decides here."
    )


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (4e-3, "The NumPy reference needs 80 % of its time."),
        (9e-3, "The NumPy reference needs 180 % of its time."),
        (15e-3, "The NumPy reference needs 3 times its time."),
    ],
)
def test_a_reference_that_is_near_or_behind_says_nothing_of_overhead(step, text):
    (table,) = summary_of(steady(**FAST | {"reference_replay": step})).tables
    assert table.winner == "tensorflow:graph"
    assert table.sentence.endswith(text)


def test_a_single_framework_wins_nothing():
    (table,) = summary_of(steady(reference_replay=1e-3, pytorch_eager=4e-3)).tables
    assert table.winner is None
    assert table.sentence == (
        "pytorch:eager is the only setup of a framework here. "
        "The NumPy reference needs 1/4 of the time of pytorch:eager: overhead decides here."
    )


def test_without_another_framework_it_is_ranked():
    records = steady(reference_replay=1e-3, reference_eager=4e-3)
    assert summary_of(records) == summary_of(records, FrameworkFacts())
    assert summary_of(records).tables[0].winner == "reference:replay"


def test_where_no_framework_is_proven_nothing_wins():
    records = steady(**FAST)
    proofs = [it for it in certified(records) if it.setup.framework == "reference"]
    (table,) = summarise([TASK], records, proofs, FACTS).tables
    assert table.winner is None
    assert table.sentence == "No winner: only the NumPy reference may be ranked."


@pytest.mark.parametrize("seed", range(4))
def test_the_contest_is_that_of_a_run_without_the_reference(seed):
    """The winner, its interval over its rivals and the advice; whichever row the ratios are to."""
    records = measured(labels=LABELS, blocks=12, seed=seed, speed=1.3)
    others = [it for it in records if it.setup.framework != "reference"]
    with_it, without = summary_of(records), summary_of(others)
    for table, plain in zip(with_it.tables, without.tables, strict=True):
        assert table.winner == plain.winner is not None
        assert plain.sentence.removesuffix(".") in table.sentence
        assert table.contestants == plain.contestants
    for table, bases in zip(with_it.tables, rebased(with_it.tables, records), strict=True):
        assert {it.winner for it in bases} == {table.winner}
    named = {it for advice in with_it.advice for it in advice.setups}
    named |= {it for advice in with_it.advice for own in advice.findings for it in own.labels}
    assert named
    assert not {it for it in named if it.startswith("reference")}
    for ours, theirs in zip(with_it.advice, without.advice, strict=True):
        assert (ours.kind, ours.setups, ours.findings) == (
            theirs.kind,
            theirs.setups,
            theirs.findings,
        )
