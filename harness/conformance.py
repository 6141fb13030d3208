"""A pytest plugin for authors of frameworks: the proof of sameness as tests of their own.

`pytest_plugins = ["harness.conformance"]` in their `conftest.py` switches it on. A test that is
marked `samestep("NAME")` and takes `samestep_failures` is then made once for each task, mode and
dtype, and passes if the list is empty. Each proof has a process of its own.

The tasks are those of the catalogue, and small ones that together use every loss, activation,
optimizer and initializer. A task whose data are not here is skipped, and so is what the framework
says that it does not support.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.cells import DTYPES, LANES, Setup
from harness.certificates import SUPPORTED
from harness.frameworks import contestants
from harness.proof.certificates import LIMIT, claim, one_of_each
from harness.proof.pool import Prover, prove_all
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.datasets import data_directory, load, missing, write_staged
from harness.tasks.spec import (
    SGD,
    Adam,
    AdamW,
    Data,
    Known,
    Loss,
    Model,
    Optimizer,
    RMSprop,
    Task,
    Teacher,
)


def small_task(name: str, data: Data, loss: Loss, optimizer: Optimizer, **model: Any) -> Task:
    return Task(
        name=name,
        data=data,
        model=Model(**{"hidden": (16, 16), **model}),
        loss=loss,
        optimizer=optimizer,
        batch_size=16,
        epochs=1,
    )


CLASSES = Teacher(features=12, classes=4, train=64, test=16)
TASKS = (
    small_task("relu-sgd", CLASSES, "cross-entropy", SGD(learning_rate=0.1)),
    small_task(
        "tanh-momentum",
        Known(name="diabetes"),
        "mse",
        SGD(learning_rate=0.05, momentum=0.9),
        activation="tanh",
    ),
    small_task(
        "sigmoid-nesterov",
        Known(name="cancer"),
        "binary-cross-entropy",
        SGD(learning_rate=0.05, momentum=0.9, nesterov=True),
        activation="sigmoid",
    ),
    small_task("gelu-adam", CLASSES, "cross-entropy", Adam(), activation="gelu"),
    small_task(
        "probabilities-adamw",
        CLASSES,
        "cross-entropy-of-probabilities",
        AdamW(weight_decay=0.1),
        output="softmax",
    ),
    small_task(
        "double-softmax-rmsprop",
        CLASSES,
        "cross-entropy",
        RMSprop(),
        output="softmax",
        initializer="fan-in-uniform",
    ),
    small_task("linear", CLASSES, "cross-entropy", Adam(epsilon=1e-3), hidden=()),
    small_task("deep", CLASSES, "cross-entropy", Adam(), hidden=(8,) * 9, initializer="he-uniform"),
)
"""Together they use every loss, activation, optimizer and initializer."""
MARK = "samestep"
FIXTURE = "samestep_failures"


def pytest_configure(config: pytest.Config) -> None:
    line = f"{MARK}(name): prove this framework, once for each task, mode and dtype"
    config.addinivalue_line("markers", line)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Raises UsageError for a framework that is not known here, or that cannot be read."""
    marker = metafunc.definition.get_closest_marker(MARK)
    if marker and FIXTURE in metafunc.fixturenames:
        proofs = list(setups(*marker.args))
        counted = one_of_each(proofs)
        metafunc.parametrize(
            FIXTURE,
            [(task, setup, setup in counted) for task, setup in proofs],
            ids=["-".join((it.task, it.mode, it.lane, it.dtype)) for _, it in proofs],
            indirect=True,
        )


def setups(name: str) -> Iterator[tuple[Task, Setup]]:
    """All that is proven of a framework on the CPU."""
    for framework, mode, lane in contestants([name], "all", LANES):
        for task in (*TASKS, *CATALOGUE.values()):
            for dtype in DTYPES:
                yield (
                    task,
                    Setup(
                        task=task.name,
                        digest=task.digest,
                        framework=framework,
                        mode=mode,
                        lane=lane,
                        dtype=dtype,
                    ),
                )


@pytest.fixture(scope="session")
def samestep_data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Data], Path]:
    """The folder of a data set's staged arrays, written when first asked for."""

    @functools.cache
    def staged(data: Data) -> Path:
        folder = tmp_path_factory.mktemp("data")
        write_staged(load(data, data_directory(None)), folder)
        return folder

    return staged


@pytest.fixture
def samestep_failures(
    request: pytest.FixtureRequest, tmp_path: Path, samestep_data: Callable[[Data], Path]
) -> list[str]:
    """Each check that failed, and why: the first step and tensor that differ, and by how much."""
    task, setup, counted = request.param
    if why := missing(task.data, data_directory(None)):
        pytest.skip(why)
    asked = claim(task, setup, quick=False, counted=counted)

    def launch(setup: Setup) -> Prover:
        return Prover(setup, tmp_path / "prover.log", tmp_path / "caches")

    ((_, proved),) = prove_all([asked.request(samestep_data(task.data), LIMIT)], launch, 1)
    failed = {it.check: it.detail for it in proved.findings if not it.ok}
    if SUPPORTED in failed:
        pytest.skip(failed[SUPPORTED])
    return [f"{check}: {detail}" for check, detail in failed.items()]
