"""`list` and `info`: what there is to run, and what to run it on. Imports nothing slow."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table
from rich.text import Text

from harness.adapter import Framework
from harness.console import Console
from harness.frameworks import absence, frameworks, version
from harness.runs import machine
from harness.runs.config import PRESET_HELP
from harness.tasks import images
from harness.tasks.data import DOWNLOADED
from harness.tasks.datasets import data_directory, missing
from harness.tasks.files import known_tasks
from harness.tasks.spec import Task


def show(data_dir: Path | None, task_file: Path | None) -> None:
    """Print tasks, data sets, frameworks and presets."""
    console = Console()
    directory = data_directory(data_dir)
    tasks = list(known_tasks(task_file).values())
    console.print(_grid("Tasks", [_task(it, directory) for it in tasks]))
    console.print(_grid("Data sets to fetch", [_data(name, directory) for name in DOWNLOADED]))
    console.print(_grid("Frameworks", [_framework(name, it) for name, it in frameworks().items()]))
    console.print(_grid("Presets", list(PRESET_HELP.items())))


def _task(task: Task, directory: Path) -> tuple[str, str]:
    widths = "-".join(str(width) for width in task.widths)
    if len(widths) > 40:
        widths = f"{task.widths[0]}-…-{task.widths[-1]}, {len(task.layers)} layers"
    state = f"\nunavailable: needs {task.data.name}" if missing(task.data, directory) else ""
    return task.name, f"{task.probes} ({widths}, batch {task.batch_size}){state}"


def _data(name: str, directory: Path) -> tuple[str, str]:
    return name, images.absent(name, directory) or f"in {directory / name}"


def _framework(name: str, framework: Framework) -> tuple[str, str]:
    state = absence(framework) or version(framework)
    modes = [
        f"{name}:{mode}{' (default)' if mode == framework.default_mode else ''}: {line}"
        for mode, line in framework.modes.items()
    ]
    return name, "\n".join([f"{framework.title} {state}", *modes])


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
