"""The store: nothing lost, nothing changed, nobody else's file touched."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.summary import summarise_run
from harness.errors import HarnessError, StoreError, UsageError
from harness.records import RunInfo
from harness.runs import store as schema
from harness.runs import store as stores
from harness.runs.block import run_block
from harness.runs.plan import finished_blocks
from harness.runs.runner import measuring
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
    assert store.attempts("a-run") == {(*SETUPS[0].group, 0): 3}


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
    assert path.read_bytes() == before


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


NETWORKS = ("nfs4", "cifs", "fuse.sshfs", "9p", "ceph", "lustre", "afs", "smb3")


@pytest.fixture
def mounted(tmp_path, monkeypatch):
    """A mount table in which `share` below the folder has the type given."""

    def mount(kind: str) -> Path:
        system = tmp_path / "proc" / "self"
        system.mkdir(parents=True)
        (system.parent / "filesystems").write_text("\text4\n")
        share = tmp_path / "a share"
        escaped = str(share).replace(" ", r"\040")
        rows = ["/dev/root / ext4 rw 0 0", f"far:/x {escaped} {kind} rw 0 0"]
        rows += [f"/dev/sdb {escaped}/local ext4 rw 0 0"]
        (system / "mounts").write_text("\n".join(rows) + "\n")
        monkeypatch.setattr(psutil, "PROCFS_PATH", str(system.parent))
        return share

    return mount


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_store_on_a_network_is_refused_with_the_way_out(mounted, kind):
    share = mounted(kind)
    below = share / "results"
    for hold in (stores.create, lambda place: measuring(place).__enter__()):
        with pytest.raises(StoreError, match=rf"on {kind}, .*with -o;.*--shard 1/2.*`merge`"):
            hold(below)
    assert not share.exists()


def test_a_local_store_is_no_store_on_a_network(mounted, tmp_path):
    share = mounted("nfs")
    for near in (tmp_path / "a share of mine", share / "local"):
        stores.create(near).__exit__()
    (tmp_path / "link").symlink_to(share)
    with pytest.raises(StoreError, match="on nfs"):
        stores.create(tmp_path / "link" / "results")


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "apfs"])
def test_other_file_systems_are_fine(mounted, kind):
    stores.create(mounted(kind)).__exit__()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The file of a good store."""
    folder = tmp_path_factory.mktemp("whole")
    with stores.create(folder) as store:
        store.add_run(info(), (TASK,))
        keep(store, records())
        store.stop("a-run", "all blocks done", 12.5)
    return folder / stores.FILE


@settings(max_examples=150)
@given(
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=30),
    length=st.none() | st.integers(0, 10**6),
)
def test_a_damaged_store_is_read_or_refused(tmp_path_factory, whole, flips, length):
    folder = tmp_path_factory.getbasetemp() / "damaged"
    folder.mkdir(exist_ok=True)
    content = bytearray(whole.read_bytes())
    for place, flip in flips:
        content[place % len(content)] ^= flip
    (folder / stores.FILE).write_bytes(content[: length and length % len(content)])
    for suffix in ("-wal", "-shm"):
        (folder / f"{stores.FILE}{suffix}").unlink(missing_ok=True)
    try:
        with stores.open_existing(folder) as store:
            for name in store.runs():
                summarise_run(store.load(name))
    except HarnessError as error:
        caught = str(error)
        assert caught.isprintable()


def test_trials_of_a_task_that_the_run_has_not_are_damage(whole, tmp_path):
    path = tmp_path / stores.FILE
    path.write_bytes(whole.read_bytes())
    other = TASK.model_copy(update={"batch_size": 7}).model_dump_json()
    with closing(sqlite3.connect(path)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("UPDATE tasks SET spec = ?", (other,))
        connection.executescript(schema.guards(schema.TABLES))
        connection.commit()
    with (
        stores.open_existing(tmp_path) as store,
        pytest.raises(StoreError, match="of tasks that the run does not have: digits-mlp"),
    ):
        store.load("a-run")


class Odd(sqlite3.Connection):
    """Of a store in whose damaged schema a name is no text: SQLite quotes it as it is."""

    def execute(self, sql):
        if "quick_check" in sql:
            raise UnicodeDecodeError("utf-8", b"\xa0", 0, 1, "invalid start byte")
        return super().execute(sql)


def test_findings_that_are_no_text_are_damage(whole):
    with (
        closing(sqlite3.connect(whole, factory=Odd)) as connection,
        pytest.raises(StoreError, match="damaged"),
    ):
        schema.check(connection, whole)


def test_a_store_is_read_where_nothing_can_be_written(whole):
    """As an archive is: by a user who is not the superuser, whom no permission stops."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / stores.FILE).write_bytes(whole.read_bytes())
        (folder / stores.FILE).chmod(0o444)
        folder.chmod(0o555)
        child = os.fork()
        if not child:
            code = 1
            try:
                if os.geteuid() == 0:
                    os.setuid(65534)
                with stores.open_existing(folder) as store:
                    code = 0 if store.load("a-run").stopped_by else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        folder.chmod(0o755)
        assert os.listdir(folder) == [stores.FILE]
