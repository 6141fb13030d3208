"""The store: nothing lost, nothing changed, nobody else's file touched."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap

import pytest

from harness.errors import StoreError, UsageError
from harness.records import RunInfo
from harness.runs import store as stores
from harness.runs.block import run_block
from harness.runs.resuming import finished_blocks
from tests.fakes import TASK, FakeWorker, Ledger, block, setup

SETUPS = (setup("pytorch"), setup("tensorflow", "graph"))


def info(name: str = "a-run") -> RunInfo:
    return RunInfo(
        name=name,
        created="2026-01-01T00:00:00+00:00",
        command=("python", "-m", "harness", "run"),
        config={"blocks": 1},
        machine={"cores": 2},
        versions={},
        environment={},
        commit=None,
    )


def records(**fields):
    ledger = Ledger()
    run_block(block(*SETUPS, **fields), lambda asked, trial: FakeWorker(asked, []), ledger)
    return ledger.records


@pytest.fixture
def store(tmp_path):
    with stores.create(tmp_path) as store:
        store.add_run(info(), (TASK,))
        yield store


def keep(store, measured):
    for record in measured:
        store.start("a-run", record.trial, record.block, record.attempt, record.setup)
        store.end(record)


def test_what_is_read_is_what_was_written(store):
    measured = records()
    keep(store, measured)
    store.stop("a-run", "all blocks done", 12.5)
    loaded = store.load("a-run")
    assert sorted(loaded.records, key=lambda it: it.trial) == sorted(
        measured, key=lambda it: it.trial
    )
    assert loaded.tasks == (TASK,)
    assert loaded.info == info()
    assert (loaded.stopped_by, loaded.seconds) == ("all blocks done", 12.5)


def test_a_trial_without_its_terminal_row_is_interrupted(store):
    store.start("a-run", "a-run/b000.1/x", 0, 1, SETUPS[0])
    (record,) = store.load("a-run").records
    assert record.status == "interrupted"
    assert finished_blocks((record,)).finished == {}


def test_of_a_block_begun_again_only_the_last_whole_attempt_counts(store):
    def counted():
        return {it.trial.split("/")[1] for it in store.load("a-run").records}

    keep(store, records(name="a-run/b000.1"))
    second = records(name="a-run/b000.2", attempt=2)
    keep(store, second[:1])
    assert counted() == {"b000.1"}  # the second was cut short
    keep(store, second[1:])
    assert counted() == {"b000.2"}
    third = records(name="a-run/b000.3", attempt=3)
    store.start("a-run", third[0].trial, 0, 3, third[0].setup)
    assert counted() == {"b000.2"}
    assert store.attempts("a-run") == {(*SETUPS[0].arena, 0): 3}


def test_rows_are_never_changed(store, tmp_path):
    keep(store, records())
    raw = sqlite3.connect(tmp_path / stores.FILE)
    for statement in ("UPDATE ended SET status = 'ok'", "DELETE FROM samples"):
        with pytest.raises(sqlite3.IntegrityError, match="never changed"):
            raw.execute(statement)
    raw.close()


def test_samples_and_terminal_row_stand_or_fall_together(store):
    (record, _) = records()
    double = record.phases[0].samples[0]
    broken = record.model_copy(
        update={"phases": (record.phases[0].model_copy(update={"samples": (double, double)}),)}
    )
    store.start("a-run", record.trial, 0, 1, record.setup)
    with pytest.raises(StoreError):
        store.end(broken)
    assert store.load("a-run").records[0].status == "interrupted"


def test_two_runs_of_one_name_are_refused(store):
    with pytest.raises(StoreError):
        store.add_run(info(), (TASK,))


def test_an_unknown_run_is_named_with_the_nearest(store):
    with pytest.raises(UsageError, match="did you mean 'a-run'"):
        store.load("a-rum")


def test_someone_elses_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / stores.FILE
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE mine (x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not one of samestep's"):
        stores.create(tmp_path)
    with pytest.raises(StoreError, match="not one of samestep's"):
        stores.open_existing(tmp_path)
    assert path.read_bytes()[:16] == before[:16]
    reopened = sqlite3.connect(path)
    assert [name for (name,) in reopened.execute("SELECT name FROM sqlite_master")] == ["mine"]
    reopened.close()


def test_no_database_at_all_is_refused(tmp_path):
    (tmp_path / stores.FILE).write_text("this is no database, but it is long enough to be one")
    with pytest.raises(StoreError):
        stores.create(tmp_path)


def test_a_newer_schema_is_refused(tmp_path):
    stores.create(tmp_path).__exit__()
    raw = sqlite3.connect(tmp_path / stores.FILE)
    raw.execute("PRAGMA user_version = 999")
    raw.commit()
    raw.close()
    with pytest.raises(StoreError, match="newer samestep"):
        stores.open_existing(tmp_path)


def test_reading_where_nothing_is_writes_nothing(tmp_path):
    with pytest.raises(UsageError, match="no results here"):
        stores.open_existing(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


WRITER = """
    import sys
    from pathlib import Path
    from harness.runs import store as stores
    from tests.fakes import setup
    from tests.runs.test_store import info
    with stores.create(Path(sys.argv[1])) as store:
        store.add_run(info(), ())
        for number in range(100_000):
            store.start("a-run", f"t{number}", number, 1, setup())
            print(number, flush=True)
"""


def test_no_acknowledged_row_is_lost_when_the_writer_is_killed(tmp_path):
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    acknowledged = [int(writer.stdout.readline()) for _ in range(40)]
    os.kill(writer.pid, signal.SIGKILL)
    acknowledged += [int(line) for line in writer.stdout if line.endswith("\n")]
    writer.wait()
    writer.stdout.close()
    raw = sqlite3.connect(tmp_path / stores.FILE)
    (kept,) = raw.execute("SELECT count(*) FROM started").fetchone()
    (sound,) = raw.execute("PRAGMA integrity_check").fetchone()
    raw.close()
    assert kept >= len(acknowledged)
    assert sound == "ok"


def test_many_processes_may_create_the_store_at_once(tmp_path):
    code = "import sys; from pathlib import Path; from harness.runs import store as s;"
    code += "s.create(Path(sys.argv[1])).__exit__()"
    makers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(6)]
    assert [maker.wait() for maker in makers] == [0] * 6
