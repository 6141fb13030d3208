"""A program of PyTorch against one of Keras on another backend, each in its own process."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.__main__ import served
from tests.sweeps import needs

TORCH = """
import torch
from torch import nn
model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
loss = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), 0.125, momentum=0.5)
"""
KERAS = """
import os
os.environ["KERAS_BACKEND"] = "{backend}"
import keras
model = keras.Sequential([
    keras.Input((6,)), keras.layers.Dense(5, "tanh"), keras.layers.Dense(3)])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = keras.optimizers.SGD(0.125, momentum=0.5)
"""


@pytest.mark.slow  # Keras on PyTorch is in `test_pairs.py`
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_keras_on_its_backends(
    backend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs("pytorch", "keras", backend)
    text = KERAS.replace("{backend}", backend)
    files = {
        "a.py": TORCH,
        "same.py": text,
        "decimal.py": text.replace("momentum=0.5", "momentum=0.9"),
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    a, same, decimal = (str(tmp_path / name) for name in files)
    assert served(["diff", a, same, "--steps", "6"]) == 0
    assert "he same" in capsys.readouterr().out
    assert served(["diff", a, decimal, "--steps", "6"]) == 1
    assert "momentum is 0.9 (not 0.5)" in capsys.readouterr().out
    # On TensorFlow the decimal number passes through float32, which is a difference of its own.
    (tmp_path / "a.py").write_text(TORCH.replace("momentum=0.5", "momentum=0.9"))
    exact = backend != "tensorflow"
    assert served(["diff", a, decimal, "--steps", "6"]) == (0 if exact else 1)
    assert ("constants pass through float32" in capsys.readouterr().out) != exact


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_probabilities_that_are_not_clipped_are_no_reason_to_give_up(
    backend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Behind a softmax, Keras on TensorFlow takes the loss of the logits: no probability is too
    small for it. That is not what the objects say, and must not hide what else differs."""
    needs("pytorch", "keras", backend)
    large = "keras.initializers.RandomNormal(stddev=30.0, seed=1)"
    saturated = f'keras.layers.Dense(3, "softmax", kernel_initializer={large})'
    text = KERAS.replace("{backend}", backend).replace("keras.layers.Dense(3)", saturated)
    (tmp_path / "a.py").write_text(text.replace("from_logits=True", ""))
    twice = TORCH.replace("nn.Linear(5, 3)", "nn.Linear(5, 3), nn.Softmax(dim=1)")
    (tmp_path / "b.py").write_text(twice)
    assert served(["diff", str(tmp_path / "a.py"), str(tmp_path / "b.py"), "--steps", "6"]) == 1
    printed = capsys.readouterr().out
    assert "a softmax before a loss of logits is applied twice" in printed
    assert ("A is not what its objects say: the loss clips no probabilities" in printed) == (
        backend == "tensorflow"
    )
    (tmp_path / "b.py").write_text(TORCH)  # logits: the one difference is what is clipped
    same = served(["diff", str(tmp_path / "a.py"), str(tmp_path / "b.py"), "--steps", "6"]) == 0
    clips = "B differs from A in that the loss clips no probabilities." in capsys.readouterr().out
    assert (same, clips) == ((True, False) if backend == "tensorflow" else (False, True))
