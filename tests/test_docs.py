"""What the documents say is true: commands parse, links lead somewhere, the version is one."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import harness as package
from harness.__main__ import served
from harness.errors import DataError
from harness.tasks.data_files import FileRequest
from harness.tasks.variants import read_task_file
from tests.test_cli import ROOT, harness

DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
DOCUMENTS += [*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "results").rglob("README.md"))]
COMMAND = re.compile(r"^python -m harness (?P<words>[^#\n]+)", re.MULTILINE)
COMMANDS = [
    (document.name, match["words"].strip())
    for document in DOCUMENTS
    for match in COMMAND.finditer(document.read_text(encoding="utf-8"))
]
TASK_FILE = re.compile(r"```toml\n(\[\[task\]\].*?)```", re.DOTALL)


@pytest.mark.parametrize(("document", "command"), COMMANDS)
def test_commands_in_the_documents_are_understood(tmp_path, monkeypatch, capsys, document, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAMESTEP_DATA", str(tmp_path))
    words = shlex.split(command)
    if words[0] == "run" and "--resume" not in words:
        (own,) = TASK_FILE.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
        (tmp_path / "my-tasks.toml").write_text(own)
        if "houses.toml" in words:
            write_own_task(tmp_path)
        code = served([*words, "--dry-run"])
        # Where data or a version are not here, the refusal names the way to get them.
        ways, error = ("data fetch mnist", "harness env add"), capsys.readouterr().err
        assert code == 0 or any(it in error for it in ways), error
    else:
        assert served([*words, "--help"]) == 0, capsys.readouterr().err


def write_own_task(folder: Path) -> str:
    """The files of the worked example; returns the page."""
    page = (ROOT / "docs/own-task.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
    (task,) = TASK_FILE.findall(page)
    (folder / "houses.toml").write_text(task)
    return page


def test_the_task_with_data_of_ones_own_is_as_described(tmp_path):
    page = write_own_task(tmp_path)
    (task,) = read_task_file(tmp_path / "houses.toml")
    assert task.data.shape == (5, 1, 400, 100, "real")
    lines = re.findall(r"^data = \{.*\}$", page, re.MULTILINE)
    assert len(lines) == 4
    for line in lines:
        FileRequest.model_validate(tomllib.loads(line)["data"])
    table = page.partition("| field of")[2].partition("```")[0]
    assert {*FileRequest.model_fields} == {*re.findall(r"^\| `(\w+)`", table, re.MULTILINE)}
    houses = tmp_path / "houses.csv"
    rows = houses.read_text().splitlines()
    area, _, zone, price = rows[17].split(",")
    rows[17] = f"{area},n/a,{zone},{price}"
    houses.write_text("\n".join(rows))
    with pytest.raises(DataError) as caught:
        read_task_file(tmp_path / "houses.toml")
    said = str(caught.value).replace(f"{tmp_path}/", "")
    assert f"error: {said}" in " ".join(page.split())


def test_there_are_commands_to_test():
    assert len(COMMANDS) > 8


def test_the_configuration_in_the_documents_is_valid(tmp_path):
    documents = (ROOT / "docs/commands.md").read_text("utf-8")
    (text,) = re.findall(r"```toml\n(.*?)```", documents, re.DOTALL)
    (tmp_path / "run.toml").write_text(text)
    told = harness("run", "--config", "run.toml", "-t", "teacher", "--dry-run", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert "12 blocks each" in told.stdout


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda it: it.name)
def test_links_lead_somewhere(document: Path):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_the_changelog_knows_this_version():
    assert f"## {package.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
