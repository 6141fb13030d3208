"""One run at a time: the others refuse and say who it is; who dies holds nobody up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.runs import files
from harness.runs.files import LockHeld, held, machine_lock, measuring_alone
from harness.runs.runner import measuring
from harness.runs.store import open_existing
from tests.test_cli import ROOT

STARTS = 20
# The processes are forked after the imports, so that all are at the lock in the same millisecond.
RUNS = """
import os, sys, time
from pathlib import Path
from harness.errors import UsageError
from harness.runs import store as stores
from harness.runs.files import measuring_alone
from harness.runs.runner import measuring

def tell(line):
    os.write(1, f"{line}\\n".encode())  # at once, whoever else writes

def run(output):
    try:
        with measuring(output), measuring_alone(), stores.create(output) as store:
            tell(f"measuring {os.getpid()}")
            sys.stdin.read()
    except UsageError as error:
        tell(error)

at = time.time() + 0.3
for output in sys.argv[1:]:
    if not os.fork():
        time.sleep(max(0.0, at - time.time()))
        run(Path(output))
        os._exit(0)
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
"""


def begin(*outputs: Path) -> subprocess.Popen[str]:
    """A process that starts a run in each directory, all at once."""
    return subprocess.Popen(
        [sys.executable, "-c", RUNS, *map(str, outputs)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture(autouse=True)
def _own_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMESTEP_LOCK", str(tmp_path / "machine.lock"))


@pytest.mark.parametrize("apart", [False, True], ids=["one directory", "own directories"])
def test_of_many_runs_that_start_at_once_one_measures_and_the_others_name_it(tmp_path, apart):
    runs = begin(*(tmp_path / f"out{apart * number}" for number in range(STARTS)))
    told = [said(runs) for _ in range(STARTS)]
    runs.communicate("")
    (measures,) = [line.removeprefix("measuring ") for line in told if line.startswith("measuring")]
    where = "measuring on this machine" if apart else "writing here"
    for line in told:
        if line != f"measuring {measures}":
            assert f"another run is {where}: process {measures}, since " in line
            assert "wait for it to end" in line
    assert begun_and_ended(tmp_path / "out0")


def begun_and_ended(output: Path) -> bool:
    """Whether the directory can be held now."""
    with measuring(output), measuring_alone():
        return True


def test_who_was_killed_holds_nobody_up(tmp_path):
    runs = begin(tmp_path)
    pid = int(said(runs).removeprefix("measuring "))
    with open_existing(tmp_path) as store:  # reading is always allowed
        assert store.runs() == []
    with pytest.raises(UsageError, match=f"another run is writing here: process {pid}"):
        begun_and_ended(tmp_path)
    os.kill(pid, signal.SIGKILL)
    runs.communicate()
    assert json.loads((tmp_path / ".run.lock").read_text())["process"] == pid
    assert begun_and_ended(tmp_path)


def test_a_lock_is_waited_for_as_long_as_asked(tmp_path):
    with held(tmp_path / "lock"), pytest.raises(LockHeld), held(tmp_path / "lock", 0.05):
        pytest.fail("it is held")


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"{", b"[]", b'{"process": "x"}', b'{"process": -1}', b"9" * 99]
)
def test_a_holder_that_cannot_be_read_is_nobody_in_particular(tmp_path, monkeypatch, content):
    monkeypatch.setattr(files, "NAMED_SECONDS", 0.01)
    with held(tmp_path / "lock"):
        (tmp_path / "lock").write_bytes(content)
        with pytest.raises(LockHeld, match="does not say which"), held(tmp_path / "lock"):
            pytest.fail("it is held")


def test_a_link_is_no_lock(tmp_path, monkeypatch):
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "lock").symlink_to("theirs")
    with pytest.raises(OSError, match="symbolic link"), held(tmp_path / "lock"):
        pytest.fail("it is a link")
    monkeypatch.setenv("SAMESTEP_LOCK", str(tmp_path / "lock"))
    with pytest.raises(UsageError, match="SAMESTEP_LOCK"), measuring_alone():
        pytest.fail("it is a link")
    assert (tmp_path / "theirs").read_text() == "theirs"


def note(path: Path) -> None:
    path.write_text(json.dumps(dict.fromkeys(files.NOTE, 0)))


NO_LOCKS = {
    "a hard link": lambda path: os.link(path.with_name("theirs"), path),
    "not a regular file": os.mkfifo,
    "Is a directory": os.mkdir,
    "other content": lambda path: path.write_text("precious"),
    "other content than": lambda path: path.write_text('{"process": 1}'),
    "other content than a lock": lambda path: path.write_bytes(b"\xff" * 20_000),
}


@pytest.mark.parametrize("said", NO_LOCKS)
def test_what_is_no_lock_is_refused_and_stays_as_it_is(tmp_path, monkeypatch, said):
    note(tmp_path / "theirs")
    lock, output = tmp_path / "lock", tmp_path / "results"
    output.mkdir()
    for path in (lock, output / ".run.lock"):
        note(path.with_name("theirs"))
        NO_LOCKS[said](path)
    before = {it: it.read_bytes() for it in tmp_path.rglob("*") if it.is_file()}
    monkeypatch.setenv("SAMESTEP_LOCK", str(lock))
    with pytest.raises(UsageError, match=rf"lock: .*{said}.*SAMESTEP_LOCK"), measuring_alone():
        pytest.fail("it is no lock")
    with pytest.raises(UsageError, match=rf"\.run\.lock: cannot write.*{said}"), measuring(output):
        pytest.fail("it is no lock")
    assert {it: it.read_bytes() for it in tmp_path.rglob("*") if it.is_file()} == before


@pytest.mark.parametrize("content", [b"", bytes(300), None])
def test_what_a_holder_left_behind_is_a_lock(tmp_path, content):
    note(tmp_path / "lock")
    if content is not None:
        (tmp_path / "lock").write_bytes(content)
    with held(tmp_path / "lock"):
        assert json.loads((tmp_path / "lock").read_bytes())["process"] == os.getpid()
    assert (tmp_path / "lock").read_bytes() == b""


def test_the_lock_of_the_machine_is_one_for_all_its_users(monkeypatch, tmp_path):
    monkeypatch.delenv("SAMESTEP_LOCK")
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path))
    assert machine_lock() == tmp_path / "samestep.lock"
    with measuring_alone():
        assert (machine_lock().stat().st_mode & 0o777) == 0o666


def test_what_one_measures_is_not_hidden_by_an_error_of_its_own(tmp_path):
    """An error from inside is not mistaken for the lock's."""
    with pytest.raises(OSError, match="full"), measuring_alone():
        raise OSError(28, "full")
