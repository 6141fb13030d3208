"""The idiomatic lane: own loop, own pipeline, stock optimizer, and still the same task.

Each framework runs in a process of its own. A mode that keeps its framework's stock formulas is
held to them as closely as others are to the task's; the tolerances are those of test_adapters.py.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.frameworks import frameworks, modes_of, version
from harness.runs.machine import gpus
from harness.runs.process import environment
from harness.tasks.spec import SGD, Adam, AdamW, RMSprop
from impls.reference.adapter import rule_of
from impls.reference.instructions import NUMPY
from impls.reference.stock import stock_rule_of
from tests.fakes import setup
from tests.idioms import THREADS
from tests.sweeps import needs, sweep
from tests.test_adapters import FEW, GRADIENT_TOLERANCE, ROOT, TOLERANCE

IDIOMS = [(name, mode) for name, it in frameworks().items() for mode in modes_of(it, "idiomatic")]
COMPILED = {("pytorch", "compile")}  # takes long: a few tasks, in one dtype
TRACED = {
    ("keras", "tensorflow"): "float64",
    ("keras", "jax"): "float64",
    ("keras", "torch"): "float32",
}
"""Each task is traced anew: one dtype, and four tasks that have every optimizer."""
STRONG = ("sigmoid-nesterov", "gelu-adam", "probabilities-adamw", "double-softmax-rmsprop")
STEPS = {"float64": 12, "float32": 10}
ALIKE = {"sklearn": ("relu-sgd", "tanh-momentum", "sigmoid-nesterov")}
"""Where the stock formula is the task's; of others in `relu-sgd` alone."""
UNSUPPORTED = {
    ("sklearn", "mlp"): {"gelu-adam", "probabilities-adamw", "double-softmax-rmsprop"},
    ("keras", "jax"): {"sigmoid-nesterov"},
}


class Case(NamedTuple):
    """What one process proves; without `tasks` all that there are."""

    framework: str
    mode: str
    dtype: str
    tasks: tuple[str, ...]

    def __str__(self) -> str:
        return "-".join((*self[:3], *(self.tasks if len(self.tasks) == 1 else ())))


def cases() -> Iterator[Case]:
    for framework, mode in IDIOMS:
        for dtype in ("float64", "float32"):
            if (framework, mode) in TRACED:
                if TRACED[framework, mode] == dtype:
                    yield Case(framework, mode, dtype, STRONG)
            elif (framework, mode) in COMPILED:
                if dtype == "float64":
                    yield Case(framework, mode, dtype, FEW)
            else:
                yield Case(framework, mode, dtype, FEW if dtype == "float32" else ())
    yield Case("keras", "tensorflow", "float64", ("gelu-adam",))


SLOW = {
    *("keras-tensorflow-float64", "keras-jax-float64", "keras-torch-float32"),
    *("pytorch-compile-float64", "pytorch-eager-float32", "jax-jit-float64", "sklearn-mlp-float32"),
}


def quick(case: Case) -> bool:
    return str(case) not in SLOW


def test_each_framework_takes_part():
    assert {"pytorch", "keras", "reference"} <= {name for name, _ in IDIOMS}
    assert set(map(str, cases())) > SLOW
    assert {it.framework for it in cases() if quick(it)} == {name for name, _ in IDIOMS}


@pytest.mark.parametrize("case", sweep(cases(), quick), ids=str)
def test_an_idiom_takes_the_very_steps(tmp_path, case):
    framework, mode, dtype, tasks = case
    prove(tmp_path / "found.json", framework, mode, "cpu", dtype, *tasks)


@pytest.mark.gpu
@pytest.mark.skipif(not gpus(), reason="no GPU found on this machine")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("framework", "mode"),
    [it for it in IDIOMS if "gpu" in frameworks()[it[0]].devices],
    ids=lambda it: str(it),
)
def test_on_a_gpu_too(tmp_path, framework, mode, dtype):
    prove(tmp_path / "found.json", framework, mode, "gpu:0", dtype, *FEW)


def prove(file, framework, mode, device, dtype, *names):
    known = frameworks()[framework]
    if version(known) is None:
        pytest.skip(f"{framework} is not installed")
    words = [framework, mode, device, dtype, str(STEPS[dtype]), str(file), *names]
    # Compilers for GPUs give advice as warnings: that TF32 is off, how a softmax is computed.
    strict = ["-W", "error::UserWarning"] if device == "cpu" else []
    command = [sys.executable, *strict, "-m", "tests.idioms", *words]
    variables = environment(setup(framework, mode, device=device, threads=THREADS[dtype]))
    told = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr[-3000:]
    found = json.loads(file.read_text())
    assert found.keys() >= set(names or FEW)
    without = {task for task, it in found.items() if "unsupported" in it}
    assert without == UNSUPPORTED.get((framework, mode), set()) & found.keys()
    alike = ALIKE.get(framework, ("relu-sgd",))
    for task, it in ((task, it) for task, it in found.items() if task not in without):
        try:
            check(it, dtype, bool(known.idioms[mode].stock) and task not in alike)
        except AssertionError as error:
            raise AssertionError(f"{task}: {error}") from error


