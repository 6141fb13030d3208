"""Metrics by hand, and that the catalogue's targets can be met."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from harness.adapter import Options
from harness.analysis.summary import summarise_run
from harness.report.compose import Content
from harness.report.frames import FRAMES, schemas
from harness.report.markdown import render_markdown
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.datasets import data_directory, load, missing
from harness.tasks.metrics import METRICS, accuracy, metric_of, mse
from harness.tasks.spec import Loss
from harness.tasks.start import make_start
from harness.worker.loops import held_out
from harness.worker.measure import Training
from impls.reference.adapter import Adapter
from tests.builders import ERROR_TASK, make_run, measured


def test_accuracy_of_classes_is_the_share_of_largest_outputs_that_are_right():
    outputs = np.array([[0.1, 0.9], [2.0, -1.0], [0.0, 1.0], [3.0, 4.0]])
    assert accuracy(outputs, np.array([1, 0, 0, 1])) == 0.75


def test_accuracy_of_one_logit_is_that_of_its_sign():
    logits = np.array([[0.1], [-3.0], [2.0], [-0.1]])
    assert accuracy(logits, np.array([[1.0], [0.0], [0.0], [0.0]])) == 0.75


def test_mse_is_the_mean_over_rows_and_outputs():
    assert mse(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 0.0], [0.0, 4.0]])) == 13 / 4


def test_mse_does_not_overflow_or_round_in_float32():
    outputs = np.full((1000, 1), 1e30, np.float32)
    assert mse(outputs, np.zeros((1000, 1), np.float32)) == pytest.approx(1e60)


def test_every_loss_has_a_metric():
    assert {metric_of(it) for it in get_args(Loss)} == METRICS.keys()


def test_a_new_metric_is_one_entry(monkeypatch):
    """It is in the task, its trainings, the report's table, the CSV and the schema."""
    absolute = METRICS["mse"]._replace(
        function=lambda outputs, targets: float(abs(outputs - targets).mean()),
        margin=0.5, relative=False, plural="absolute errors", title="mean absolute error",
    )  # fmt: skip
    monkeypatch.setitem(METRICS, "mae", absolute)
    assert ERROR_TASK.metric == "mae"

    arrays, start = load(ERROR_TASK.data, data_directory(None)), make_start(ERROR_TASK, 0)
    adapter = Adapter(ERROR_TASK, start, Options("replay", "cpu", 1, "float64"))
    training = Training(adapter, "identical", start, arrays)
    quality = training.epoch(0).quality
    assert quality == pytest.approx(np.abs(held_out(adapter, arrays) - arrays.y_test).mean())

    run = make_run(measured([ERROR_TASK]), [ERROR_TASK])
    summary = summarise_run(run)
    assert {it.margin for it in summary.qualities[0].pairs} == {0.5}
    page = render_markdown(Content(run, summary), [])
    assert "Mean absolute error on the test rows" in page
    assert "the final absolute errors lie within" in page
    assert {it["metric"] for it in FRAMES["trainings"].lines(run, lambda: summary)} == {"mae"}
    changes = schemas()["comparison"]["$defs"]["QualityChanges"]["properties"]
    assert changes["metric"]["enum"] == ["accuracy", "mse", "mae"]


@pytest.mark.parametrize(
    "name",
    [
        *("digits-mlp", "diabetes-regression", "cancer-binary"),
        *(pytest.param(it, marks=pytest.mark.slow) for it in ("mnist-mlp", "mnist-autoencoder")),
    ],
)
def test_the_target_is_reached_within_the_epochs(name):
    task = CATALOGUE[name]
    if reason := missing(task.data, data_directory(None)):
        pytest.skip(reason)
    arrays = load(task.data, data_directory(None))
    start = make_start(task, 0)
    adapter = Adapter(task, start, Options("replay", "cpu", 1, "float32"))
    reached = []
    for epoch in range(task.epochs):
        for rows in start.epoch_order(epoch):
            adapter.train_step(adapter.stage(arrays.x_train[rows], arrays.y_train[rows]))
        outputs = adapter.predict(adapter.stage(arrays.x_test, arrays.y_test))
        quality = METRICS[task.metric].function(adapter.to_numpy(outputs), arrays.y_test)
        reached.append(task.reached(quality))
    assert any(reached)
