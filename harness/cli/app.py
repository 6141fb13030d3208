"""The Typer application: every verb with its help line, and the options that several verbs share.

`VERBS` names the module of each verb. That module is imported only when its verb is asked for, so
`--help` and a misspelt verb are answered at once.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_command

from harness import __version__


class Verb(NamedTuple):
    """`module` is the one of this package that has a function of the verb's name."""

    panel: str
    module: str
    help: str


MEASURE, SHOW, PROVE = "Measure", "Results", "Proof of sameness"
GUARD, MACHINE = "Regression checks", "This machine, tasks and data"
YOURS = "Your own programs"
VERBS = {
    "run": Verb(MEASURE, "run", "Measure, print which framework is fastest, and write the report."),
    "show": Verb(SHOW, "results", "Print the result of a run (the latest by default)."),
    "report": Verb(SHOW, "results", "Write the report of a run again (the latest by default)."),
    "export": Verb(
        SHOW, "results", "Write the data of a run as a table with one row per observation."
    ),
    "schema": Verb(
        SHOW, "results", "Print the JSON Schema of an output, or the names of all schemas."
    ),
    "compare": Verb(SHOW, "results", "Compare two runs cell by cell: is RUN_B faster than RUN_A?"),
    "merge": Verb(SHOW, "results", "Merge runs of several machines, or shards, into one run."),
    "history": Verb(
        SHOW, "results", "Show a metric of every cell over all runs, and where it changed."
    ),
    "verify": Verb(
        PROVE, "proof", "Prove that every setup computes what the float64 reference does."
    ),
    "selftest": Verb(
        PROVE, "proof", "Plant faults and check that the proof and the run catch each one."
    ),
    "task import": Verb(YOURS, "programs", "Print a PyTorch, Keras or ONNX model as a task file."),
    "diff": Verb(YOURS, "programs", "Do two programs compute the same? If not: where, and why?"),
    "baseline save": Verb(GUARD, "check", "Save numbers, proofs, programs, memory and times."),
    "check": Verb(GUARD, "check", "Compare with a baseline or older code (exit code 1: worse)."),
    "list": Verb(
        MACHINE, "machine", "List tasks, frameworks, modes and presets, and what is missing."
    ),
    "info": Verb(MACHINE, "machine", "Print this machine and the installed versions."),
    "doctor": Verb(
        MACHINE, "machine", "Is this machine fit to measure on? (exit code 7: it is not)"
    ),
    "explain": Verb(
        MACHINE, "machine", "Print one step of a task as the reference's static graph."
    ),
    "data fetch": Verb(
        MACHINE, "machine", "Download a data set. Only this and `env add` use the network."
    ),
    "data verify": Verb(MACHINE, "machine", "Check the files of a data set (of all by default)."),
    "env add": Verb(MACHINE, "machine", "Make an environment with another version of a framework."),
    "env list": Verb(MACHINE, "machine", "List these environments, with size and place."),
    "env remove": Verb(MACHINE, "machine", "Remove environments."),
}
GROUPS = {
    "baseline": "Save baselines to check against.",
    "data": "Download and check data sets.",
    "env": "Make environments with other versions of frameworks.",
    "task": "Make tasks of your own models.",
}
PLAIN: dict[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
}


class Verbs(TyperGroup):
    """Knows its verbs by the table alone; replaces one by the real command when it is invoked."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        words = f"{self.name} {name}" if self.name in GROUPS else name
        if name and words in VERBS:
            function = "list_" if words == "list" else words.replace(" ", "_")
            module = importlib.import_module(f"harness.cli.{VERBS[words].module}")
            alone = typer.Typer(**PLAIN)
            alone.command(name, help=VERBS[words].help)(getattr(module, function))
            command = get_command(alone)
        return name, command, rest

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        if self.name in GROUPS:
            return super().format_commands(ctx, formatter)
        for panel in dict.fromkeys(it.panel for it in VERBS.values()):
            rows = [(words, it.help) for words, it in VERBS.items() if it.panel == panel]
            with formatter.section(panel):
                formatter.write_dl(rows, col_max=max(map(len, VERBS)))
        return None


app = typer.Typer(
    name="samestep",
    cls=Verbs,
    help="Prove that the same MLP computes the same in every framework, then measure it.",
    **PLAIN,
)
groups = {name: typer.Typer(cls=Verbs, help=line, **PLAIN) for name, line in GROUPS.items()}
for words, verb in VERBS.items():
    group, _, name = words.rpartition(" ")
    # `Verbs.resolve_command` replaces what stands here.
    (groups[group] if group else app).command(name, help=verb.help)(lambda: None)
for name, nested in groups.items():
    app.add_typer(nested, name=name)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"samestep {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass


RunName = Annotated[str | None, typer.Argument(metavar="[RUN]")]
Output = Annotated[
    Path, typer.Option("-o", "--output", help="Use this results directory.", metavar="DIR")
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Read data sets from this directory [default: SAMESTEP_DATA, else the user's cache].",
        metavar="DIR",
    ),
]
TaskFile = Annotated[
    Path | None, typer.Option(help="Add the tasks of this TOML file.", metavar="FILE")
]
Tasks = Annotated[
    list[str] | None,
    typer.Option("-t", "--task", help="Choose tasks by name or glob.", metavar="NAME"),
]
Frameworks = Annotated[
    list[str] | None,
    typer.Option(
        "-f",
        "--framework",
        help="Choose frameworks, versions that `env add` made, and modes, by name or glob.",
        metavar="NAME[@VERSION][:MODE]",
    ),
]
Lanes = Annotated[
    list[str] | None,
    typer.Option(
        "--lane",
        help="Choose the loop: identical (the default where there is one), idiomatic or both.",
        metavar="LANE",
    ),
]
Phases = Annotated[
    list[str] | None,
    typer.Option("--phase", help="Choose train, predict, latency or a glob.", metavar="PHASE"),
]
Devices = Annotated[
    list[str] | None,
    typer.Option("--device", help="Choose cpu (the default), gpu or gpu:N.", metavar="DEVICE"),
]
Threads = Annotated[
    list[int] | None, typer.Option(help="Give each worker this number of threads.", metavar="N")
]
Dtypes = Annotated[
    list[str] | None, typer.Option("--dtype", help="Choose float32 or float64.", metavar="DTYPE")
]
WholeTraining = Annotated[
    bool | None,
    typer.Option(
        "--whole/--no-whole",
        help="Follow whole trainings in float64 (on by default in standard and full).",
        show_default=False,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Vary a task: batch_size=32,256 makes two variants; hidden=128-64 makes one with two "
        "layers. `list --settings` prints all names.",
        metavar="NAME=VALUE,...",
    ),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Ignore earlier certificates.")]
