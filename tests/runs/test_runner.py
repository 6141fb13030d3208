"""A whole run with an engine whose times are given."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from harness.analysis.summary import summarise_run
from harness.cells import Setup
from harness.errors import UsageError
from harness.runs import runner
from harness.runs.block import Block, run_block
from harness.runs.config import resolve
from harness.runs.contention import QuietWait
from harness.runs.plan import Group, Plan, finished_blocks
from harness.runs.store import create
from harness.tasks.spec import Known, Task, Teacher
from harness.worker.messages import Sampled
from tests.builders import certified
from tests.fakes import TASK, FakeWorker, setup

OTHER = TASK.model_copy(update={"name": "other", "batch_size": 16})


class FakeEngine:
    """Runs blocks with fake workers; stops the runner at a given block.

    `steps` are the seconds of a step, by block, framework and round.
    """

    def __init__(self, clock, stop_at: int | None = None, steps=None, worker=FakeWorker) -> None:
        self.blocks: list[Block] = []
        self._clock = clock
        self._stop_at = stop_at
        self._steps = steps or (lambda number, framework, round_: 1e-3)
        self._worker = worker

    def run(self, block, observer) -> None:
        self.blocks.append(block)
        self._clock.now += 10.0
        if len(self.blocks) == self._stop_at:

            def launch(asked, trial):
                raise KeyboardInterrupt

            run_block(block, launch, observer)
        run_block(block, lambda asked, trial: self._launch(block.number, asked), observer)

    def _launch(self, number, asked):
        def seconds(phase, round_):
            return self._steps(number, asked.framework, round_)

        return self._worker(asked, [], seconds)


class Quiet:
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)

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


def plan(tmp_path, tasks=(TASK, OTHER), **flags) -> Plan:
    config = resolve(None, {"blocks": 3, "seeds": 1, "repeat_noisy": True, **flags})
    setups = [setup("pytorch"), setup("tensorflow", "graph")]
    setups += [setup("pytorch", twin=True)] if config.twin else []
    groups = tuple(
        Group(
            task,
            tuple(
                Setup.model_validate(it.model_dump() | {"task": task.name, "digest": task.digest})
                for it in setups
            ),
        )
        for task in tasks
    )
    return Plan(config, tmp_path, groups, ())


def start(plan, store, engine, tmp_path, done=None, name="a-run", display=None):
    if done is None:
        store.add_run(runner.make_info(plan, name), plan.tasks)
        done = finished_blocks(())
    data = {TASK.data: tmp_path}
    return runner.Runner(plan, name, store, engine, data, display or Quiet()).run(done)


def test_one_block_of_every_group_before_the_second_of_any(tmp_path, clock):
    engine = FakeEngine(clock)
    with create(tmp_path) as store:
        assert start(plan(tmp_path), store, engine, tmp_path) == "all blocks done"
        loaded = store.load("a-run")
    assert [(it.number, it.task.name) for it in engine.blocks] == [
        (number, task.name) for number in range(3) for task in (TASK, OTHER)
    ]
    assert [it.trains for it in engine.blocks] == [True, True, False, False, False, False]
    assert len(loaded.records) == 3 * 2 * 3
    assert {it.status for it in loaded.records} == {"ok"}
    assert loaded.stopped_by == "all blocks done"
    assert loaded.seconds == 60.0


def test_before_every_block_it_waits_for_a_quiet_machine(tmp_path, clock):
    waited = []

    class Patient(QuietWait):
        def before(self, threads):
            waited.append((len(engine.blocks), threads))

    engine, one = FakeEngine(clock), plan(tmp_path, tasks=(TASK,))
    with create(tmp_path) as store:
        store.add_run(runner.make_info(one, "a-run"), one.tasks)
        wait, data = Patient(60.0, print), {TASK.data: tmp_path}
        runner.Runner(one, "a-run", store, engine, data, Quiet(), quiet=wait).run(
            finished_blocks(())
        )
    assert waited == [(0, 1), (1, 1), (2, 1)]


def field(tmp_path, **flags) -> Plan:
    """One comparison of three setups and a twin, to ±2 %."""
    one = plan(tmp_path, tasks=(TASK,), precision=0.02, seeds=0, blocks=20, **flags)
    (group,) = one.groups
    third = setup("reference", "replay")
    return replace(one, groups=(replace(group, setups=(*group.setups, third)),))


def only_tensorflow_varies(number, framework, round_):
    """Seconds of a step: the ratio of one setup is anybody's guess until block 14."""
    wild = 1 + number % 2 if number < 14 else 1.5
    return {"pytorch": 1e-3, "tensorflow": wild * 1e-3, "reference": 5e-4}[framework]


