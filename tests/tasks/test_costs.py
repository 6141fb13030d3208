"""Costs: products, operations and bytes, by hand and where they must agree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cells import PHASES
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.costs import Product, flops, least_bytes, only_predicting, products, rows_of
from harness.tasks.spec import SGD, Adam, Model, Task, Teacher
from harness.tasks.start import make_start


def make(hidden=(8, 4), batch=10, optimizer=None, **data):
    return Task(
        name="mine",
        data=Teacher(**{"features": 12, "classes": 3, "train": 1000, "test": 50, **data}),
        model=Model(hidden=hidden),
        loss="cross-entropy",
        optimizer=optimizer or Adam(),
        batch_size=batch,
        epochs=1,
    )


TASKS = st.builds(
    make,
    hidden=st.lists(st.integers(1, 40), max_size=4).map(tuple),
    batch=st.integers(1, 200),
    optimizer=st.sampled_from([Adam(), SGD(), SGD(momentum=0.5)]),
)


def test_products_of_a_step_by_hand():
    forward = [Product(10, 12, 8), Product(10, 8, 4), Product(10, 4, 3)]
    backward = [
        Product(4, 10, 3),  # the last layer's weights, from its inputs and the gradient
        Product(10, 3, 4),  # its inputs
        Product(8, 10, 4),
        Product(10, 4, 8),
        Product(12, 10, 8),  # the first layer's inputs are data: no gradient
    ]
    assert list(products(make(), "train")) == [*forward, *backward]
    assert list(products(make(), "predict")) == forward
    assert products(make(), "train-latency") == products(make(), "train")
    assert products(make(), "predict-latency")[0] == Product(1, 12, 8)
    assert products(make(hidden=()), "train") == (Product(10, 12, 3), Product(12, 10, 3))


@given(TASKS)
def test_a_step_is_three_predictions_but_for_the_first_inputs(task):
    first = 2 * task.batch * task.widths[0] * task.widths[1]
    assert flops(task, "train") == 3 * flops(task, "predict") - first
    assert flops(task, "predict-latency") * task.batch == flops(task, "predict")


def test_bytes_by_hand():
    """Widths 12-8-4-3: 104 + 36 + 15 weights; batch 10 of 12 inputs and int64 labels."""
    task = make()
    assert least_bytes(task, "predict", "float32") == 4 * (155 + 120 + 10 * (8 + 4))
    assert least_bytes(task, "predict-latency", "float64") == 8 * (155 + 12 + 12)
    moments = (15 + 10 * 15, 51 + 10 * 12, 155 + 10 * 8)  # of the last layer's gradient … the first
    assert max(moments) == 235
    assert least_bytes(task, "train", "float32") == 4 * (3 * 155 + 120 + 235) + 80
    assert least_bytes(task, "train", "float64") == 8 * (3 * 155 + 120 + 235) + 80
    assert least_bytes(task, "train", "float32", rows=1) == 4 * (3 * 155 + 12 + 155 + 8) + 8
    assert least_bytes(make(hidden=()), "predict", "float32") == 4 * (39 + 120 + 30)


def test_targets_that_are_values_have_the_cells_dtype():
    task = CATALOGUE["mnist-autoencoder"]
    labels = least_bytes(task.model_copy(update={"loss": "mse"}), "train", "float64")
    inputs = 8 * task.batch * task.widths[0]
    assert labels > 8 * 4 * task.parameters + 2 * inputs


@given(TASKS, st.sampled_from(PHASES), st.sampled_from(["float32", "float64"]))
def test_a_least_holds_the_parts_that_nobody_can_do_without(task, phase, dtype):
    size = {"float32": 4, "float64": 8}[dtype]
    state = task.parameters * (2 + len(task.optimizer.slots) if phase.startswith("train") else 1)
    rows = rows_of(task, phase)
    least = least_bytes(task, phase, dtype)
    assert least >= size * (state + rows * (task.widths[0] + task.widths[1]))
    everything = size * (state + rows * sum(task.widths)) + 8 * rows
    assert least <= everything
    assert least < least_bytes(task, phase, dtype, rows=rows + 1)


@pytest.mark.parametrize("name", CATALOGUE)
def test_who_only_predicts_has_the_same_model_and_no_slots(name):
    task = only_predicting(CATALOGUE[name])
    assert task.optimizer.slots == ()
    ours, theirs = make_start(task, 1).weights, make_start(CATALOGUE[name], 1).weights
    assert ours.keys() == theirs.keys()
    first = next(iter(ours))
    assert (ours[first] == theirs[first]).all()
    assert least_bytes(task, "predict", "float32") == least_bytes(
        CATALOGUE[name], "predict", "float32"
    )
