"""Every adapter is proven on tasks that the catalogue does not have.

`verify` is the conformance suite: the same examination, on the whole catalogue. Here it goes over
every loss, activation, optimizer and initializer, each framework in a prover of its own.
"""

from __future__ import annotations

import typing
from pathlib import Path

import numpy as np
import pytest

from harness.adapter import Options, State
from harness.cells import Setup
from harness.frameworks import frameworks, version
from harness.proof.certify import claim
from harness.proof.process import Prover
from harness.proof.tolerances import limits
from harness.runs.machine import gpus
from harness.tasks import optimizers, spec
from harness.tasks.datasets import load, write_staged
from harness.tasks.start import make_start
from impls.reference.adapter import Adapter
from tests.conformance import TASKS

ROOT = Path(__file__).parents[1]
MODES = [(name, mode) for name, it in frameworks().items() for mode in it.modes]
FEW = ("gelu-adam", "tanh-momentum")  # in modes that take long to compile
TOLERANCE = {dtype: limits("exact", dtype).trajectory for dtype in ("float64", "float32")}
GRADIENT_TOLERANCE = {dtype: limits("exact", dtype).one_step for dtype in ("float64", "float32")}


def test_the_tasks_use_everything_there_is():
    assert {it.loss for it in TASKS} == set(typing.get_args(spec.Loss))
    assert {it.model.activation for it in TASKS} == set(typing.get_args(spec.Activation))
    assert {it.model.initializer for it in TASKS} == set(typing.get_args(spec.Initializer))
    assert {it.model.output for it in TASKS} == {"identity", "softmax"}
    known = typing.get_args(typing.get_args(optimizers.Optimizer)[0])
    assert {type(it.optimizer) for it in TASKS} == set(known)
    assert {it.optimizer.nesterov for it in TASKS if it.optimizer.name == "sgd"} == {True, False}


@pytest.fixture(scope="module")
def prove(tmp_path_factory):
    """What a prover finds of a task in a mode; each framework is imported once a device."""
    folder = tmp_path_factory.mktemp("proofs")
    provers, staged = {}, {}

    def run(task, framework, mode, device, dtype):
        if task.data not in staged:
            staged[task.data] = folder / f"data{len(staged)}"
            write_staged(load(task.data, folder), staged[task.data])
        setup = Setup(
            task=task.name,
            digest=task.digest,
            framework=framework,
            mode=mode,
            device=device,
            dtype=dtype,
        )
        if (framework, device) not in provers:
            log = folder / f"{framework}-{device.replace(':', '')}.log"
            provers[framework, device] = Prover(setup, log, folder / "caches")
        request = claim(task, setup, quick=False, seed=3).request(staged[task.data], 300)
        return provers[framework, device].prove(request)

    yield run
    for prover in provers.values():
        prover.close()


def failures(prove, framework, mode, device, dtype, names):
    if version(frameworks()[framework]) is None:
        pytest.skip(f"{framework} is not installed")
    chosen = [it for it in TASKS if not names or it.name in names]
    proved = {it.name: prove(it, framework, mode, device, dtype) for it in chosen}
    steps = limits("exact", dtype).steps
    assert all(len(it.divergence) == steps for it in proved.values() if it.divergence)
    return {
        f"{name}: {finding.check}": finding.detail
        for name, it in proved.items()
        for finding in it.findings
        if not finding.ok
    }


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("framework", "mode"), MODES, ids=lambda it: str(it))
def test_an_adapter_computes_what_the_reference_computes(prove, framework, mode, dtype):
    default = mode == frameworks()[framework].default_mode
    if dtype == "float32" and not default:
        pytest.skip("float32 is shown in the default mode")
    names = () if default else FEW
    assert failures(prove, framework, mode, "cpu", dtype, names) == {}


@pytest.mark.gpu
@pytest.mark.skipif(not gpus(), reason="no GPU found on this machine")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("framework", sorted(frameworks()))
def test_on_a_gpu_too(prove, framework, dtype):
    mode = frameworks()[framework].default_mode
    assert failures(prove, framework, mode, "gpu:0", dtype, ()) == {}


def test_a_state_starts_with_slots_of_zeros():
    """`State` is what adapters give; the reference's own first state is the shared start."""
    for task in TASKS:
        start = make_start(task, 3)
        state = Adapter(task, start, Options("eager", "cpu", 1, "float64")).state()
        assert isinstance(state, State)
        for name, values in start.weights.items():
            np.testing.assert_array_equal(state.weights[name], values)
        names = [f"{slot}/{name}" for slot in task.optimizer.slots for name in start.weights]
        assert list(state.slots) == names
        assert not any(values.any() for values in state.slots.values())
