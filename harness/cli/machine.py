"""`list`, `info`, `doctor`, `explain`, `data`, `env`: what there is to run, and what to run it on.

`list` and `info` answer at once, so nothing slow is imported here.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from harness import install, venvs
from harness.adapter import Framework
from harness.analysis.sentences import listed
from harness.cells import DTYPE_ALIASES, DTYPES, LANES, PHASE_ALIASES, THROUGHPUT
from harness.cli import app
from harness.cli.console import Console, print_left_out
from harness.environment import recorded
from harness.errors import CannotTell, DataError, UsageError, unknown
from harness.frameworks import absence, frameworks, modes_of, module_of, plugin_of, version
from harness.report.safe_text import line
from harness.runs import RESULTS, machine
from harness.runs.config import PRESET_HELP
from harness.tasks import fetch, mnist
from harness.tasks.datasets import data_directory, missing
from harness.tasks.spec import DOWNLOADED, Task
from harness.tasks.variants import described, hints, known_tasks, parse_settings, variants
from harness.venvs import Venv

if TYPE_CHECKING:
    from harness.doctor.checks import Checkup, Level

MARKS: dict[Level, tuple[str, str]] = {
    "unfit": ("✗", "bold red"),
    "warning": ("!", "bold yellow"),
    "note": ("·", "cyan"),
    "ok": ("✓", "green"),
}
MAX_BYTES = 4 * 2**30
"""`explain` runs a step once, on zeros, to capture it; a larger one would not be readable."""


def list_(
    data_dir: app.DataDir = None,
    task_file: app.TaskFile = None,
    settings: Annotated[
        bool, typer.Option("--settings", help="List the names that --set takes, with their values.")
    ] = False,
) -> None:
    console = Console()
    if settings:
        console.print(grid("Settings, for --set NAME=VALUE or NAME=VALUE,VALUE", described()))
        text = "Each value makes a variant of every chosen task. A setting that is not given keeps "
        text += "the task's value. The defaults are those of a task file and of optimizer=NAME."
        console.print(Text(f"\n{text}"))
        return
    directory = data_directory(data_dir)
    absent: dict[str, str] = {}
    tasks = [_task(it, directory) for it in known_tasks(task_file, absent).values()]
    tasks += [(line(name), f"unavailable: {line(reason)}") for name, reason in absent.items()]
    console.print(grid("Tasks", tasks))
    console.print(grid("Data sets to fetch", [_data(name, directory) for name in DOWNLOADED]))
    console.print(grid("Frameworks", [_framework(name, it) for name, it in frameworks().items()]))
    console.print(grid("Presets", list(PRESET_HELP.items())))
    print_left_out((), console)


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
    origin = f", a plug-in of {it}" if (it := plugin_of(name)) else ""
    limits = "" if framework.modes else ", in the idiomatic lane only"
    limits += "" if "train" in framework.phases else ", it only predicts"
    lines = [f"{framework.title} {state}{origin}{limits}"]
    for lane in LANES:
        for place, (mode, meaning) in enumerate(modes_of(framework, lane).items()):
            remarks = ("idiomatic" if lane == "idiomatic" else "", "" if place else "default")
            marked = f" ({', '.join(filter(None, remarks))})" if any(remarks) else ""
            lines.append(f"{name}:{mode}{marked}: {meaning}")
    for venv in venvs.made():
        if venv.framework == name:
            state = absence(framework, venv) or "in an environment of its own"
            lines.append(f"{venv.name}: {state}")
    return name, "\n".join(lines)


def grid(title: str, rows: list[tuple[str, str]]) -> Table:
    """A table of names and texts that folds, and cuts nothing."""
    table = Table(
        title=title, title_justify="left", title_style="bold", show_header=False, box=None
    )
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(Text(name), Text(text))
    return table


def info() -> None:
    console = Console()
    facts = {
        name: f"{it / 1e9:.1f} GB" if name == "memory_bytes" and isinstance(it, int) else str(it)
        for name, it in machine.fingerprint().items()
        if it is not None
    }
    console.print(grid("Machine", list(facts.items())))
    console.print(grid("Versions", list(machine.versions().items())))
    if variables := recorded():
        console.print(grid("Environment", list(variables.items())))
    print_left_out((), console)


def doctor(
    output: app.Output = RESULTS,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Raises CannotTell where the machine is not fit."""
    from harness.doctor.checks import collect, examine

    console = Console()
    if console.is_terminal and not json_:
        console.print("checking this machine for about five seconds …", style="dim")
    facts = collect(output)
    checkup = examine(facts)
    if json_:
        content = {
            "fit": checkup.fit,
            "level": checkup.level,
            **checkup.model_dump(mode="json"),
            "facts": dataclasses.asdict(facts),
        }
        print(json.dumps(content, indent=1, allow_nan=False))
    else:
        show_checkup(checkup, console)
    if not checkup.fit:
        raise CannotTell("this machine is not fit to measure on now")


