"""Disks that fill up, cannot be written, or lose the results directory meanwhile."""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
import subprocess
import sys

import pytest
from rich.console import Console

from harness.cli import results
from harness.cli import run as run_verb
from harness.errors import ReportError, StoreError, UsageError
from harness.runs import runner
from harness.runs.plan import finished_blocks
from harness.runs.store import FILE, StoreGone, create, open_existing
from tests.builders import make_run, measured
from tests.fakes import TASK, FakeWorker
from tests.runs.test_resuming import Clock, go
from tests.runs.test_runner import FakeEngine, Quiet, plan


class Disk:
    """A small file system in memory."""

    def __init__(self, folder, size: str) -> None:
        self.folder = folder
        folder.mkdir()
        self._call("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)

    def remount(self, option: str) -> None:
        self._call("mount", "-o", f"remount,{option}", folder := self.folder)
        assert os.path.ismount(folder)

    def close(self) -> None:
        self._call("umount", "-l", self.folder)

    @staticmethod
    def _call(*words) -> None:
        subprocess.run([str(it) for it in words], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path):
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    made = []

    def make(size):
        try:
            made.append(Disk(tmp_path / f"disk{len(made)}", size))
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no file system can be mounted here: {error.stderr.decode()}")
        return made[-1]

    yield make
    for it in made:
        it.close()


class Watched(FakeWorker):
    """Notes whether it was closed."""

    alive: set[FakeWorker] = set()  # noqa: RUF012

    def __init__(self, *given) -> None:
        super().__init__(*given)
        self.alive.add(self)

    def close(self) -> None:
        super().close()
        self.alive.discard(self)


def test_a_disk_that_fills_up_ends_the_run_and_loses_nothing(disk, tmp_path):
    small = disk("600k")
    made = plan(tmp_path, tasks=(TASK,), blocks=60, rounds=20)
    told = Quiet()
    with create(small.folder) as store:
        store.add_run(runner.make_info(made, "a-run"), made.tasks)
        told.records = []
        told.ended = told.records.append
        engine = FakeEngine(Clock(), worker=Watched)
        given = (made, "a-run", store, engine, {TASK.data: tmp_path}, told)
        with pytest.raises(StoreError, match="could not be written: database or disk is full"):
            runner.Runner(*given).run(finished_blocks(()))
        assert not Watched.alive
        assert len(told.records) > 3
    small.remount("size=8m")
    with create(small.folder) as store:
        kept = {it.trial: it for it in store.records("a-run")}
        assert all(kept[it.trial] == it for it in told.records)
        rule, run = go(made, store, FakeEngine(Clock()), tmp_path)
    assert rule == "all blocks done"
    assert len({(it.block, it.setup) for it in run.records}) == len(run.records) == 60 * 3
    with sqlite3.connect(small.folder / FILE) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    raw.close()


def test_a_disk_that_is_full_when_the_report_is_written(disk):
    small, run = disk("64k"), make_run(measured())
    console = Console(record=True, width=80, file=io.StringIO())
    with pytest.raises(ReportError, match="No space left on device; all results are kept") as told:
        run_verb._finish(run, small.folder, console)
    assert "python -m harness report 2026-01-02-fast-fox -o" in str(told.value)
    assert told.value.exit_code == 4
    assert "× pytorch:eager" in console.export_text()  # the terminal has it all the same
    assert not list(small.folder.rglob("*.tmp"))
    assert not list(small.folder.rglob("report.html"))


def stored(folder, tmp_path):
    made = plan(tmp_path, tasks=(TASK,), blocks=1)
    with create(folder) as store:
        go(made, store, FakeEngine(Clock()), tmp_path)


def test_results_that_cannot_be_written_can_be_read(disk, tmp_path, capsys):
    fixed, made = disk("4m"), plan(tmp_path, tasks=(TASK,), blocks=1)
    with create(fixed.folder) as store:
        go(made, store, FakeEngine(Clock()), tmp_path)
    before = {it.name for it in fixed.folder.iterdir()}
    fixed.remount("ro")
    results.show(output=fixed.folder)
    assert "pytorch:eager" in capsys.readouterr().out
    with pytest.raises(UsageError, match="cannot write here: Read-only file system"):
        run_verb.run(["digits-mlp"], ["reference"], output=fixed.folder, quiet=True)
    assert {it.name for it in fixed.folder.iterdir()} == before


@pytest.mark.parametrize("again", [False, True])
def test_a_results_directory_that_is_deleted_meanwhile(tmp_path, again):
    """SQLite would go on writing into a file that nobody can open any more."""
    output = tmp_path / "results"
    made = plan(tmp_path, tasks=(TASK,))

    class Deleting(FakeEngine):
        def run(self, block, observer):
            if block.number == 1:
                shutil.rmtree(output)
                if again:
                    create(output).__exit__()
            super().run(block, observer)

    with (
        create(output) as store,
        pytest.raises(StoreGone, match="deleted or replaced while it was being written to"),
    ):
        go(made, store, Deleting(Clock()), tmp_path)
    assert output.exists() == again
    if again:
        with open_existing(output) as store:
            assert store.runs() == []


@pytest.mark.parametrize(("error", "way"), [(StoreError("full"), True), (StoreGone("gone"), False)])
def test_the_way_to_go_on_is_told_where_there_is_one(error, way):
    class Failing:
        def run(self, done):
            raise error

    with pytest.raises(StoreError) as told:
        run_verb.run_blocks(Failing(), finished_blocks(()), "a-run")
    assert ("python -m harness run --resume a-run" in str(told.value)) == way
