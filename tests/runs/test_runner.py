"""A whole run with an engine whose times are given."""

from __future__ import annotations

import pytest

from harness.cells import Setup
from harness.errors import UsageError
from harness.runs import runner
from harness.runs.block import Block, run_block
from harness.runs.config import resolve
from harness.runs.plan import Arena, Plan
from harness.runs.store import create
from harness.tasks.data import Known, Teacher
from harness.tasks.spec import Task
from tests.fakes import TASK, FakeWorker, setup

OTHER = TASK.model_copy(update={"name": "other", "batch_size": 16})


class FakeEngine:
    """Runs blocks with fake workers; stops the runner at a given block."""

    def __init__(self, clock, stop_at: int | None = None) -> None:
        self.blocks: list[Block] = []
        self._clock = clock
        self._stop_at = stop_at

    def run(self, block, observer) -> None:
        self.blocks.append(block)
        self._clock.now += 10.0
        if len(self.blocks) == self._stop_at:

            def launch(asked, trial):
                raise KeyboardInterrupt

            run_block(block, launch, observer)
        run_block(block, lambda asked, trial: FakeWorker(asked, []), observer)


class Quiet:
    def block(self, number, of, block, seconds_left):
        assert number <= of
        assert seconds_left > 0

    def progress(self, block, step, setup, done):
        pass

    def ended(self, record):
        pass


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 0.0

    monkeypatch.setattr(runner.time, "monotonic", lambda: Clock.now)
    return Clock


def plan(tmp_path, **flags) -> Plan:
    config = resolve(None, {"blocks": 3, "seeds": 1, **flags})
    arenas = tuple(
        Arena(
            task,
            tuple(
                Setup.model_validate(it.model_dump() | {"task": task.name, "digest": task.digest})
                for it in (setup("pytorch"), setup("tensorflow", "graph"))
            ),
        )
        for task in (TASK, OTHER)
    )
    return Plan(config, tmp_path, arenas, ())


def start(plan, store, engine, tmp_path, done=None, name="a-run"):
    if done is None:
        store.add_run(runner.make_info(plan, name), plan.tasks)
        done = runner.finished_blocks(())
    data = {TASK.data: tmp_path}
    return runner.Runner(plan, name, store, engine, data, Quiet()).run(done)


def test_one_block_of_every_arena_before_the_second_of_any(tmp_path, clock):
    engine = FakeEngine(clock)
    with create(tmp_path) as store:
        assert start(plan(tmp_path), store, engine, tmp_path) == "all blocks done"
        loaded = store.load("a-run")
    assert [(it.number, it.task.name) for it in engine.blocks] == [
        (number, task.name) for number in range(3) for task in (TASK, OTHER)
    ]
    assert [it.trains for it in engine.blocks] == [True, True, False, False, False, False]
    assert len(loaded.records) == 3 * 2 * 2
    assert {it.status for it in loaded.records} == {"ok"}
    assert loaded.stopped_by == "all blocks done"
    assert loaded.seconds == 60.0


def test_a_seed_beyond_the_blocks_trains_without_timing(tmp_path, clock):
    engine = FakeEngine(clock)
    with create(tmp_path) as store:
        start(plan(tmp_path, blocks=1, seeds=3), store, engine, tmp_path)
    assert [(it.seed, it.trains, bool(it.phases)) for it in engine.blocks[::2]] == [
        (0, True, True),
        (1, True, False),
        (2, True, False),
    ]


def test_no_block_is_begun_that_would_end_after_the_budget(tmp_path, clock):
    engine = FakeEngine(clock)
    with create(tmp_path) as store:
        rule = start(plan(tmp_path, blocks=50, seeds=0, budget=45.0), store, engine, tmp_path)
    assert rule == "budget spent"
    assert clock.now <= 45.0
    assert len(engine.blocks) == 4


def test_at_least_one_block_runs_whatever_the_budget(tmp_path, clock):
    engine = FakeEngine(clock)
    with create(tmp_path) as store:
        start(plan(tmp_path, budget=0.001), store, engine, tmp_path)
    assert len(engine.blocks) == 1


def test_an_interrupted_run_is_resumed_where_it_stopped(tmp_path, clock):
    first, second = FakeEngine(clock, stop_at=3), FakeEngine(clock)
    made = plan(tmp_path)
    with create(tmp_path) as store:
        with pytest.raises(KeyboardInterrupt):
            start(made, store, first, tmp_path)
        cut = store.load("a-run")
        assert cut.stopped_by == "interrupted"
        done = runner.finished_blocks(cut.records)
        assert start(made, store, second, tmp_path, done) == "all blocks done"
        whole = store.load("a-run")
    assert len(first.blocks) + len(second.blocks) == 6 + 1
    assert second.blocks[0].attempt == 2
    assert {it.status for it in whole.records} == {"ok"}
    assert len({(it.setup, it.block) for it in whole.records}) == len(whole.records) == 12


def test_a_results_directory_is_held_by_one_run(tmp_path):
    second = runner.measuring(tmp_path)
    with runner.measuring(tmp_path), pytest.raises(UsageError, match="another run is writing"):
        second.__enter__()


def test_an_output_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write here"):
        runner.measuring(tmp_path / "file").__enter__()


def test_names_of_runs_do_not_collide(tmp_path):
    made = plan(tmp_path)
    first = runner.run_name(made, [])
    assert first.endswith("-quick")
    assert runner.run_name(made, [first]) == f"{first}-2"


def test_staged_data_is_there_while_it_runs_and_gone_after(tmp_path):
    task: Task = TASK.model_copy(update={"data": Teacher(train=64, test=16), "batch_size": 8})
    arena = Arena(task, (setup(),))
    made = Plan(resolve(None, {}), tmp_path, (arena,), ())
    with runner.staged_data(made, tmp_path / "scratch") as places:
        assert places[task.data].is_dir()
    assert list(tmp_path.iterdir()) == []


def test_data_that_cannot_be_read_leaves_nothing_behind(tmp_path):
    task = TASK.model_copy(update={"data": Known(name="mnist")})
    made = Plan(resolve(None, {}), tmp_path, (Arena(task, (setup(),)),), ())
    with pytest.raises(UsageError), runner.staged_data(made, tmp_path / "scratch"):
        pytest.fail("there is no MNIST here")
    assert list(tmp_path.iterdir()) == []
