"""Every adapter computes what the reference computes: gradients, losses, weights, slots, outputs.

Each framework runs in a process of its own. Differences are relative to the largest entry of each
tensor. Tolerances: rounding in float64 stays below 1e-12 for one gradient and below 1e-9 over 100
steps; in float32 it stays below 1e-5 over 10 steps, after which a ReLU may change sign.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.adapter import State
from harness.frameworks import frameworks, version
from harness.runs.machine import gpus
from tests.conformance import TASKS

ROOT = Path(__file__).parents[1]
MODES = [(name, mode) for name, it in frameworks().items() for mode in it.modes]
STEPS = {"float64": 100, "float32": 10}
FEW = ("gelu-adam", "tanh-momentum")  # in modes that take long to compile
TOLERANCE = {"float64": 1e-9, "float32": 1e-5}
GRADIENT_TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


@functools.cache
def computed(folder, framework, mode, device, dtype, *names):
    file = folder / f"{framework}-{mode}-{device}-{dtype}.npz"
    words = [framework, mode, device, dtype, str(STEPS[dtype]), str(file), *names]
    command = [sys.executable, "-m", "tests.conformance", *words]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr[-3000:]
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("computed")


def difference(ours: np.ndarray, reference: np.ndarray) -> float:
    return float(np.max(np.abs(ours - reference)) / np.max(np.abs(reference)))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("framework", "mode"), MODES, ids=lambda it: str(it))
def test_an_adapter_computes_what_the_reference_computes(folder, framework, mode, dtype):
    known = frameworks()[framework]
    if version(known) is None:
        pytest.skip(f"{framework} is not installed")
    if dtype == "float32" and mode != known.default_mode:
        pytest.skip("float32 is shown in the default mode")
    names = () if mode == known.default_mode else FEW
    ours = computed(folder, framework, mode, "cpu", dtype, *names)
    compare(ours, expected_of(folder, dtype, names), dtype)


@pytest.mark.gpu
@pytest.mark.skipif(not gpus(), reason="no GPU found on this machine")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("framework", sorted(frameworks()))
def test_on_a_gpu_too(folder, framework, dtype):
    known = frameworks()[framework]
    if version(known) is None:
        pytest.skip(f"{framework} is not installed")
    mode = known.default_mode
    compare(computed(folder, framework, mode, "gpu:0", dtype), expected_of(folder, dtype), dtype)


def expected_of(folder, dtype, names=()):
    """What the reference computes in float64, over as many steps as `dtype` is held to."""
    file = folder / f"expected-{dtype}.npz"
    if not file.exists():
        words = ["reference", "eager", "cpu", "float64", str(STEPS[dtype]), str(file)]
        subprocess.run([sys.executable, "-m", "tests.conformance", *words], cwd=ROOT, check=True)
    with np.load(file, allow_pickle=False) as arrays:
        return {name: it for name, it in arrays.items() if not names or name.split("/")[0] in names}


def compare(ours, reference, dtype):
    assert ours.keys() == reference.keys()
    assert len(ours) >= 20
    for name, expected in reference.items():
        values = ours[name]
        assert values.shape == expected.shape, name
        assert np.isfinite(values).all(), name
        if name.split("/")[1] != "loss":
            assert values.dtype == dtype, name
        limits = GRADIENT_TOLERANCE if "/gradient" in name else TOLERANCE
        assert difference(values, expected) <= limits[dtype], name


def test_the_comparison_sees_a_small_fault(folder):
    reference = expected_of(folder, "float64")
    name = "relu-sgd/weight layer0.weight"
    compare(reference, reference, "float64")
    for broken in (
        reference | {name: reference[name] * (1 + 1e-8)},
        reference | {name: reference[name].T},
        reference | {name: reference[name] * np.nan},
        {other: it for other, it in reference.items() if other != name},
    ):
        with pytest.raises(AssertionError):
            compare(broken, reference, "float64")


def test_a_state_starts_with_slots_of_zeros():
    """`State` is what adapters give; the reference's own first state is the shared start."""
    from harness.adapter import Options
    from harness.tasks.start import make_start
    from impls.reference.adapter import Adapter

    for task in TASKS:
        start = make_start(task, 3)
        state = Adapter(task, start, Options("eager", "cpu", 1, "float64")).state()
        assert isinstance(state, State)
        for name, values in start.weights.items():
            np.testing.assert_array_equal(state.weights[name], values)
        names = [f"{slot}/{name}" for slot in task.optimizer.slots for name in start.weights]
        assert list(state.slots) == names
        assert not any(values.any() for values in state.slots.values())
