"""One rule for every comparison: what `decide` says, whoever asks."""

from __future__ import annotations

import math

import pytest

from harness.analysis.quality import quality_pairs
from harness.analysis.verdicts import (
    Evidence,
    compare_blocks,
    compare_samples,
    decide,
    decide_together,
    judged,
)
from harness.tasks.metrics import METRICS
from tests.builders import TASK

ALIKE = [0.0001 * (-1) ** it for it in range(12)]
"""Logarithms of ratios, or of speeds, that differ by 0.02 % at most."""


def evidence(p=1.0, p_equivalent=1.0, margin=0.02, **fields):
    return Evidence(above=True, p=p, p_equivalent=p_equivalent, margin=margin, **fields)


@pytest.mark.parametrize(
    ("given", "answer", "reason"),
    [
        (evidence(p=0.01), "above", ""),
        (evidence(p=0.01)._replace(above=False), "below", ""),
        (evidence(p=0.01, p_equivalent=0.01), "equivalent", ""),
        (
            evidence(p_equivalent=0.01, wide=True),
            "equivalent",
            "its 90 % interval lies within 2 %",
        ),
        (evidence(p=0.01, bar="disturbed"), "cannot tell", "disturbed"),
        (evidence(doubt="few blocks"), "cannot tell", "few blocks"),
        (
            evidence(p_equivalent=0.01, margin=0.11),
            "cannot tell",
            "this run cannot tell a setup from itself to 10 %",
        ),
        (evidence(p_equivalent=0.01, margin=0.11, most=math.inf), "equivalent", ""),
        (evidence(), "cannot tell", ""),
    ],
)
def test_one_row(given, answer, reason):
    assert decide_together([given]) == [(answer, reason, 1)]
    assert decide(given, given.p, given.p_equivalent, 1) == (answer, reason, 1)


@pytest.mark.parametrize(
    ("tests", "reason"),
    [
        ({"p": 0.03}, "the interval excludes 1, but over 3 rows that is not enough"),
        (
            {"p_equivalent": 0.03},
            "its 90 % interval lies within 2 %, but over 3 rows that is not enough",
        ),
    ],
)
def test_many_rows_must_be_surer_than_one(tests, reason):
    (first, *_) = decide_together([evidence(**tests), evidence(), evidence()])
    assert first == ("cannot tell", reason, 3)


@pytest.mark.parametrize(
    ("margin", "verdict"), [(0.01, "equivalent"), (0.10, "equivalent"), (0.1001, "cannot tell")]
)
def test_equivalent_means_the_same_in_a_run_between_runs_and_over_seeds(
    margin, verdict, monkeypatch
):
    """Nothing is equivalent within more than 10 %."""
    in_run = compare_blocks("a", "b", ALIKE, margin)
    (between,) = judged([compare_samples("a", ALIKE, ALIKE, margin)])
    loose = METRICS["accuracy"]._replace(margin=margin)
    monkeypatch.setitem(METRICS, "accuracy", loose)
    finals = {"a": dict.fromkeys(range(30), 0.95), "b": dict.fromkeys(range(30), 0.95)}
    (seeds,) = quality_pairs(TASK, finals, "b")
    assert {in_run.verdict, between.verdict, seeds.verdict} == {verdict}
    assert in_run.reason == between.reason


def test_a_pair_of_runs_is_written_without_what_its_table_names():
    (shift,) = judged([compare_samples("a", ALIKE, ALIKE, 0.01)])
    assert list(shift.model_dump()) == [
        *("speed", "cross", "agrees", "p", "p_equivalent", "family", "verdict", "reason")
    ]
