"""What the adapter promises beyond its numbers, and the framework's declaration."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.adapter import Options, Unsupported
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.start import make_start
from impls.reference.adapter import Adapter
from tests.reference.batches import batches

TASK = CATALOGUE["digits-mlp"]
MODES = ("eager", "replay")


def adapter(mode="eager", task=TASK, dtype="float32", device="cpu"):
    return Adapter(task, make_start(task, 0), Options(mode, device, 1, dtype))


@pytest.mark.parametrize("mode", MODES)
def test_reset_goes_back_to_the_start(mode):
    it = adapter(mode)
    staged = [it.stage(*batch) for batch in batches(TASK, 3)]
    first = [float(it.to_numpy(it.train_step(batch))) for batch in staged]
    it.reset()
    assert [float(it.to_numpy(it.train_step(batch))) for batch in staged] == first


@pytest.mark.parametrize("mode", MODES)
def test_handles_keep_their_values(mode):
    it = adapter(mode)
    batch = it.stage(*batches(TASK, 1)[0])
    outputs = it.predict(batch)
    kept = it.to_numpy(outputs)
    losses = [it.train_step(batch) for _ in range(3)]
    assert len({float(it.to_numpy(loss)) for loss in losses}) == 3
    it.predict(batch)
    np.testing.assert_array_equal(it.to_numpy(outputs), kept)


@pytest.mark.parametrize("mode", MODES)
def test_gradients_leave_the_weights_alone(mode):
    it = adapter(mode)
    batch = it.stage(*batches(TASK, 1)[0])
    before = it.state()
    it.gradients(batch)
    for name, values in it.state().weights.items():
        np.testing.assert_array_equal(values, before.weights[name])


@pytest.mark.parametrize("mode", MODES)
def test_a_state_is_a_copy(mode):
    it = adapter(mode)
    state = it.state()
    state.weights["layer0.weight"][...] = 7
    assert not (it.state().weights["layer0.weight"] == 7).any()


def test_staging_copies_and_casts():
    inputs, targets = batches(TASK, 1)[0]
    batch = adapter(dtype="float64").stage(inputs, targets)
    assert batch.inputs.dtype == np.float64
    assert not np.shares_memory(adapter().stage(inputs, targets).inputs, inputs)


@pytest.mark.parametrize("label", [-1, 10])
def test_a_class_without_an_output_is_refused(label):
    with pytest.raises(ValueError, match="from 0 to 9"):
        adapter().stage(np.zeros((1, 64), np.float32), np.array([label]))


def test_an_empty_batch_is_refused():
    it = adapter()
    with pytest.raises(ValueError, match="at least one row"):
        it.train_step(it.stage(np.zeros((0, 64), np.float32), np.zeros(0, np.int64)))


def test_settings_tell_what_runs():
    it = adapter("replay", dtype="float64")
    it.train_step(it.stage(*batches(TASK, 1)[0]))
    settings = it.settings()
    assert settings["dtype"] == "float64"
    assert settings["device"] == "cpu"
    assert settings["threads"] >= 1
    assert settings["train_32_instructions"] > 40
    assert it.device_memory() is None


def test_a_gpu_without_cupy_is_unsupported():
    try:
        import cupy  # noqa: F401
    except ImportError:
        with pytest.raises(Unsupported, match="CuPy"):
            adapter(device="gpu:0")


def test_the_declaration_imports_no_engine():
    code = "import sys, impls.reference; print([it for it in sys.modules if 'reference.' in it])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_the_engine_stays_small():
    """Lines of code: without blank lines, comments and docstrings, and without what adapts it to
    the harness, to a GPU and to the formulas of other frameworks."""
    folder = Path(__file__).parents[2] / "impls" / "reference"
    around = {"__init__.py", "adapter.py", "on_gpu.py", "stock.py", "uncorrected.py"}
    files = [path for path in folder.glob("*.py") if path.name not in around]
    assert len(files) > 10
    assert sum(map(lines_of_code, files)) < 1045


def lines_of_code(path):
    text = path.read_text(encoding="utf-8")
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, documented) and ast.get_docstring(node)
        for line in range(node.body[0].lineno, node.body[0].end_lineno + 1)
    }
    return sum(
        bool(line.strip()) and not line.lstrip().startswith("#") and number not in docstrings
        for number, line in enumerate(text.splitlines(), start=1)
    )
