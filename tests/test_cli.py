"""The command line as a user meets it: real processes, one clear line, the right exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHORT = ("--config", ROOT / "tests" / "short.toml")
"""Of a run: one block that measures next to nothing."""
SLOW = {"torch", "tensorflow", "keras", "jax", "pandas", "matplotlib", "sklearn", "scipy"}


def harness(*words: object, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess:
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **environment}
    command = [sys.executable, "-m", "harness", *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True)


def imported_by(*words: str) -> set[str]:
    """Top-level packages that a command imports."""
    code = (
        "import sys, runpy\n"
        f"sys.argv = ['harness', *{words!r}]\n"
        "try: runpy.run_module('harness', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    return {name.split(".")[0] for name in told.stderr.split()}


@pytest.mark.parametrize("words", [("--help",), ("list",), ("run", "--help"), ("info",)])
def test_what_must_answer_at_once_imports_nothing_slow(words):
    assert not imported_by(*words) & SLOW


def test_no_word_at_all_shows_the_help():
    told = harness()
    assert told.returncode == 0
    assert "Usage" in told.stdout


def test_list_names_tasks_frameworks_modes_and_presets(tmp_path):
    told = harness("list", SAMESTEP_DATA=str(tmp_path))
    assert told.returncode == 0
    for word in ("digits-mlp", "mnist-mlp", "pytorch", "tensorflow", "xla", "replay", "quick"):
        assert word in told.stdout
    assert "data fetch mnist" in " ".join(told.stdout.split())
    assert max(map(len, told.stdout.splitlines())) <= 80


def test_list_settings_names_what_can_be_set():
    told = harness("list", "--settings")
    assert told.returncode == 0, told.stderr
    for word in ("epsilon", "default 1e-08", "hidden=128-64", "teacher_width"):
        assert word in told.stdout
    assert max(map(len, told.stdout.splitlines())) <= 80


def test_two_widths_are_two_tasks_and_the_plan_says_so():
    told = harness("run", "--dry-run", "-t", "digits-mlp", "--set", "hidden=128,64")
    assert told.returncode == 0, told.stderr
    assert "makes 2 variants" in told.stdout
    assert "--set hidden=128-64" in told.stdout


def test_the_console_script_is_the_same_command():
    script = Path(sys.executable).with_name("samestep")
    words, variables = [script, "list", "--settings"], {**os.environ, "PYTHONPATH": str(ROOT)}
    told = subprocess.run(words, env=variables, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert "epsilon" in told.stdout
    told = subprocess.run([script, "rum"], env=variables, capture_output=True, text=True)
    assert (told.returncode, told.stderr.splitlines()[0][:7]) == (2, "error: ")


def test_info_names_the_machine():
    told = harness("info")
    assert told.returncode == 0
    for word in ("cpu", "cores", "python", "numpy"):
        assert word in told.stdout


def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path):
    told = harness("run", "--dry-run", "-t", "digits-mlp", "-f", "reference", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert "digits-mlp (cpu" in told.stdout
    assert "1 full training of each setup that trains" in " ".join(told.stdout.split())
    assert "about" in told.stdout
    assert list(tmp_path.iterdir()) == []


def test_explain_prints_a_program_with_its_totals():
    told = harness("explain", "digits-mlp", "--set", "batch_size=16")
    assert told.returncode == 0, told.stderr
    for word in ("matmul", "16×64 float32", "buffer", "floating-point operations", "bytes"):
        assert word in told.stdout
    told = harness("explain", "digits-mlp", "--phase", "predict", "--dtype", "float64")
    assert "float64" in told.stdout
    assert "first_moment" not in told.stdout


BAD_INPUT = [
    # The many are in tests/test_bad_input.py, in one process.
    (("rum",), 2, "rum"),
    (("run", "-t", "digits-mpl"), 2, "did you mean 'digits-mlp'?"),
    (("run", "--config", "bad.toml"), 2, "line 2"),
    (("run", "-o", "bad.toml/below"), 2, "cannot write here"),
    (("show", "-o", os.fsdecode(b"\xff")), 2, "not UTF-8 text"),
    (("data", "fetch", "imagenet"), 2, "imagenet"),
]


@pytest.mark.parametrize(("words", "code", "message"), BAD_INPUT, ids=lambda it: str(it)[:40])
def test_bad_input_is_one_line_and_writes_nothing(tmp_path, words, code, message):
    (tmp_path / "bad.toml").write_text("fine = 1\nnot = = fine\n")
    told = harness(*words, cwd=tmp_path, SAMESTEP_DATA=str(tmp_path / "data"))
    assert told.returncode == code, told.stderr
    (line,) = told.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert "Traceback" not in told.stdout
    assert [it.name for it in tmp_path.iterdir()] == ["bad.toml"]


def test_a_terminal_without_unicode_gets_what_it_knows(tmp_path):
    told = harness("list", PYTHONIOENCODING="ascii", SAMESTEP_DATA=str(tmp_path))
    assert told.returncode == 0, told.stderr
    assert "mnist-wide" in told.stdout