@pytest.mark.slow
def test_keras_on_pytorch_has_no_float64(tmp_path):
    """It casts factors, and no weight shows it."""
    needs("keras", "pytorch")
    file = tmp_path / "found.json"
    words = ["keras", "torch", "cpu", "float64", "1", str(file), "relu-sgd"]
    variables = environment(setup("keras", "torch"))
    subprocess.run(
        [sys.executable, "-m", "tests.idioms", *words], cwd=ROOT, env=variables, check=True
    )
    (found,) = json.loads(file.read_text()).values()
    assert found == {"unsupported": "Keras on torch takes products of float64 in float32"}


def check(found, dtype, far):
    assert found["begins"] is True
    assert found["begins again"] is True
    for what, size in found["worst"].items():
        limits = GRADIENT_TOLERANCE if what == "gradients" else TOLERANCE
        assert size <= limits[dtype], what
    assert found["at once"] <= GRADIENT_TOLERANCE[dtype]
    assert found["train_step"] <= GRADIENT_TOLERANCE[dtype]
    assert found["infer"] <= GRADIENT_TOLERANCE[dtype]
    assert any(
        math.isclose(found["loss"], found[which], rel_tol=TOLERANCE[dtype])
        for which in ("last loss", "mean loss")
    )
    assert found["settings"] == found["settings after"], "something was traced or built anew"
    assert found["settings"]["dtype"] == dtype
    assert found["settings"]["loader"]
    if dtype == "float64":
        assert (found["from the task"] > TOLERANCE[dtype]) == far, "stock, and yet the task's own"


CHOSEN = """
import torch
from harness.adapter import Options
from harness.tasks.start import make_start
from impls.pytorch.idiom import Idiom
from harness.conformance import TASKS

for task in TASKS:
    for dtype in ("float32", "float64"):
        for device in ("cpu", "cuda"):
            idiom = Idiom(task, make_start(task, 3), Options("eager", "cpu", 1, dtype))
            idiom._device = torch.device(device)  # no GPU is needed to choose for one
            chosen = idiom._optimizer_of(task).defaults.get("fused")
            print(task.optimizer.name, dtype, device, bool(chosen))
"""


def test_a_fused_optimizer_is_taken_where_it_changes_no_formula():
    needs("pytorch")
    command = [sys.executable, "-c", CHOSEN]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = {tuple(it.split()) for it in told.stdout.splitlines()}
    names = {it[0] for it in found}
    assert {"adam", "adamw", "sgd", "rmsprop"} <= names
    without = {it[:3] for it in found if it[3] == "False"}
    rounded = {(name, "float32", "cuda") for name in ("adam", "adamw")}
    everywhere = {
        ("rmsprop", d, where) for d in ("float32", "float64") for where in ("cpu", "cuda")
    }
    assert without == rounded | everywhere
    assert len(found) == 4 * len(names)  # each choice is one


def test_an_idiom_of_its_own_formula_says_so_and_no_other():
    known = frameworks()
    assert {
        name: any(mode.stock for mode in known[name].idioms.values())
        for name in ("pytorch", "keras", "reference")
    } == {"pytorch": False, "keras": True, "reference": False}


@given(
    gradient=st.floats(1e-14, 1e3),
    step=st.integers(1, 10_000),
    epsilon=st.floats(1e-10, 1e-3),
)
def test_how_far_stock_adam_may_be_from_the_tasks(gradient, step, epsilon):
    """With m̂ = g and v̂ = g²: as docs/stock-optimizers.md derives, and its bound for any g."""
    task = Adam(learning_rate=1.0, epsilon=epsilon)
    m, v = (1 - task.beta1**step) * gradient, (1 - task.beta2**step) * gradient**2
    # One step back, so that the step to come ends at these averages.
    m = (m - (1 - task.beta1) * gradient) / task.beta1
    v = max(0.0, (v - (1 - task.beta2) * gradient**2) / task.beta2)

    def update(rule) -> float:
        arrays = [np.array([it]) for it in (gradient, 0.0, m, v)]
        return -float(rule.update(NUMPY, *arrays, **rule.scalars(step))[0][0])

    ours, stock = update(rule_of(task)), update(stock_rule_of(task))
    k = 1 / math.sqrt(1 - task.beta2**step)
    x = gradient / epsilon
    # The stock β₂ is float32's, which moves √(1 − β₂ᵗ) by at most 6.5e-6 of itself, β₁ by 2.4e-7.
    slack = 7e-6
    assert ours - stock == pytest.approx(x * (k - 1) / ((x + 1) * (x + k)), abs=slack)
    assert abs(ours - stock) <= (math.sqrt(k) - 1) / (math.sqrt(k) + 1) + slack


def test_other_stock_rules_differ_by_constants_in_float32_only():
    gradient = np.array([1e-3, 0.5, -2.0])
    for task in (SGD(momentum=0.9), SGD(momentum=0.9, nesterov=True), AdamW(), RMSprop()):
        ours, stock = rule_of(task), stock_rule_of(task)
        state = [np.full(3, 0.1), *(np.full(3, 0.2) for _ in ours.slots)]
        scalars = ours.scalars(100_000), stock.scalars(100_000)  # √(1 − β₂ᵗ) is 1
        pair = [
            rule.update(NUMPY, gradient, *state, **given)
            for rule, given in zip((ours, stock), scalars, strict=True)
        ]
        for mine, theirs in zip(*pair, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=2e-5)
            assert (task.name != "sgd") or not np.array_equal(mine, theirs)
