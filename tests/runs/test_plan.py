"""From what the user asks to what will run; every refusal is one line and comes before a write."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given, strategies

import harness.runs.plan as planning
from harness.cells import LANES as ALL_LANES
from harness.cells import PHASES
from harness.errors import DataError, UsageError
from harness.frameworks import frameworks
from harness.runs.config import MOST_BLOCKS, PRESETS, parse_precision, parse_seconds, resolve
from harness.runs.plan import make_plan


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """Two cores, no GPU, every framework installed, no MNIST."""
    monkeypatch.setattr(planning, "cores", lambda: 2)
    monkeypatch.setattr(planning, "gpus", tuple)
    monkeypatch.setattr("harness.frameworks.version", lambda *_: "99.0")
    monkeypatch.setenv("SAMESTEP_DATA", str(tmp_path))


USUAL = {name for name, it in frameworks().items() if it.modes}
"""Frameworks with a mode in the identical lane."""


def plan(**flags):
    return make_plan(resolve(None, flags))


def test_quick_runs_every_framework_on_one_embedded_task():
    (group,) = plan().groups
    assert group.task.name == "digits-mlp"
    assert {it.framework for it in group.setups} == USUAL
    assert {(it.threads, it.device, it.dtype) for it in group.setups} == {(2, "cpu", "float32")}


def test_globs_modes_sweeps_and_products():
    made = plan(
        tasks=["tea*"],
        frameworks=["tensorflow:*", "pytorch"],
        settings=["batch_size=32,64"],
        dtypes=["float32", "float64"],
        threads=[1, 2],
    )
    assert len(made.groups) == 2 * 2 * 2
    assert {len(group.setups) for group in made.groups} == {4 + 1}
    assert {group.task.batch_size for group in made.groups} == {32, 64}
    assert len(made.tasks) == 2


def test_tasks_without_data_are_left_out_with_the_way_to_get_it():
    made = plan(tasks=["*"])
    left_out = {it.what: it.reason for it in made.unavailable}
    assert "data fetch mnist" in left_out["task mnist-mlp"]
    assert "deep-narrow" in {task.name for task in made.tasks}


def test_if_no_task_is_left_that_is_an_error():
    with pytest.raises(DataError, match="data fetch mnist"):
        plan(tasks=["mnist-*"])


def test_a_framework_that_is_not_installed_is_left_out(monkeypatch):
    def version(framework, _):
        return None if framework.title == "TensorFlow" else "99.0"

    monkeypatch.setattr("harness.frameworks.version", version)
    made = plan()
    assert "tensorflow" not in {it.framework for it in made.groups[0].setups}
    absent = [it.what for it in made.unavailable if it.reason.startswith("not installed")]
    assert absent == ["framework tensorflow"]
    with pytest.raises(UsageError, match="not installed; get it with: pip install"):
        plan(frameworks=["tensorflow"])


def twins(made):
    return [it.label for group in made.groups for it in group.setups if it.twin]


def test_in_each_group_the_baseline_enters_twice():
    assert twins(plan(dtypes=["float32", "float64"])) == ["pytorch:eager again"] * 2
    assert twins(plan(frameworks=["reference:replay"])) == ["reference:replay again"]
    assert twins(plan(frameworks=["tensorflow:*"])) == ["tensorflow:eager again"]
    assert twins(plan(twin=False)) == []
    assert all(len(set(group.setups)) == len(group.setups) for group in plan().groups)


def test_both_lanes_share_a_group_and_its_one_twin(lanes):
    (group,) = plan(lanes=["both"]).groups
    by_lane = {lane: {it.framework for it in group.setups if it.lane == lane} for lane in ALL_LANES}
    assert by_lane["identical"] == USUAL
    assert by_lane["idiomatic"] == {name for name, it in frameworks().items() if it.idioms} - {
        "reference"
    }
    assert by_lane["idiomatic"] >= {"pytorch", "keras"}
    assert [(it.lane, it.twin) for it in group.setups if it.twin] == [("identical", True)]
    assert len({it.group for it in group.setups}) == 1


def test_what_has_no_mode_in_a_lane_is_left_out_of_it(lanes):
    made = plan(lanes=["idiomatic"])
    assert {it.lane for it in made.groups[0].setups} == {"idiomatic"}
    left_out = {it.what: it.reason for it in made.unavailable}
    without = {name for name, it in frameworks().items() if not it.idioms} | {"reference"}
    assert left_out.keys() == {f"framework {name}" for name in without}
    assert "no mode in the idiomatic lane" in left_out["framework reference"]
    with pytest.raises(UsageError, match="no mode in the lane idiomatic"):
        plan(lanes=["idiomatic"], frameworks=["reference"])


def test_what_has_an_idiomatic_mode_only_takes_part_where_it_is_named():
    (group,) = plan(frameworks=["keras", "pytorch"]).groups
    assert {(it.label, it.lane) for it in group.setups if not it.twin} == {
        ("pytorch:eager", "identical"),
        ("keras:tensorflow", "idiomatic"),
    }
    (note,) = plan(frameworks=["keras", "pytorch"]).notes
    assert note.startswith("measured in the idiomatic lane: keras (no mode in the identical one)")
    left_out = {it.what: it.reason for it in plan().unavailable}
    expected = "it has no mode in the identical lane; --lane both measures it in the idiomatic one"
    assert left_out["framework keras"] == expected
    left_out = {it.what: it.reason for it in plan(lanes=["both"]).unavailable}
    assert left_out["framework keras"].endswith("; it is measured in the idiomatic one")
    assert not plan().notes
    for quiet in ({"frameworks": ["pytorch"]}, {"frameworks": ["keras"], "lanes": ["both"]}):
        assert not plan(**quiet).notes
    with pytest.raises(UsageError, match="in the lane identical; use --lane idiomatic"):
        plan(frameworks=["keras"], lanes=["identical"])


@pytest.fixture
def lanes(monkeypatch):
    """The reference has no idiomatic mode."""
    known = frameworks()
    known["reference"] = dataclasses.replace(known["reference"], idioms={})
    monkeypatch.setattr("harness.frameworks.frameworks", lambda: known)
    monkeypatch.setattr(planning, "frameworks", lambda: known)


@pytest.mark.parametrize(
    ("flags", "phases"),
    [
        ({}, ("train", "predict")),
        ({"phases": ["latency"]}, ("train-latency", "predict-latency")),
        ({"phases": ["latency", "train"]}, ("train", "train-latency", "predict-latency")),
        ({"phases": ["predict*", "predict"]}, ("predict", "predict-latency")),
        ({"preset": "standard"}, PHASES),
    ],
)
def test_phases_stand_in_their_order_whatever_is_asked(flags, phases):
    assert resolve(None, flags).phases == phases


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        (["both"], ("identical", "idiomatic")),
        (["idiomatic"], ("idiomatic",)),
        (["id*"], ("identical", "idiomatic")),
        (["idiomatic", "identical"], ("identical", "idiomatic")),
    ],
)
def test_lanes(words, chosen):
    assert resolve(None, {"lanes": words}).lanes == chosen


def test_a_precision_needs_room_for_blocks():
    assert resolve(None, {}).precision is None
    config = resolve(None, {"precision": "5%"})
    assert (config.precision, config.blocks) == (0.05, MOST_BLOCKS)
    assert resolve(None, {"precision": "5%", "blocks": 12}).blocks == 12
    assert resolve(None, {"precision": 0.05, "preset": "full"}).blocks > MOST_BLOCKS


@pytest.mark.parametrize("text", ["", "%", "2", "0", "0%", "-1%", "100%", "nan", "inf", "fine"])
def test_bad_precisions(text):
    with pytest.raises(UsageError, match=r"such as 2% or 0\.02"):
        parse_precision(text)


@given(strategies.floats(0.01, 99))
def test_a_precision_may_be_written_in_two_ways(percent):
    assert math.isclose(parse_precision(f"{percent}%"), parse_precision(f"{percent / 100}"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"tasks": ["digits-mpl"]}, "unknown task 'digits-mpl'; did you mean 'digits-mlp'?"),
        ({"frameworks": ["pytroch"]}, "unknown framework 'pytroch'; did you mean 'pytorch'?"),
        ({"frameworks": ["pytorch:eagr"]}, "unknown mode of PyTorch 'eagr'; did you mean 'eager'?"),
        ({"frameworks": ["pytorch:"]}, "a mode must follow the colon"),
        ({"devices": ["gpu"]}, "no GPU found on this machine; use --device cpu"),
        ({"devices": ["tpu"]}, "device 'tpu' is not supported; use cpu, or gpu"),
        ({"devices": ["gpu:x"]}, "unknown device 'gpu:x'"),
        ({"threads": [64]}, "threads 64: this machine has 2 cores to use"),
        ({"threads": [0]}, "threads.0: Input should be greater than or equal to 1 (got 0)"),
        ({"dtypes": ["float16"]}, "unknown dtype 'float16'; choose from: float32, float64"),
        ({"phases": ["fit"]}, "unknown phase 'fit'; did you mean 'train'?"),
        ({"lanes": ["own"]}, "unknown lane 'own'; choose from: both, identical, idiomatic"),
        ({"lanes": []}, "lanes: Tuple should have at least 1 item"),
        ({"precision": "two"}, "precision 'two': write a share of the ratio, such as 2% or 0.02"),
        ({"precision": 2.0}, "precision: Input should be less than 1 (got 2.0)"),
        ({"preset": "quik"}, "unknown preset 'quik'; did you mean 'quick'?"),
        ({"blocks": 0}, "blocks: Input should be greater than or equal to 1 (got 0)"),
        ({"seeds": -1}, "seeds: Input should be greater than or equal to 0 (got -1)"),
        ({"settings": ["batch_size=0"]}, "batch_size"),
        ({"settings": ["batch_size=999999"]}, "more than the 1437 training examples"),
        ({"settings": ["learning_rate=nan"]}, "finite number"),
        ({"settings": ["learning_rate=inf"]}, "finite number"),
        ({"settings": ["width=1e9"]}, "width"),
        ({"settings": ["batchsize=3"]}, "did you mean 'batch_size'?"),
        ({"settings": ["batch_size"]}, "write it as NAME=VALUE"),
        ({"settings": ["classes=3"]}, "classes"),
    ],
)
def test_refusals_are_one_line_that_names_the_way_out(flags, message):
    with pytest.raises(UsageError) as refusal:
        plan(**flags)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_flags_override_the_file_which_overrides_the_preset(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('preset = "standard"\nblocks = 3\nseeds = 2\n')
    config = resolve(file, {"seeds": 4})
    assert (config.blocks, config.seeds) == (3, 4)
    assert config.tasks == PRESETS["standard"]["tasks"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blocks = \n", "line 1"),
        ("blocks = 1\nrounds = = 2", "line 2"),
        ("block = 3", "did you mean 'blocks'?"),
        ("blocks = -3", "greater than or equal to 1"),
        ("budget = nan", "finite"),
    ],
)
def test_a_bad_file_is_named_with_the_place(tmp_path, text, message):
    file = tmp_path / "run.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as refusal:
        resolve(file, {})
    assert str(file) in str(refusal.value)
    assert message in str(refusal.value)


@pytest.mark.parametrize(("text", "value"), [("90", 90), ("120s", 120), ("2m", 120), ("1h", 3600)])
def test_budgets(text, value):
    assert parse_seconds(text) == value


@pytest.mark.parametrize("text", ["", "s", "-5s", "0", "nan", "inf", "soon", "1e99h"])
def test_bad_budgets(text):
    with pytest.raises(UsageError):
        parse_seconds(text)


def test_shards_share_a_plan_without_rest_or_overlap():
    asked = {"tasks": ["*"], "dtypes": ["float32", "float64"]}
    whole = plan(**asked)
    assert len(whole.groups) > 7
    for of in (1, 2, 3, 7):
        parts = [plan(**asked, shard=f"{number}/{of}") for number in range(1, of + 1)]
        taken = [group for part in parts for group in part.groups]
        assert sorted(map(whole.groups.index, taken)) == list(range(len(whole.groups)))
        sizes = {len(part.groups) for part in parts}
        assert max(sizes) - min(sizes) <= 1
    assert plan(**asked, shard="2/3") == plan(**asked, shard="2/3")
    (last,) = plan(**asked, shard=f"{len(whole.groups)}/{len(whole.groups)}").groups
    assert last == whole.groups[-1]


def test_a_shard_stages_only_what_it_runs():
    asked = {"tasks": ["digits-mlp", "teacher"]}
    assert [it.name for it in plan(**asked, shard="2/2").tasks] == ["teacher"]


@pytest.mark.parametrize(
    "text", ["", "0/1", "2/1", "1/0", "-1/2", "1/2/3", "a/b", "1", " 1/2", "1/2\n"]
)
def test_what_is_no_shard(text):
    with pytest.raises(UsageError, match="is no part of a whole; write the first of three as 1/3"):
        resolve(None, {"shard": text})


def test_what_is_named_twice_runs_once():
    """Two groups alike would be kept under one name."""
    made = plan(devices=["cpu", "cpu"], threads=[1, 2, 1], dtypes=["float32", "float32"])
    assert len({group.setups[0].group for group in made.groups}) == len(made.groups) == 2


def test_a_budget_in_a_file_is_written_as_on_the_command_line():
    assert resolve(None, {"budget": "10m"}).budget == 600
