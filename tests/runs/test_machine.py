"""The facts of a machine, with a driver's tool that answers as NVIDIA's does."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace

import pytest

from harness.proof.certify import versions_of
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
    known = {**known, "reference": replace(known["reference"], beneath=("pydantic", "no-such"))}
    monkeypatch.setattr(machine, "frameworks", lambda: known)
    assert machine.versions()["pydantic"] == importlib.metadata.version("pydantic")
    assert versions_of(known["reference"])["pydantic"] == importlib.metadata.version("pydantic")
    assert "no-such" not in machine.versions()
