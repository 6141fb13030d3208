"""The layout holds: layers, sizes and names. The layers are contracts in pyproject.toml."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.modules import ROOT, modules

MODULES = [*modules("harness").values(), *modules("impls").values()]
LINES = 700


def linted(folder: Path) -> subprocess.CompletedProcess[str]:
    program = "from importlinter.cli import lint_imports_command as main; main()"
    command = [sys.executable, "-c", program, "--config", ROOT / "pyproject.toml", "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_imports_go_down_the_layers():
    result = linted(ROOT)
    assert result.returncode == 0, result.stdout


def test_an_import_upwards_is_seen_even_inside_a_function(tmp_path):
    for folder in ("harness", "impls"):
        for path in (ROOT / folder).rglob("*.py"):
            copy = tmp_path / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    with (tmp_path / "harness/tasks/spec.py").open("a") as file:
        file.write("\n\ndef wrong():\n    import torch\n    from harness.report import page\n")
    result = linted(tmp_path)
    assert result.returncode == 1
    assert "harness.tasks is not allowed to import harness.report" in result.stdout
    assert "harness.tasks.spec -> torch" in result.stdout


def test_a_module_is_at_most_so_long():
    for path in MODULES:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES, path


def test_a_class_has_a_name_of_its_own():
    classes = Counter(
        node.name
        for path in (ROOT / "harness").rglob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in classes.items() if count > 1] == []
