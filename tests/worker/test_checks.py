"""The measured work is checked: adapters with one fault are caught, honest ones pass."""

from __future__ import annotations

import functools
import weakref

import numpy as np
import pytest

from benchmarks.studies.busy import strangers
from harness.adapter import Options
from harness.cells import PHASES, THROUGHPUT, Setup
from harness.tasks.datasets import load
from harness.tasks.spec import Adam, Model, Task, Teacher
from harness.tasks.start import make_start
from harness.worker.checks import Checks
from harness.worker.loops import make_loops
from harness.worker.measure import PhaseRun, Training
from harness.worker.messages import Load
from impls.reference.adapter import Adapter
from impls.reference.idiom import Idiom

TASK = Task(
    name="small",
    data=Teacher(features=64, classes=4, train=1000, test=330, teacher_width=8),
    model=Model(hidden=(64, 64)),
    loss="cross-entropy",
    optimizer=Adam(),
    batch_size=64,
    epochs=1,
)
"""Its test rows are no multiple of anything."""


@functools.cache
def arrays_of(data):
    return load(data, None)


def failed(
    kind=Adapter, *, phases=THROUGHPUT, lane="identical", mode="replay", dtype="float32", task=TASK
):
    """The checks that an adapter of this kind does not pass, each with its reason."""
    setup = Setup(task=task.name, digest=task.digest, framework="reference", mode=mode, lane=lane)
    setup = setup.model_copy(update={"dtype": dtype})
    asked = Load(task=task, setup=setup, seed=0, phases=phases, data="nowhere")
    start, arrays = make_start(task, 0), arrays_of(task.data)
    adapter = kind(task, start, Options(mode, "cpu", 1, dtype))
    loops = make_loops(adapter, lane, phases, start, arrays)
    runs = {it: PhaseRun(adapter, it, loop, dtype) for it, loop in loops.items()}
    for run in runs.values():
        run.first_calls()
        run.warm_up(0.006, 0.01)
        for number in range(3):
            run.sample(number, 0)
    training = Training(adapter, lane, start, arrays)
    checks = Checks(adapter, asked, start, arrays, runs, training)
    return {it.check: it.detail for it in checks.findings() if not it.ok}


class Promise:
    def __init__(self, compute):
        self._compute, self._value = compute, None

    def value(self):
        if self._value is None:
            self._value = self._compute()
        return self._value


class Lazy(Adapter):
    """Only the last outputs are computed, and others when they are looked at."""

    _last = None

    def predict(self, batch):
        compute = super().predict
        self._last = Promise(lambda: compute(batch))
        return self._last

    def to_numpy(self, handle):
        return super().to_numpy(handle.value() if isinstance(handle, Promise) else handle)

    def synchronize(self):
        if self._last is not None:
            self._last.value()


class Dropping(Lazy):
    """What nobody holds any more is never computed; what somebody holds is, in time."""

    _asked = ()

    def predict(self, batch):
        compute = Adapter.predict
        promise = Promise(lambda: compute(self, batch))
        self._asked = [*self._asked, weakref.ref(promise)][-2000:]
        return promise

    def synchronize(self):
        for it in self._asked:
            if promise := it():
                promise.value()
        self._asked = ()


class ByIdentity(Adapter):
    """Remembers the outputs of every batch that it has seen."""

    def __init__(self, *given):
        self._known = {}
        super().__init__(*given)

    def key(self, batch):
        return id(batch)

    def predict(self, batch):
        key = self.key(batch)
        if key not in self._known:
            self._known[key] = (super().predict(batch), batch)
        return self._known[key][0]


class ByContent(ByIdentity):
    def key(self, batch):
        return len(batch.inputs), batch.inputs[0].tobytes()

    def train_step(self, batch):
        self._known.clear()
        return super().train_step(batch)


class Remembering(Adapter):
    """Knows how trainings went that it has seen, and takes over what they came to."""

    def __init__(self, *given):
        self._known, self._way, self._reached = {}, 0, None
        super().__init__(*given)

    def reset(self):
        super().reset()
        self._way, self._reached = 0, None

    def train_step(self, batch):
        self._way = hash((self._way, id(batch)))
        if self._way not in self._known:
            self._go_there()
            loss = super().train_step(batch)
            reached = self._steps, {name: it.copy() for name, it in self._state.items()}
            self._known[self._way] = (loss, reached, batch)
        loss, self._reached, _ = self._known[self._way]
        return loss

    def _go_there(self):
        if self._reached:
            self._steps, state = self._reached
            for name, values in state.items():
                self._state[name][...] = values

    def state(self):
        self._go_there()
        return super().state()


