"""`--set`: which variants it makes, their names, and what it refuses."""

import pytest

from harness.errors import UsageError
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.vary import KEYS, origin, parse_settings, variants

DIGITS, TEACHER = CATALOGUE["digits-mlp"], CATALOGUE["teacher"]


def varied(task, *texts):
    return variants(task, parse_settings(texts))


def test_no_setting_is_the_task_itself():
    assert varied(DIGITS) == [DIGITS]


def test_every_value_is_a_variant_with_a_name_of_its_own():
    found = varied(DIGITS, "batch_size=32,256,full")
    assert [task.name for task in found] == [
        "digits-mlp[batch_size=32]",
        "digits-mlp[batch_size=256]",
        "digits-mlp[batch_size=full]",
    ]
    assert [task.batch_size for task in found] == [32, 256, "full"]
    assert found[0].digest == DIGITS.digest
    assert found[1].digest != DIGITS.digest


def test_settings_are_combined():
    found = varied(DIGITS, "batch_size=32, 64", "width=16,128")
    assert [(task.batch_size, task.model.hidden) for task in found] == [
        (32, (16, 16)),
        (32, (128, 128)),
        (64, (16, 16)),
        (64, (128, 128)),
    ]
    assert found[3].name == "digits-mlp[batch_size=64,width=128]"


@pytest.mark.parametrize(
    ("text", "see", "expected"),
    [
        ("batch_size=7", lambda task: task.batch_size, 7),
        ("epochs=7", lambda task: task.epochs, 7),
        ("target=0.5", lambda task: task.target, 0.5),
        ("shuffle=false", lambda task: task.shuffle, False),
        ("width=7", lambda task: task.model.hidden, (7, 7)),
        ("depth=3", lambda task: task.model.hidden, (64, 64, 64)),
        ("depth=0", lambda task: task.model.hidden, ()),
        ("hidden=128-32-128", lambda task: task.model.hidden, (128, 32, 128)),
        ("hidden=7", lambda task: task.model.hidden, (7,)),
        ("activation=gelu", lambda task: task.model.activation, "gelu"),
        ("initializer=he-uniform", lambda task: task.model.initializer, "he-uniform"),
        ("learning_rate=1e-3", lambda task: task.optimizer.learning_rate, 1e-3),
        ("learning_rate=1e+2", lambda task: task.optimizer.learning_rate, 100),
        ("features=7", lambda task: task.data.features, 7),
        ("classes=7", lambda task: task.widths[-1], 7),
        ("train=700", lambda task: task.data.shape.train, 700),
        ("test=7", lambda task: task.data.shape.test, 7),
    ],
)
def test_each_name_sets_its_field(text, see, expected):
    (task,) = varied(TEACHER, text)
    assert see(task) == expected
    assert task.name.startswith("teacher[")


def test_what_only_some_optimizers_have():
    (momentum,) = varied(CATALOGUE["diabetes-regression"], "momentum=0.5")
    assert momentum.optimizer.momentum == 0.5
    (decay,) = varied(CATALOGUE["deep-narrow"], "weight_decay=0.1")
    assert decay.optimizer.weight_decay == 0.1


def test_depth_of_a_task_without_hidden_layers():
    (linear,) = varied(DIGITS, "depth=0")
    assert varied(linear, "depth=2")[0].model.hidden == (64, 64)


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (["batch_size"], "--set batch_size: write it as NAME=VALUE"),
        (["batch_size="], "write it as NAME=VALUE"),
        (["batch_size=32,"], "write it as NAME=VALUE"),
        (["=32"], "unknown setting ''"),
        (["batchsize=32"], "unknown setting 'batchsize'; did you mean 'batch_size'?"),
        (["epochs=1", "epochs=2"], "names the same setting twice"),
        (["epochs=1,1"], "--set epochs=1,1: the same value twice"),
    ],
)
def test_malformed_settings_are_refused(texts, problem):
    with pytest.raises(UsageError) as caught:
        parse_settings(texts)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("batch_size=0", "batch_size: Input should be greater than or equal to 1 (got 0)"),
        ("batch_size=1438", "batch_size: 1438 is more than the 1437 training examples"),
        ("batch_size=half", "batch_size: Input should be a valid integer"),
        ("epochs=-1", "epochs: Input should be greater"),
        ("epochs=1.5", "epochs: Input should be a valid integer"),
        ("target=nan", "target: Input should be a finite number"),
        ("width=0", "model.hidden.0: Input should be greater"),
        ("width=wide", "model.hidden.0: Input should be a valid integer"),
        ("depth=-1", "must be a whole number from 0 to 1000"),
        ("depth=1001", "must be a whole number from 0 to 1000"),
        ("depth=1.5", "must be a whole number from 0 to 1000"),
        ("hidden=64-", "model.hidden.1: Input should be a valid integer"),
        ("hidden=64--64", "model.hidden.1: Input should be a valid integer"),
        ("activation=re lu", "model.activation: Input should be 'relu'"),
        ("learning_rate=inf", "learning_rate: Input should be a finite number"),
        ("momentum=0.9", "momentum: Extra inputs are not permitted"),
        ("features=7", "features: Extra inputs are not permitted"),
    ],
)
def test_values_that_do_not_fit_are_refused(text, problem):
    with pytest.raises(UsageError) as caught:
        varied(DIGITS, text)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_every_name_is_tried_above():
    """The names that `--set` understands, so that a new one gets its case."""
    assert set(KEYS) == {
        *("batch_size", "epochs", "target", "shuffle"),
        *("width", "depth", "hidden", "activation", "initializer"),
        *("learning_rate", "momentum", "weight_decay"),
        *("features", "classes", "train", "test"),
    }


def test_a_variants_name_tells_its_settings():
    settings = parse_settings(["batch_size=32", "hidden=128-32", "width=64"])
    (task,) = variants(CATALOGUE["teacher"], settings)
    assert origin(task.name) == (
        "teacher",
        {"batch_size": "32", "hidden": "128-32", "width": "64"},
    )


@pytest.mark.parametrize("name", ["teacher", "a[b]", "a[b=1]", "a[batch_size=1", "a]", "[]"])
def test_any_other_name_is_its_own(name):
    assert origin(name) == (name, {})
