"""What a worker counts of itself: in its turns, between them, and what it holds."""

from __future__ import annotations

import threading
import time

import pytest

from harness.worker import usage
from harness.worker import usage as demand
from harness.worker.loops import StepLoop
from harness.worker.measure import PhaseRun, settle
from harness.worker.usage import PATIENT_TURNS, SHORT_LIMIT, UsageCount
from tests.worker.test_measure import Counting


@pytest.fixture
def burner():
    """A thread that never rests."""
    end = threading.Event()
    thread = threading.Thread(target=lambda: [None for _ in iter(end.is_set, True)])
    thread.start()
    yield thread
    end.set()
    thread.join()


def test_what_is_burnt_between_turns_is_counted_there(burner):
    settle(0)
    count = UsageCount()
    count.turn_ended(quiet=False)
    time.sleep(0.3)
    count.turn_begun()
    count.turn_ended(quiet=True)
    found = count.usage
    assert (found.turns, found.unsettled) == (2, 1)
    assert found.between_seconds >= 0.3
    assert found.between_cpu_seconds > 0.01  # a busy machine may give it no more


def test_who_rests_uses_nothing_between_turns():
    settle()
    count = UsageCount()
    count.turn_ended(quiet=True)
    time.sleep(0.2)
    count.turn_begun()
    found = count.usage
    assert found.between_cpu_seconds < 0.05 * found.between_seconds


def test_less_time_is_spent_on_who_never_rests(monkeypatch):
    asked = []
    monkeypatch.setattr(usage, "settle", lambda most: asked.append(most))
    count = UsageCount()
    for _ in range(PATIENT_TURNS + 1):
        assert not count.settle()
    assert SHORT_LIMIT not in asked[:-1]
    assert asked[-1] == SHORT_LIMIT


def test_a_thread_that_does_not_rest_is_seen_and_one_that_does_is_not(burner, monkeypatch):
    monkeypatch.setattr(demand, "settle", lambda: False)
    assert "work on although nothing is asked" in demand.restless(sure=False)


@pytest.mark.parametrize("sure", [True, False])
def test_threads_that_rest_are_not_restless(sure):
    sleeping = threading.Thread(target=time.sleep, args=(1,))
    sleeping.start()
    assert not demand.restless(sure=sure)
    sleeping.join()


class Keeping(Counting):
    """Keeps 200 kB of every step until it is reset."""

    kept = ()

    def train_step(self, batch):
        self.kept = [*self.kept, b"x" * 200_000]
        return super().train_step(batch)

    def reset(self):
        self.kept = []
        super().reset()


class KeepingOn(Keeping):
    """The same, and for ever."""

    def reset(self):
        super(Keeping, self).reset()


@pytest.mark.parametrize(
    ("kind", "count", "least", "most"),
    [
        (Keeping, "allocated", 190e3, 220e3),
        (KeepingOn, "allocated", 190e3, 220e3),
        (KeepingOn, "resident", 150e3, 250e3),
        (Counting, "allocated", -500, 500),
        (Counting, "resident", -4096, 4096),
    ],
)
def test_memory_that_grows_with_every_step_is_counted_a_step(kind, count, least, most):
    adapter = kind()
    run = PhaseRun(adapter, "train", StepLoop(adapter.train_step, "ab"), "float32")
    run.first_calls()
    run.warm_up(0.02, 0.02)
    for number in range(5):
        run.sample(number, 0)
    grown = sorted(getattr(run.growth, count))
    assert len(grown) == 5
    assert least <= grown[2] <= most
    assert run.growth.device == ()
