"""What a resumed run has already, and when it refuses to go on."""

from __future__ import annotations

import time

import pytest

from harness.cli.run import run as run_verb
from harness.errors import UsageError
from harness.runs import machine, runner
from harness.runs.block import run_block
from harness.runs.plan import RETRIED, finished_blocks, refuse_changed
from harness.runs.process import WorkerFailed
from harness.runs.store import create
from tests.fakes import TASK, FakeWorker
from tests.modules import modules
from tests.runs.test_runner import FakeEngine, Quiet, plan


class Clock:
    now = 0.0


class Failing(FakeEngine):
    """In the blocks named, TensorFlow's worker fails with a status."""

    def __init__(self, status, blocks=(0, 1, 2)) -> None:
        super().__init__(Clock())
        self._status, self._failing = status, blocks

    def run(self, block, observer) -> None:
        self.blocks.append(block)

        def launch(asked, trial):
            fails = asked.framework == "tensorflow" and block.number in self._failing
            failure = {"sample": WorkerFailed(self._status, "so it goes")} if fails else {}
            return FakeWorker(asked, [], fails=failure)

        run_block(block, launch, observer)


def go(made, store, engine, tmp_path, *, retry=False, name="a-run", **fields):
    """Begins a run, or goes on with it."""
    if name in store.runs():
        done = finished_blocks(store.load(name).records, store.attempts(name), retry=retry)
    else:
        store.add_run(runner.make_info(made, name), made.tasks)
        done = finished_blocks(())
    given = (made, name, store, engine, {TASK.data: tmp_path}, Quiet())
    rule = runner.Runner(*given, **fields).run(done)
    return rule, store.load(name)


def test_failures_are_repeated_on_request_only_and_both_rows_are_kept(tmp_path):
    made = plan(tmp_path, tasks=(TASK,))
    with create(tmp_path) as store:
        _, first = go(made, store, Failing("crashed", (1, 2)), tmp_path)
        assert sorted(it.status for it in first.records) == ["crashed"] * 2 + ["ok"] * 7
        untouched = Failing("crashed")
        go(made, store, untouched, tmp_path)
        assert untouched.blocks == []
        again = Failing("crashed", (2,))
        _, second = go(made, store, again, tmp_path, retry=True)
        assert [(it.number, it.attempt) for it in again.blocks] == [(1, 2), (2, 2)]
        assert sorted(it.status for it in second.records) == ["crashed"] + ["ok"] * 8
        assert len({(it.block, it.setup) for it in second.records}) == len(second.records) == 9
        everything = [it for (it,) in store._connection.execute("SELECT status FROM ended")]
        assert len(everything) == 9 + 6
        assert everything.count("crashed") == 3
        last = Failing("crashed", ())
        go(made, store, last, tmp_path, retry=True)
        assert [(it.number, it.attempt) for it in last.blocks] == [(2, 3)]


@pytest.mark.parametrize("status", sorted({*RETRIED, "unsupported"} - {"interrupted"}))
def test_what_is_unsupported_is_no_failure(tmp_path, status):
    made, again = plan(tmp_path, tasks=(TASK,), blocks=1), Failing("crashed", ())
    with create(tmp_path) as store:
        go(made, store, Failing(status), tmp_path)
        go(made, store, again, tmp_path, retry=True)
    assert len(again.blocks) == (status != "unsupported")


def test_a_retry_that_was_cut_short_takes_nothing_away(tmp_path):
    made = plan(tmp_path, tasks=(TASK,), blocks=1)
    cut, again = FakeEngine(Clock(), stop_at=1), Failing("crashed", ())
    with create(tmp_path) as store:
        _, before = go(made, store, Failing("crashed"), tmp_path)
        with pytest.raises(KeyboardInterrupt):
            go(made, store, cut, tmp_path, retry=True)
        assert store.load("a-run").records == before.records
        go(made, store, again, tmp_path, retry=True)
        assert again.blocks[0].attempt == 3
        assert {it.status for it in store.load("a-run").records} == {"ok"}


