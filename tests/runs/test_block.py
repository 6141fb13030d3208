"""Turns, with workers whose times are given."""

from __future__ import annotations

import pytest

from harness.runs.block import run_block
from harness.runs.process import WorkerFailed
from harness.worker.messages import Finish
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


def asked_and_answered(stage: Stage, *words: str) -> list[str]:
    return [word for word, _ in stage.journal if word in words]


def test_alone_each_worker_is_loaded_before_the_next_is_started():
    stage = Stage()
    run(stage, alone=True)
    assert asked_and_answered(stage, "load", "loaded") == ["load", "loaded"] * 3


def test_else_all_are_asked_to_load_before_the_first_is_waited_for():
    stage = Stage()
    run(stage, alone=False)
    assert asked_and_answered(stage, "load", "loaded") == ["load"] * 3 + ["loaded"] * 3


@pytest.mark.parametrize("alone", [True, False])
def test_workers_warm_up_one_by_one_and_are_ready_before_the_first_sample(alone):
    stage = Stage()
    run(stage, alone=alone)
    steps = asked_and_answered(stage, "load", "loaded", "prepare", "prepared", "sample")
    assert steps[6:12] == ["prepare", "prepared"] * 3
    assert set(steps[12:]) == {"sample"}


def test_a_record_says_whether_its_worker_started_alone():
    for alone in (True, False):
        records = run(Stage(), alone=alone).by_label().values()
        assert {it.alone for it in records} == {alone}
        assert {it.import_seconds for it in records} == {1.0}


def test_limits_are_measured_where_workers_are_alone_and_time_something():
    def limits(**fields):
        return {it.limits is not None for it in run(Stage(), **fields).records}

    assert limits(alone=True) == {True}
    assert limits(alone=False) == limits(alone=True, phases=()) == {False}


def test_a_twin_takes_every_turn_but_is_never_trained():
    stage, twin = Stage(), setup("pytorch", twin=True)
    ledger = Ledger()
    run_block(block(*SETUPS, twin), stage.launch, ledger)
    records = ledger.by_label()
    assert [len(it.samples) for it in records["pytorch:eager again"].phases] == [3, 3]
    assert records["pytorch:eager again"].quality is None
    assert records["pytorch:eager"].quality is not None
    assert ("epoch", "pytorch:eager again") not in stage.journal
    assert ledger.shares[-1] == 1


def test_both_lanes_take_turns_in_one_block():
    own = setup("pytorch", "eager", lane="idiomatic")
    ledger = Ledger()
    run_block(block(setup("pytorch"), own), Stage().launch, ledger)
    assert {it.setup.lane for it in ledger.records} == {"identical", "idiomatic"}
    assert {it.status for it in ledger.records} == {"ok"}


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


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("when", ["launch", "load", "prepare", "sample", "epoch", "finish"])
def test_a_worker_that_fails_leaves_the_others_to_go_on(when, alone):
    stage = Stage(tensorflow={when: WorkerFailed("crashed", "killed by SIGSEGV")})
    ledger = run(stage, alone=alone)
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


def test_first_calls_are_kept_of_a_worker_that_fails_while_warming_up():
    stage = Stage(tensorflow={"prepare": WorkerFailed("hung", "no answer")})
    record = run(stage).by_label()["tensorflow:graph"]
    assert [it.first_call for it in record.phases] == [0.2, 0.2]
    assert {it.warmup for it in record.phases} == {()}


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("when", ["warming up", "sampling", "training", "finishing"])
def test_an_interrupt_ends_all_workers_and_leaves_a_record_of_each(when, alone):
    class Interrupting(Ledger):
        def progress(self, block, step, setup, done):
            if step == when:
                raise KeyboardInterrupt

    stage, ledger = Stage(), Interrupting()
    with pytest.raises(KeyboardInterrupt):
        run_block(block(*SETUPS, alone=alone), stage.launch, ledger)
    assert [it.status for it in ledger.records] == ["interrupted"] * 3
    assert all(worker.closed for worker in stage.workers.values())


def test_an_interrupt_while_all_load_ends_those_that_were_started():
    class Interrupted(FakeWorker):
        def answer(self):
            raise KeyboardInterrupt

    workers, ledger = [], Ledger()

    def launch(asked, trial):
        workers.append(Interrupted(asked, []))
        return workers[-1]

    with pytest.raises(KeyboardInterrupt):
        run_block(block(*SETUPS, alone=False), launch, ledger)
    assert [it.status for it in ledger.records] == ["interrupted"] * 3
    assert [it.closed for it in workers] == [True] * 3


def test_a_slow_step_is_given_time_before_it_counts_as_a_hang():
    limits = []

    class Slow(FakeWorker):
        def ask(self, request, limit):
            if request.ask == "sample":
                limits.append(limit)
            super().ask(request, limit)

        def reply(self, request):
            reply = super().reply(request)
            if request.ask == "prepare":
                slow = [it.model_copy(update={"warmup": (90.0,)}) for it in reply.phases]
                return reply.model_copy(update={"phases": tuple(slow)})
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
        def reply(self, request):
            return super().reply(Finish() if request.ask == "sample" else request)

    ledger = Ledger()
    run_block(block(SETUPS[0]), lambda asked, trial: Confused(asked, []), ledger)
    assert ledger.records[0].status == "failed"
    assert "finished" in (ledger.records[0].error or "")


@pytest.mark.parametrize(
    ("ask", "change"),
    [
        ("load", {"phases": ()}),
        ("prepare", {"phases": ()}),
        ("prepare", {"warmup": ()}),
        ("prepare", {"iterations": 0}),
        ("sample", {"round": 7}),
        ("epoch", {"epoch": 7}),
    ],
)
def test_an_answer_that_does_not_fit_is_a_failure(ask, change):
    class Careless(FakeWorker):
        def reply(self, request):
            reply = super().reply(request)
            if request.ask != ask:
                return reply
            if ask in ("load", "prepare"):
                phases = [it.model_copy(update=change) for it in reply.phases]
                return reply.model_copy(update=change if "phases" in change else {"phases": phases})
            part = "sample" if ask == "sample" else "epoch"
            inner = getattr(reply, part).model_copy(update=change)
            return reply.model_copy(update={part: inner})

    ledger = Ledger()
    run_block(block(SETUPS[0]), lambda asked, trial: Careless(asked, []), ledger)
    (record,) = ledger.records
    assert record.status == "failed"
    assert f"to '{ask}', and not as it was asked" in (record.error or "")
