"""A table against each of its rows: the same pairs turned round, the correction and the winner."""

from __future__ import annotations

import math

import pytest

from harness.analysis.summary import rebased, summarise
from tests.builders import (
    ERROR_TASK,
    LABELS,
    MANY_LABELS,
    TASK,
    certified,
    make_certificate,
    make_record,
    make_setup,
    measured,
)


def both(records, tasks=(TASK,), certificates=None):
    proofs = certified(records) if certificates is None else certificates
    tables = summarise(tasks, records, proofs).tables
    return tables, rebased(tables, records)


def test_every_row_has_its_turn_and_the_first_baseline_is_no_other():
    tables, others = both(measured((TASK, ERROR_TASK)), (TASK, ERROR_TASK))
    assert len(tables) == len(others) == 4
    for table, own in zip(tables, others, strict=True):
        assert {it.baseline for it in own} == set(LABELS) - {table.baseline}
        for other in own:
            assert (other.task, other.phase, other.rows) == (table.task, table.phase, table.rows)
            assert {it.label for it in other.pairs} == set(LABELS) - {other.baseline}


def test_a_pair_turned_round_is_its_inverse_with_the_contrary_verdict():
    tables, others = both(measured(labels=MANY_LABELS))
    contrary = {"faster": "slower", "slower": "faster"}
    for table, own in zip(tables, others, strict=True):
        for pair in table.pairs:
            turned = next(it for it in own if it.baseline == pair.label)
            back = next(it for it in turned.pairs if it.label == pair.baseline)
            assert math.isclose(back.speed.estimate, 1 / pair.speed.estimate)
            assert math.isclose(back.speed.low, 1 / pair.speed.high)
            assert back.verdict == contrary[pair.verdict]
            assert back.family == pair.family == len(MANY_LABELS) - 1


@pytest.mark.parametrize("blocks", [2, 4, 6])
def test_of_an_even_number_of_blocks_too_one_ratio_is_the_inverse_of_the_other(blocks):
    """Arithmetic means of two middle ratios could call both setups the faster one."""
    (table, *_), (own, *_) = both(measured(labels=LABELS[:2], blocks=blocks, noise=0.8, rounds=1))
    (there,), (back,) = table.pairs, own[0].pairs
    assert math.isclose(there.speed.estimate * back.speed.estimate, 1)


def close(blocks):
    """`a` beats `c` in every block, and `b` is beaten by both in all but one block each."""
    steps = {"a:x": 1.00e-3, "b:x": 1.06e-3, "c:x": 1.03e-3}
    for block in range(blocks):
        for label, step in steps.items():
            lucky = label == "b:x" and block == blocks - 1
            unlucky = label == "c:x" and block == 0
            time = step * (0.9 if lucky else 1.1 if unlucky else 1)
            yield make_record(make_setup(label=label), block, {"train": [time] * 3})


def test_a_winner_is_taken_back_where_the_rows_of_another_baseline_do_not_hold_it():
    """Nine blocks, one of them contrary: p = 0.039 holds for a row alone, not for two of two."""
    (table,), ((c, b),) = both(list(close(9)))
    assert (table.baseline, c.baseline, b.baseline) == ("a:x", "c:x", "b:x")
    assert table.winner == "a:x"
    assert {it.label: it.verdict for it in b.pairs}["a:x"] == "cannot tell"
    assert b.winner is None
    assert "over 2 rows that is not enough" in b.sentence
    # Against c the row of a is sure, and a has beaten b by itself.
    assert c.winner == "a:x"
    assert c.sentence.startswith("a:x is the fastest")


def test_who_is_not_proven_is_ranked_against_no_baseline():
    records = measured()
    proofs = [make_certificate(make_setup(label=it)) for it in LABELS[:2]]
    (train, _), ((*others,), _) = both(records, certificates=proofs)
    for table in (train, *others):
        verdicts = {it.label: it.verdict for it in table.pairs}
        assert verdicts.pop(LABELS[2], "not ranked") == "not ranked"
        if table.baseline == LABELS[2]:
            assert set(verdicts.values()) == {"not ranked"}
        assert table.winner == train.winner


@pytest.mark.parametrize("blocks", [1, 3])
def test_few_blocks_decide_nothing_against_any_baseline(blocks):
    _, others = both(measured(blocks=blocks))
    verdicts = {pair.verdict for own in others for table in own for pair in table.pairs}
    assert verdicts == {"cannot tell"}
