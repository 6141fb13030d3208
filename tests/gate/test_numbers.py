"""What is computed, to the last digits that count: other rounding passes, 1e-6 never does."""

from __future__ import annotations

import functools
import shutil

import numpy as np
import pytest

from harness.cells import Setup
from harness.gate import observe as observer
from harness.gate.baseline import Numbers
from harness.gate.judging import numbers, observe
from harness.runs.process import ROOT
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.datasets import load, write_staged
from impls.reference import network
from tests.builders import make_setup

TASKS = ("digits-mlp", "cancer-binary", "diabetes-regression")
NUDGE = 1 + 1e-6


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name in TASKS:
        write_staged(load(CATALOGUE[name].data, folder), folder / name)
    return folder


@pytest.fixture(scope="module")
def right(data):
    """What is seen of the code as it is, by task and mode; each once."""

    @functools.cache
    def before(task: str, mode: str = "replay") -> Numbers:
        return seen(data, task, mode)[1]

    return before


def seen(data, task: str, mode: str = "replay", steps: int = 2) -> tuple[Setup, Numbers]:
    """What the observer sees in this process."""
    setup = make_setup(CATALOGUE[task], f"reference:{mode}")
    request = {
        "task": CATALOGUE[task].model_dump(mode="json"),
        "setup": setup.model_dump(mode="json"),
        "seed": 0,
        "steps": steps,
        "rows": 32,
        "data": str(data / task),
    }
    told = observer.observe(request)["numbers"]
    return setup, Numbers.model_validate(told)


def nudged(monkeypatch, number: int, factor) -> None:
    """From now on one tensor's gradient is `factor` times what it should be."""
    right = network.gradient

    def wrong(loss, tensors):
        found = list(right(loss, tensors))
        found[number] = found[number] * factor(found[number])
        return found

    monkeypatch.setattr(network, "gradient", wrong)


@pytest.mark.parametrize("mode", ["replay", "eager"])
@pytest.mark.parametrize("tensor", range(6))
@pytest.mark.parametrize("task", TASKS)
def test_one_gradient_that_is_1e_6_off_is_always_found(
    monkeypatch, data, right, task, tensor, mode
):
    before = right(task, mode)
    nudged(monkeypatch, tensor, lambda gradient: NUDGE)
    setup, now = seen(data, task, mode)
    worse = {it.what for it in numbers(setup, now, before) if it.outcome == "regression"}
    assert "first gradients" in worse
    assert worse & {"first slots", "first update"}


@pytest.mark.parametrize("place", [0, 17, 640])
def test_even_if_it_is_a_single_entry(monkeypatch, data, right, place):
    def factor(gradient):
        one = np.ones(gradient.shape, gradient.dtype)
        one.flat[place] = NUDGE
        return one

    before = right("diabetes-regression")
    nudged(monkeypatch, 2, factor)
    setup, now = seen(data, "diabetes-regression")
    assert any(it.outcome == "regression" for it in numbers(setup, now, before))


def test_the_kernels_of_another_processor_are_fine(monkeypatch, tmp_path, data):
    task = CATALOGUE["digits-mlp"]
    setup = make_setup(task, "reference:replay")
    before = observe(task, setup, data / task.name, tmp_path / "logs").numbers
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Nehalem")
    now = observe(task, setup, data / task.name, tmp_path / "logs").numbers
    if now.digest == before.digest:
        pytest.skip("products here come from a library that has one kernel only")
    found = list(numbers(setup, now, before))
    assert {it.outcome for it in found} == {"fine"}
    assert max(it.change for it in found) > 0


def test_older_code_is_observed_in_a_process_of_its_own(tmp_path, data):
    for room in ("harness", "impls"):
        shutil.copytree(ROOT / room, tmp_path / "old" / room)
    shutil.rmtree(tmp_path / "old" / "harness" / "gate")  # it may know nothing of a gate
    source = tmp_path / "old" / "impls" / "reference" / "network.py"
    line = "packed = xp.pack(*gradient(loss, tensors))"
    assert line in source.read_text()
    changed = line.replace("tensors))", f"tensors)) * {NUDGE!r}")
    source.write_text(source.read_text().replace(line, changed))
    task = CATALOGUE["diabetes-regression"]
    setup = make_setup(task, "reference:replay")
    now = observe(task, setup, data / task.name, tmp_path / "logs")
    before = observe(task, setup, data / task.name, tmp_path / "logs", tmp_path / "old")
    lines = numbers(setup, now.numbers, before.numbers)
    assert "first gradients" in {it.what for it in lines if it.outcome == "regression"}
    older, program = before.programs["train"], now.programs["train"]
    assert older.instructions == program.instructions + 1
    assert older.flops > program.flops
    assert set(now.programs) == {"train", "predict"}


def test_a_sketch_sees_every_entry():
    values = np.random.default_rng(0).standard_normal(4000)
    before = observer.sketch(values)
    for place in (0, 1, 1999, 3999):
        moved = values.copy()
        moved[place] *= NUDGE
        after = observer.sketch(moved)
        assert abs(after[1] - before[1]) >= 0.99e-6 * abs(values[place])
    assert observer.sketch(values[::-1])[1:] != before[1:]
    assert observer.sketch(np.zeros(3)) == (0.0, 0.0, 0.0)
