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

import pytest

from harness.frameworks import frameworks, version
from harness.runs.store import FILE, open_existing
from tests.test_cli import ROOT, harness

FAULTY = ROOT / "tests" / "impls"
INSTALLED = [it for it in ("pytorch", "tensorflow", "reference") if version(frameworks()[it])]
"""Enough: other frameworks are proven by `test_adapters.py` and measured by `test_phases.py`."""
CELLS = sum(len(frameworks()[name].phases) for name in INSTALLED)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A run of these frameworks on a tiny task: two blocks, one full training."""
    folder = tmp_path_factory.mktemp("results")
    words = [
        "-t",
        "diabetes-regression",
        "--blocks",
        "2",
        "--seeds",
        "1",
        "--no-wait",
        "-o",
        folder,
    ]
    words += [word for name in INSTALLED for word in ("-f", name)]
    told = harness("run", "--verbose", *words, cwd=folder)
    assert told.returncode == 0, told.stderr + told.stdout
    (folder / "told.txt").write_text(told.stdout)
    return folder


def test_it_names_a_winner_or_says_that_there_is_none(results):
    told = (results / "told.txt").read_text()
    assert "block 2/2" in told
    for name in INSTALLED:
        assert name in told
    if len(INSTALLED) > 1:
        assert "is the fastest" in told or "No winner" in told


def test_every_trial_and_sample_is_in_the_store(results):
    with open_existing(results) as store:
        (name,) = store.runs()
        run = store.load(name)
    assert len([it for it in run.records if not it.setup.twin]) == 2 * len(INSTALLED)
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


def test_every_promised_file_is_there(results):
    (folder,) = [it for it in results.iterdir() if it.is_dir() and it.name[0] != "."]
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
    assert len(rows) == CELLS


def test_report_and_show_work_from_the_store_alone(results, tmp_path):
    shutil.copy(results / FILE, tmp_path / FILE)
    told = harness("show", "-o", tmp_path)
    assert told.returncode == 0, told.stderr
    assert max(map(len, told.stdout.splitlines())) <= 80
    told = harness("report", "-o", tmp_path)
    assert told.returncode == 0, told.stderr
    assert list(tmp_path.glob("*/report.html"))


def test_a_run_whose_end_was_lost_is_resumed(results, tmp_path):
    with open_existing(results) as store:
        (name,) = store.runs()
    cut = tmp_path / FILE
    with sqlite3.connect(results / FILE) as whole, sqlite3.connect(cut) as copy:
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
    with open_existing(tmp_path) as store:
        run = store.load(name)
    assert {(it.block, it.attempt, it.status) for it in run.records} == {
        (0, 1, "ok"),
        (1, 2, "ok"),
    }


def test_a_framework_that_fails_is_reported_and_the_exit_code_says_so(tmp_path):
    told = harness(
        *("run", "-t", "digits-mlp", "-f", "faulty:fine", "-f", "faulty:crash"),
        *("--blocks", "1", "--seeds", "0", "--no-twin", "--no-wait", "-o", tmp_path),
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
    words += ["--verbose", "--no-wait", "-o", str(tmp_path)]
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
    assert "ending with this block; interrupt once more" in told
    assert "Ended: interrupted" in told
    assert list(tmp_path.glob("*/report.html"))
    with open_existing(tmp_path) as store:
        (name,) = store.runs()
        run = store.load(name)
    assert run.stopped_by == "interrupted"
    assert {it.status for it in run.records} == {"ok"}  # the block under way came to its end
    assert not list(tmp_path.glob("*/scratch"))
