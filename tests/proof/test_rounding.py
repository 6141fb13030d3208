"""What rounding may excuse in float32, and what nothing excuses."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from harness.adapter import Options
from harness.proof import rounding
from harness.proof.compare import Difference
from harness.proof.examine import batches
from harness.proof.lockstep import QUANTITIES
from harness.proof.rounding import excuses, nudged
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.optimizers import Adam
from harness.tasks.start import make_start
from impls.reference import stock
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
    return truth_of(TASK), start, Options("eager", "cpu", 1, "float32"), work


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


def test_a_stock_formula_says_what_it_rounds_at_every_step():
    """1 − β₂ᵗ loses digits to cancellation; the shadow of a formula without powers loses none."""
    exact, shadow = (stock.stock_rule_of(Adam(learning_rate=1e-3)) for _ in range(2))
    shadow = dataclasses.replace(shadow, roundings=np.random.default_rng(0))
    for step in (1, 2, 5, 10):
        rate = exact.scalars(step)["rate"]
        apart = [abs(shadow.scalars(step)["rate"] / rate - 1) for _ in range(100)]
        power = 1 - 0.999**step
        assert 1e-7 / power / 10 < max(apart) <= 2.0**-24 * (0.51 / power + 1.01 / 0.1)


class Float32Powers(stock.StockAdam):
    def scalars(self, step):
        one, beta1, beta2, t = (np.float32(it) for it in (1, self.beta1, self.beta2, step))
        rate = self.learning_rate * np.sqrt(one - beta2**t) / (one - beta1**t)
        return {"rate": float(rate), "epsilon": self.epsilon}


class Keras(stock.Adapter):
    def _rule_of(self, task):
        return Float32Powers(**dataclasses.asdict(super()._rule_of(task)))


class Silent(stock.Adapter):
    """A truth that does not say what its formula rounds."""

    round_scalars = None


@pytest.mark.parametrize("seed", [3, 11, 17])
def test_rounded_powers_of_a_stock_formula_are_excused(seed):
    """The gradient of this net's only output comes so close to zero that its scale vanishes."""

    def apart(truth):
        task = CATALOGUE["cancer-binary"]
        found = examined(
            Keras, task, dtype="float32", mode="eager", steps=10, seed=seed, truth=truth
        )
        return failed(found).keys() & set(QUANTITIES)

    assert apart(Silent)
    assert not apart(stock.Adapter)
