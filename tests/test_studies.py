"""Studies of a run that was made before say what its blocks say."""

from __future__ import annotations

import json
import random

import pytest

from benchmarks.studies import honest, resting, widths
from benchmarks.studies.kept import Ratio, Span, measured, spans
from harness.analysis.pairs import BASELINE
from harness.analysis.stopping import known
from harness.certificates import Finding
from harness.proof.selftest import judge
from tests.builders import LABELS, make_run, make_setup
from tests.builders import measured as records
from tests.stores import make_store, named

BLOCKS = 20


def rows(text):
    lines = [it for it in text.splitlines() if it.startswith(("| train", "| predict"))]
    return [[cell.strip() for cell in it.strip("| ").split("|")] for it in lines]


def ended():
    """Half a minute a block."""
    return {block: (block + 1) / 2 for block in range(BLOCKS)}


@pytest.fixture(scope="module")
def quiet():
    return make_run(records(blocks=BLOCKS, noise=0.001, drift=0.0, trains=False))


def test_what_is_known_at_once_is_known_after_the_least_blocks(quiet):
    found = rows(widths.report(quiet, measured(quiet), ended()))
    rest = sorted(it for it in LABELS if it != BASELINE)
    assert [it[:2] for it in found] == [
        [phase, it] for phase in ("train", "predict") for it in rest
    ]
    # Ten blocks decide two rows, though one of them disagrees: the tenth ended after 5 minutes.
    assert all(it[2:5] == ["5.0", "5.0", "5.0"] for it in found)
    assert all(it[6] == str(BLOCKS) for it in found)


def test_what_is_never_known_has_a_width_and_no_time():
    run = make_run(records(blocks=BLOCKS, noise=0.8, trains=False))
    for row in rows(widths.report(run, measured(run), ended())):
        assert row[2:5] == ["–", "–", "–"]
        assert float(row[5].strip("±% ")) > 5


def test_known_after_is_the_first_block_at_which_the_rule_holds():
    logs = {3 * n: 0.2 * (-1) ** n / (n + 1) for n in range(60)}
    it = Ratio("train", "a:b", logs)
    after = widths.known_after(it, 0.05, 8)
    values = list(logs.values())
    assert after == 3 * (next(n for n in range(60) if known(values[:n], 0.05, 8)) - 1)
    assert widths.known_after(it, 1e-9, 8) is None
    assert widths.known_after(it, 10.0, 8) == 3 * 7


def test_minutes_are_counted_from_the_first_trial_to_the_last_attempt_of_a_block():
    found = [Span(0, 60.0, 90.0), Span(1, 91.0, 95.0), Span(1, 96.0, 120.0)]
    assert widths.minutes(found) == {0: 0.5, 1: 1.0}


def test_spans_and_raw_ratios_are_those_of_the_store(tmp_path):
    run = named("a-run", blocks=8, trains=False)
    found = spans(make_store(tmp_path, run), run)
    assert [it.block for it in found] == list(range(8))
    assert all(it.begun <= it.ended for it in found)
    told = json.loads(widths.raw(run, measured(run), widths.minutes(found)))
    for ratio in measured(run):
        kept = told["log_ratios"][f"{ratio.phase} {ratio.label}"]
        assert list(kept.values()) == pytest.approx(list(ratio.logs.values()), abs=1e-5)


def test_a_twin_is_no_rival(quiet):
    again = [
        it.model_copy(update={"setup": it.setup.model_copy(update={"twin": True})})
        for it in quiet.records
        if it.setup == make_setup()
    ]
    both = make_run([*quiet.records, *again])
    assert len(again) == BLOCKS
    assert measured(both) == measured(quiet)


def test_whoever_rests_takes_no_time():
    sure = dict.fromkeys(range(50), 0.3)
    rng = random.Random(0)
    doubtful = {block: rng.gauss(0.3, 0.1) for block in range(50)}
    ratios = {"a:b": [sure], "c:d": [doubtful]}
    goes_on, rests = (
        resting.replay(ratios, 1.0, 0.03, rests, random.Random(1)) for rests in (False, True)
    )
    assert goes_on[1] == rests[1] > 10
    assert goes_on[0] == 4 * goes_on[1]
    # From the tenth block on there are three in a block.
    assert rests[0] == 4 * 10 + 3 * (rests[1] - 10)


def test_honest_adapters_that_are_refused_are_counted(tmp_path):
    refused = Finding(check="threads", ok=False, detail="3 threads at work")

    def tries(cases, provers):
        for it in cases:
            bad = it.measured and it.setup.label == "reference:eager" and it.seed == 1
            yield judge(it, [refused if bad else Finding(check="start", ok=True)])

    found = list(honest.judged(2, 0, tries))
    setups = {it.case.setup.id for it in found if it.case.seed == 0}
    assert sum(it.case.measured for it in found) * 2 == sum(not it.case.measured for it in found)
    assert {it.case.seed for it in found} == {0, 1}
    assert "planted" not in "".join(setups)
    page = honest.summary(found, 2, 0)
    assert f"False alarms: 1 of {len(found)}" in page
    assert "| reference:eager | identical | run | 2 | 1 | 0 |" in page
    assert "threads: 3 threads at work" in page
    told = [it for it in json.loads(honest.content(found)) if it["outcome"] == "false alarm"]
    assert [(it["by"], it["seed"], it["failed"][0]["check"]) for it in told] == [
        ("run", 1, "threads")
    ]
