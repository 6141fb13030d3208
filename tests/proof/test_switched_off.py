"""A check that is switched off is noticed: without it, a fault made for it passes the proof."""

from __future__ import annotations

import functools

import pytest
import threadpoolctl

from harness.adapter import Options
from harness.differences import Difference
from harness.proof import conduct, lockstep, prover
from harness.proof.faults import FAULTS
from harness.proof.lockstep import Oracle
from harness.proof.selftest import faulty, judge
from harness.tasks.datasets import load
from harness.tasks.start import make_start
from impls.reference.adapter import Adapter

STEPS = 12


@functools.cache
def arrays_of(data):
    return load(data, None)


@pytest.fixture(autouse=True)
def one_thread():
    with threadpoolctl.threadpool_limits(1):
        yield


def outcome(name: str) -> str:
    """Of a short examination in this process."""
    (case,) = (it for it in faulty([FAULTS[name]]) if it.setup.dtype == "float64")
    task, start = case.task, make_start(case.task, case.seed)
    options = Options(name, "cpu", 1, "float64")
    exact = Options("eager", "cpu", 1, "float64")
    examination = prover.examine(
        FAULTS[name].build(task, start, options),
        Oracle(Adapter(task, start, exact), start, options),
        arrays_of(task.data),
        case.setup.lane,
        steps=STEPS,
    )
    return judge(case, examination.findings).outcome


CONDUCT = {
    "reset": "reset-slots",
    "unwatched": "handle-overwritten",
    "predict-fresh": "predict-cached",
    "settings": "device-lie",
    "memory": "memory-zero",
    "fit": "fit-short",
    "infer": "infer-repeats",
}


@pytest.fixture(autouse=True)
def no_clock(monkeypatch):
    """Bursts take long and are not the subject."""
    monkeypatch.setattr(conduct, "timing", lambda bench: {})


@pytest.mark.parametrize(("check", "name"), CONDUCT.items())
def test_without_a_check_of_conduct_its_fault_escapes(monkeypatch, check, name):
    assert FAULTS[name].check == check
    assert outcome(name) == "caught"
    for table in (conduct.CHECKS, conduct.IDIOM_CHECKS):
        if check in table:
            monkeypatch.delitem(table, check)
    assert outcome(name) in ("escaped", "by another")


QUANTITIES = {
    "logits": "predict-softmax",
    "loss": "loss-stale",
    "gradients": "gradient-transposed",
    "weights": "bias-frozen",
    "slots": "slots-swapped",
}


@pytest.mark.parametrize(("check", "name"), QUANTITIES.items())
def test_without_a_quantity_its_fault_escapes(monkeypatch, check, name):
    assert FAULTS[name].check == check
    assert outcome(name) == "caught"
    kept = tuple(it for it in lockstep.QUANTITIES if it != check)
    monkeypatch.setattr(lockstep, "QUANTITIES", kept)
    assert outcome(name) in ("escaped", "by another")


def test_with_a_comparison_that_cannot_fail_every_number_passes(monkeypatch):
    def equal(values, expected, dtype):
        return Difference(0.0, next(iter(expected), "none"))

    assert outcome("double-softmax") == "caught"
    monkeypatch.setattr(lockstep, "compare", equal)
    monkeypatch.setattr(conduct, "compare", equal)
    assert outcome("double-softmax") == "escaped"
