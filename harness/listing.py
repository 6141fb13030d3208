"""`list` and `info`: what there is to run, and what to run it on. Imports nothing slow."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.frameworks import frameworks, version
from harness.runs import machine
from harness.runs.config import PRESET_HELP
from harness.tasks.datasets import data_directory, missing
from harness.tasks.files import known_tasks
from harness.tasks.spec import Task


def show(data_dir: Path | None, task_file: Path | None) -> None:
    """Print tasks, frameworks and presets."""
    console = Console()
    directory = data_directory(data_dir)
    console.print(_grid("Tasks", [_task(it, directory) for it in known_tasks(task_file).values()]))
    rows = [
        (name, f"{mode}{' (default)' if mode == fw.default_mode else ''}: {line}")
        for name, fw in frameworks().items()
        for mode, line in fw.modes.items()
    ]
    console.print(_grid("Frameworks and their modes", rows))
    console.print(_grid("Installed", [_installed(name) for name in frameworks()]))
    console.print(_grid("Presets", list(PRESET_HELP.items())))


def _task(task: Task, directory: Path) -> tuple[str, str]:
    widths = "-".join(str(width) for width in task.widths)
    if len(widths) > 40:
        widths = f"{task.widths[0]}-…-{task.widths[-1]}, {len(task.layers)} layers"
    reason = missing(task.data, directory)
    state = f"\nunavailable: {reason}" if reason else ""
    return task.name, f"{task.probes} ({widths}, batch {task.batch_size}){state}"


def _installed(name: str) -> tuple[str, str]:
    framework = frameworks()[name]
    return name, version(framework) or f"not installed; get it with: {framework.install}"


def _grid(title: str, rows: list[tuple[str, str]]) -> Table:
    grid = Table(title=title, title_justify="left", title_style="bold", show_header=False, box=None)
    grid.add_column(no_wrap=True)
    grid.add_column()
    for name, text in rows:
        grid.add_row(Text(name), Text(text))
    return grid


def info() -> None:
    """Print this machine and the versions installed on it."""
    console = Console()
    facts = {name: it for name, it in machine.fingerprint().items() if it is not None}
    console.print(_grid("Machine", [(name, _fact(name, it)) for name, it in facts.items()]))
    console.print(_grid("Versions", list(machine.versions().items())))
    if machine.environment():
        console.print(_grid("Environment", list(machine.environment().items())))


def _fact(name: str, value: object) -> str:
    if name.endswith("_bytes") and isinstance(value, int):
        return f"{value / 1e9:.1f} GB"
    return str(value)
