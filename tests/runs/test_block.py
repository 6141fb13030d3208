"""Turns, with workers whose times are given."""

from __future__ import annotations

import pytest

from harness.runs.block import run_block
from harness.runs.process import WorkerFailed
from tests.fakes import TASK, FakeWorker, Ledger, block, setup

SETUPS = (setup("pytorch"), setup("tensorflow", "graph"), setup("reference"))


class Stage:
    """Launches fake workers and remembers everything that was asked of them, in order."""

    def __init__(self, **fails: dict[str, WorkerFailed]) -> None:
        self.journal: list[tuple[str, str]] = []
        self.workers: dict[str, FakeWorker] = {}
        self._fails = fails

    def launch(self, asked, trial):
        fails = self._fails.get(asked.framework, {})
        if "launch" in fails:
            raise fails["launch"]
        worker = FakeWorker(asked, self.journal, fails=fails)
        self.workers[asked.framework] = worker
        return worker


def run(stage: Stage, **fields) -> Ledger:
    ledger = Ledger()
    run_block(block(*SETUPS, **fields), stage.launch, ledger)
    return ledger


def test_every_worker_is_ready_before_the_first_sample():
    stage = Stage()
    run(stage)
    asked = [ask for ask, _ in stage.journal]
    assert asked[:3] == ["prepare"] * 3
    assert "prepare" not in asked[3:]


def test_in_every_round_each_worker_takes_one_turn_of_each_phase():
    stage = Stage()
    run(stage, rounds=4, trains=False)
    samples = [label for ask, label in stage.journal if ask == "sample"]
    assert len(samples) == 4 * 2 * 3
    for first in range(0, len(samples), 3):
        assert set(samples[first : first + 3]) == {it.label for it in SETUPS}


def test_the_order_is_drawn_anew_and_is_the_same_for_the_same_block():
    one, again, other = Stage(), Stage(), Stage()
    run(one, rounds=20)
    run(again, rounds=20)
    run(other, rounds=20, name="a-run/b001.1")
    assert one.journal == again.journal
    assert one.journal != other.journal
    samples = [label for ask, label in one.journal if ask == "sample"]
    rounds = {tuple(samples[first : first + 3]) for first in range(0, len(samples), 3)}
    assert len(rounds) == 6  # all the orders of three


def test_a_record_holds_every_sample_and_every_epoch():
    records = run(Stage()).by_label()
    assert set(records) == {it.label for it in SETUPS}
    for record in records.values():
        assert record.status == "ok"
        assert [len(phase.samples) for phase in record.phases] == [3, 3]
        assert [it.round for it in record.phases[0].samples] == [0, 1, 2]
        assert record.quality is not None
        assert len(record.quality.epochs) == TASK.epochs
        assert record.settings == {"threads": 1}


def test_turns_in_a_record_are_places_in_the_order():
    records = run(Stage()).by_label()
    for round_ in range(3):
        turns = {record.phases[0].samples[round_].turn for record in records.values()}
        assert turns == {0, 1, 2}


@pytest.mark.parametrize("when", ["launch", "prepare", "sample", "epoch", "finish"])
def test_a_worker_that_fails_leaves_the_others_to_go_on(when):
    stage = Stage(tensorflow={when: WorkerFailed("crashed", "killed by SIGSEGV")})
    ledger = run(stage)
    records = ledger.by_label()
    assert records["tensorflow:graph"].status == "crashed"
    assert records["tensorflow:graph"].error == "killed by SIGSEGV"
    assert records["pytorch:eager"].status == records["reference:eager"].status == "ok"
    assert len(ledger.records) == len(ledger.begun) == 3
    assert all(worker.closed for worker in stage.workers.values())
    if when != "launch":
        assert records["tensorflow:graph"].stderr_tail == "its last words"


def test_what_was_measured_before_a_failure_is_kept():
    stage = Stage(tensorflow={"epoch": WorkerFailed("diverged", "the training loss became nan")})
    record = run(stage).by_label()["tensorflow:graph"]
    assert record.status == "diverged"
    assert [len(phase.samples) for phase in record.phases] == [3, 3]
    assert record.quality is None


def test_an_interrupt_ends_all_workers_and_leaves_a_record_of_each():
    class Interrupting(Ledger):
        def progress(self, block, step, setup, done):
            if step == "training":
                raise KeyboardInterrupt

    stage, ledger = Stage(), Interrupting()
    with pytest.raises(KeyboardInterrupt):
        run_block(block(*SETUPS), stage.launch, ledger)
    assert [it.status for it in ledger.records] == ["interrupted"] * 3
    assert all(worker.closed for worker in stage.workers.values())


def test_a_slow_step_is_given_time_before_it_counts_as_a_hang():
    limits = []

    class Slow(FakeWorker):
        def request(self, request, limit):
            reply = super().request(request, limit)
            if request.ask == "prepare":
                slow = [it.model_copy(update={"warmup": (90.0,)}) for it in reply.phases]
                return reply.model_copy(update={"phases": tuple(slow)})
            if request.ask == "sample":
                limits.append(limit)
            return reply

    run_block(block(SETUPS[0]), lambda asked, trial: Slow(asked, []), Ledger())
    assert min(limits) > 51 * 90


def test_progress_grows_to_one():
    shares = run(Stage()).shares
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == 1


def test_an_answer_to_another_question_is_a_failure():
    class Confused(FakeWorker):
        def request(self, request, limit):
            if request.ask == "sample":
                return super().request(request.model_copy(update={}), limit) and self._finish()
            return super().request(request, limit)

        def _finish(self):
            from harness.worker.messages import Finished

            return Finished(settings={})

    ledger = Ledger()
    run_block(block(SETUPS[0]), lambda asked, trial: Confused(asked, []), ledger)
    assert ledger.records[0].status == "failed"
    assert "finished" in (ledger.records[0].error or "")
