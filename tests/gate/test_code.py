"""Older code: where it comes from, and that a worker really runs it."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from harness.errors import UsageError
from harness.gate import older_code
from harness.gate.check import DEFAULTS, check
from harness.gate.judging import Thresholds
from harness.gate.older_code import located, revision, sides
from harness.gate.timing import older
from harness.runs.config import resolve
from harness.runs.engines import LocalEngine
from harness.runs.plan import make_plan
from harness.runs.process import ROOT
from tests.fakes import Ledger, block
from tests.gate.making import SETUP


def commit(root, message):
    identity = ("-c", "user.name=a", "-c", "user.email=a@localhost", "-c", "commit.gpgsign=false")
    words = ("commit", "-q", "--allow-empty", "-m", message)
    subprocess.run(["git", "-C", str(root), *identity, *words], check=True)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A checkout with one commit, whose code is then changed."""
    root = tmp_path / "checkout"
    for room in older_code.ROOMS:
        (root / room).mkdir(parents=True)
        (root / room / "__init__.py").write_text("old = True\n")
    (root / "unrelated.txt").write_text("not needed")
    if shutil.which("git") is None:
        pytest.skip("no git here")
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    subprocess.run(["git", "-C", str(root), "add", "-A"], check=True)
    commit(root, "first")
    (root / "harness" / "__init__.py").write_text("old = False\n")
    monkeypatch.setattr(older_code, "ROOT", root)
    return root


def test_a_revision_is_unpacked_and_the_checkout_left_alone(repository, tmp_path):
    (tmp_path / "folder").mkdir()
    both = sides("HEAD", tmp_path / "folder", repository)
    assert (both.before / "harness" / "__init__.py").read_text() == "old = True\n"
    assert (both.now / "harness" / "__init__.py").read_text() == "old = False\n"
    assert len(str(both.now)) == len(str(both.before))
    assert not (both.before / "unrelated.txt").exists()
    told = subprocess.run(
        ["git", "-C", str(repository), "worktree", "list"], capture_output=True, text=True
    )
    assert len(told.stdout.splitlines()) == 1


def test_a_folder_with_an_installed_version_will_do(repository, tmp_path):
    (tmp_path / "folder").mkdir()
    assert sides(str(repository), tmp_path / "folder").before.resolve() == repository


@pytest.mark.parametrize("word", ["never", "--output=x", "HEAD~1", ""])
def test_what_is_neither_is_refused(repository, tmp_path, word):
    assert revision(word) is None
    with pytest.raises(UsageError, match="no git revision"):
        sides(word, tmp_path)


def shallow(repository, monkeypatch):
    for number in range(2):
        commit(repository, f"change {number}")
    copy = repository.with_name("shallow")
    subprocess.run(
        ["git", "clone", "-q", "--depth", "1", f"file://{repository}", str(copy)], check=True
    )
    monkeypatch.setattr(older_code, "ROOT", copy)


REASONS = {
    "git config --global --add safe.directory": lambda _, patch: patch.setenv(
        "GIT_TEST_ASSUME_DIFFERENT_OWNER", "1"
    ),
    "git fetch --unshallow": shallow,
    "git is not installed": lambda _, patch: patch.setenv("PATH", ""),
    "not a git repository": lambda root, _: shutil.rmtree(root / ".git"),
}


@pytest.mark.parametrize("said", REASONS)
def test_why_there_is_no_revision_is_said_in_the_words_of_git(repository, monkeypatch, said):
    REASONS[said](repository, monkeypatch)
    with pytest.raises(UsageError, match="no git revision") as told:
        located("HEAD~1")
    assert said in str(told.value)
    assert revision("HEAD~1") is None


def test_a_worker_runs_the_code_of_its_folder(tmp_path):
    worker = tmp_path / "old" / "harness" / "worker"
    worker.mkdir(parents=True)
    (worker.parent / "__init__.py").touch()
    (worker / "__init__.py").touch()
    (worker / "__main__.py").write_text("raise SystemExit(37)\n")
    ledger, setup = Ledger(), older(SETUP)
    LocalEngine(tmp_path / "logs", None, {setup: tmp_path / "old"}).run(block(setup), ledger)
    (record,) = ledger.records
    assert (record.status, record.error) == ("crashed", "exited with code 37")


def _check(plan, older, folder):
    limits = Thresholds()
    return check(plan, None, str(older), limits, lambda text: None, folder, checkpoints=(2,))


def test_old_and_new_are_compared_and_timed_for_real(tmp_path):
    for room in older_code.ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.rmtree(tmp_path / "harness" / "gate")  # a revision from before there was a gate
    flags = {
        "tasks": ("diabetes-regression",),
        "frameworks": ("reference:replay",),
        "phases": ("train",),
        "rounds": 2,
    }
    plan, folder = make_plan(resolve(None, DEFAULTS | flags)), tmp_path / "scratch"
    found = check(
        plan, None, str(tmp_path), Thresholds(), lambda text: None, folder, checkpoints=(2,)
    )
    by_what = {it.what: it for it in found.lines if it.phase in (None, "train")}
    assert by_what["losses"].detail == "to the bit"
    assert by_what["logical peak"].change == 0
    assert by_what["speed"].detail.startswith("2 blocks")
    assert by_what["speed"].outcome == "cannot tell"
    assert (found.speed, found.exit_code) == ("turns", 7)
    shutil.rmtree(folder)
    # What older code cannot do says nothing of this code.
    (tmp_path / "impls" / "reference" / "adapter.py").write_text("raise ImportError('too old')\n")
    found = check(
        plan, None, str(tmp_path), Thresholds(), lambda text: None, folder, checkpoints=(2,)
    )
    assert found.outcome == "not comparable"
    assert re.search(r"older code cannot do it.*too old", found.note)
