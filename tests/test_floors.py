"""Imports go down the floors only; see docs/architecture.md."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FRAMEWORKS = {"torch", "tensorflow", "keras", "jax", "cupy"}
FLOORS = (
    ("harness.errors", 0),
    ("harness.tasks", 0),
    ("harness.adapter", 1),
    ("harness.privacy", 0),
    ("harness.environment", 1),
    ("harness.frameworks", 1),
    ("harness.cells", 1),
    ("harness.certificates", 1),
    ("harness.settings", 1),
    ("harness.records", 1),
    ("harness.differences", 1),
    ("harness.analysis", 2),
    ("harness.worker", 2),
    ("harness.runs", 3),
    ("harness.proof", 3),
    ("harness.gate", 3),
    ("harness.report", 4),
    ("harness.doctor", 5),
    ("harness.results", 5),
    ("harness.cli", 5),
    ("harness.__main__", 5),
)
APART = (("harness.analysis", "harness.worker"), ("harness.worker", "harness.analysis"))
"""Rooms on one floor that may not know each other."""
PLANTED = "harness.proof.faults"
"""Plays the part of a framework, and is the reference with a fault."""


def modules(folder: str) -> dict[str, Path]:
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (ROOT / folder).rglob("*.py")
    }


def imports(path: Path) -> set[str]:
    """Every module that a file imports anywhere, be it inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def inside(module: str, room: str) -> bool:
    return module == room or module.startswith(room + ".")


def floor(module: str) -> int | None:
    return next((level for room, level in FLOORS if inside(module, room)), None)


@pytest.mark.parametrize("module", sorted(modules("harness")))
def test_harness_imports_go_down(module):
    if module == "harness":
        return
    own = floor(module)
    assert own is not None, f"{module} has no floor"
    for other in imports(modules("harness")[module]):
        above = floor(other)
        assert above is None or above <= own, f"{module} imports {other}, a floor above it"
        assert other.split(".")[0] not in FRAMEWORKS, f"{module} imports {other}"
        if not (inside(module, PLANTED) and inside(other, "impls.reference")):
            assert not other.startswith("impls."), f"{module} imports {other}"
        for room, stranger in APART:
            assert not (inside(module, room) and inside(other, stranger)), f"{module} → {other}"


@pytest.mark.parametrize("module", sorted(modules("impls")))
def test_a_framework_knows_tasks_and_adapter_only(module):
    own = module.split(".")[1] if "." in module else ""
    for other in imports(modules("impls")[module]):
        if other.startswith("harness"):
            allowed = ("harness.tasks", "harness.adapter")
            assert any(inside(other, room) for room in allowed), f"{module} imports {other}"
        if other.startswith("impls."):
            assert other.split(".")[1] == own, f"{module} imports another framework: {other}"


def test_the_check_itself_sees_an_import_inside_a_function(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from harness.cli.app import app\n    import torch\n")
    assert {"harness.cli.app", "torch"} <= imports(bad)
    assert floor("harness.cli") == 5


def test_modules_stay_readable():
    for name, path in (modules("harness") | modules("impls")).items():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 700, f"{name} has {lines} lines"
