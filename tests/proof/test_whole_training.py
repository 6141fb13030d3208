"""The long proof: how far it goes, what it catches, and what roundings it excuses."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl

from harness.adapter import Options
from harness.certificates import ENDED, SUPPORTED, Finding, LongProof
from harness.differences import FLOAT64_ROUNDING, LIMITS, Bounds, nudged
from harness.privacy import clean
from harness.proof import certificates as proving
from harness.proof import whole_training
from harness.proof.certificates import claim, proved_claims
from harness.proof.lockstep import Oracle
from harness.proof.pool import Proved
from harness.proof.prover import FEWEST_ROWS
from harness.proof.whole_training import (
    CHECK,
    QUICK,
    WHOLE,
    Length,
    LongTraining,
    Reach,
    compare_trainings,
)
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.start import make_start
from impls.reference.adapter import Adapter
from impls.reference.idiom import Idiom
from tests.builders import make_setup
from tests.proof.examining import TASK, arrays_of, truth_of

LONG = TASK.model_copy(update={"epochs": 8})
"""Forty steps."""


def trained(
    kind=Adapter, task=LONG, *, steps=40, rows=16, lane="identical", start=None, truth=Adapter
):
    options, shared = Options("replay", "cpu", 1, "float64"), make_start(task, 0)
    with threadpoolctl.threadpool_limits(1):
        oracle = Oracle(truth_of(task, kind=truth), shared, options)
        return compare_trainings(
            kind(task, start or shared, options),
            LongTraining(oracle, arrays_of(task.data), Length(steps, rows), lane),
        )


@pytest.mark.parametrize(("kind", "lane"), [(Adapter, "identical"), (Idiom, "idiomatic")])
def test_the_reference_goes_as_itself_to_the_end(kind, lane):
    finding, proof = trained(kind, lane=lane)
    assert finding.ok, finding.detail
    assert (proof.steps, proof.planned, proof.rows, proof.why) == (40, 40, 16, "")
    assert {"weights", "slots", "outputs"} <= proof.worst.keys()
    assert ("loss" in proof.worst) is (lane == "identical")
    assert 0 < proof.quality == proof.expected


def test_part_of_a_training_with_part_of_its_rows():
    finding, proof = trained(steps=13, rows=4)
    assert finding.ok
    assert (proof.steps, proof.planned, proof.rows) == (13, 40, 4)


class Late(Adapter):
    """Every weight is a millionth too large from the 33rd step on."""

    def train_step(self, batch):
        loss = super().train_step(batch)
        if self._steps == 32:
            self._state["weights"][...] *= 1 + 1e-6
        return loss


class LastRows(Adapter):
    """A prediction of all test rows has one of them wrong."""

    def predict(self, batch):
        outputs = super().predict(batch)
        if len(batch.inputs) == 10:
            outputs[-1] += 1e-6
        return outputs


@pytest.mark.parametrize(
    ("kind", "lane", "where"),
    [
        (Late, "identical", "loss at step 33 of 40"),
        (LastRows, "identical", "outputs at step 40 of 40"),
    ],
)
def test_a_late_fault_is_named_with_its_step(kind, lane, where):
    finding, _ = trained(kind, lane=lane)
    assert (finding.check, finding.ok) == (CHECK, False)
    assert f"in float64 the {where} differs by " in finding.detail


def test_without_a_limit_the_shadows_say_what_roundings_make(monkeypatch):
    """What differs by roundings alone passes, and what differs by more does not."""
    monkeypatch.setitem(LIMITS, "float64", Bounds(0.0, 0.0, 100))
    moved = nudged(make_start(LONG, 0), np.random.default_rng(5), FLOAT64_ROUNDING)
    finding, proof = trained(start=moved)
    assert finding.ok, finding.detail
    assert 0 < proof.worst["weights"] < 1e-12
    assert not trained(Late)[0].ok


def test_where_roundings_grow_without_bound_nothing_more_is_compared(monkeypatch):
    monkeypatch.setattr(whole_training, "LOST", 1e-18)
    finding, proof = trained(Late)
    assert finding.ok
    assert proof.steps == 30
    assert "float64 itself has no answer" in proof.why
    assert "30 of 40 steps" in finding.detail


class Diverging(Adapter):
    def train_step(self, batch):
        return super().train_step(batch) * (math.nan if self._steps > 12 else 1.0)


def test_a_training_that_diverges_is_compared_up_to_there():
    finding, proof = trained(Diverging, truth=Diverging)
    assert finding.ok
    assert proof.steps == 10
    assert "diverges in the reference too" in proof.why


def test_how_far_trainings_are_followed():
    for task in CATALOGUE.values():
        whole, quick = WHOLE.of(task), QUICK.of(task)
        assert whole.steps == task.epochs * task.steps_per_epoch
        assert (whole.rows == task.batch) is (task.name != "mnist-wide"), task.name
        assert whole.rows >= FEWEST_ROWS
        assert quick.steps <= whole.steps
        assert quick.rows <= whole.rows
    for name in ("digits-mlp", "cancer-binary", "diabetes-regression", "deep-narrow", "teacher"):
        assert QUICK.of(CATALOGUE[name]) == WHOLE.of(CATALOGUE[name]), name
    assert QUICK.of(CATALOGUE["mnist-mlp"]) == (1000, 32)
    assert Reach(1000, 1.0).of(CATALOGUE["mnist-mlp"]) is None


DONE = LongProof(steps=880, planned=880, rows=32, quality=0.9, expected=0.9)
FINE = Proved(seconds=1.0, findings=(Finding(check="weights", ok=True),))


def outcome(long, monkeypatch, dtypes=("float32", "float64")):
    """What two claims come to whose long proof has this outcome, and how many proofs it took."""
    asked = []

    def prove_all(requests, launch, provers):
        for request in requests:
            asked.append(request)
            yield request, FINE if request.rows is None else long

    monkeypatch.setattr(proving, "prove_all", prove_all)
    task = CATALOGUE["digits-mlp"]
    claims = {
        it: claim(task, make_setup(task, "reference:eager", dtype=it), quick=True, reach=QUICK)
        for it in dtypes
    }
    found = dict(proved_claims(claims, {task.data: "/nowhere"}, 1.0, None, 1))
    return [claims[it].certificate("key", found[it]) for it in dtypes], claims, asked


def test_both_dtypes_rest_on_one_long_proof(monkeypatch):
    long = FINE.model_copy(update={"findings": (Finding(check=CHECK, ok=True),), "whole": DONE})
    certificates, claims, asked = outcome(long, monkeypatch)
    assert [it.setup.dtype for it in asked if it.rows] == ["float64"]
    assert len(asked) == 3
    for it in certificates:
        assert it.proven
        assert it.whole == DONE
        assert claims[it.setup.dtype]._long_enough(it.whole)
        assert not claims[it.setup.dtype]._long_enough(DONE.model_copy(update={"steps": 879}))
        assert not claims[it.setup.dtype]._long_enough(None)


@pytest.mark.parametrize(("check", "proven"), [(SUPPORTED, True), (ENDED, False), (CHECK, False)])
def test_without_float64_a_setup_is_proven_by_its_own_proof(monkeypatch, check, proven):
    detail = f"not here: {Path.home()}/x"
    long = Proved(seconds=1.0, findings=(Finding(check=check, ok=False, detail=detail),))
    certificates, claims, _ = outcome(long, monkeypatch, ("float32",))
    (certificate,) = certificates
    assert certificate.proven is proven
    assert certificate.whole.why == clean(detail) != detail
    assert certificate.whole.steps == 0
    assert claims["float32"]._long_enough(certificate.whole)
