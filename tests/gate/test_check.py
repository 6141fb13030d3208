"""The whole of a check: what is compared with what, and which exit code it ends with."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from harness import errors
from harness.cli import check as verb
from harness.gate import baseline as baselines
from harness.gate import check as checking
from harness.gate.baseline import Parity
from harness.gate.check import Checked, concluded, refuse_other_tasks
from harness.gate.judging import Line, limits_of
from harness.report.check import markdown
from tests.gate.making import SETUP, make_baseline, make_entry, make_numbers, make_timed

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
REPLAY = {"tasks": ["digits-mlp"], "frameworks": ["reference:replay"], "phases": ["train"]}


@pytest.fixture
def now(monkeypatch):
    """Stands for this code: the entry that is observed, and its times beside its products."""
    found = {"entry": make_entry(), "timed": make_timed()}
    monkeypatch.setattr(checking, "entries", lambda pairs, data, folder, code: [found["entry"]])
    monkeypatch.setattr(
        checking.timing,
        "timed",
        lambda pairs, *rest: {setup: {"train": found["timed"]} for _, setup in pairs},
    )
    return found


def checked(output, capsys, baseline="before", clocked=True, **options) -> dict:
    """The JSON of a check; raises what it ends with after that was printed."""
    verb.check(baseline, output=output, deterministic=not clocked, json_=True, **options)
    return json.loads(capsys.readouterr().out)


def test_the_same_again_is_fine(tmp_path, now, capsys):
    baselines.write(make_baseline(), tmp_path)
    told = checked(tmp_path, capsys)
    assert (told["outcome"], told["exit_code"], told["speed"]) == ("fine", 0, "stored")
    assert "weaker" in told["note"]
    (speed,) = [it for it in told["lines"] if it["what"] == "speed"]
    assert speed["outcome"] == "fine"


def test_time_need_not_be_looked_at(tmp_path, now, capsys):
    baselines.write(make_baseline(machine={"cpu": "abacus"}), tmp_path)
    told = checked(tmp_path, capsys, clocked=False)
    assert (told["exit_code"], told["speed"]) == (0, "none")


def test_stored_times_of_another_machine_are_refused(tmp_path, now, capsys):
    baselines.write(make_baseline(machine={"cpu": "abacus"}), tmp_path)
    with pytest.raises(errors.NotComparable, match=r"another machine.*cpu abacus there"):
        checked(tmp_path, capsys)
    assert json.loads(capsys.readouterr().out)["exit_code"] == 4


def test_what_became_worse_outranks_what_cannot_be_compared(tmp_path, now, capsys):
    baselines.write(make_baseline(machine={"cpu": "abacus"}), tmp_path)
    now["entry"] = make_entry(numbers=make_numbers(losses=(2.3, 2.2, 2.2)))
    with pytest.raises(errors.Regression, match="losses: regression: step 3"):
        checked(tmp_path, capsys)


def test_a_slowdown_is_a_regression_unless_it_is_allowed(tmp_path, now, capsys):
    baselines.write(make_baseline(), tmp_path)
    now["timed"] = make_timed(1.07)
    with pytest.raises(errors.Regression, match="train: speed"):
        checked(tmp_path, capsys)
    capsys.readouterr()
    assert checked(tmp_path, capsys, fail_on=["speed:20%"])["exit_code"] == 0


def test_a_failed_proof_outranks_everything(tmp_path, now, capsys):
    baselines.write(make_baseline(), tmp_path)
    parity = (Parity(dtype="float64", proven=False, steps=1, detail="gradients: step 1"),)
    now["entry"] = make_entry(parity=parity, numbers=make_numbers(losses=(9.0, 2.2, 2.1)))
    with pytest.raises(errors.NotProven, match="gradients: step 1"):
        checked(tmp_path, capsys)


def test_a_setup_that_fails_ends_it_and_what_came_before_is_told(
    tmp_path, now, monkeypatch, capsys
):
    def crash(*_):
        raise errors.CellsFailed("digits-mlp/reference:replay: crashed: killed by SIGSEGV")

    baselines.write(make_baseline(), tmp_path)
    monkeypatch.setattr(checking.timing, "timed", crash)
    with pytest.raises(errors.CellsFailed, match="killed by SIGSEGV"):
        checked(tmp_path, capsys)
    told = json.loads(capsys.readouterr().out)
    assert (told["outcome"], told["exit_code"], told["speed"]) == ("cells failed", 6, "none")
    assert "losses" in {it["what"] for it in told["lines"]}
    assert "Failed: digits-mlp/reference:replay: crashed" in markdown(Checked.model_validate(told))


def test_what_older_code_cannot_do_fails_no_check_of_numbers_alone(
    tmp_path, now, monkeypatch, capsys
):
    """It is not comparable, whether times were asked for or not."""

    def refuse(*_):
        raise errors.NotComparable("the older code cannot do it")

    baselines.write(make_baseline(), tmp_path)
    monkeypatch.setattr(checking, "entries", refuse)
    with pytest.raises(errors.NotComparable, match="older code"):
        checked(tmp_path, capsys, clocked=False)
    assert json.loads(capsys.readouterr().out)["lines"] == []


ENDS = {
    "fine": 0,
    "improved": 0,
    "changed": 0,
    "regression": 1,
    "not proven": 5,
    "cannot tell": 7,
}


@pytest.mark.parametrize(("outcome", "code"), ENDS.items())
def test_every_outcome_has_its_exit_code(outcome, code):
    line = Line(setup=SETUP, phase="train", what="speed", outcome=outcome)
    end = checking.ENDS[concluded([line], comparable=True)]
    assert (end.exit_code if end else 0) == code


def test_nothing_compared_is_nothing_shown():
    assert concluded([], comparable=True) == "cannot tell"
    assert concluded([], comparable=False) == "not comparable"


def test_a_task_that_is_another_one_by_now_is_refused(tmp_path, now, capsys):
    task = make_baseline().tasks[0].model_copy(update={"batch_size": 64})
    setup = SETUP.model_copy(update={"digest": task.digest})
    baselines.write(make_baseline(make_entry(setup), tasks=(task,)), tmp_path)
    with pytest.raises(errors.NotComparable, match="'digits-mlp' is another one by now"):
        checked(tmp_path, capsys)


def test_a_cell_without_a_baseline_is_named(tmp_path, now, capsys):
    baselines.write(make_baseline(), tmp_path)
    with pytest.raises(
        errors.NoBaseline, match=r"'before' has no 'reference:eager'; it has: digits"
    ):
        checked(tmp_path, capsys, **REPLAY | {"frameworks": ["reference:eager"], "threads": [1]})
    told = checked(tmp_path, capsys, **REPLAY)
    assert told["exit_code"] == 0


def test_a_baseline_comes_back_to_the_bit(tmp_path):
    odd = make_baseline(make_entry(numbers=make_numbers(losses=(0.1, 1 / 3, 5e-324))))
    path = baselines.write(odd, tmp_path)
    assert baselines.read("before", tmp_path) == odd
    assert '"0x1.999999999999ap-4"' in path.read_text()
    assert not list(path.parent.glob("*.part"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "Invalid JSON"),
        ("[" * 100_000, "Invalid JSON"),
        ('{"schema_version": 2}', "schema_version"),
        ("null", "not a baseline"),
    ],
)
def test_what_is_no_baseline_is_not_comparable(tmp_path, text, said):
    (tmp_path / "baselines").mkdir()
    (tmp_path / "baselines" / "odd.json").write_text(text)
    with pytest.raises(errors.NotComparable, match=said):
        baselines.read("odd", tmp_path)


def test_limits_are_read_or_refused():
    assert limits_of(["speed:10%", "memory:0%"]).model_dump() == {
        "speed": 0.1,
        "memory": 0.0,
        "program": 0.0,
    }
    for word in ("speed", "speed:", "speed:0%", "sped:5%", "speed:-1%", "memory:1000%"):
        with pytest.raises(errors.UsageError):
            limits_of([word])


def test_a_comment_has_what_is_worth_a_line(tmp_path, now, capsys):
    baselines.write(make_baseline(), tmp_path)
    now["entry"] = make_entry(numbers=make_numbers(losses=(2.3, 2.2, 2.2)))
    with pytest.raises(errors.Regression):
        checked(tmp_path, capsys, markdown=tmp_path / "comment.md")
    text = (tmp_path / "comment.md").read_text()
    assert text.startswith("### Check against `before`: regression")
    assert "| digits-mlp reference:replay | losses | regression |" in text
    assert "first gradients" not in text
    assert markdown(Checked.model_validate_json(capsys.readouterr().out)) == text


def test_what_is_printed_fits_its_schema(tmp_path, now, capsys):
    baselines.write(make_baseline(), tmp_path)
    for name, text in (
        ("check", json.dumps(checked(tmp_path, capsys))),
        ("baseline", (tmp_path / "baselines" / "before.json").read_text()),
    ):
        schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
        jsonschema.validate(json.loads(text), schema)


def test_the_committed_baseline_is_one_of_the_reference_and_of_this_catalogue():
    root = Path(__file__).parents[2] / "results"
    kept = baselines.read("reference", root)
    assert {it.setup.framework for it in kept.entries} == {"reference"}
    refuse_other_tasks({it.name: it for it in kept.tasks}, None)
    assert kept.revision is not None
