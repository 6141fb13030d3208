"""What a command leaves behind: results in their directory, and nothing anywhere else."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.runs import runner
from harness.runs.files import LONGEST_TEMPORARY, temporary_files
from tests.sweeps import needs
from tests.test_cli import ROOT, SHORT

SMALL = ("-t", "diabetes-regression")
TIMED = tuple(map(str, SHORT))


@pytest.fixture
def house(tmp_path):
    """A folder with a home, one for temporary files and the machine's lock, and results."""
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir()
    return tmp_path


def begin(house: Path, *words: str) -> subprocess.Popen[bytes]:
    environment = {it: os.environ[it] for it in os.environ if it not in ("TMPDIR", "SAMESTEP_LOCK")}
    own = {"HOME": str(house / "home"), "TMPDIR": str(house / "tmp"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "harness", *words, "-o", str(house / "results")]
    log = (house / "results.log").open("ab")
    with log:
        return subprocess.Popen(command, env=environment | own, stdout=log, stderr=log, cwd=house)


def end(house: Path, *words: str) -> None:
    code = begin(house, *words).wait(timeout=500)
    assert code == 0, (house / "results.log").read_text()


def left(house: Path) -> set[str]:
    """What lies outside the results directory, but for our log."""
    files = {str(it.relative_to(house)) for it in house.rglob("*") if not it.is_dir()}
    return {it for it in files if not it.startswith("results")}


def test_nothing_is_left_outside_of_the_results_directory(house):
    small = (*SMALL, "-f", "reference")
    end(house, "run", *small, *TIMED)
    end(house, "baseline", "save", "now", *small, "--deterministic")
    end(house, "check", "--baseline", "now", *small, "--deterministic")
    assert left(house) == {"tmp/samestep.lock"}
    assert not (house / "results" / runner.SCRATCH).exists()


@pytest.mark.slow
def test_nothing_is_left_of_frameworks_that_never_remove_their_temporary_files(house):
    needs("keras")
    end(house, "verify", *SMALL, "-f", "keras:tensorflow", "--dtype", "float32")
    assert left(house) == {"tmp/samestep.lock"}
    assert not (house / "results" / runner.SCRATCH).exists()


@pytest.mark.parametrize(
    "words",
    [
        ("run", *TIMED),
        ("verify",),
        pytest.param(("baseline", "save", "now"), marks=pytest.mark.slow),
        pytest.param(("check", "--baseline", "kept"), marks=pytest.mark.slow),
    ],
    ids=lambda it: it[0],
)
def test_what_a_killed_run_leaves_is_swept_by_the_next(house, words):
    scratch = house / "results" / runner.SCRATCH
    if "kept" in words:
        end(house, "baseline", "save", "kept", *SMALL, "-f", "reference", "--deterministic")
    killed = begin(house, *words, *SMALL, "-f", "reference")
    for _ in range(3000):
        time.sleep(0.02)
        if list(scratch.glob("data/*/x_train.npy")) or killed.poll() is not None:
            break
    assert killed.poll() is None
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert list(scratch.rglob("*.npy"))
    assert left(house) <= {"tmp/samestep.lock"}
    with contextlib.ExitStack() as stack:
        for _ in range(600):  # its children hold the lock until they notice that it is gone
            try:
                empty = stack.enter_context(runner.measuring(house / "results"))
                break
            except UsageError:
                time.sleep(0.1)
        assert [it.name for it in empty.iterdir()] == ["tmp"]
    assert not scratch.exists()


def test_a_folder_of_the_user_is_no_scratch(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "mine").touch()
    with runner.measuring(tmp_path):
        pass
    assert (tmp_path / "scratch" / "mine").exists()


PLACES = {"plain": "a", "long": "a" * LONGEST_TEMPORARY, "blank": "a b", "odd": "ä'$x"}


@pytest.mark.parametrize("place", PLACES)
def test_temporary_files_have_a_short_and_plain_path(tmp_path, monkeypatch, place):
    """In a folder with a long path nobody could make a socket, and compilers know no blanks."""
    monkeypatch.setenv("TMPDIR", "/tmp")
    folder = tmp_path / PLACES[place]
    code = (
        "import socket, subprocess, tempfile, os\n"
        "name = tempfile.mkdtemp() + '/listener-12345678'\n"
        "socket.socket(socket.AF_UNIX).bind(name)\n"
        "print(tempfile.gettempdir())"
    )
    with temporary_files(folder):
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert told.returncode == 0, told.stderr
        assert len(told.stdout.strip()) <= LONGEST_TEMPORARY
        assert not set(told.stdout.strip()) & set(" 'ä$")
        (made,) = folder.glob("*/listener-*")
        assert made.is_socket()
    assert os.environ["TMPDIR"] == "/tmp"


def test_without_names_of_open_files_the_user_s_own_folder_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/tmp")
    monkeypatch.setattr(os.path, "isdir", lambda _: False)
    with temporary_files(tmp_path / "a b"):
        assert os.environ["TMPDIR"] == "/tmp"
