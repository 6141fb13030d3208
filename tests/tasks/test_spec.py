"""Tasks: a digest over everything that matters and nothing else, and refusals in one line."""

import json

import pytest
from pydantic import ValidationError

from harness.errors import first_problem
from harness.tasks.catalogue import CATALOGUE, TASKS
from harness.tasks.costs import flops
from harness.tasks.spec import (
    DOWNLOADED,
    KNOWN,
    SGD,
    Adam,
    AdamW,
    Known,
    Model,
    RMSprop,
    Task,
    Teacher,
)

TEACHER = {
    "name": "mine",
    "probes": "something",
    "data": {"name": "teacher", "features": 12, "classes": 3, "train": 100, "test": 50},
    "model": {"hidden": [8, 8]},
    "loss": "cross-entropy",
    "optimizer": {"name": "adam"},
    "batch_size": 10,
    "epochs": 2,
    "target": 0.5,
}
AUTOENCODER = {
    "name": "mine",
    "data": {"name": "digits", "target": "inputs"},
    "model": {"hidden": [8]},
    "loss": "mse",
    "optimizer": {"name": "sgd"},
    "batch_size": 10,
    "epochs": 2,
}


def changed(content, where, value):
    """A copy of a task's content with one field, `part.field`, changed."""
    copy = json.loads(json.dumps(content))
    *parts, field = where.split(".")
    place = copy
    for part in parts:
        place = place[part]
    place[field] = value
    return copy


def task(content):
    return Task.model_validate(content)


# Digest


def test_digest_is_pinned():
    """Old results compare with new ones only while this holds; else raise DIGEST_VERSION."""
    assert task(TEACHER).digest == "4085922eef7538d8"
    assert task(AUTOENCODER).digest == "84393bffd8626df3"


@pytest.mark.parametrize("each", TASKS, ids=lambda task: task.name)
def test_digest_survives_json_and_the_order_of_fields(each):
    content = json.loads(each.model_dump_json())
    again = task(dict(reversed(content.items())))
    assert again == each
    assert again.digest == each.digest
    assert len(each.digest) == 16


def test_digest_ignores_names_and_spelled_out_defaults():
    digest = task(TEACHER).digest
    assert task(changed(TEACHER, "name", "yours")).digest == digest
    assert task(changed(TEACHER, "probes", "")).digest == digest
    assert task(changed(TEACHER, "optimizer.learning_rate", 0.001)).digest == digest
    assert task(changed(TEACHER, "model.activation", "relu")).digest == digest


CHANGES = {
    "data.features": 13,
    "data.classes": 4,
    "data.train": 101,
    "data.test": 51,
    "data.teacher_width": 65,
    "data.seed": 1,
    "model.hidden": [8, 9],
    "model.activation": "gelu",
    "model.output": "softmax",
    "model.initializer": "he-uniform",
    "model.weights": "0123456789abcdef",
    "optimizer.learning_rate": 0.002,
    "optimizer.beta1": 0.91,
    "optimizer.beta2": 0.99,
    "optimizer.epsilon": 1e-7,
    "batch_size": 11,
    "shuffle": False,
    "epochs": 3,
    "target": 0.6,
}


@pytest.mark.parametrize("where", CHANGES)
def test_digest_sees_every_field(where):
    assert task(changed(TEACHER, where, CHANGES[where])).digest != task(TEACHER).digest


def test_digest_sees_loss_data_set_and_optimizer():
    softmax = changed(TEACHER, "model.output", "softmax")
    variants = [
        softmax,
        changed(softmax, "loss", "cross-entropy-of-probabilities"),
        changed(TEACHER, "data", {"name": "digits"}),
        changed(AUTOENCODER, "data.name", "cancer"),
        changed(AUTOENCODER, "data", {"name": "diabetes"}),
        changed(AUTOENCODER, "data", {"name": "diabetes", "target": "inputs"}),
        TEACHER,
        AUTOENCODER,
        changed(TEACHER, "batch_size", "full"),
    ]
    optimizers = [
        {"name": "sgd"},
        {"name": "sgd", "learning_rate": 0.02},
        {"name": "sgd", "momentum": 0.5},
        {"name": "sgd", "momentum": 0.5, "nesterov": True},
        {"name": "adamw"},
        {"name": "adamw", "weight_decay": 0.02},
        {"name": "rmsprop"},
        {"name": "rmsprop", "rho": 0.8},
    ]
    variants += [changed(TEACHER, "optimizer", optimizer) for optimizer in optimizers]
    assert len({task(variant).digest for variant in variants}) == len(variants)


