"""The examination itself: what it looks at, in which order, and what it says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from harness.adapter import Options, State, Unsupported
from harness.proof import conduct, lockstep
from harness.proof.faults import FAULTS
from harness.proof.lockstep import QUANTITIES, Oracle, true_step, watched_step
from harness.proof.prover import batches, rows_compared, steps_compared
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.spec import SGD
from harness.tasks.start import make_start
from impls.reference.adapter import Adapter
from impls.reference.idiom import Idiom
from tests.proof.examining import TASK, arrays_of, examined, failed, truth_of

CHECKS = ("start", *QUANTITIES, *conduct.CHECKS, "synchronize", "threads")


def test_the_reference_is_proven_in_every_check():
    found = examined()
    assert [it.check for it in found.findings] == list(CHECKS)
    assert not failed(found)
    assert [it.step for it in found.divergence] == list(range(1, 13))
    assert found.rows == 16
    assert found.settings["dtype"] == "float64"
    for step in found.divergence:
        assert step.logits == step.loss == step.gradients == step.weights == step.slots == 0


def test_float32_is_near_but_not_the_same():
    found = examined(dtype="float32", steps=10)
    assert not failed(found)
    assert all(1e-9 < step.gradients < 1e-5 for step in found.divergence)


def test_an_optimizer_without_slots_has_none_to_compare():
    task = TASK.model_copy(update={"optimizer": SGD()})
    found = examined(task=task)
    assert not failed(found)
    assert "slots" not in [it.check for it in found.findings]
    assert found.divergence[0].slots is None


def test_the_idiomatic_lane_goes_through_its_own_loop():
    found = examined(Idiom, lane="idiomatic")
    assert not failed(found)
    assert {"fit", "infer"} <= {it.check for it in found.findings}


class OffAtStepSeven(Adapter):
    """From step 7 on one entry of one gradient is too large, by a millionth."""

    def gradients(self, batch):
        gradients = super().gradients(batch)
        if self._steps >= 6:
            largest = np.abs(gradients["layer1.bias"]).argmax()
            gradients["layer1.bias"][largest] *= 1 + 1e-6
        return gradients


def test_a_failure_names_the_first_step_and_tensor_and_says_by_how_much():
    found = examined(OffAtStepSeven)
    assert failed(found) == {
        "gradients": "step 7, layer1.bias: 1.0e-06 of its scale, more than 1e-09 "
        "(logits 0, loss 0, gradients 1.0e-06, slots 0, weights 0)"
    }
    assert found.divergence[5].gradients == 0
    assert found.divergence[6].gradients == pytest.approx(1e-6)
    assert len(found.divergence) == 12
    assert not failed(examined(OffAtStepSeven, dtype="float32", steps=10))


class WrongFromStepTwo(Adapter):
    """Each in the step after the one before, against the order in which a step computes them."""

    def predict(self, batch):
        return super().predict(batch) * (1.1 if self._steps >= 3 else 1.0)

    def gradients(self, batch):
        gradients = super().gradients(batch)
        return {name: it * (1.1 if self._steps >= 2 else 1.0) for name, it in gradients.items()}

    def state(self):
        state = super().state()
        slots = {name: it * (1.1 if self._steps >= 2 else 1.0) for name, it in state.slots.items()}
        return State(state.weights, slots)


def test_failures_come_in_the_order_of_the_steps_then_of_what_a_step_computes():
    """After two steps the slots are wrong, in the third the gradients, in the fourth the logits."""
    found = examined(WrongFromStepTwo)
    told = [f"{it.check}: {it.detail.split(',')[0]}" for it in found.findings if not it.ok]
    assert told == ["slots: step 2", "gradients: step 3", "logits: step 4"]
    assert [it.check for it in found.findings if it.ok] == ["start", "loss", "weights"]


class OtherInputs(Adapter):
    """A step takes other inputs than it is given where nobody looked since the step before."""

    _looked = True

    def state(self):
        self._looked = True
        return super().state()

    def train_step(self, batch):
        looked, self._looked = self._looked, False
        if not looked:
            batch = batch._replace(inputs=batch.inputs * 2)
        return super().train_step(batch)


def test_steps_without_a_look_tell_the_first_loss_that_differs():
    told = failed(examined(OtherInputs))
    assert next(iter(told)) == "unwatched"
    assert told["unwatched"].startswith("losses read after the last step: step 2, loss: ")


class Nothing(Adapter):
    """Has no weight to show after the third step."""

    def state(self):
        return State({}, {}) if self._steps == 3 else super().state()


def test_where_nothing_can_be_compared_the_lock_step_ends():
    found = examined(Nothing)
    assert len(found.divergence) == 3
    assert found.divergence[-1].weights is None
    assert set(failed(found)) == {"weights", "slots"}
    assert "step 3, layer" in failed(found)["weights"]


def test_live_views_are_refused_and_the_lock_step_keeps_copies():
    views = FAULTS["state-views"].part
    assert failed(examined(views)).keys() - {"threads", "synchronize"} == {"copies"}
    start, options = make_start(TASK, 0), Options("eager", "cpu", 1, "float64")
    adapter = views(TASK, start, options)
    work = list(itertools.islice(batches(start, arrays_of(TASK.data), 16), 3))
    oracle = Oracle(truth_of(TASK), start, options)
    lock = lockstep.run(adapter, oracle, "identical", work, keep=(1, 3))
    for name, values in adapter.state().weights.items():
        np.testing.assert_array_equal(lock.states[3].weights[name], values)
        assert not np.array_equal(lock.states[1].weights[name], values)


class Stubborn(Adapter):
    """Raises in whatever comes after the lock step."""

    def reset(self):
        if getattr(self, "_steps", 0):
            raise ZeroDivisionError("no\nreset")
        super().reset()


def test_an_exception_in_one_check_is_its_failure():
    found = failed(examined(Stubborn))
    assert found["reset"] == "ZeroDivisionError: no reset"
    assert not set(found) & {"start", *QUANTITIES, "settings"}


def test_an_exception_in_the_lock_step_is_raised_and_so_is_unsupported():
    class Broken(Adapter):
        def train_step(self, batch):
            raise ZeroDivisionError

    class Elsewhere(Adapter):
        def settings(self):
            raise Unsupported("not on a Monday")

    with pytest.raises(ZeroDivisionError):
        examined(Broken)
    with pytest.raises(Unsupported):
        examined(Elsewhere)


def test_batches_follow_the_shared_start_across_epochs():
    start, arrays = make_start(TASK, 3), arrays_of(TASK.data)
    found = batches(start, arrays, 16)
    for epoch in range(3):
        for rows in start.epoch_order(epoch):
            inputs, targets = next(found)
            np.testing.assert_array_equal(inputs, arrays.x_train[rows])
            np.testing.assert_array_equal(targets, arrays.y_train[rows])


def test_large_tasks_are_compared_on_fewer_rows_and_steps_and_small_ones_on_all():
    for task in CATALOGUE.values():
        small = task.name not in ("mnist-wide", "article-pytorch")
        assert (rows_compared(task) == task.batch) is small, task.name
        assert 32 <= rows_compared(task) <= task.batch
        assert 10 <= steps_compared(task, 100) <= 100
    assert steps_compared(CATALOGUE["mnist-mlp"], 100) == 100
    assert steps_compared(CATALOGUE["mnist-wide"], 100) == 10
    start, arrays = make_start(TASK, 0), arrays_of(TASK.data)
    assert next(batches(start, arrays, 4)).inputs.shape == (4, 8)


def test_the_truth_tells_at_once_what_anyone_else_shows_one_after_the_other():
    truth, watched = truth_of(TASK), truth_of(TASK)
    work = batches(make_start(TASK, 0), arrays_of(TASK.data), 16)
    for batch in itertools.islice(work, 5):
        told, shown = true_step(truth, batch), watched_step(watched, "identical", batch)
        assert told.keys() == shown.keys()
        for quantity, theirs in shown.items():
            assert told[quantity].keys() == theirs.keys()
            for name, values in theirs.items():
                np.testing.assert_array_equal(told[quantity][name], values)