class LastRows(Adapter):
    """Rows that do not fill a chunk of 64 are not computed."""

    def predict(self, batch):
        outputs = super().predict(batch)
        outputs[len(outputs) // 64 * 64 :] = 0
        return outputs


class Coarse(Adapter):
    """Low precision from 256 rows on."""

    def predict(self, batch):
        outputs = super().predict(batch)
        if len(outputs) >= 256:
            outputs = outputs.astype(np.float16).astype(outputs.dtype)
        return outputs


class OneCall(Adapter):
    """Of many calls one answers with what another one did."""

    _calls = 0

    def predict(self, batch):
        self._calls += 1
        outputs = super().predict(batch)
        return outputs + 1e-3 if self._calls % 7 == 0 else outputs


class FasterLater(Adapter):
    """The learning rate is 10 % larger from the 15th step on."""

    def train_step(self, batch):
        before = self._state["weights"].copy()
        loss = super().train_step(batch)
        if self._steps > 15:
            weights = self._state["weights"]
            weights += 0.1 * (weights - before)
        return loss


class Saturating(Adapter):
    """The step count of Adam's bias correction ends at 12."""

    def train_step(self, batch):
        self._steps = min(self._steps, 11)
        return super().train_step(batch)


class WrongLoss(Adapter):
    """One loss is off, the training is not."""

    def train_step(self, batch):
        loss = super().train_step(batch)
        return loss * 1.01 if self._steps == 9 else loss


class InSamplesOnly(Adapter):
    """What comes before and after the three samples is right."""

    _resets = 0

    def reset(self):
        super().reset()
        self._resets += 1

    @property
    def sampled(self):
        return 4 <= self._resets <= 6


class HalfOfTheSteps(InSamplesOnly):
    _loss = None

    def train_step(self, batch):
        if self.sampled and self._steps > 3 and self._loss is not None:
            loss, self._loss = self._loss, None
            return loss
        self._loss = super().train_step(batch)
        return self._loss


class WrongOutputs(InSamplesOnly):
    def predict(self, batch):
        outputs = super().predict(batch)
        return outputs + 1e-3 if self.sampled else outputs


class WalkingInfer(Idiom):
    """Its own loop gathers every batch, and computes the last one only."""

    def infer(self, loader, steps):
        for step in range(steps - 1):
            self._gathered(loader, step)
        return self.predict(self._gathered(loader, steps - 1))


class LastRowsOfInfer(Idiom):
    """Its own loop does not compute rows that do not fill a chunk of 64."""

    def infer(self, loader, steps):
        outputs = super().infer(loader, steps)
        outputs[len(outputs) // 64 * 64 :] = 0
        return outputs


class IdleFit(Idiom):
    """Its own loop leaves out one update."""

    def fit(self, loader, steps):
        return super().fit(loader, max(1, steps - 1))


class StaleInfer(Idiom):
    """Its own loop hands out the outputs of its first batch."""

    def infer(self, loader, steps):
        super().infer(loader, steps)
        return self.predict(self._gathered(loader, 0)).copy()


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (Lazy, "predict"),
        (Dropping, "predict"),
        (ByIdentity, "predict"),
        (ByContent, "predict"),
        (Remembering, "train"),
        (LastRows, "held-out rows"),
        (Coarse, "held-out rows"),
        (OneCall, "predict"),
        (FasterLater, "train"),
        (Saturating, "train"),
        (WrongLoss, "train"),
        (HalfOfTheSteps, "train"),
        (WrongOutputs, "predict"),
    ],
)
def test_a_fault_is_caught(kind, check):
    found = failed(kind, phases=("train",) if check.startswith("train") else ("predict",))
    assert check in found
    if kind in (Lazy, Dropping, ByIdentity, ByContent, Remembering):
        assert "work that was asked for was not done" in found[check]


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (IdleFit, "train"),
        (StaleInfer, "predict"),
        (WalkingInfer, "predict"),
        (LastRowsOfInfer, "held-out rows"),
    ],
)
def test_a_fault_of_a_loop_of_its_own_is_caught(kind, check):
    assert check in failed(kind, lane="idiomatic")


@pytest.mark.parametrize("mode", ["replay", "eager"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_honest_adapter_passes(mode, dtype):
    assert not failed(mode=mode, dtype=dtype, phases=PHASES)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_honest_loop_of_its_own_passes(dtype):
    assert not failed(Idiom, lane="idiomatic", dtype=dtype)


@pytest.mark.parametrize("times", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_an_honest_adapter_passes_on_a_busy_machine(times):
    with strangers(2):  # children of this process would be its own work
        assert [failed(phases=PHASES) for _ in range(times)] == [{}] * times


def test_a_full_batch_is_checked_too():
    data = TASK.data.model_copy(update={"train": 300})
    task = TASK.model_copy(update={"data": data, "batch_size": "full", "shuffle": False})
    assert not failed(task=task)
    assert "predict" in failed(Coarse, task=task, phases=("predict",))
    assert "predict" in failed(LastRows, task=task, phases=("predict",))
