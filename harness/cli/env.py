"""`env`: environments with other versions of frameworks."""

from __future__ import annotations

import fnmatch
import shutil
import sys
from typing import Annotated

import typer
from rich.text import Text

from harness import install, venvs
from harness.cli.console import Console
from harness.cli.machine import grid
from harness.errors import UsageError, unknown
from harness.frameworks import absence, frameworks
from harness.venvs import Venv

Requirements = Annotated[
    list[str],
    typer.Argument(
        help="What pip is to install; the first names a framework: tensorflow==2.18.1.",
        metavar="REQUIREMENT...",
        show_default=False,
    ),
]
Names = Annotated[
    list[str],
    typer.Argument(
        help="Names or globs of environments: tensorflow@2.18.1.",
        metavar="NAME@VERSION...",
        show_default=False,
    ),
]


def env_add(requirements: Requirements) -> None:
    """Raises UsageError, or InstallFailed with nothing left behind."""
    show = sys.stderr.isatty()
    made = install.add(requirements, lambda line: print(line, file=sys.stderr) if show else None)
    print(f"{made.name}: {_size(made)} in {made.folder}")
    print(f"measure it with: python -m harness run -f {made.name} -f {made.framework}")


def env_list() -> None:
    rows = [(it.name, _state(it)) for it in venvs.made()]
    title = f"Environments in {venvs.directory()}"
    Console().print(grid(title, rows) if rows else Text(f"{title}: none"))


def env_remove(names: Names) -> None:
    made = {it.name: it for it in venvs.made()}
    if not made:
        raise UsageError("there is no environment; `env add` makes one")
    chosen: dict[str, Venv] = {}
    for pattern in names:
        matching = fnmatch.filter(made, pattern)
        if not matching:
            raise unknown("environment", pattern, made)
        chosen |= {name: made[name] for name in matching}
    for name, venv in chosen.items():
        size = _size(venv)
        shutil.rmtree(venv.folder)
        print(f"removed {name}: {size} in {venv.folder}")


def _state(venv: Venv) -> str:
    framework = frameworks().get(venv.framework)
    if framework is None:
        state = "of a framework that is not known here"
    else:
        state = absence(framework, venv) or (
            f"{len(venv.packages())} packages; made from {', '.join(venv.requested)}"
        )
    return f"{_size(venv)}, {state}"


def _size(venv: Venv) -> str:
    return f"{install.size(venv.folder) / 1e9:.2f} GB"