def test_no_field_is_forgotten_above():
    """A new field has to be added to the changes whose effect on the digest is tested."""
    tested = {where.rpartition(".")[2] for where in CHANGES}
    tested |= {"name", "probes", "data", "model", "loss", "optimizer"}  # of a task
    tested |= {"target", "momentum", "nesterov", "weight_decay", "rho"}  # of other variants
    for model in (Task, Model, Known, Teacher, SGD, Adam, AdamW, RMSprop):
        assert set(model.model_fields) <= tested


# Refusals


@pytest.mark.parametrize(
    ("where", "value", "problem"),
    [
        ("name", "", "name: String should match"),
        ("name", "../evil", "name: String should match"),
        ("name", "two\nlines", "name: String should match"),
        ("name", "a" * 121, "name: String should have at most 120"),
        ("data", {"name": "imagenet"}, "data: Input tag 'imagenet'"),
        ("data", {}, "data: Unable to extract tag"),
        ("data", None, "data: "),
        ("data.features", 0, "features: Input should be greater than or equal to 1"),
        ("data.features", 65_537, "less than or equal to 65536"),
        ("data.features", 1.5, "valid integer"),
        ("data.train", 10_000_001, "less than or equal to 10000000"),
        ("data.seed", -1, "seed"),
        ("data.more", 1, "more: Extra inputs are not permitted"),
        ("data.two\nlines", 1, r"'two\nlines': Extra inputs"),
        ("model.hidden", [0], "model.hidden.0: Input should be greater than or equal to 1"),
        ("model.hidden", [1] * 1001, "model.hidden: Tuple should have at most 1000"),
        ("model.hidden", [65_536] * 3, "model: 8,"),
        ("model.hidden", "64", "model.hidden"),
        ("model.activation", "swish", "model.activation: Input should be 'relu', 'tanh'"),
        ("model.initializer", "zeros", "model.initializer"),
        ("model.output", "sigmoid", "model.output"),
        ("loss", "hinge", "loss: Input should be 'cross-entropy'"),
        ("loss", "mse", "loss: 'mse' does not fit targets of kind 'classes'"),
        ("loss", "binary-cross-entropy", "does not fit"),
        ("loss", "cross-entropy-of-probabilities", "needs model.output = 'softmax'"),
        ("optimizer", {"name": "lion"}, "optimizer: Input tag 'lion'"),
        ("optimizer.learning_rate", 0, "learning_rate: Input should be greater than 0"),
        ("optimizer.learning_rate", -1, "learning_rate"),
        ("optimizer.learning_rate", float("nan"), "learning_rate: Input should be a finite"),
        ("optimizer.learning_rate", float("inf"), "learning_rate: Input should be a finite"),
        ("optimizer.beta1", 1, "beta1: Input should be less than 1"),
        ("optimizer.epsilon", 0, "epsilon: Input should be greater than 0"),
        ("optimizer", {"name": "sgd", "nesterov": True}, "nesterov needs a momentum above 0"),
        ("batch_size", 0, "batch_size: Input should be greater than or equal to 1 (got 0)"),
        ("batch_size", -5, "batch_size: Input should be greater"),
        ("batch_size", 101, "batch_size: 101 is more than the 100 training examples"),
        ("batch_size", 10**30, "batch_size: "),
        ("batch_size", "half", "batch_size: Input should be a valid integer"),
        ("epochs", 0, "epochs: Input should be greater than or equal to 1"),
        ("epochs", 10**6, "epochs"),
        ("epochs", None, "epochs"),
        ("shuffle", "maybe", "shuffle"),
        ("target", float("nan"), "target: Input should be a finite number"),
        ("more", 1, "more: Extra inputs are not permitted"),
    ],
)
def test_refusals_are_one_line_that_names_the_field(where, value, problem):
    with pytest.raises(ValidationError) as caught:
        task(changed(TEACHER, where, value))
    line = first_problem(caught.value)
    assert problem in line
    assert "\n" not in line
    assert len(line) < 400


