"""What adapters tell of themselves: settings read back, logical peaks, limits.

Each framework runs in a process of its own, with one thread.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.adapter import common
from harness.frameworks import frameworks
from harness.records import SETTINGS, precision_class
from harness.runs.machine import gpus
from harness.tasks.costs import least_bytes
from tests.accounts import TASKS
from tests.sweeps import needs

ROOT = Path(__file__).parents[1]
COUNTED = [
    ("pytorch", "eager"),
    pytest.param("tensorflow", "graph", marks=pytest.mark.slow),
    pytest.param("jax", "jit", marks=pytest.mark.slow),
    ("reference", "replay"),
    ("reference", "eager"),
]
SLACK = 16 * 1024
"""What an allocator rounds up, and what Python needs that is no tensor, in bytes."""
EARLY = {"jax": 0.95}
"""XLA changes weights before all gradients are there, which the least takes nobody to do."""
MULTIPLE = 2.5
"""A framework that knows the next step only when it comes keeps more than the least."""


@functools.cache
def told(framework, mode, device="cpu", dtype="float32"):
    needs(framework)
    words = [sys.executable, "-m", "tests.accounts", framework, mode, device, dtype]
    environment = os.environ | frameworks()[framework].variables(mode, 1)
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    ran = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout.splitlines()[-1])


def check_peaks(peaks, dtype, share=1.0):
    for name, task in TASKS.items():
        for phase in ("train", "predict"):
            peak, least = peaks[name][phase], least_bytes(task, phase, dtype)
            where = f"{name} {phase}: {peak:,} bytes, at least {least:,}"
            assert peak >= share * least, where
            assert peak <= MULTIPLE * least + SLACK, where


@pytest.mark.parametrize(("framework", "mode"), COUNTED)
def test_logical_peaks_agree_with_the_mathematics(framework, mode):
    check_peaks(told(framework, mode)["peaks"], "float32", EARLY.get(framework, 1.0))


def test_a_peak_follows_the_dtype():
    single, double = (
        told("reference", "replay", dtype=it)["peaks"] for it in ("float32", "float64")
    )
    check_peaks(double, "float64")
    for name, phases in single.items():
        for phase, peak in phases.items():
            assert 1.7 * peak - SLACK < double[name][phase] < 2.1 * peak + SLACK


@pytest.mark.slow
def test_a_counter_that_does_not_count_is_none():
    """TensorFlow's usual allocator counts large tensors only."""
    assert told("tensorflow", "graph")["uncounted"] is None
    assert (
        told("pytorch", "eager")["uncounted"]
        == told("pytorch", "eager")["peaks"]["mnist-mlp"]["train"]
    )


@pytest.mark.parametrize(("framework", "mode"), COUNTED)
def test_settings_are_those_that_were_asked_for_and_stay(framework, mode):
    before, after = told(framework, mode)["settings"]
    assert before == after
    asked = {"threads": 1, "dtype": "float32", "device": "cpu", "devices_of_weights": "cpu"}
    assert asked.items() <= before.items()
    extras = {name for name in before if name not in SETTINGS}
    assert all(it.endswith(("_instructions", "_arena_bytes")) for it in extras), extras
    assert "tf32" not in before  # it means nothing on a CPU


@pytest.mark.parametrize(("framework", "mode"), COUNTED)
def test_limits(framework, mode):
    limits = told(framework, mode)["limits"]
    assert precision_class(limits["matmul_error"]) == "float32"
    assert limits["peak_flops"] > 1e8
    assert set(limits["product_seconds"]) == {"train", "predict"}
    assert limits["product_seconds"]["train"] > limits["product_seconds"]["predict"] > 0
    assert isinstance(limits["flushes_denormals"], bool)


def test_a_captured_step_is_counted():
    assert told("reference", "replay")["settings"][0]["train_traces"] == 1


@pytest.mark.slow
def test_traces_are_counted():
    assert told("tensorflow", "graph")["settings"][0]["train_traces"] == 1
    assert told("tensorflow", "graph")["settings"][0]["predict_traces"] == 1


@pytest.mark.gpu
@pytest.mark.skipif(not gpus(), reason="no GPU found on this machine")
@pytest.mark.parametrize(("framework", "mode"), COUNTED)
def test_on_a_gpu(framework, mode):
    found = told(framework, mode, "gpu:0")
    before, after = found["settings"]
    assert before == after
    assert before["device"] == before["devices_of_weights"] == "gpu:0"
    assert before["gpu"] in gpus()
    assert before["tf32"] is False
    assert precision_class(found["limits"]["matmul_error"]) == "float32"
    for name, phases in found["peaks"].items():
        for phase, peak in phases.items():
            assert peak >= EARLY.get(framework, 1.0) * least_bytes(TASKS[name], phase, "float32")


def test_what_several_things_have_in_common():
    assert common(["cpu", "cpu"]) == "cpu"
    assert common(["gpu:0", "cpu", "cpu"]) == "mixed: cpu, gpu:0"