def test_whose_ratio_is_known_rests_and_the_others_go_on(tmp_path, clock):
    engine, display = FakeEngine(clock, steps=only_tensorflow_varies), Quiet()
    with create(tmp_path) as store:
        rule = start(field(tmp_path), store, engine, tmp_path, display=display)
        run = store.load("a-run")
    sizes = [len(it.setups) for it in engine.blocks]
    first = sizes.index(3)
    assert sizes == [4] * first + [3] * (len(sizes) - first)
    assert {it.framework for it in engine.blocks[-1].setups} == {"pytorch", "tensorflow"}
    (told,) = [it for it in display.notes if "resting" in it]
    assert told == (
        f"{TASK.name}, block {first - 1}: known well enough and resting: reference:replay"
    )
    assert rule == "all blocks done"
    proofs = certified(run.records)
    summary = summarise_run(run.model_copy(update={"certificates": proofs}))
    (standing,) = summary.standings
    counts = {it.label: it.n for it in standing.widths if it.phase == "train"}
    assert counts == {"reference:replay": first, "tensorflow:graph": 20}
    assert {it.label: it.known for it in standing.widths if it.phase == "train"} == {
        "reference:replay": True,
        "tensorflow:graph": False,
    }
    (table, _) = summary.tables
    assert {row.cell.setup.label: row.step.n for row in table.rows} == {
        "pytorch:eager": 20,
        "reference:replay": first,
        "tensorflow:graph": 20,
    }


@pytest.mark.parametrize("at", [5, 11, 14])
def test_a_resumed_run_rests_whom_the_whole_one_rested(tmp_path, clock, at):
    whole = FakeEngine(clock, steps=only_tensorflow_varies)
    with create(tmp_path / "whole") as store:
        start(field(tmp_path), store, whole, tmp_path)
    engine = FakeEngine(clock, stop_at=at, steps=only_tensorflow_varies)
    with create(tmp_path / "cut") as store:
        with pytest.raises(KeyboardInterrupt):
            start(field(tmp_path), store, engine, tmp_path)
        run = store.load("a-run")
        done = finished_blocks(run.records, store.attempts("a-run"))
        start(field(tmp_path), store, engine, tmp_path, done)
    made = {it.number: it.setups for it in engine.blocks}
    assert made == {it.number: it.setups for it in whole.blocks}
    assert len(engine.blocks) == len(whole.blocks) + 1


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


def test_what_does_not_fit_into_the_budget_holds_up_nobody_who_does(tmp_path, clock):
    endless = OTHER.model_copy(update={"epochs": 10_000})
    engine = FakeEngine(clock)
    with create(tmp_path) as store:
        made = plan(tmp_path, (TASK, endless), blocks=3, seeds=1, budget=45.0)
        rule = start(made, store, engine, tmp_path)
    assert rule == "budget spent"
    assert [it.task.name for it in engine.blocks] == [TASK.name] * 3
    assert clock.now <= 45.0


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
        done = finished_blocks(cut.records)
        assert start(made, store, second, tmp_path, done) == "all blocks done"
        whole = store.load("a-run")
    assert len(first.blocks) + len(second.blocks) == 6 + 1
    assert second.blocks[0].attempt == 2
    assert {it.status for it in whole.records} == {"ok"}
    assert len({(it.setup, it.block) for it in whole.records}) == len(whole.records) == 18


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
    first = runner.run_name(made, [], tmp_path)
    assert first.endswith("-quick")
    assert runner.run_name(made, [first], tmp_path) == f"{first}-2"
    # A folder whose store is gone is nobody's to write over; neither is what a link leads to.
    (tmp_path / f"{first}-2").symlink_to("nowhere")
    assert runner.run_name(made, [first], tmp_path) == f"{first}-3"
    # Two machines that begin in the same minute differ in their shards.
    assert runner.run_name(plan(tmp_path, shard="2/3"), [], tmp_path).endswith("-quick-2of3")


def test_staged_data_is_there_while_it_runs_and_gone_after(tmp_path):
    task: Task = TASK.model_copy(update={"data": Teacher(train=64, test=16), "batch_size": 8})
    group = Group(task, (setup(),))
    made = Plan(resolve(None, {}), tmp_path, (group,), ())
    with runner.staged_data(made, tmp_path / "scratch") as places:
        assert places[task.data].is_dir()
    assert list(tmp_path.iterdir()) == []


