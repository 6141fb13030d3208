"""What rounding may excuse in float32, and what nothing excuses."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import replace

import numpy as np
import pytest

from harness import differences
from harness.adapter import Options
from harness.certificates import UNPROVABLE
from harness.differences import LIMITS, Difference, nudged
from harness.proof import rounding
from harness.proof.faults.fault import Planted
from harness.proof.lockstep import QUANTITIES, LockStep, Oracle
from harness.proof.prover import batches
from harness.proof.rounding import excuses, lost, sought
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.spec import SGD, Adam, Known, Model, Task
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
    assert len(found.divergence) >= 8
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
    work = list(itertools.islice(batches(start, arrays_of(TASK.data), 16), 4))
    return Oracle(truth_of(TASK), start, Options("eager", "cpu", 1, "float32")), work


def test_no_more_shadows_are_drawn_than_it_takes(problem, monkeypatch):
    drawn = []
    monkeypatch.setattr(differences, "nudged", lambda *given: drawn.append(1) or nudged(*given))
    place = (4, "weights")
    tiny = excuses(*problem, {place: Difference(1e-12, "layer0.weight")})
    assert len(drawn) == 1
    assert tiny[place] > 1e-12
    huge = excuses(*problem, {place: Difference(0.5, "layer0.weight")})
    assert len(drawn) == 1 + differences.SHADOWS
    assert tiny[place] <= huge[place] < 1e-3


def test_what_cannot_be_compared_has_no_excuse(problem):
    spoilt = {(1, "loss"): Difference(np.inf, "loss", "NaN or infinite")}
    assert excuses(*problem, spoilt) == {(1, "loss"): 0.0}


def test_float64_needs_no_excuse(monkeypatch):
    monkeypatch.setattr(rounding, "shadows", None)
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


def at_rate(name, learning_rate):
    task = CATALOGUE[name]
    optimizer = task.optimizer.model_copy(update={"learning_rate": learning_rate})
    return task.model_copy(update={"optimizer": optimizer})


class Float64Inside(Adapter):
    """Differs from the float64 reference by nothing but the rounding of what it shows."""

    def __init__(self, task, start, options):
        super().__init__(task, start, replace(options, dtype="float64"))

    def to_numpy(self, handle):
        return super().to_numpy(handle).astype("float32")


@pytest.mark.parametrize(
    ("name", "rate"), [("diabetes-regression", 0.3), ("cancer-binary", 1.0), ("digits-mlp", 10.0)]
)
def test_where_float32_has_no_answer_no_framework_is_proven_or_at_fault(name, rate):
    """Whatever it differs by itself: less than the shadows or more, or not at all."""
    task = at_rate(name, rate)
    found = [examined(kind, task, dtype="float32", steps=10) for kind in (Adapter, Float64Inside)]
    for it in found:
        assert failed(it).keys() == {UNPROVABLE}
        assert "the reference in float32 differs as much: " in failed(it)[UNPROVABLE]
        assert len(it.divergence) == 10
    assert failed(found[0]) == failed(found[1])
    exact = failed(examined(task=task, steps=10))
    assert not exact.keys() - {"synchronize", "threads"}  # whose bursts go on until it overflows


def test_a_fault_before_float32_loses_its_answer_is_still_the_first_that_is_told():
    found = failed(examined(Faster, at_rate("diabetes-regression", 0.3), dtype="float32", steps=10))
    assert next(iter(found)) == "weights"
    assert found["weights"].startswith("step 1, ")
    assert UNPROVABLE in found


@pytest.mark.parametrize(
    ("differs", "excused", "at"),
    [
        (9e-6, 0.0, None),  # within the limit, whatever shadows do
        (2e-5, 5e-5, None),
        (2e-5, 3e-5, (2, "loss")),  # more than half of the excuse
        (2e-5, 0.0, (2, "loss")),
        (0.4, 1.0, None),
        (0.6, 90.0, (2, "loss")),  # by chance far below what a shadow made
        (np.inf, 90.0, (2, "loss")),
    ],
)
def test_float32_is_lost_where_its_own_reference_is_off(differs, excused, at):
    lock, bounds = LockStep(), LIMITS["float32"]
    lock.rounded = {
        (1, "loss"): Difference(1e-7, "loss"),
        (2, "loss"): Difference(differs, "loss"),
        (3, "loss"): Difference(7.0, "loss") if at else Difference(0.0, "loss"),
    }
    assert lost(lock, bounds, dict.fromkeys(sought(lock, bounds), excused)) == at


class OffAtStepNine(Adapter):
    def gradients(self, batch):
        return {name: (1 + (self._steps > 7)) * it for name, it in super().gradients(batch).items()}


@pytest.mark.parametrize(("at", "compared"), [(9, 8), (8, 10)])
def test_what_comes_after_float32_is_lost_is_not_compared(monkeypatch, at, compared):
    """Eight of ten steps are enough, seven are not."""
    monkeypatch.setattr(rounding, "lost", lambda *given: (at, "loss"))
    found = examined(OffAtStepNine, dtype="float32", steps=10)
    assert len(found.divergence) == compared
    assert failed(found).keys() == (set() if at == 9 else {UNPROVABLE})
    monkeypatch.undo()
    assert "gradients" in failed(examined(OffAtStepNine, dtype="float32", steps=10))


SATURATED = Task(
    name="saturated",
    data=Known(name="digits"),
    model=Model(hidden=(64,), output="softmax"),
    loss="cross-entropy-of-probabilities",
    optimizer=SGD(learning_rate=100.0),
    batch_size=64,
    epochs=3,
)
"""One step moves the weights so far that another rounding of the first shows in the second."""


class Restless(Planted):
    """Never rounds twice alike once it was reset, as a program whose threads share its sums."""

    noise = 2.0**-24

    def reset(self):
        self._resets = getattr(self, "_resets", 0) + 1
        super().reset()

    def train_step(self, batch):
        loss = super().train_step(batch)
        return loss * self._rounding(()) if self._resets > 1 else loss

    def _rounding(self, shape):
        generator = np.random.default_rng(self._resets)
        return np.float32(1 + generator.uniform(-self.noise, self.noise, shape))

    def doctored(self, gradient):
        return gradient * self._rounding(gradient.shape) if self._resets > 1 else gradient

    def predict(self, batch):
        outputs = super().predict(batch)
        return outputs * self._rounding(outputs.shape) if self._resets > 1 else outputs


class Careless(Restless):
    noise = 0.01


def test_every_check_that_compares_numbers_excuses_what_rounding_alone_makes():
    def numbers(kind):
        found = examined(kind, SATURATED, dtype="float32", steps=10, lane="idiomatic")
        return failed(found).keys() - {"threads", "synchronize"}

    assert not numbers(Restless)
    all_of_them = {"reset", "unwatched", "predict-fresh", "last-chunk", "fit", "infer"}
    assert numbers(Careless) == all_of_them
