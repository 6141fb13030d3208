"""Whatever is read, from files or from other processes, gives a value or an error of ours."""

from __future__ import annotations

import copy
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.analysis.summary import summarise_run
from harness.errors import HarnessError, UsageError
from harness.proof.pool import ANSWER, PROVE
from harness.records import Sample
from harness.runs.block import run_block
from harness.runs.config import RunConfig, resolve
from harness.runs.plan import make_plan
from harness.runs.process import WorkerFailed
from harness.runs.store import Store, make
from harness.tasks.spec import Task
from harness.tasks.variants import read_task_file
from harness.worker.messages import REPLY, REQUEST, Finish, Load, Prepare, TakeSample, TrainEpoch
from tests.builders import make_info
from tests.fakes import TASK, FakeWorker, Ledger, block, setup

NUMBERS = (
    st.integers()
    | st.floats()
    | st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**400, 1e308, 5e-324, -0.0])
)
WORDS = st.text(max_size=6) | st.sampled_from(
    [
        *("digits-mlp", "*", "[", "reference", "a:b", "cpu", "gpu:0", "float32", "both", "1/2"),
        *("2%", "10m", "batch_size=8", "width=1,2", "../x", "quick", "full", "\0", "\x1b[2J"),
    ]
)
LEAVES = st.none() | st.booleans() | NUMBERS | WORDS
VALUES = st.recursive(
    LEAVES,
    lambda it: st.lists(it, max_size=3) | st.dictionaries(WORDS, it, max_size=3),
    max_leaves=6,
)
FIELDS = sorted(set(RunConfig.model_fields) - {"data_dir", "task_file"})
"""What names a file is tried in tests/test_bad_input.py."""

SETUP = setup("reference", "replay")
LOAD = Load(task=TASK, setup=SETUP, seed=0, phases=("train",), data="nowhere")
HONEST_REQUESTS = [
    LOAD,
    Prepare(sample_seconds=0.03, warmup_seconds=0.3),
    TakeSample(phase="train", round=0, turn=0),
    TrainEpoch(epoch=0),
    Finish(limits=True),
]


def places(content: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to everything within a structure, itself included."""
    found = [at]
    if isinstance(content, dict):
        found += [path for key, it in content.items() for path in places(it, (*at, key))]
    elif isinstance(content, list):
        found += [path for key, it in enumerate(content) for path in places(it, (*at, key))]
    return found


def changed(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    content = copy.deepcopy(content)
    holder = content
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return content


def toml(content: Any) -> str:
    """An inline TOML value; JSON's texts, numbers and lists are TOML's."""
    if isinstance(content, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(it)}" for k, it in content.items()) + "}"
    if isinstance(content, list):
        return "[" + ", ".join(map(toml, content)) + "]"
    return json.dumps(content).replace("NaN", "nan").replace("Infinity", "inf")


@settings(max_examples=200)
@given(content=st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4))
def test_any_configuration_gives_a_plan_or_one_line(content):
    try:
        assert make_plan(resolve(None, content)).groups
    except HarnessError as caught:
        error = str(caught)
        assert error.isprintable()


GOOD_TASK = TASK.model_dump(mode="json") | {"name": "my-net"}
TASK_PLACES = places(GOOD_TASK)


@settings(max_examples=200)
@given(path=st.sampled_from(TASK_PLACES), value=VALUES)
def test_any_task_file_gives_tasks_or_one_line(tmp_path_factory, path, value):
    file = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    entry = changed(GOOD_TASK, path, value)
    file.write_text(f"task = [{toml(entry)}]\n", encoding="utf-8", errors="surrogatepass")
    try:
        (task,) = read_task_file(file)
        assert Task.model_validate_json(task.model_dump_json()) == task
    except UsageError as caught:
        error = str(caught)
        assert error.startswith(f"{file}: ")
        assert error.isprintable()


@settings(max_examples=100)
@given(content=st.binary(max_size=60) | VALUES.map(json.dumps).map(str.encode))
@pytest.mark.parametrize(
    "door", [REQUEST, REPLY, PROVE, ANSWER], ids=["ask", "reply", "prove", "answer"]
)
def test_any_bytes_are_a_message_or_none(door, content):
    try:
        message = door.validate_json(content)
    except ValidationError:
        return
    assert door.validate_json(message.model_dump_json()) == message


def replied(request) -> Any:
    worker = FakeWorker(SETUP, [])
    worker.reply(LOAD)
    return json.loads(worker.reply(request).model_dump_json())


REPLIES = {request.ask: replied(request) for request in HONEST_REQUESTS}
LIES = st.sampled_from(sorted(REPLIES)).flatmap(
    lambda ask: st.tuples(st.just(ask), st.sampled_from(places(REPLIES[ask])), VALUES)
)


class Liar(FakeWorker):
    """Answers one kind of request with something else than it should."""

    lie: tuple[str, tuple[Any, ...], Any] = ("", (), None)

    def reply(self, request):
        honest = super().reply(request)
        ask, path, value = self.lie
        if request.ask != ask:
            return honest
        try:
            told = changed(json.loads(honest.model_dump_json()), path, value)
            return REPLY.validate_json(json.dumps(told))
        except ValidationError:  # as WorkerProcess does
            raise WorkerFailed("failed", "the worker sent something that is no answer") from None


def empty_store() -> Store:
    connection = sqlite3.connect(":memory:")
    make(connection, Path("memory"))
    return Store(connection)


@settings(max_examples=200)
@given(lie=LIES)
def test_a_worker_that_lies_ends_its_own_trial_at_most(lie):
    """The run goes on, every trial ends in one record, and the result can be kept and read."""
    setups = (setup("pytorch"), setup("tensorflow", "graph"), SETUP)
    ledger = Ledger()

    def launch(asked, trial):
        worker = (Liar if asked == SETUP else FakeWorker)(asked, [])
        worker.lie = lie
        return worker

    asked = block(*setups, phases=("train",), task=TASK.model_copy(update={"epochs": 2}))
    run_block(asked, launch, ledger)
    records = ledger.by_label()
    assert len(ledger.records) == len(setups)
    assert {records[it.label].status for it in setups[:2]} == {"ok"}
    with empty_store() as store:
        store.add_run(make_info(name="a-run"), (TASK,))
        for it in ledger.records:
            store.start("a-run", it.trial, it.block, it.attempt, it.setup)
            store.end(it)
        run = store.load("a-run")
    assert {it.trial: it for it in run.records} == {it.trial: it for it in ledger.records}
    summarise_run(run)


@pytest.mark.parametrize(
    "field",
    [
        {"iterations": 0},
        {"seconds": 0.0},
        {"seconds": -1.0},
        {"round": 2**63},
        {"steal_seconds": 1e305},
        {"cpu_seconds": 1e10},
    ],
)
def test_a_sample_that_none_can_count_with_is_none(field):
    good = FakeWorker(SETUP, []).reply(TakeSample(phase="train", round=0, turn=0)).sample
    with pytest.raises(ValidationError):
        Sample.model_validate(good.model_dump() | field)