def show_checkup(checkup: Checkup, console: Console) -> None:
    """Print every finding, worst first, and a last sentence."""
    table = Table(show_header=False, box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for finding in checkup.findings:
        mark, style = MARKS[finding.level]
        text = Text(line(finding.found))
        if finding.advice:
            text.append(f"\n→ {line(finding.advice)}", "italic")
        table.add_row(Text(mark, style), Text(finding.name, "bold"), text)
    console.print(table)
    if checkup.untold:
        console.print(Text(f"Not known on this system: {listed(checkup.untold)}.", "dim"))
    console.print()
    console.print(Text(sentence(checkup), MARKS[checkup.level][1]))


def sentence(checkup: Checkup) -> str:
    """The last word on a machine."""
    if unfit := checkup.at("unfit"):
        names = listed([it.name for it in unfit])
        return f"Not fit to measure on now: {names}. A run would say that it cannot tell."
    if warned := checkup.at("warning"):
        names = listed([it.name for it in warned])
        return f"Fit to measure on, with wider intervals than need be: {names}."
    return "Fit to measure on."


def explain(
    task: Annotated[str, typer.Argument(help="The name of the task.")],
    phase: Annotated[str, typer.Option(help="Choose train or predict.")] = "train",
    rows: Annotated[
        int | None, typer.Option(min=1, help="Number of examples [default: the task's batch size].")
    ] = None,
    dtype: Annotated[str, typer.Option(help="Choose float32 or float64.")] = "float32",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Change the task. `list --settings` prints all names.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    task_file: app.TaskFile = None,
) -> None:
    """Raises UsageError for what does not exist or is too large."""
    known = known_tasks(task_file)
    for what, word, choices, aliases in (
        ("task", task, known, None),
        ("phase", phase, THROUGHPUT, PHASE_ALIASES),
        ("dtype", dtype, DTYPES, DTYPE_ALIASES),
    ):
        if word not in choices:
            raise unknown(what, word, choices, aliases)
    given = parse_settings(settings or [])
    chosen = variants(known[task], given)
    if len(chosen) > 1:
        more = "".join(f"; {hint}" for hint in hints(given))
        raise UsageError(f"explain shows one step; give each --set one value{more}")
    (variant,) = chosen
    needed = 8 * (6 * variant.parameters + 3 * (rows or variant.batch) * sum(variant.widths))
    if needed > MAX_BYTES:
        raise UsageError(f"explain would need about {needed / 1e9:.0f} GB for {variant.name!r}")
    # By name, as a worker does: no module of the harness knows a framework.
    reference = module_of("reference", "explain")
    print(reference.explain(variant, phase=phase, rows=rows, dtype=dtype))


DataName = Annotated[str, typer.Argument(help="mnist or fashion-mnist.")]


def data_fetch(name: DataName, data_dir: app.DataDir = None) -> None:
    directory = mnist.needed(data_directory(data_dir))
    got = fetch.fetch(name, directory, progress=sys.stderr.isatty())
    for path in got:
        print(f"got {path}")
    print(f"{name}: complete in {directory / name}")


def data_verify(
    name: Annotated[str | None, typer.Argument(help="mnist or fashion-mnist.")] = None,
    data_dir: app.DataDir = None,
) -> None:
    """Raises DataError if a file is broken, or one of the named data set is absent."""
    directory = mnist.needed(data_directory(data_dir))
    states = [
        state
        for known in ([name] if name else mnist.PUBLISHED)
        for state in fetch.verify(known, directory)
    ]
    for state in states:
        print(f"{state.state:9}  {state.path}")
    broken = [state for state in states if state.state not in ("ok", "absent")]
    if broken:
        raise DataError(broken[0].detail)
    if name and any(state.state == "absent" for state in states):
        raise DataError(f"{name} is not complete; get it with: python -m harness data fetch {name}")


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
