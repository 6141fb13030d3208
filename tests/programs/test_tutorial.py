"""The examples of docs/own-task.md, as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from harness.__main__ import served
from harness.tasks.variants import read_task_file
from tests.sweeps import needs

needs("pytorch", "keras")
pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[2] / "docs" / "own-task.md").read_text("utf-8")


@pytest.fixture(autouse=True)
def _in_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    monkeypatch.setenv("KERAS_BACKEND", "torch")


def command(verb: str) -> list[str]:
    """The words of the page's command with this verb."""
    (line,) = (it for it in PAGE.splitlines() if it.startswith(f"python -m harness {verb}"))
    return shlex.split(line.partition(" > ")[0])[3:]


def test_two_programs_of_a_tutorial_differ_as_the_page_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert served([*command("diff"), "--steps", "10", "--seeds", "2"]) == 1
    printed = capsys.readouterr().out
    shown = re.search(r"```\n(They differ.*?)```", PAGE, re.DOTALL)
    assert shown is not None
    for line in shown[1].splitlines():
        parts = (re.escape(it) for it in line.split("…"))
        assert re.search(".*".join(parts), printed), line
    assert "after 225 steps of A" in printed
    assert "after 5 of B" in printed
    assert "new weights, drawn by glorot-uniform as A's are" in printed


def test_an_imported_model_is_a_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = tmp_path / "mine.npz"
    words = [str(weights) if it == "mine.npz" else it for it in command("task import")]
    assert served(words) == 0
    (tmp_path / "mine.toml").write_text(capsys.readouterr().out, "utf-8")
    (task,) = read_task_file(tmp_path / "mine.toml")
    assert task.widths == (64, 32, 10)
    assert task.model.initializer == "glorot-uniform"
    assert (task.loss, task.batch_size) == ("cross-entropy-of-probabilities", 32)
    assert weights.is_file()
