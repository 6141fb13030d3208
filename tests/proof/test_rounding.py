"""What rounding may excuse in float32, and what nothing excuses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from harness.adapter import Options
from harness.proof import rounding
from harness.proof.compare import Difference
from harness.proof.examine import batches
from harness.proof.rounding import excuses, nudged
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.start import make_start
from impls.reference.adapter import Adapter
from tests.proof.examining import TASK, arrays_of, examined, failed, truth_of

DEEP = CATALOGUE["deep-narrow"]


def test_a_nudge_is_as_large_as_the_roundings_of_one_pass():
    start = make_start(DEEP, 0)
    moved = nudged(start, np.random.default_rng(0))
    reach = np.sqrt(33 * 64) * 2.0**-24
    assert moved.weights.keys() == start.weights.keys()
    for name, values in start.weights.items():
        by = np.abs(moved.weights[name] - values)
        if name.endswith("weight"):
            assert np.all(by <= reach * np.abs(values))
            assert by.max() > reach * np.abs(values).max() / 2
        else:  # they begin at zero
            largest = np.abs(start.weights[name.replace("bias", "weight")]).max()
            assert 0 < by.max() <= reach * largest


def test_a_correct_program_of_a_touchy_task_is_excused_and_says_so():
    """A unit of this net changes sides within ten steps, in every float32 program alike."""
    found = examined(task=DEEP, dtype="float32", steps=10)
    assert not failed(found)
    told = {it.check: it.detail for it in found.findings}
    assert found.divergence[-1].gradients > 1e-3
    assert "where rounding alone makes up to" in told["gradients"]


class Faster(Adapter):
    """The learning rate is off by 1 %."""

    def _rule_of(self, task):
        rate = 1.01 * task.optimizer.learning_rate
        return super()._rule_of(
            task.model_copy(
                update={"optimizer": task.optimizer.model_copy(update={"learning_rate": rate})}
            )
        )


@pytest.mark.parametrize("task", [TASK, DEEP], ids=lambda it: it.name)
def test_a_fault_is_not_excused(task):
    found = failed(examined(Faster, task, dtype="float32", steps=10))
    assert "weights" in found


@pytest.fixture
def problem():
    start = make_start(TASK, 0)
    work = list(itertools.islice(batches(TASK, start, arrays_of(TASK.data), 16), 4))
    return truth_of(TASK), TASK, start, Options("eager", "cpu", 1, "float32"), work


def test_no_more_shadows_are_drawn_than_it_takes(problem, monkeypatch):
    drawn = []
    monkeypatch.setattr(rounding, "nudged", lambda *given: drawn.append(1) or nudged(*given))
    place = (4, "weights")
    tiny = excuses(*problem, {place: Difference(1e-12, "layer0.weight")})
    assert len(drawn) == 1
    assert tiny[place] > 1e-12
    huge = excuses(*problem, {place: Difference(0.5, "layer0.weight")})
    assert len(drawn) == 1 + rounding.SHADOWS
    assert tiny[place] <= huge[place] < 1e-3


def test_what_cannot_be_compared_has_no_excuse(problem):
    spoilt = {(1, "loss"): Difference(np.inf, "loss", "NaN or infinite")}
    assert excuses(*problem, spoilt) == {(1, "loss"): 0.0}


def test_float64_needs_no_excuse(monkeypatch):
    monkeypatch.setattr("harness.proof.examine.excuses", None)
    assert failed(examined(Faster))
