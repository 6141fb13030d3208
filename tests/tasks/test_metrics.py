"""Metrics by hand, and that the catalogue's targets can be met."""

from __future__ import annotations

import numpy as np
import pytest

from harness.adapter import Options
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.datasets import data_directory, load, missing
from harness.tasks.metrics import METRICS, accuracy, mse
from harness.tasks.start import make_start
from impls.reference.adapter import Adapter


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


def test_every_task_names_a_metric_that_exists():
    assert {task.metric for task in CATALOGUE.values()} <= METRICS.keys()


@pytest.mark.parametrize(
    "name",
    ["digits-mlp", "diabetes-regression", "cancer-binary", "mnist-mlp", "mnist-autoencoder"],
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
