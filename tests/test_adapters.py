"""Every adapter is proven on tasks that the catalogue does not have.

`verify` is the conformance suite: the same examination, on the whole catalogue. Here it goes over
every loss, activation, optimizer and initializer, each framework in a prover of its own.
"""

from __future__ import annotations

import itertools
import typing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from harness.adapter import Options, State
from harness.cells import DTYPES, Dtype, Setup
from harness.certificates import SUPPORTED
from harness.conformance import TASKS, small_task
from harness.differences import LIMITS
from harness.frameworks import frameworks, trains, version
from harness.proof.certificates import claim
from harness.proof.pool import Prover, prove_all
from harness.runs.machine import cores, gpus
from harness.tasks import spec
from harness.tasks import spec as optimizers
from harness.tasks.datasets import load, write_staged
from harness.tasks.spec import Task, Teacher
from harness.tasks.start import make_start
from impls.reference.adapter import Adapter
from tests.sweeps import needs

ROOT = Path(__file__).parents[1]
FEW = ("gelu-adam", "tanh-momentum")  # in modes that take long to compile
MNIST = small_task(
    "mnist-shape",
    Teacher(features=784, classes=10, train=1600, test=16),
    "cross-entropy",
    optimizers.Adam(),
    hidden=(64, 64),
)
"""The shape of MNIST and of its usual network, and rows for a hundred steps."""
TOLERANCE = {dtype: LIMITS[dtype].trajectory for dtype in DTYPES}
GRADIENT_TOLERANCE = {dtype: LIMITS[dtype].one_step for dtype in DTYPES}


UNSUPPORTED = {("onnxruntime", "float64"): {"gelu-adam"}}  # it has no error function there


class Case(NamedTuple):
    framework: str
    mode: str
    device: str
    dtype: Dtype

    def __str__(self) -> str:
        return "-".join(self)

    @property
    def default(self) -> bool:
        return self.mode == frameworks()[self.framework].default_mode

    @property
    def tasks(self) -> list[Task]:
        if not self.default:
            return [it for it in TASKS if it.name in FEW]
        return [*TASKS, MNIST] if self.dtype == "float64" else list(TASKS)


EVERY = [
    Case(name, mode, device, dtype)
    for name, it in frameworks().items()
    for mode in it.modes
    for device in ("cpu", "gpu:0")
    if device.partition(":")[0] in it.devices
    for dtype in DTYPES
]
# Float32, and GPUs, in the default mode only.
ON_CPU = [it for it in EVERY if it.device == "cpu" and (it.default or it.dtype == "float64")]
ON_GPU = [it for it in EVERY if it.device != "cpu" and it.default]
QUICK = ("gelu-adam", "tanh-momentum", "double-softmax-rmsprop")
"""Tasks that differ in data, loss, activation, output and optimizer."""


def proofs_of(cases: list[Case]) -> list[object]:
    """One test for each case and task; quick are a few tasks in the default mode."""
    return [
        pytest.param(case, task, id=f"{case}-{task.name}", marks=() if quick else pytest.mark.slow)
        for case in cases
        for task in case.tasks
        for quick in (case.default and task.name in QUICK,)
    ]


def test_the_tasks_use_everything_there_is():
    assert {it.loss for it in TASKS} == set(typing.get_args(spec.Loss))
    assert {it.model.activation for it in TASKS} == set(typing.get_args(spec.Activation))
    assert {it.model.initializer for it in TASKS} == set(typing.get_args(spec.Initializer))
    assert {it.model.output for it in TASKS} == {"identity", "softmax"}
    known = typing.get_args(typing.get_args(optimizers.Optimizer)[0])
    assert {type(it.optimizer) for it in TASKS} == set(known)
    assert {it.optimizer.nesterov for it in TASKS if it.optimizer.name == "sgd"} == {True, False}


@pytest.fixture(scope="module")
def proofs(request, tmp_path_factory):
    """What provers find, by case and task: of all tests that are to run, as many provers side by
    side as there are cores."""
    folder = tmp_path_factory.mktemp("proofs")
    selected = [it for it in request.session.items if it.path == request.path]
    params = [it.callspec.params for it in selected if hasattr(it, "callspec")]
    staged, asked, logs = {}, {}, itertools.count()
    for case, task in dict.fromkeys((it["case"], it["task"]) for it in params):
        if version(frameworks()[case.framework]) is None or (case.device != "cpu" and not gpus()):
            continue
        if task.data not in staged:
            staged[task.data] = folder / f"data{len(staged)}"
            write_staged(load(task.data, folder), staged[task.data])
        setup = Setup(task=task.name, digest=task.digest, **case._asdict())
        # A count of memory takes as long as half a proof; one of each mode shows it.
        counted = task.name == FEW[0]
        proposed = claim(task, setup, quick=False, seed=3, counted=counted)
        proof = proposed.request(staged[task.data], 300)
        asked[proof] = case, task.name

    def launch(setup):
        return Prover(setup, folder / f"prover{next(logs)}.log", folder / "caches")

    return {asked[proof]: it for proof, it in prove_all(list(asked), launch, cores())}


def check(proofs, case, task):
    needs(case.framework)
    proved = proofs[case, task.name]
    if task.name in UNSUPPORTED.get((case.framework, case.dtype), ()):
        assert [it.check for it in proved.findings] == [SUPPORTED]
        return
    assert len(proved.divergence) in (0, LIMITS[case.dtype].steps)
    assert {it.check: it.detail for it in proved.findings if not it.ok} == {}


@pytest.mark.parametrize(("case", "task"), proofs_of(ON_CPU))
def test_an_adapter_computes_what_the_reference_computes(proofs, case, task):
    check(proofs, case, task)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "task"),
    [(it, MNIST) for it in ON_CPU if it.default and it.dtype == "float64"],
    ids=lambda it: getattr(it, "name", str(it)),
)
def test_float64_differs_by_rounding_alone_over_a_hundred_steps(proofs, case, task):
    if (case, task.name) not in proofs:
        pytest.skip(f"{case.framework} is not installed")
    divergence = proofs[case, task.name].divergence
    assert len(divergence) == 100
    kinds = ("loss", "logits", "gradients", "weights", "slots")
    if not trains(case.framework):
        kinds = ("logits",)
    assert max(getattr(step, kind) for step in divergence for kind in kinds) <= 1e-12


@pytest.mark.gpu
@pytest.mark.skipif(not gpus(), reason="no GPU found on this machine")
@pytest.mark.parametrize(("case", "task"), proofs_of(ON_GPU))
def test_on_a_gpu_too(proofs, case, task):
    check(proofs, case, task)


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