def test_a_block_of_which_some_trials_were_never_begun_is_not_done(tmp_path):
    """The first worker had crashed, and then the runner was killed."""
    made, rest = plan(tmp_path, tasks=(TASK,)), FakeEngine(Clock())
    with create(tmp_path) as store:
        _, whole = go(made, store, Failing("crashed", ()), tmp_path, name="whole")
        store.add_run(runner.make_info(made, "a-run"), made.tasks)
        first = next(it for it in whole.records if it.block == 0)
        crashed = first.model_copy(update={"trial": "a-run/b000.1/x", "status": "crashed"})
        store.start("a-run", crashed.trial, 0, 1, crashed.setup)
        store.end(crashed)
        go(made, store, rest, tmp_path)
    assert [(it.number, it.attempt) for it in rest.blocks] == [(0, 2), (1, 1), (2, 1)]


def test_a_request_to_end_lets_the_block_under_way_come_to_its_end(tmp_path):
    made, engine, display = plan(tmp_path, tasks=(TASK,)), FakeEngine(Clock()), Quiet()
    with create(tmp_path) as store:
        store.add_run(runner.make_info(made, "a-run"), made.tasks)
        given = (made, "a-run", store, engine, {TASK.data: tmp_path}, display)
        rule = runner.Runner(*given, ending=lambda: len(engine.blocks) == 2).run(
            finished_blocks(())
        )
        run = store.load("a-run")
    assert rule == run.stopped_by == "interrupted"
    assert len(engine.blocks) == 2
    assert {it.status for it in run.records} == {"ok"}
    assert len(run.records) == 2 * 3
    assert display.notes == ["ending with this block; interrupt once more to end at once"]


def test_a_run_goes_on_only_as_it_began(tmp_path, monkeypatch):
    made = plan(tmp_path, tasks=(TASK,))
    with create(tmp_path) as store:
        _, run = go(made, store, FakeEngine(Clock()), tmp_path)
    refuse_changed(run, made)
    changed = plan(tmp_path, tasks=(TASK.model_copy(update={"batch_size": 8}),))
    with pytest.raises(UsageError, match="task 'digits-mlp' is another one now; start a new one"):
        refuse_changed(run, changed)
    versions = machine.versions()
    newer = versions | {"python": "4.0"}
    monkeypatch.setattr(machine, "versions", lambda _: newer)
    with pytest.raises(UsageError, match=r"python was 3.* and is 4\.0"):
        refuse_changed(run, made)
    monkeypatch.setattr(machine, "versions", lambda _: versions | {"scipy": "another"})
    refuse_changed(run, made)  # no framework of this run
    here = machine.fingerprint()
    monkeypatch.setattr(machine, "fingerprint", lambda: here | {"cores": 1000})
    with pytest.raises(UsageError, match=r"cores was .* and is 1000"):
        refuse_changed(run, made)


def test_failures_can_be_repeated_of_a_run_that_is_resumed_only(tmp_path):
    with pytest.raises(UsageError, match="--retry-failed goes with --resume RUN"):
        run_verb(output=tmp_path, retry_failed=True)


def test_a_wall_clock_that_jumps_about_changes_no_duration_and_no_order(tmp_path, monkeypatch):
    """Steps of an hour, back and forth; only the stamps of rows are of that clock."""
    hours = iter(range(10**6))
    monkeypatch.setattr("time.time", lambda: 1e9 + 3600 * (-1) ** next(hours) * next(hours))
    made = plan(tmp_path, tasks=(TASK,))
    with create(tmp_path) as store:
        for name in ("first", "second", "third"):
            begin = time.monotonic()
            _, run = go(made, store, FakeEngine(Clock()), tmp_path, name=name)
            assert run.seconds is not None
            assert 0 < run.seconds <= time.monotonic() - begin
        assert store.runs() == ["first", "second", "third"]


def test_no_duration_is_taken_from_the_wall_clock():
    """Only the store stamps its rows with it."""
    said = {
        name
        for name, path in modules("harness").items()
        if "time.time()" in path.read_text(encoding="utf-8")
    }
    assert said == {"harness.runs.store"}