def test_data_that_cannot_be_read_leaves_nothing_behind(tmp_path):
    task = TASK.model_copy(update={"data": Known(name="mnist")})
    made = Plan(resolve(None, {}), tmp_path, (Group(task, (setup(),)),), ())
    with pytest.raises(UsageError), runner.staged_data(made, tmp_path / "scratch"):
        pytest.fail("there is no MNIST here")
    assert list(tmp_path.iterdir()) == []


def steady(number, framework, round_):
    """TensorFlow takes twice as long, and neither is ever quite the same."""
    wave = 1 + 0.002 * math.sin(7 * number + 3 * round_ + len(framework))
    return wave * (2e-3 if framework == "tensorflow" else 1e-3)


class Waiting(FakeWorker):
    """On a machine where others want the cores as well."""

    def reply(self, request):
        reply = super().reply(request)
        if isinstance(reply, Sampled):
            told = {"pressure_seconds": 0.6 * reply.sample.seconds}
            return Sampled(sample=reply.sample.model_copy(update=told))
        return reply


def test_a_run_ends_when_every_ratio_is_known_well_enough(tmp_path, clock):
    engine, display = FakeEngine(clock, steps=steady), Quiet()
    made = plan(tmp_path, tasks=(TASK,), blocks=24, precision="2%")
    with create(tmp_path) as store:
        assert start(made, store, engine, tmp_path, display=display) == "precision reached"
        loaded = store.load("a-run")
    assert loaded.stopped_by == "precision reached"
    assert 8 <= len(engine.blocks) < 12
    assert [it.split(": ")[1] for it in display.notes] == ["precision reached, no more are timed"]


def test_noisy_blocks_are_kept_and_others_added(tmp_path, clock):
    engine, display = FakeEngine(clock, worker=Waiting), Quiet()
    made = plan(tmp_path, tasks=(TASK,), blocks=6, seeds=0)
    with create(tmp_path) as store:
        assert start(made, store, engine, tmp_path, display=display) == "all blocks done"
        loaded = store.load("a-run")
    assert [it.number for it in engine.blocks] == list(range(6 + 2))
    assert len(loaded.records) == 3 * 8
    assert [it.rpartition(" and ")[2] for it in display.notes] == (
        ["one is added"] * 2 + ["no more are added"] * 6
    )


def test_a_noisy_block_that_ends_the_timing_promises_no_other(tmp_path, clock):
    engine, display = FakeEngine(clock, worker=Waiting, steps=steady), Quiet()
    made = plan(tmp_path, tasks=(TASK,), blocks=24, precision="2%", seeds=0)
    with create(tmp_path) as store:
        assert start(made, store, engine, tmp_path, display=display) == "precision reached"
    assert "precision reached" in display.notes[-1]
    assert display.notes[-2].endswith("no more are added")


@pytest.mark.parametrize("stop_at", [2, 7, 9])
@pytest.mark.parametrize("worker", [FakeWorker, Waiting])
def test_a_resumed_run_ends_where_it_would_have(tmp_path, clock, stop_at, worker):
    made = plan(tmp_path, tasks=(TASK,), blocks=9, precision="0.1%", seeds=2)
    whole = FakeEngine(clock, steps=steady, worker=worker)
    first = FakeEngine(clock, stop_at=stop_at, steps=steady, worker=worker)
    second = FakeEngine(clock, steps=steady, worker=worker)
    with create(tmp_path) as store:
        rule = start(made, store, whole, tmp_path)
        with pytest.raises(KeyboardInterrupt):
            start(made, store, first, tmp_path, name="cut")
        done = finished_blocks(store.load("cut").records)
        assert start(made, store, second, tmp_path, done, name="cut") == rule
        ends = [store.load(name).records for name in ("a-run", "cut")]
    assert {(it.block, it.setup.id) for it in ends[0]} == {
        (it.block, it.setup.id) for it in ends[1]
    }
    assert len(first.blocks) + len(second.blocks) == len(whole.blocks) + 1


def test_a_finished_run_that_is_resumed_runs_nothing(tmp_path, clock):
    made = plan(tmp_path, tasks=(TASK,), blocks=24, precision="2%")
    again = FakeEngine(clock)
    with create(tmp_path) as store:
        start(made, store, FakeEngine(clock, steps=steady), tmp_path)
        done = finished_blocks(store.load("a-run").records)
        assert start(made, store, again, tmp_path, done) == "precision reached"
    assert again.blocks == []
