"""What no clock decides: what counts as worse, and by how much it may be."""

from __future__ import annotations

import math

import pytest

from harness.gate.baseline import Parity
from harness.gate.judging import Thresholds, deterministic
from tests.gate.making import make_entry, make_numbers, make_program

USUAL = Thresholds()


def told(now, before=None, limits=USUAL) -> dict[str, str]:
    """Outcome by what was compared, of all that is not fine."""
    lines = deterministic(now, before or make_entry(), limits)
    return {it.what: it.outcome for it in lines if it.outcome != "fine"}


def test_the_same_is_fine_and_everything_was_looked_at():
    lines = list(deterministic(make_entry(), make_entry(), Thresholds()))
    assert {it.outcome for it in lines} == {"fine"}
    assert {it.what for it in lines} == {
        "parity, float32",
        "parity, float64",
        "losses",
        "first gradients",
        "last weights",
        "instructions",
        "flops",
        "buffers",
        "arena bytes",
        "fed bytes",
        "unshared bytes",
        "logical peak",
    }


SKETCHES = make_numbers().sketches


def moved(place: str, tensor: str, factor: float) -> dict:
    sketch = tuple(it * factor for it in SKETCHES[place][tensor])
    return {**SKETCHES, place: {**SKETCHES[place], tensor: sketch}}


@pytest.mark.parametrize(
    ("changes", "worse"),
    [
        ({"losses": (2.3, 2.2, 2.1 * (1 + 1e-8))}, "losses"),
        ({"losses": (2.3 * (1 + 1e-11), 2.2, 2.1)}, "losses"),
        ({"losses": (2.3, 2.2)}, "losses"),
        ({"rows": 16}, "losses"),
        ({"sketches": moved("first gradients", "layer0.bias", 1 + 1e-11)}, "first gradients"),
        ({"sketches": moved("last weights", "layer0.weight", 1 + 1e-8)}, "last weights"),
        ({"sketches": {"first gradients": SKETCHES["first gradients"]}}, "last weights"),
        ({"sketches": {**SKETCHES, "last weights": {}}}, "last weights"),
    ],
)
def test_a_change_of_numbers_is_a_regression(changes, worse):
    now = make_entry(numbers=make_numbers(digest="1" * 64, **changes))
    assert told(now) == {worse: "regression"}


@pytest.mark.parametrize(
    "changes",
    [
        {"losses": (2.3 * (1 + 1e-15), 2.2, 2.1 * (1 + 1e-11))},
        {"sketches": moved("first gradients", "layer0.weight", 1 + 1e-14)},
        {"sketches": moved("last weights", "layer0.weight", 1 - 1e-11)},
    ],
)
def test_other_rounding_is_none(changes):
    assert told(make_entry(numbers=make_numbers(digest="1" * 64, **changes))) == {}


def test_what_was_zero_must_stay_so_beside_the_other_tensors():
    bias = {"layer0.bias": (1e-6, 0.0, 0.0)}
    sketches = {**SKETCHES, "last weights": {**SKETCHES["last weights"], **bias}}
    assert told(make_entry(numbers=make_numbers(sketches=sketches))) == {
        "last weights": "regression"
    }


def test_a_failed_proof_is_not_proven_whatever_it_was_before():
    parity = (Parity(dtype="float32", proven=False, steps=3, detail="gradients: step 1, …"),)
    assert told(make_entry(parity=parity), make_entry(parity=parity)) == {
        "parity, float32": "not proven"
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"flops": 1_700_001}, {"flops": "regression"}),
        ({"flops": 1_600_000}, {"flops": "improved"}),
        ({"buffers": 13}, {"buffers": "regression"}),
        ({"arena_bytes": 203_000}, {}),
        ({"arena_bytes": 205_000}, {"arena bytes": "regression"}),
        ({"operations": {"add": 33, "matmul": 8, "maximum": 1}}, {"operations": "changed"}),
    ],
)
def test_a_program_that_grows_is_a_regression(changes, said):
    assert told(make_entry(programs={"train": make_program(**changes)})) == said


def test_limits_are_what_is_asked_for():
    bigger = make_entry(logical_peak={"train": 315_000, "predict": None})
    assert told(bigger) == {"logical peak": "regression"}
    assert told(bigger, limits=Thresholds(memory=0.1)) == {}
    assert told(make_entry(logical_peak={"train": 200_000})) == {"logical peak": "improved"}


def test_where_nobody_counts_nothing_is_compared():
    lines = deterministic(make_entry(programs={}, logical_peak={}), make_entry(), Thresholds())
    assert not {it.what for it in lines} & {"flops", "logical peak"}


def test_infinities_do_not_reach_the_result():
    now = make_entry(numbers=make_numbers(losses=(2.3,)))
    (line,) = [it for it in deterministic(now, make_entry(), Thresholds()) if it.what == "losses"]
    assert line.change is None
    assert line.threshold is not None
    assert math.isfinite(line.threshold)
