"""Frameworks are found by their folders, and none is imported to be found."""

from __future__ import annotations

import subprocess
import sys

import pytest

import impls
from harness.errors import UsageError
from harness.frameworks import contestants, frameworks, modes_of, select, version
from tests.test_cli import ROOT

ENGINE = """
from harness.adapter import Framework
FRAMEWORK = Framework(
    title="Mine", distributions=("numpy",), install="", modes={"only": "one"}, color="#000000"
)
"""


@pytest.fixture
def further(tmp_path, monkeypatch):
    """A folder of further frameworks."""
    monkeypatch.setattr(impls, "__path__", [*impls.__path__, str(tmp_path)])
    yield tmp_path
    for name in [it for it in sys.modules if it.startswith("impls.mine")]:
        del sys.modules[name]


def test_the_three_are_there_each_with_a_default_mode():
    known = frameworks()
    assert {"pytorch", "tensorflow", "reference"} <= known.keys()
    for framework in known.values():
        assert framework.default_mode in framework.modes
        assert all(framework.modes.values())
    assert len({framework.color for framework in known.values()}) == len(known)


def test_a_folder_is_all_that_a_framework_needs(further):
    (further / "mine").mkdir()
    (further / "mine" / "__init__.py").write_text(ENGINE)
    assert frameworks()["mine"].title == "Mine"
    assert select(["mine"]) == [("mine", "only")]


def test_a_folder_that_declares_nothing_is_named(further):
    (further / "mine_not").mkdir()
    (further / "mine_not" / "__init__.py").write_text("")
    with pytest.raises(UsageError, match=r"mine_not/__init__\.py declares no FRAMEWORK"):
        frameworks()


def test_globs_and_modes():
    assert select(["pytorch:*"]) == [("pytorch", "eager"), ("pytorch", "compile")]
    assert select(["tensorflow"], "all") == [
        ("tensorflow", mode) for mode in ("graph", "eager", "xla")
    ]
    assert select(["pytorch", "pytorch:eager"]) == [("pytorch", "eager")]
    installed = {name for name, framework in frameworks().items() if version(framework)}
    assert {name for name, _ in select([])} == installed


def test_each_lane_has_modes_of_its_own():
    known = frameworks()
    assert modes_of(known["tensorflow"], "identical") == known["tensorflow"].modes
    assert list(modes_of(known["tensorflow"], "idiomatic")) == ["fit"]
    assert select(["pytorch"], lane="idiomatic") == [("pytorch", "compile")]
    assert select(["pytorch"], "all", "idiomatic") == [("pytorch", "compile"), ("pytorch", "eager")]


def test_a_pattern_need_fit_one_of_the_lanes_only():
    lanes = ("identical", "idiomatic")
    assert contestants(["tensorflow:graph", "pytorch:eager", "reference"], lanes=lanes) == [
        ("tensorflow", "graph", "identical"),
        ("pytorch", "eager", "identical"),
        ("reference", "replay", "identical"),
        ("pytorch", "eager", "idiomatic"),
        ("reference", "replay", "idiomatic"),
    ]
    assert contestants(["*:compile"]) == [("pytorch", "compile", "identical")]
    with pytest.raises(UsageError, match="unknown mode of TensorFlow 'graph'; choose from: fit"):
        contestants(["tensorflow:graph"], lanes=("idiomatic",))
    with pytest.raises(UsageError, match="unknown mode of PyTorch 'eagre'; did you mean 'eager'"):
        contestants(["pytorch:eagre"], lanes=lanes)
    with pytest.raises(UsageError, match="a mode must follow the colon"):
        contestants(["pytorch:"], lanes=lanes)


def test_a_framework_without_idioms_takes_no_part_in_their_lane(further):
    (further / "mine").mkdir()
    (further / "mine" / "__init__.py").write_text(ENGINE)
    assert contestants(["mine"], lanes=("identical", "idiomatic")) == [
        ("mine", "only", "identical")
    ]
    assert "mine" not in {name for name, _ in select([], lane="idiomatic")}
    assert "mine" not in {name for name, _ in select(["*"], lane="idiomatic")}
    with pytest.raises(UsageError, match="'mine' has no mode in the lane idiomatic"):
        select(["mine"], lane="idiomatic")


def test_our_tensorflow_folder_does_not_shadow_the_real_one():
    if version(frameworks()["tensorflow"]) is None:
        pytest.skip("tensorflow is not installed")
    code = "import harness.frameworks as f; f.frameworks(); import tensorflow; tensorflow.constant"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
