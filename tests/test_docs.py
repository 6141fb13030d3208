"""What the documents say is true: commands parse, links lead somewhere, the version is one."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import harness as package
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
def test_commands_in_the_documents_are_understood(tmp_path, document, command):
    words = shlex.split(command)
    if words[0] == "run" and "--resume" not in words:
        (own,) = TASK_FILE.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
        (tmp_path / "my-tasks.toml").write_text(own)
        told = harness(*words, "--dry-run", cwd=tmp_path, SAMESTEP_DATA=str(tmp_path))
        # Where data or a version are not here, the refusal names the way to get them.
        ways = ("data fetch mnist", "harness env add")
        assert told.returncode == 0 or any(it in told.stderr for it in ways), told.stderr
    else:
        told = harness(*words, "--help", cwd=tmp_path)
        assert told.returncode == 0, told.stderr


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
