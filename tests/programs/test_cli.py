"""`diff` and `task import` from the command line, with programs of NumPy functions."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest

from harness.__main__ import served
from harness.errors import UsageError
from harness.report.frames import schemas
from tests.sweeps import needs

PROGRAM = """
import numpy as np

RATE, SUMMED, MOMENTUM, OUTPUTS = 0.05, False, 0.9, 4

def weights():
    random = np.random.default_rng(0)
    return {
        "layer0.weight": random.normal(size=(6, 5)), "layer0.bias": np.zeros(5),
        "layer1.weight": random.normal(size=(5, OUTPUTS)), "layer1.bias": np.zeros(OUTPUTS),
    }

def forward(w, x):
    return np.maximum(x @ w["layer0.weight"] + w["layer0.bias"], 0) @ w["layer1.weight"] + w[
        "layer1.bias"]

def step(w, slots, x, y, t):
    h = np.maximum(x @ w["layer0.weight"] + w["layer0.bias"], 0)
    z = h @ w["layer1.weight"] + w["layer1.bias"]
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    rows = np.arange(len(x))
    loss, d = -np.log(p[rows, y]).sum(), p.copy()
    d[rows, y] -= 1
    if not SUMMED:
        loss, d = loss / len(x), d / len(x)
    dh = (d @ w["layer1.weight"].T) * (h > 0)
    g = {
        "layer0.weight": x.T @ dh, "layer0.bias": dh.sum(axis=0),
        "layer1.weight": h.T @ d, "layer1.bias": d.sum(axis=0),
    }
    v = {k: MOMENTUM * slots.get(f"velocity/{k}", 0) + g[k] for k in g}
    return {
        "loss": loss, "gradients": g, "weights": {k: w[k] - RATE * v[k] for k in w},
        "slots": {f"velocity/{k}": v[k] for k in v},
    }
"""
REFERENCE = PROGRAM + "batch_size = 8\n"


def written(folder: Path, name: str, *changes: tuple[str, str], more: str = "") -> str:
    text = REFERENCE
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    (folder / name).write_text(text + more)
    return str(folder / name)


def test_the_same_program_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = written(tmp_path, "a.py"), written(tmp_path, "b.py")
    assert served(["diff", a, b, "--steps", "12"]) == 0
    assert "Exactly the same over 12 steps." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "causes", "lines"),
    [
        (("RATE, SUMMED", "RATE, SUMMED"), (), ""),
        (("= 0.05,", "= 0.06,"), ("learning-rate",), "the learning rate is 0.06 (not 0.05)"),
        (("False, 0.9", "True, 0.9"), ("reduction",), "the loss is a sum over the batch"),
        (("False, 0.9", "False, 0.8"), ("momentum",), "momentum is 0.8 (not 0.9)"),
        (("+ g[k] for", "+ (1 - MOMENTUM) * g[k] for"), ("momentum-form",), "is an average"),
        (("= 0.05, False", "= 0.06, True"), ("reduction", "learning-rate"), ""),
    ],
)
def test_causes_are_found_where_no_object_says_anything(
    change: tuple[str, str],
    causes: tuple[str, ...],
    lines: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Both are functions: what they compute is found by trying, for A as for B."""
    a, b = written(tmp_path, "a.py"), written(tmp_path, "b.py", change)
    code = served(["diff", a, b, "--steps", "12", "--json"])
    found = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(schemas()["diff"]).validate(found)
    assert code == (1 if causes else 0)
    assert found["same"] is not bool(causes)
    if causes:
        assert [it["name"] for it in found["explanations"][0]] == list(causes)
        assert found["agreement"] < 1e-12
        assert any(lines in it["line"] for it in found["explanations"][0])


