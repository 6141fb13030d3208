"""The main job with real frameworks in real processes: measured, stored, reported, resumed."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.frameworks import frameworks, version
from harness.runs.store import FILE, open_existing
from tests.test_cli import ROOT, SHORT, harness

FAULTY = ROOT / "tests" / "impls"
BESIDE_REFERENCE = [
    pytest.param(("pytorch",), id="one"),
    pytest.param(("pytorch", "tensorflow"), id="two", marks=pytest.mark.slow),
]
"""Enough: other frameworks are proven by `test_adapters.py` and measured by `test_phases.py`."""


class Results(NamedTuple):
    """A results directory with one run of these frameworks, and what it printed."""

    folder: Path
    frameworks: tuple[str, ...]
    printed: str


@pytest.fixture(scope="module", params=BESIDE_REFERENCE)
def results(request, tmp_path_factory):
    """A run on a tiny task: two blocks, one full training."""
    folder = tmp_path_factory.mktemp("results")
    names = tuple(it for it in (*request.param, "reference") if version(frameworks()[it]))
    few = ("--blocks", "2", "--seeds", "1", "--threads", "1", "--no-wait", "-o", folder)
    chosen = [word for name in names for word in ("-f", name)]
    told = harness("run", "--verbose", "-t", "diabetes-regression", *few, *chosen, cwd=folder)
    assert told.returncode == 0, told.stderr + told.stdout
    return Results(folder, names, told.stdout)


def the_run(folder):
    with open_existing(folder) as store:
        (name,) = store.runs()
        return store.load(name)


def test_it_names_a_winner_or_says_why_there_is_none(results):
    assert "block 2/2" in results.printed
    for name in results.frameworks:
        assert name in results.printed
    # A yardstick is no rival. On a busy machine the sentence says that instead.
    rivals = len(results.frameworks) > 2
    said = "No winner: " if rivals else "is the only setup of a framework here"
    assert said in results.printed or "No winner, cannot tell" in results.printed


def test_every_trial_and_sample_is_in_the_store(results):
    run = the_run(results.folder)
    assert len([it for it in run.records if not it.setup.twin]) == 2 * len(results.frameworks)
    assert len([it for it in run.records if it.setup.twin]) == 2
    for record in run.records:
        assert record.status == "ok"
        assert record.forked is (record.block == 1 and sys.platform == "linux")
        able = frameworks()[record.setup.framework].phases
        assert tuple(it.phase for it in record.phases) == able
        for phase in record.phases:
            assert len(phase.samples) == run.info.config["rounds"]
            assert (phase.memory is None) is record.forked
            assert phase.memory is None or phase.memory.total_peak_rss is not None
            assert all(sample.cpu_seconds > 0 for sample in phase.samples)
        assert record.settings["threads"] == record.setup.threads
        trained = record.block == 0 and not record.setup.twin and "train" in able
        assert (record.quality is not None) == trained
    finals = [it.quality.epochs[-1].quality for it in run.records if it.quality]
    # float32 rounding differs between frameworks; a few hundred tanh steps keep it small.
    assert max(finals) - min(finals) < 1e-3 * max(finals)


def test_a_forked_worker_has_the_settings_of_a_fresh_one(results):
    """Threads, BLAS and precision, as each reads them back."""
    run = the_run(results.folder)
    for setup in {it.setup for it in run.records}:
        first, second = (it for it in run.records if it.setup == setup)
        assert (first.settings, first.settings_before) == (
            second.settings,
            second.settings_before,
        )


def test_every_promised_file_is_there(results):
    (folder,) = [it for it in results.folder.iterdir() if it.is_dir() and it.name[0] != "."]
    for name in ("report.html", "report.md", "results.csv", "run.json"):
        assert (folder / name).stat().st_size > 500, name
    figures = sorted(it.suffix for it in (folder / "figures").iterdir())
    assert figures.count(".png") == figures.count(".svg") >= 4
    assert not (folder / "scratch").exists()
    run = json.loads((folder / "run.json").read_text())
    text = json.dumps(run)
    for word in ("versions", "machine", "threads", "environment", "commit", "seeds", "config"):
        assert f'"{word}"' in text, word
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(frameworks()[name].phases) for name in results.frameworks)


def test_report_and_show_work_from_the_store_alone(results, tmp_path):
    shutil.copy(results.folder / FILE, tmp_path / FILE)
    told = harness("show", "-o", tmp_path)
    assert told.returncode == 0, told.stderr
    assert max(map(len, told.stdout.splitlines())) <= 80
    told = harness("report", "-o", tmp_path)
    assert told.returncode == 0, told.stderr
    assert list(tmp_path.glob("*/report.html"))


def test_a_run_whose_end_was_lost_is_resumed(results, tmp_path):
    name = the_run(results.folder).info.name
    cut = tmp_path / FILE
    with sqlite3.connect(results.folder / FILE) as whole, sqlite3.connect(cut) as copy:
        whole.backup(copy)
        guards = copy.execute("SELECT sql FROM sqlite_master WHERE name LIKE '%_no_DELETE'")
        triggers = [f"{sql};" for (sql,) in guards if " ended" in sql or " samples" in sql]
        copy.executescript(
            "DROP TRIGGER ended_no_DELETE; DROP TRIGGER samples_no_DELETE;"
            "DELETE FROM samples WHERE trial LIKE '%/b001.%';"
            "DELETE FROM ended WHERE trial LIKE '%/b001.%';" + "".join(triggers)
        )
    whole.close()
    copy.close()
    told = harness("run", "--resume", name, "-o", tmp_path)
    assert told.returncode == 0, told.stderr + told.stdout
    assert "block 1/1" in told.stdout
    assert {(it.block, it.attempt, it.status) for it in the_run(tmp_path).records} == {
        (0, 1, "ok"),
        (1, 2, "ok"),
    }


def test_a_framework_that_fails_is_reported_and_the_exit_code_says_so(tmp_path):
    told = harness(
        *("run", *SHORT, "-t", "diabetes-regression", "-f", "faulty:fine", "-f", "faulty:crash"),
        *("-o", tmp_path),
        SAMESTEP_IMPLS=str(FAULTY),
    )
    assert told.returncode == 6
    assert "SIGSEGV" in told.stdout
    assert told.stderr.splitlines()[-1].startswith("error: 1 of 2 trials failed")
    assert list(tmp_path.glob("*/report.html"))


@pytest.fixture
def interruptible():
    """Tests that run in the background ignore interrupts, and so would every child of theirs."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_second_run_is_refused_and_an_interrupt_keeps_what_was_measured(tmp_path):
    words = ["run", "-t", "digits-mlp", "-f", "faulty:fine", "--blocks", "500", "--seeds", "0"]
    words += ["--verbose", "--no-twin", "--no-wait", "-o", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SAMESTEP_IMPLS": str(FAULTY)}
    first = subprocess.Popen(
        [sys.executable, "-u", "-m", "harness", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert first.stdout is not None
    while "block 1/500" not in first.stdout.readline():
        assert first.poll() is None
    second = harness(*words, SAMESTEP_IMPLS=str(FAULTY))
    assert second.returncode == 2
    assert "another run is writing here" in second.stderr
    first.send_signal(signal.SIGINT)
    told, error = first.communicate()
    assert first.returncode == 130
    assert "Traceback" not in error
    assert "Ended: interrupted" in told
    assert list(tmp_path.glob("*/report.html"))
    run = the_run(tmp_path)
    assert run.stopped_by == "interrupted"
    assert {it.status for it in run.records} == {"ok"}  # the block under way came to its end
    assert not list(tmp_path.glob("*/scratch"))
