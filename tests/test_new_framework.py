"""One folder is all that a framework needs: a new one is listed, proven, measured and ranked.

The folder is a copy of the reference under another name; no line is written elsewhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from harness.runs.store import open_existing
from tests.test_cli import ROOT, SHORT, harness

NAME = "newcomer"
DECLARED = {
    "impls.reference": f"impls.{NAME}",
    'title="NumPy reference"': 'title="Newcomer"',
    'color="#009E73"': 'color="#123456"',
    '"numpy": "reference", "np": "reference"': f'"new": "{NAME}"',
    '"pip install samestep"': '"pip install newcomer"',
}
WORDS = ("-t", "diabetes-regression", "-f", NAME, "-f", "reference")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of further frameworks with the new one in it."""
    folder = tmp_path_factory.mktemp("further") / NAME
    shutil.copytree(ROOT / "impls/reference", folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in folder.glob("*.py"):
        text = file.read_text(encoding="utf-8")
        for old, new in DECLARED.items():
            text = text.replace(old, new)
        file.write_text(text, encoding="utf-8")
    return folder.parent


def test_it_is_listed(place):
    told = harness("list", SAMESTEP_IMPLS=str(place))
    assert told.returncode == 0, told.stderr
    assert "Newcomer" in told.stdout
    assert f"{NAME}:replay (default)" in told.stdout


def test_it_is_proven_and_measured_in_both_lanes_and_reported(place, tmp_path):
    words = (*WORDS, *SHORT, "--lane", "both", "--threads", "1", "-o", tmp_path)
    told = harness("run", *words, SAMESTEP_IMPLS=str(place))
    assert told.returncode == 0, told.stderr + told.stdout
    (stored,) = tmp_path.glob("*/run.json")
    with open_existing(tmp_path) as store:
        run = store.load(stored.parent.name)
    found = [it for it in run.certificates if it.setup.framework == NAME]
    assert {it.setup.lane for it in found if it.proven} == {"identical", "idiomatic"}
    assert f"{NAME}:replay" in told.stdout
    assert f"{NAME}:replay" in stored.with_name("report.html").read_text(encoding="utf-8")


def test_no_test_counts_the_frameworks(place):
    """Tests that go over all frameworks pass with one more; those that start one are left out."""
    files = ("tests/test_frameworks.py", "tests/test_suggestions.py", "tests/runs/test_plan.py")
    slow = "starts_no_thread or imports_nothing"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files, "-k"]
    variables = {**os.environ, "SAMESTEP_IMPLS": str(place)}
    told = subprocess.run(
        [*command, f"not ({slow})"], cwd=ROOT, env=variables, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stdout[-3000:]
    collected = [sys.executable, "-m", "pytest", "-q", "--collect-only", "tests/test_adapters.py"]
    told = subprocess.run(collected, cwd=ROOT, env=variables, capture_output=True, text=True)
    assert f"[{NAME}-replay-cpu-float64-gelu-adam]" in told.stdout
