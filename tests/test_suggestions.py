"""What is suggested for a word that does not exist: the right name, or none."""

from __future__ import annotations

import pytest

import harness.runs.plan as planning
from harness.cells import DTYPES, PHASES
from harness.errors import UsageError, unknown
from harness.frameworks import contestants, frameworks, modes_of
from harness.runs.config import resolve
from harness.runs.plan import make_plan
from harness.tasks.catalogue import CATALOGUE

SUGGESTED = {
    "devices": {
        **dict.fromkeys(("cuda", "nvidia", "GPU", "CUDA"), "gpu"),
        **dict.fromkeys(("cuda:0", "gpu0", "cuda0"), "gpu:0"),
        "cuda:1": "gpu:1",
        **dict.fromkeys(("CPU", "cpu:0", "cpu0"), "cpu"),
        **dict.fromkeys(("abacus", "gpi", "gpu:x", "gpu:100", "disk"), None),
    },
    "frameworks": {
        **dict.fromkeys(("torch", "PyTorch", "pytroch"), "pytorch"),
        **dict.fromkeys(("tf", "TensorFlow"), "tensorflow"),
        **dict.fromkeys(("tf.keras", "Keras"), "keras"),
        **dict.fromkeys(("numpy", "np", "ref"), "reference"),
        **dict.fromkeys(("flax", "JAX"), "jax"),
        **dict.fromkeys(("theano", "mxnet", "x"), None),
        "pytorch:compiled": "compile",
        "pytorch:jit": "compile",
        "pytorch:graph": None,
        "tensorflow:jit": "xla",
        "tensorflow:function": "graph",
        "keras:pytorch": "torch",
        "reference:compiled": "replay",
        "jax:xla": "jit",
        "*:function": None,  # of several frameworks: what is meant may differ
    },
    "dtypes": {
        **dict.fromkeys(("fp32", "f32", "float", "Float32"), "float32"),
        **dict.fromkeys(("double", "fp64", "f64", "flaot64"), "float64"),
        **dict.fromkeys(("float16", "bfloat16", "half", "int8"), None),
    },
    "phases": {
        **dict.fromkeys(("training", "fit", "tran", "Train"), "train"),
        **dict.fromkeys(("inference", "test", "prediction"), "predict"),
        **dict.fromkeys(("loss", "all"), None),
    },
    "lanes": {"native": "idiomatic", "idiom": "idiomatic", "all": "both", "sideways": None},
    "preset": {"fast": "quick", "default": "quick", "all": "full", "quik": "quick", "slow": None},
    "tasks": {
        "digits": "digits-mlp",
        "mnist": "mnist-mlp",
        "cancer": "cancer-binary",
        "Digits-MLP": "digits-mlp",
        **dict.fromkeys(("iris", "fashion-mnist", "cifar10", "mlp"), None),
    },
    "settings": {
        "lr": "learning_rate",
        "eps": "epsilon",
        "beta_1": "beta1",
        "batch": "batch_size",
        "batchsize": "batch_size",
        "units": "width",
        "threads": "--threads",
        "dataset": "--task",
        **dict.fromkeys(("dropout", "alpha", "layer_norm"), None),
    },
}
ROWS = [(field, word, meant) for field, words in SUGGESTED.items() for word, meant in words.items()]


@pytest.fixture(autouse=True)
def _everything_is_installed(monkeypatch):
    monkeypatch.setattr("harness.frameworks.version", lambda *_: "99.0")
    monkeypatch.setattr(planning, "gpus", tuple)


@pytest.mark.parametrize(("field", "word", "meant"), ROWS)
def test_a_suggestion_is_right_or_there_is_none(field, word, meant):
    given = word if field == "preset" else (f"{word}=1" if field == "settings" else word,)
    with pytest.raises(UsageError) as caught:
        make_plan(resolve(None, {field: given}))
    hint = str(caught.value).partition("; ")[2]
    assert hint.partition("?")[0] == f"did you mean {meant!r}" if meant else "choose from" in hint


@pytest.mark.parametrize("word", ["mps", "TPU", "tpu:0", "xpu", "rocm"])
def test_a_device_that_no_adapter_has_code_for_is_not_taken_for_a_gpu(word):
    with pytest.raises(UsageError, match="is not supported; use cpu, or gpu for an NVIDIA GPU"):
        make_plan(resolve(None, {"devices": (word,)}))


def test_a_word_of_the_configuration_file_is_named_with_its_file(tmp_path):
    (tmp_path / "run.toml").write_text('dtypes = ["double"]')
    with pytest.raises(UsageError, match=r"run\.toml: unknown dtype 'double'; did you mean"):
        resolve(tmp_path / "run.toml", {})


@pytest.mark.parametrize("name", frameworks())
def test_every_alias_leads_to_a_name_and_is_none_itself(name):
    it = frameworks()[name]
    modes = {**modes_of(it, "identical"), **modes_of(it, "idiomatic")}
    assert set(it.aliases.values()) <= {name, *modes}
    assert not it.aliases.keys() & {name, *modes}
    assert all(word == word.lower() for word in it.aliases)


@pytest.mark.parametrize("choices", [DTYPES, PHASES, tuple(CATALOGUE), ("cells", "samples")])
def test_a_typing_error_of_one_letter_is_understood(choices):
    for name in choices:
        for place in range(len(name)):
            if name[:place] + name[place + 1 :] not in choices:
                assert "did you mean" in str(
                    unknown("word", name[:place] + name[place + 1 :], choices)
                )


def test_what_exists_needs_no_suggestion():
    assert contestants(["pytorch:eager"]) == [("pytorch", "eager", "identical")]