def test_training_loops_and_whole_trainings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = written(tmp_path, "a.py", more="epochs = 2\n")
    b = written(tmp_path, "b.py", more="epochs = 1\nbatch_size = 2048\n")
    words = ["diff", a, b, "--steps", "5", "--train", "--seeds", "6"]
    assert served(words) == 1
    out = capsys.readouterr().out
    assert "he same" in out
    assert "A trains with 8 rows a batch, B with 2,048" in out
    assert "after 512 steps of A" in out
    assert "after 1 of B" in out
    assert "A's weights, the entries of every tensor in another order" in out
    assert "That is more than seeds make." in out
    assert served([*words[:-1], "2", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(schemas()["diff"]).validate(found)
    assert len(found["schedule"]) == 2
    assert found["trainings"]["steps"] == [512, 1]
    assert found["trainings"]["differ"] is None
    endless = written(tmp_path, "c.py", more="epochs = 10**9\n")
    assert served(["diff", a, endless, "--steps", "3", "--train", "--seeds", "1"]) == 2
    assert "1,000,000,000 epochs of 2,048 rows are too many" in capsys.readouterr().err


def test_both_are_fed_the_users_own_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    columns = {f"x{it}": random.normal(size=60) for it in range(6)}
    kinds = random.permutation(np.repeat(["a", "b", "c", "d"], 15))
    pd.DataFrame(columns | {"kind": kinds}).to_csv(tmp_path / "rows.csv", index=False)
    a, b = written(tmp_path, "a.py"), written(tmp_path, "b.py", ("= 0.05,", "= 0.06,"))
    words = ["--data", str(tmp_path / "rows.csv"), "--target"]
    assert served(["diff", a, b, *words, "kind", "--steps", "6"]) == 1
    assert "the learning rate is 0.06" in capsys.readouterr().out
    assert served(["diff", a, b, *words, "none"]) == 2
    assert "unknown column 'none'" in capsys.readouterr().err


def test_what_cannot_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = written(tmp_path, "a.py")
    b = written(tmp_path, "b.py", ("0.9, 4", "0.9, 5"))
    assert served(["diff", a, b]) == 4
    assert "layer1.weight has shape (5, 4) in a.py, (5, 5) in b.py" in capsys.readouterr().err
    random = written(tmp_path, "c.py", ("loss, d = -np", "loss, d = np.random.rand() - np"))
    assert served(["diff", a, random, "--steps", "3"]) == 4
    assert "shows something else each time" in capsys.readouterr().err
    nan = written(tmp_path, "d.py", ("loss, d = -np", "loss, d = np.nan * -np"))
    assert served(["diff", a, nan, "--steps", "3"]) == 1
    assert "first at step 1, in the loss" in capsys.readouterr().out
    assert served(["diff", a, str(tmp_path / "absent.py")]) == 2
    assert served(["diff", a, a, "--data", "digits"]) == 2
    assert "the model has 6 inputs; data digits needs 64" in capsys.readouterr().err


def test_nothing_that_is_known_explains_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = written(tmp_path, "a.py")
    b = written(tmp_path, "b.py", ("RATE * v[k]", "RATE * np.sign(v[k])"))
    assert served(["diff", a, b, "--steps", "5"]) == 1
    out = capsys.readouterr().out
    assert "no alteration of the table" in out
    assert "first at step 1, in the weights" in out


REFUSED = {
    "layer 3 is Dropout(p=0.5": "nn.Linear(6, 5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 10)",
    "layer 2 is LeakyReLU": "nn.Linear(64, 5), nn.LeakyReLU(), nn.Linear(5, 10)",
    "layer 4 is Tanh(); the first activation is relu": "nn.Linear(64, 5), nn.ReLU(), "
    "nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 10)",
    "it has no bias": "nn.Linear(64, 5, bias=False), nn.ReLU(), nn.Linear(5, 10)",
    "no activation stands before it": "nn.Linear(64, 5), nn.Linear(5, 10)",
    "the model has 6 inputs; data digits needs 64": "nn.Linear(6, 10)",
}


def test_what_a_task_cannot_express_is_refused_by_its_name(tmp_path: Path) -> None:
    """All models in one worker: each is an object of one file."""
    needs("pytorch")
    from harness.programs.importing import imported
    from harness.programs.process import OpenProgram

    lines = ["import torch", "from torch import nn"]
    for index, layers in enumerate(REFUSED.values()):
        lines += [f"def m{index}():", f"    m = nn.Sequential({layers})"]
        lines += ["    return m, nn.CrossEntropyLoss(), torch.optim.Adam(m.parameters())"]
    file = tmp_path / "nets.py"
    file.write_text("\n".join(lines))
    program = OpenProgram(tmp_path)
    try:
        for index, expected in enumerate(REFUSED):
            program.read(f"{file}:m{index}")
            with pytest.raises(UsageError) as error:
                imported(program.description, program.weights, "digits", "net")
            assert expected in str(error.value)
    finally:
        program.close()
