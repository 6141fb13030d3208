"""Workers of frameworks that only tests have, and data for them."""

from __future__ import annotations

from pathlib import Path

import pytest

import impls
from harness.tasks.datasets import load, write_staged
from harness.tasks.spec import Known

OURS = Path(__file__).parents[1] / "impls"


@pytest.fixture
def faulty_frameworks(monkeypatch):
    """Adds the folders of `tests/impls` to the frameworks, here and in the workers."""
    monkeypatch.setenv("SAMESTEP_IMPLS", str(OURS))
    monkeypatch.setattr(impls, "__path__", [*impls.__path__, str(OURS)])


@pytest.fixture(scope="session")
def staged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("staged")
    write_staged(load(Known(name="digits"), folder), folder)
    return folder
