"""`baseline save`, `check` and `history` as a user meets them."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys

import pytest
import typer

from harness import errors
from harness.cli.app import app
from harness.cli.check import baseline_save, check
from harness.cli.results import history
from harness.gate import baseline as baselines
from harness.runs.files import measuring_alone
from harness.runs.store import create
from tests.builders import make_info, make_record, make_setup
from tests.fakes import TASK
from tests.gate.making import make_baseline, make_entry
from tests.test_cli import ROOT, harness, imported_by

SMALL = {"tasks": ["diabetes-regression"], "frameworks": ["reference:replay"]}


def test_a_baseline_of_real_code_holds_until_a_number_changes(tmp_path, capsys, monkeypatch):
    """What is timed is timed alone: beside a run on the same machine neither is worth anything."""
    monkeypatch.setenv("SAMESTEP_LOCK", str(tmp_path / "lock"))
    baseline_save("now", **SMALL, deterministic=True, output=tmp_path)
    kept = baselines.read("now", tmp_path)
    (entry,) = kept.entries
    assert len(entry.numbers.losses) == 20
    assert set(entry.programs) == {"train", "predict"}
    assert all(it.proven for it in entry.parity)
    assert entry.logical_peak["train"] > entry.logical_peak["predict"] > 0
    with measuring_alone():
        with pytest.raises(errors.UsageError, match="another run is measuring"):
            baseline_save("then", **SMALL, output=tmp_path)
        with pytest.raises(errors.UsageError, match="another run is measuring"):
            check("now", output=tmp_path)
        check("now", deterministic=True, verbose=True, output=tmp_path)
    told = capsys.readouterr().out
    assert "to the bit" in told
    assert "Nothing became worse." in told
    path = tmp_path / "baselines" / "now.json"
    content = json.loads(path.read_text())
    losses = content["entries"][0]["numbers"]["losses"]
    losses[-1] = (float.fromhex(losses[-1]) * (1 + 1e-6)).hex()
    path.write_text(json.dumps(content))
    with pytest.raises(errors.Regression, match=r"losses: regression: step 20: 1.0e-06"):
        check("now", deterministic=True, verbose=True, output=tmp_path)


BAD_INPUT = [
    (("check",), 2, "--baseline NAME"),
    (("check", "--baseline", "../odd"), 2, "a name has letters"),
    (("check", "--baseline", "never"), 3, "there is: before, lost, mode"),
    (("check", "--baseline", "odd"), 4, "not a baseline"),
    (("check", "--baseline", "other"), 4, "is another one by now"),
    (("check", "--baseline", "before", "-f", "reference:eager"), 3, "has no 'reference:eager'"),
    (("check", "--baseline", "lost"), 4, "lost: not known here"),
    (("check", "--baseline", "mode"), 4, "reference has no such mode"),
    (("check", "--baseline", "before", "--set", "batch_size=8"), 2, "--set is for saving"),
    (("check", "--baseline", "before", "--against", "no-such-revision"), 2, "no git revision"),
    (("check", "--baseline", "before", "--fail-on", "speed"), 2, "speed:5%"),
    (("check", "--baseline", "before", "--fail-on", "sped:5%"), 2, "did you mean 'speed'?"),
    (("check", "--against", "no-such-revision"), 2, "no git revision"),
    (("check", "--against", "--output=x"), 2, "no git revision"),
    (("check", "--against", "HEAD", "-t", "digits-mpl"), 2, "did you mean 'digits-mlp'?"),
    (("baseline", "save"), 2, "Missing argument"),
    (("baseline", "save", "/tmp/x"), 2, "a name has letters"),
    (("baseline", "save", "x", "--from", "never"), 2, "no results here"),
    (("baseline", "save", "x", "--from", "never", "-t", "teacher"), 2, "--from"),
    (("baseline", "save", "x", "-f", "pytroch"), 2, "did you mean 'pytorch'?"),
    (("history",), 2, "no results here"),
    (("history", "seconds"), 2, "unknown metric"),
    (("history", "--phase", "learn"), 2, "unknown phase"),
]


@pytest.mark.parametrize(("words", "code", "message"), BAD_INPUT, ids=lambda it: str(it)[:40])
def test_bad_input_is_one_error(tmp_path, monkeypatch, capsys, words, code, message):
    task = TASK.model_copy(update={"batch_size": 64})
    setup = make_setup(task, "reference:replay")
    baselines.write(make_baseline(), tmp_path / "results")
    other = make_baseline(make_entry(setup), tasks=(task,), name="other")
    baselines.write(other, tmp_path / "results")
    for name, label in (("lost", "lost:eager"), ("mode", "reference:backwards")):
        entry = make_entry(make_setup(TASK, label))
        baselines.write(make_baseline(entry, name=name), tmp_path / "results")
    (tmp_path / "results" / "baselines" / "odd.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises((errors.HarnessError, typer.TyperException)) as caught:
        app(args=list(words), standalone_mode=False)
    assert caught.value.exit_code == code
    assert message in str(caught.value) or message in caught.value.format_message()
    assert capsys.readouterr().out == ""
    assert [it.name for it in tmp_path.iterdir()] == ["results"]


def test_the_front_door_says_it_in_one_line(tmp_path):
    told = harness("check", "--baseline", "never", cwd=tmp_path)
    assert told.returncode == 3
    (line,) = told.stderr.splitlines()
    assert line.startswith("error: no baseline 'never'")
    assert list(tmp_path.iterdir()) == []


def test_a_fault_of_ours_is_no_regression():
    code = (
        "import runpy, sys, harness.cli.machine as it\n"
        "it.info = lambda: 1 / 0\n"
        "sys.argv = ['harness', 'info']\n"
        "runpy.run_module('harness', run_name='__main__')\n"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == 70
    assert "ZeroDivisionError" in told.stderr


def test_an_interrupt_ends_with_130():
    code = (
        "import runpy, sys, harness.cli.machine as it\n"
        "def stopped(): raise KeyboardInterrupt\n"
        "it.info = stopped\n"
        "sys.argv = ['harness', 'info']\n"
        "runpy.run_module('harness', run_name='__main__')\n"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == 130


def test_the_commands_of_the_workflow_are_understood(capsys):
    text = (ROOT / "docs" / "regression-workflow.yml").read_text(encoding="utf-8")
    commands = re.findall(r"python -m harness ([^>\n]+)", text)
    assert len(commands) == 3
    for words in commands:
        app(args=[*shlex.split(words), "--help"], standalone_mode=False)
        assert "Usage" in capsys.readouterr().out


@pytest.mark.parametrize("words", [("check", "--help"), ("history", "--help")])
def test_help_imports_nothing_slow(words):
    assert not imported_by(*words) & {"matplotlib", "scipy", "sklearn", "pandas", "torch"}


def test_history_draws_every_cell_and_marks_the_change(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    setup = make_setup()
    with create(tmp_path) as store:
        for number in range(12):
            name, step = f"run-{number:02}", 0.001 if number < 6 else 0.0012
            store.add_run(make_info(name=name), (TASK,))
            for block in range(3):
                trial = f"{name}/{block}"
                record = make_record(setup, block, {"train": [step] * 3}, trial=trial)
                store.start(name, trial, block, 1, setup)
                store.end(record)
        store.add_run(make_info(name="run-99", machine={"cpu": "abacus"}), (TASK,))
        elsewhere = make_record(setup, 0, {"train": [9.0]}, trial="elsewhere")
        store.start("run-99", "elsewhere", 0, 1, setup)
        store.end(elsewhere)
        store.add_run(make_info(name="run-last"), (TASK,))
    history(framework="pytorch:*", output=tmp_path)
    told = capsys.readouterr().out
    (marked,) = [it for it in told.splitlines() if "from here on" in it]
    assert "run-06" in marked
    assert "1.2 ×" in marked
    assert "1 run(s) of other machines left out" in told
    png, svg = sorted((tmp_path / "history").iterdir())
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "<svg" in svg.read_text()
    with pytest.raises(errors.UsageError, match="no run here measured"):
        history("peak", output=tmp_path)
