"""`list` and `info`: what there is to run, and what to run it on. Imports nothing slow."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.table import Table
from rich.text import Text

from harness.adapter import Framework
from harness.console import Console
from harness.environment import recorded
from harness.frameworks import absence, faults, frameworks, version
from harness.records import Unavailable
from harness.report import safe_text
from harness.runs import machine
from harness.runs.config import PRESET_HELP
from harness.tasks import mnist
from harness.tasks.datasets import data_directory, missing
from harness.tasks.spec import DOWNLOADED, Task
from harness.tasks.variants import described, known_tasks


def show(data_dir: Path | None, task_file: Path | None) -> None:
    """Print tasks, data sets, frameworks and presets."""
    console = Console()
    directory = data_directory(data_dir)
    tasks = list(known_tasks(task_file).values())
    console.print(_grid("Tasks", [_task(it, directory) for it in tasks]))
    console.print(_grid("Data sets to fetch", [_data(name, directory) for name in DOWNLOADED]))
    console.print(_grid("Frameworks", [_framework(name, it) for name, it in frameworks().items()]))
    console.print(_grid("Presets", list(PRESET_HELP.items())))
    print_left_out((), console)


def show_settings() -> None:
    """Print what `--set` can change, with the values that are allowed."""
    console = Console()
    console.print(_grid("Settings, for --set NAME=VALUE or NAME=VALUE,VALUE", described()))
    console.print(
        Text(
            "\nEach value makes a variant of every chosen task. What is not set keeps the task's "
            "own value. The defaults are those of a task file and of optimizer=NAME."
        )
    )


def _task(task: Task, directory: Path | None) -> tuple[str, str]:
    widths = "-".join(str(width) for width in task.widths)
    if len(widths) > 40:
        widths = f"{task.widths[0]}-…-{task.widths[-1]}, {len(task.layers)} layers"
    state = f"\nunavailable: needs {task.data.name}" if missing(task.data, directory) else ""
    return task.name, f"{task.probes} ({widths}, batch {task.batch_size}){state}"


def _data(name: str, directory: Path | None) -> tuple[str, str]:
    return name, mnist.absent(name, directory) or f"in {mnist.needed(directory) / name}"


def _framework(name: str, framework: Framework) -> tuple[str, str]:
    state = absence(framework) or version(framework)
    modes = [
        f"{name}:{mode}{' (default)' if mode == framework.default_mode else ''}: {line}"
        for mode, line in framework.modes.items()
    ]
    return name, "\n".join([f"{framework.title} {state}", *modes])


def _grid(title: str, rows: list[tuple[str, str]]) -> Table:
    grid = Table(title=title, title_justify="left", title_style="bold", show_header=False, box=None)
    grid.add_column(overflow="fold")
    grid.add_column(overflow="fold")
    for name, text in rows:
        grid.add_row(Text(name), Text(text))
    return grid


def info() -> None:
    """Print this machine and the versions installed on it."""
    console = Console()
    facts = {name: it for name, it in machine.fingerprint().items() if it is not None}
    console.print(_grid("Machine", [(name, _fact(name, it)) for name, it in facts.items()]))
    console.print(_grid("Versions", list(machine.versions().items())))
    if variables := recorded():
        console.print(_grid("Environment", list(variables.items())))
    print_left_out((), console)


def _fact(name: str, value: object) -> str:
    if name.endswith("_bytes") and isinstance(value, int):
        return f"{value / 1e9:.1f} GB"
    return str(value)


def print_left_out(
    planned: Iterable[Unavailable], console: Console, notes: Iterable[str] = ()
) -> None:
    """A line for everything that a plan leaves out, and for every folder without a framework;
    before them the plan's notes."""
    for note in notes:
        console.print(Text(f"note: {note}"), soft_wrap=True)
    left_out = [(it.what, it.reason) for it in planned]
    for what, why in dict.fromkeys((*left_out, *faults())):
        console.print(Text(f"left out: {what}: {safe_text.line(why)}"), soft_wrap=True)
