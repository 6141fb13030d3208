"""Many proofs over few provers, with provers that are given."""

from __future__ import annotations

import threading
import time

import pytest

from harness.certificates import ENDED, Finding
from harness.proof.pool import Prove, Proved, group_of, prove_all
from harness.runs.process import WorkerFailed
from harness.tasks.catalogue import CATALOGUE
from tests.builders import make_setup

TASK = CATALOGUE["cancer-binary"]


def request(label="pytorch:eager", task=TASK, **fields):
    setup = make_setup(task, label, **fields)
    return Prove(
        task=task, setup=setup, seed=0, steps=10, tolerance="exact", data="nowhere", limit=1.0
    )


class Stage:
    """Launches provers that answer at once, and keeps what became of them."""

    def __init__(self, fails=()):
        self.lock = threading.Lock()
        self.launched, self.proved, self.closed = [], [], []
        self.fails = set(fails)

    def __call__(self, setup):
        prover = FakeProver(self, group_of(setup))
        with self.lock:
            self.launched.append(prover)
        return prover


class FakeProver:
    def __init__(self, stage, group):
        self._stage = stage
        self.group = group

    def prove(self, request):
        assert group_of(request.setup) == self.group
        with self._stage.lock:
            assert self not in self._stage.closed
            self._stage.proved.append(request)
        if request.setup.mode in self._stage.fails:
            raise WorkerFailed("crashed", "killed by SIGSEGV")
        return Proved(seconds=1.0, findings=(Finding(check="loss", ok=True),))

    def close(self):
        with self._stage.lock:
            self._stage.closed.append(self)


@pytest.mark.parametrize("provers", [1, 2, 5, 50])
def test_every_request_is_answered_once_and_every_prover_closed(provers):
    requests = [
        request(f"{framework}:{mode}", threads=threads)
        for framework in ("pytorch", "tensorflow", "reference")
        for mode in ("a", "b", "c", "d")
        for threads in (1, 2)
    ]
    stage = Stage()
    answers = list(prove_all(requests, stage, provers))
    assert sorted(it.setup.id for it, _ in answers) == sorted(it.setup.id for it in requests)
    assert len(stage.proved) == len(requests)
    assert sorted(map(id, stage.closed)) == sorted(map(id, stage.launched))
    assert len(stage.launched) <= 6 + provers


def test_one_prover_imports_each_framework_once():
    requests = [request(f"{name}:{mode}") for mode in "abc" for name in ("pytorch", "tensorflow")]
    stage = Stage()
    assert len(list(prove_all(requests, stage, 1))) == 6
    assert len(stage.launched) == 2


def test_what_spins_comes_first_and_by_itself():
    stage, at_work, together = Stage(), [], []

    class Noting(FakeProver):
        def prove(self, request):
            with stage.lock:
                at_work.append(request.setup.framework)
                together.append(set(at_work))
            time.sleep(0.01)
            with stage.lock:
                at_work.remove(request.setup.framework)
            return super().prove(request)

    labels = [f"{name}:{mode}" for mode in "abc" for name in ("pytorch", "reference")]
    requests = [request(label, CATALOGUE["mnist-mlp"], threads=2) for label in labels]
    launch = lambda setup: Noting(stage, group_of(setup))  # noqa: E731
    assert len(list(prove_all(requests, launch, 4))) == 6
    assert together == [{"reference"}] * 3 + [{"pytorch"}] * 3
    assert [it.setup.framework for it in stage.proved[:3]] == ["reference"] * 3


@pytest.mark.parametrize(
    ("task", "threads"), [("mnist-mlp", 1), ("digits-mlp", 2)], ids=["one-thread", "small-products"]
)
def test_what_has_one_thread_at_work_waits_for_nobody(task, threads):
    stage, meeting = Stage(), threading.Barrier(2)

    class Meeting(FakeProver):
        def prove(self, request):
            meeting.wait(60)  # for the other framework
            return super().prove(request)

    requests = [
        request(f"{name}:a", CATALOGUE[task], threads=threads) for name in ("pytorch", "reference")
    ]
    launch = lambda setup: Meeting(stage, group_of(setup))  # noqa: E731
    assert len(list(prove_all(requests, launch, 2))) == 2


def test_nothing_to_prove_launches_nothing():
    stage = Stage()
    assert list(prove_all([], stage, 2)) == []
    assert stage.launched == []


def test_a_prover_that_is_gone_fails_its_own_proof_only():
    requests = [request(f"pytorch:{mode}") for mode in ("fine", "bad", "also-fine")]
    stage = Stage(fails=("bad",))
    answers = {it.setup.mode: proved for it, proved in prove_all(requests, stage, 1)}
    (finding,) = answers["bad"].findings
    assert finding.check == ENDED
    assert not finding.ok
    assert "SIGSEGV" in finding.detail
    assert all(it.ok for it in answers["also-fine"].findings)
    assert len(stage.launched) == 2


def test_a_prover_that_cannot_be_started_is_a_failure_too():
    def launch(setup):
        raise WorkerFailed("not-started", "no such file")

    ((_, proved),) = prove_all([request()], launch, 2)
    assert "no such file" in proved.findings[0].detail


def test_whatever_else_goes_wrong_is_raised():
    def launch(setup):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(prove_all([request()], launch, 1))


def test_whoever_stops_listening_ends_the_provers():
    """One that would never answer is closed, and what waits is not begun."""
    stage, ended = Stage(), threading.Event()
    others = threading.active_count()

    class Endless(FakeProver):
        def prove(self, request):
            if request.setup.mode == "first":
                return super().prove(request)
            assert ended.wait(60)
            raise WorkerFailed("crashed", "killed by SIGKILL")

        def close(self):
            super().close()
            ended.set()

    def launch(setup):
        return Endless(stage, group_of(setup))

    requests = [request("pytorch:first", CATALOGUE["mnist-wide"])]
    requests += [request(f"pytorch:{number}") for number in range(5)]
    answers = prove_all(requests, launch, 1)
    assert next(answers)[0].setup.mode == "first"
    answers.close()
    assert ended.is_set()
    assert len(stage.proved) == 1
    assert threading.active_count() <= others


def test_the_longest_work_comes_first_and_a_slot_stays_with_its_group():
    small, large = TASK, CATALOGUE["mnist-wide"]
    requests = [
        request("pytorch:a", small),
        request("pytorch:b", large),
        request("reference:a", small),
        request("reference:b", small),
    ]
    stage = Stage()
    order = [it.setup.label for it, _ in prove_all(requests, stage, 1)]
    assert order == ["pytorch:b", "pytorch:a", "reference:a", "reference:b"]
