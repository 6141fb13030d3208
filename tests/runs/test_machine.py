"""The facts of a machine, with a driver's tool that answers as NVIDIA's does."""

from __future__ import annotations

import importlib.metadata
import subprocess
from dataclasses import replace

import pytest

from harness.adapter import Tuning
from harness.proof.certificates import versions_of
from harness.runs import machine


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Answer the driver's queries with a shell script."""
    machine._nvidia.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def answer(script: str) -> None:
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)

    yield answer
    machine._nvidia.cache_clear()


def test_gpus_and_their_driver(driver):
    driver("printf 'NVIDIA H200, 580.159.04\\nNVIDIA H100 80GB HBM3, 580.159.04\\n'")
    assert machine.gpus() == ("NVIDIA H200", "NVIDIA H100 80GB HBM3")
    assert machine.fingerprint()["gpus"] == "NVIDIA H200, NVIDIA H100 80GB HBM3"
    assert machine.versions()["nvidia-driver"] == "580.159.04"


@pytest.mark.parametrize("script", ["echo 'No devices were found'; exit 6", "exit 0", "exec /nix"])
def test_a_tool_without_a_gpu(driver, script):
    driver(script)
    assert machine.gpus() == ()
    assert machine.fingerprint()["gpus"] is None
    assert "nvidia-driver" not in machine.versions()


def test_what_a_framework_computes_with_is_told(monkeypatch):
    known = machine.frameworks()
    known = {
        **known,
        "reference": replace(known["reference"], tuning=Tuning(beneath=("pydantic", "no-such"))),
    }
    monkeypatch.setattr(machine, "frameworks", lambda: known)
    assert machine.versions()["pydantic"] == importlib.metadata.version("pydantic")
    assert versions_of(known["reference"])["pydantic"] == importlib.metadata.version("pydantic")
    assert "no-such" not in machine.versions()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A git checkout with two frameworks, and a third one outside of it."""
    root = tmp_path / "checkout"
    for name in ("harness", "impls/known", "impls/other", "docs"):
        (root / name).mkdir(parents=True)
        (root / name / "__init__.py").write_text("")
    (tmp_path / "outside").mkdir()
    (root / ".gitignore").write_text("__pycache__/\nignored.py\n")
    for words in (
        ("init", "-q"),
        ("add", "."),
        ("-c", "user.name=a", "-c", "user.email=b", "commit", "-q", "-m", "c"),
    ):
        subprocess.run(["git", "-C", str(root), *words], check=True)
    folders = {"outside": tmp_path / "outside"}
    monkeypatch.setattr(machine, "folder_of", lambda it: folders.get(it, root / "impls" / it))
    monkeypatch.setattr(machine.harness, "__file__", str(root / "harness" / "__init__.py"))
    return root


@pytest.mark.parametrize(
    ("changed", "measured", "own"),
    [
        (None, ["known"], True),
        ("impls/known/adapter.py", ["known"], False),
        ("impls/known/ignored.py", ["known"], False),
        ("impls/known/__pycache__/adapter.pyc", ["known"], True),
        ("impls/other/adapter.py", ["known"], True),
        ("harness/new.py", ["known"], False),
        ("notes.txt", ["known"], True),
        ("docs/__init__.py", ["known"], False),
        (None, ["known", "outside"], False),
    ],
)
def test_the_commit_is_that_of_the_code_that_runs(checkout, changed, measured, own):
    if changed:
        (checkout / changed).parent.mkdir(exist_ok=True)
        (checkout / changed).write_text("# changed\n")
    told = machine.commit(measured)
    assert told is not None
    assert len(told.removesuffix("+changes")) == 40
    assert told.endswith("+changes") is not own


def test_outside_a_checkout_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(machine.harness, "__file__", str(tmp_path / "harness" / "__init__.py"))
    assert machine.commit(["reference"]) is None