@pytest.mark.parametrize("field", sorted(set(TEACHER) - {"probes", "target"}))
def test_what_is_left_out_is_named(field):
    content = {name: value for name, value in TEACHER.items() if name != field}
    with pytest.raises(ValidationError) as caught:
        task(content)
    assert first_problem(caught.value) == f"{field}: Field required"


@pytest.mark.parametrize(
    "size",
    [
        {"features": 65_536, "train": 10_000_000},
        {"features": 2**12, "train": 2**18, "test": 2**18 + 1},
        {"features": 65_536, "teacher_width": 65_536, "train": 1, "test": 1},
        {"classes": 65_536, "teacher_width": 65_536},
    ],
)
def test_synthetic_data_larger_than_memory_are_refused(size):
    with pytest.raises(ValidationError) as caught:
        Teacher(**size)
    assert first_problem(caught.value)


def test_a_task_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        task(TEACHER).epochs = 3


# What follows from a task


def test_sizes_that_follow():
    mine = task(TEACHER)
    assert mine.widths == (12, 8, 8, 3)
    assert mine.layers == ((12, 8), (8, 8), (8, 3))
    assert mine.parameters == 12 * 8 + 8 + 8 * 8 + 8 + 8 * 3 + 3
    assert (mine.batch, mine.steps_per_epoch) == (10, 10)
    assert task(changed(TEACHER, "batch_size", 30)).steps_per_epoch == 3
    full = task(changed(TEACHER, "batch_size", "full"))
    assert (full.batch, full.steps_per_epoch) == (100, 1)
    assert task(changed(TEACHER, "model.hidden", [])).layers == ((12, 3),)


def test_targets_are_reached_from_the_right_side():
    accuracy, error = task(TEACHER), task(changed(AUTOENCODER, "target", 0.1))
    assert (accuracy.metric, error.metric) == ("accuracy", "mse")
    assert [accuracy.reached(value) for value in (0.4, 0.5, 0.6)] == [False, True, True]
    assert [error.reached(value) for value in (0.05, 0.1, 0.2)] == [True, True, False]
    assert not accuracy.reached(float("nan"))
    assert not error.reached(float("nan"))
    assert not task(AUTOENCODER).reached(0)


def test_slots_follow_from_the_optimizer():
    assert SGD().slots == ()
    assert SGD(momentum=0.9).slots == ("velocity",)
    assert Adam().slots == AdamW().slots == ("first_moment", "second_moment")
    assert RMSprop().slots == ("mean_square",)


def test_costs_by_hand():
    """2·batch·in·out each for forward, weight gradients, and input gradients but the first."""
    mnist = CATALOGUE["mnist-mlp"]
    forward = 2 * 32 * (784 * 64 + 64 * 64 + 64 * 10)
    assert forward == 3_514_368
    assert flops(mnist, "predict") == forward
    assert flops(mnist, "train") == 2 * forward + 2 * 32 * (64 * 64 + 64 * 10)
    linear = task(changed(TEACHER, "model.hidden", []))
    assert flops(linear, "predict") == 2 * 10 * 12 * 3
    assert flops(linear, "train") == 2 * flops(linear, "predict")


# The catalogue


def test_catalogue_holds_what_was_promised():
    assert {
        "digits-mlp",
        "mnist-mlp",
        "mnist-wide",
        "deep-narrow",
        "mnist-autoencoder",
        "diabetes-regression",
        "cancer-binary",
        "teacher",
        "article-keras",
        "article-pytorch",
    } <= set(CATALOGUE)
    assert len(CATALOGUE) == len(TASKS) == len({each.digest for each in TASKS})
    assert CATALOGUE["mnist-mlp"].widths == (784, 64, 64, 10)
    assert len(CATALOGUE["deep-narrow"].model.hidden) == 32
    assert CATALOGUE["article-pytorch"].steps_per_epoch == 1


@pytest.mark.parametrize("each", TASKS, ids=lambda task: task.name)
def test_every_entry_says_in_one_line_what_it_probes(each):
    assert each.probes
    assert "\n" not in each.probes


def test_known_sizes():
    assert set(DOWNLOADED) < set(KNOWN)
    for name, shape in KNOWN.items():
        assert Known(name=name).shape == shape
        copy = Known(name=name, target="inputs").shape
        assert (copy.outputs, copy.kind) == (shape.features, "real")
