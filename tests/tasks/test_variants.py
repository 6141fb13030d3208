"""`--set`: which variants it makes, their names, and what it refuses."""

import re

import pytest

from harness.errors import UsageError
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.spec import SGD, Model, RMSprop, Task, Teacher
from harness.tasks.variants import (
    KEYS,
    OPTIMIZERS,
    described,
    hints,
    origin,
    parse_settings,
    variants,
)

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
        ("teacher_width=7", lambda task: task.data.teacher_width, 7),
        ("seed=7", lambda task: task.data.seed, 7),
        ("output=softmax", lambda task: task.model.output, "softmax"),
        ("epsilon=1e-7", lambda task: task.optimizer.epsilon, 1e-7),
        ("beta1=0.5", lambda task: task.optimizer.beta1, 0.5),
        ("beta2=0.99", lambda task: task.optimizer.beta2, 0.99),
        ("target=none", lambda task: task.target, None),
        ("optimizer=sgd", lambda task: task.optimizer, SGD()),
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
    (nesterov,) = varied(CATALOGUE["diabetes-regression"], "nesterov=true")
    assert nesterov.optimizer.nesterov is True


def test_an_optimizer_is_chosen_before_its_fields_are_set():
    (rms,) = varied(DIGITS, "rho=0.5", "optimizer=rmsprop")
    assert rms.optimizer == RMSprop(rho=0.5)
    same = varied(CATALOGUE["article-keras"], "optimizer=adam,sgd")
    assert [it.optimizer.name for it in same] == ["adam", "sgd"]
    assert same[0].optimizer == CATALOGUE["article-keras"].optimizer


def test_a_loss_that_needs_probabilities_is_set_with_its_output():
    (task,) = varied(DIGITS, "loss=cross-entropy-of-probabilities", "output=softmax")
    assert (task.loss, task.model.output) == ("cross-entropy-of-probabilities", "softmax")


def test_depth_of_a_task_without_hidden_layers():
    (linear,) = varied(DIGITS, "depth=0")
    assert varied(linear, "depth=2")[0].model.hidden == (64, 64)
    assert varied(linear, "width=16", "depth=2")[0].model.hidden == (16, 16)
    with pytest.raises(UsageError, match="there is no hidden layer; add one with depth or hidden"):
        varied(linear, "width=16")


@pytest.mark.parametrize("text", ["learning_rate=0.1,1e-1", "batch_size=32,032", "shuffle=true,1"])
def test_one_value_written_in_two_ways_is_refused(text):
    with pytest.raises(UsageError, match="gives the same task twice"):
        varied(DIGITS, text)


def test_what_may_be_meant_as_one_net_is_said():
    (hint,) = hints(parse_settings(["hidden=128,64"]))
    assert "makes 2 variants" in hint
    (meant,) = re.findall(r"--set (hidden=[\d-]+)$", hint)
    assert varied(DIGITS, meant)[0].model.hidden == (128, 64)
    for clear in ("hidden=128", "hidden=128-64", "hidden=128-64,32", "width=128,64"):
        assert hints(parse_settings([clear])) == []


def test_every_field_of_a_task_has_a_name():
    """A field that is added to a part of a task can be set, unless it names or holds others."""
    of_a_task = {
        name for it in (Task, Model, *OPTIMIZERS.values(), Teacher) for name in it.model_fields
    }
    assert of_a_task - set(KEYS) == {"name", "probes", "data", "model", "weights"}


def test_the_list_says_what_each_name_takes():
    lines = dict(described())
    assert lines.keys() == set(KEYS)
    assert lines["epsilon"] == (
        "number above 0, at most 1; only with adam, adamw, rmsprop; default 1e-08"
    )
    assert lines["learning_rate"].endswith("default 0.01 (sgd), 0.001 (adam, adamw, rmsprop)")
    assert lines["nesterov"] == "true or false; only with sgd; default false"
    assert lines["batch_size"] == "whole number at least 1, at most 10,000,000 or full"
    assert lines["target"] == "number or none; default none"
    assert "gelu" in lines["activation"]
    assert "only with teacher" in lines["seed"]


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (["batch_size"], "--set batch_size: write it as NAME=VALUE"),
        (["batch_size="], "write it as NAME=VALUE"),
        (["batch_size=32,"], "write it as NAME=VALUE"),
        (["=32"], "unknown setting ''"),
        (["batchsize=32"], "unknown setting 'batchsize'; did you mean 'batch_size'?"),
        (["epochs=1", "epochs=2"], "names the same setting twice"),
        (["threads=2"], "did you mean '--threads'?"),
        (["dropout=0.5"], "choose from: activation, batch_size, beta1"),
        (["dropout=0.5"], "python -m harness list --settings"),
        (["hidden=64-64", "depth=2"], "hidden gives every layer; leave out depth and width"),
        (["width=64", "hidden=64-64"], "hidden gives every layer; leave out depth and width"),
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
        ("hidden=64-", "write the widths of the layers joined by -, such as 128-64"),
        ("hidden=64--64", "joined by -"),
        ("hidden=128x64", "joined by -"),
        ("hidden=[64]", "joined by -"),
        ("hidden=70000", "model.hidden.0: Input should be less than or equal to 65536"),
        ("activation=re lu", "model.activation: Input should be 'relu'"),
        ("learning_rate=inf", "learning_rate: Input should be a finite number"),
        ("momentum=0.9", "its optimizer is adam; only sgd has momentum"),
        ("weight_decay=0.1", "its optimizer is adam; only adamw has weight_decay"),
        ("features=7", "its data is digits; only teacher has features"),
        ("seed=7", "its data is digits; only teacher has seed"),
        ("optimizer=lion", "unknown optimizer 'lion'; choose from: adam, adamw, rmsprop, sgd"),
        ("epsilon=0", "epsilon: Input should be greater than 0"),
        ("epsilon=none", "epsilon: Input should be a valid number"),
        ("beta2=1", "beta2: Input should be less than 1"),
        ("beta1=high", "beta1: Input should be a valid number"),
        ("shuffle=maybe", "shuffle: Input should be a valid boolean"),
        ("loss=mse", "loss: 'mse' does not fit targets of kind 'classes'"),
        ("loss=hinge", "loss: Input should be 'cross-entropy'"),
        ("output=sigmoid", "model.output: Input should be 'identity' or 'softmax'"),
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
        *("batch_size", "epochs", "target", "shuffle", "loss"),
        *("width", "depth", "hidden", "activation", "initializer", "output"),
        *("optimizer", "learning_rate", "momentum", "nesterov", "weight_decay"),
        *("beta1", "beta2", "epsilon", "rho"),
        *("features", "classes", "train", "test", "teacher_width", "seed"),
    }


def test_a_variants_name_tells_its_settings():
    settings = parse_settings(["batch_size=32", "hidden=128-32", "seed=64"])
    (task,) = variants(CATALOGUE["teacher"], settings)
    assert origin(task.name) == (
        "teacher",
        {"batch_size": "32", "hidden": "128-32", "seed": "64"},
    )


@pytest.mark.parametrize("name", ["teacher", "a[b]", "a[b=1]", "a[batch_size=1", "a]", "[]"])
def test_any_other_name_is_its_own(name):
    assert origin(name) == (name, {})
