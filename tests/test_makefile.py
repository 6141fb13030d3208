"""`make` installs what a target needs, once, and says how much it is. Nothing is fetched here: a
script that notes its arguments stands in for Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from tests.test_cli import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

PYTHON = """#!/bin/sh
echo "$@" >> "$NOTES"
case "$*" in
  "-m venv .venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
  "-m pip install"*) exit "${PIP_ENDS_WITH:-0}" ;;
esac
"""


@pytest.fixture
def make(tmp_path):
    """`make` in a bare clone; returns its exit code, what it prints and what it installs."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python, notes = tmp_path / "python", tmp_path / "notes"
    python.write_text(PYTHON)
    python.chmod(0o755)

    # A `make` that runs the tests hands its own flags on, and its level, at which it names folders.
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}

    def call(*words, **environment):
        notes.write_text("")
        told = subprocess.run(
            ["make", f"PYTHON={python}", *words],
            cwd=tmp_path,
            env={**outside, "NOTES": str(notes), **environment},
            capture_output=True,
            text=True,
        )
        return told.returncode, told.stdout, re.findall(r"-e (\S+)", notes.read_text())

    return call


def test_a_run_installs_no_test_tools_and_says_first_how_much_it_installs(make):
    code, told, installed = make("run")
    assert (code, installed) == (0, [".[all]"])
    assert re.search(r"about \d+ MB to fetch, [\d.]+ GB of disk", told.splitlines()[0])
    assert make("run")[2] == []


def test_tests_add_what_they_need_once(make):
    make("run")
    code, told, installed = make("test", "ARGS=tests/test_cli.py")
    assert (code, installed) == (0, [".[all,dev]"])
    assert re.search(r"about \d+ MB to fetch", told.splitlines()[0])
    assert [make(it)[2] for it in ("bench", "run", "test")] == [[], [], []]


def test_an_install_that_failed_is_repeated(make):
    for target, wanted in (("run", ".[all]"), ("bench", ".[all,dev]")):
        code, _, installed = make(target, PIP_ENDS_WITH="1")
        assert (code != 0, installed) == (True, [wanted])
        assert make(target)[::2] == (0, [wanted])


def test_other_pins_are_installed_anew(make, tmp_path):
    make("bench")
    newer = (tmp_path / ".venv/ready-dev").stat().st_mtime + 10
    os.utime(tmp_path / "constraints.txt", (newer, newer))
    assert make("bench")[2] == [".[all]", ".[all,dev]"]


def test_slow_tests_run_where_all_are_asked_for_or_they_themselves(make, tmp_path):
    asked = (("test",), False), (("test-all",), True), (("test", "ARGS=tests/gate"), True)
    for words, slow in asked:
        assert make(*words)[0] == 0
        lines = (tmp_path / "notes").read_text().splitlines()
        ran = [it for it in lines if it.startswith("-m pytest")]
        assert ran
        assert {"-m not slow" in it for it in ran} == {not slow}
