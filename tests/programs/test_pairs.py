"""Every planted fault as a pair of programs, PyTorch against Keras and Keras against PyTorch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.sweeps import needs

needs("pytorch", "keras")
QUICK = (
    *("learning-rate", "nesterov", "epsilon", "decay-forgotten", "adam-for-sgd", "activation"),
    *("double-softmax", "label-shift", "sum", "clip-norm", "layer-norm", "dropout", "float32"),
    *("transposed", "late", "inside"),
)
"""Faults in every part of a program, as an option of an object and as code of a user."""


@pytest.fixture(
    scope="module", params=[QUICK, pytest.param((), marks=pytest.mark.slow)], ids=["some", "all"]
)
def found(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """These pairs, or all, in one process that imports both frameworks."""
    home = tmp_path_factory.mktemp("keras")
    (home / "keras.json").write_text('{"floatx": "float64", "backend": "torch"}')
    variables = {**os.environ, "KERAS_HOME": str(home), "KERAS_BACKEND": "torch"}
    variables |= {"PYTHONPATH": os.pathsep.join(sys.path), "CUDA_VISIBLE_DEVICES": ""}
    script = Path(__file__).with_name("pairs.py")
    done = subprocess.run(
        [sys.executable, str(script), *request.param],
        env=variables,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    read: dict[str, Any] = json.loads(done.stdout)
    return read | {"whole": not request.param}


def test_each_fault_is_the_first_cause_named(found: dict[str, Any]) -> None:
    """Where alterations cannot be told apart, each of them is one that explains it."""
    wrong = {
        name: (it["causes"], it["expected"])
        for name, it in found["faults"].items()
        if not it["causes"]
        or any(not each or each[0] not in it["expected"].split() for each in it["causes"])
    }
    assert not wrong
    counts = {
        one: sum(name.startswith(f"{one} ") for name in found["faults"])
        for one in ("pytorch", "keras")
    }
    assert min(counts.values()) >= (25 if found["whole"] else len(QUICK))


def test_what_explains_a_fault_is_exact(found: dict[str, Any]) -> None:
    for name, it in found["faults"].items():
        if it["causes"][0][0] not in ("dropout", "precision"):
            assert it["agreement"] < 1e-11, name


def test_a_formula_of_user_code_is_not_called_the_frameworks(found: dict[str, Any]) -> None:
    assert found["faults"]["pytorch inside"]["stock"] == [[False]]
    assert found["faults"]["keras late"]["stock"] == [[False, True]]


def test_programs_without_a_fault_have_no_cause(found: dict[str, Any]) -> None:
    assert len(found["same"]) == (20 if found["whole"] else 5)
    for seed, (same, largest, causes) in found["same"].items():
        assert same, seed
        assert largest < 1e-12
        assert not causes


def test_a_task_comes_back_from_every_framework(found: dict[str, Any]) -> None:
    """Random tasks, exported and imported again, have one digest."""
    assert len(found["digests"]) >= (20 if found["whole"] else 3)
    for name, digests in found["digests"].items():
        assert set(digests.values()) == {digests["task"]}, (name, digests)
        assert {"pytorch", "keras"} <= digests.keys()
    kinds = {kind for digests in found["digests"].values() for kind in digests}
    assert {"keras", "h5", "json"} <= kinds
