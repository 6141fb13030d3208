"""`task import` and `diff`: the user's own programs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from harness.programs.batches import DataSource, batches_for
from harness.programs.comparison import compared
from harness.programs.importing import imported, task_file
from harness.programs.messages import write_arrays
from harness.programs.process import file_and_name, opened
from harness.programs.text import comparison_text
from harness.programs.trainings import trained

Program = Annotated[str, typer.Argument(metavar="FILE[:NAME]", show_default=False)]


def task_import(
    program: Program,
    data: Annotated[
        str, typer.Option(help="Its data set, or your own file; teacher is synthetic.")
    ],
    target: Annotated[
        str | None, typer.Option(help="The target column of your own file.", metavar="COLUMN")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the task [default: that of the file].")
    ] = None,
    loss: Annotated[
        str | None, typer.Option(help="The loss, where the program gives none.", metavar="NAME")
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(help="The optimizer, where the program gives none.", metavar="NAME"),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Set a field of the task.", metavar="NAME=VALUE"),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Write the model's weights to this npz file.", metavar="FILE"),
    ] = None,
) -> None:
    """Prints a task file. The program runs in a process of its own."""
    file, part = file_and_name(program)
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name or part or file.stem).strip("-._") or "mine"
    with opened(program) as (read,):
        made = imported(
            read.description, read.weights, data, plain, loss, optimizer, settings or (), target
        )
        if weights is not None:
            write_arrays(weights, read.weights)
    typer.echo(task_file(made), nl=False)


def diff(
    program_a: Annotated[str, typer.Argument(metavar="A[:NAME]", show_default=False)],
    program_b: Annotated[str, typer.Argument(metavar="B[:NAME]", show_default=False)],
    data: Annotated[
        str | None,
        typer.Option(
            help="Feed both this data set, or your own file [default: synthetic rows].",
            metavar="NAME",
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="The target column of your own file.", metavar="COLUMN")
    ] = None,
    steps: Annotated[int, typer.Option(min=3, max=10_000, help="Compare so many steps.")] = 100,
    rows: Annotated[
        int | None,
        typer.Option(min=4, max=65_536, help="Rows of a batch [default: A's own, or 32]."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the rows.")] = 0,
    train: Annotated[
        bool, typer.Option("--train", help="Train both to the end too, and compare their quality.")
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Trainings of each.")] = 6,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Ends with exit code 1 where they differ."""
    with opened(program_a, program_b) as (a, b):
        source = DataSource(data, target) if data else None
        result = compared(a, b, batches_for(a, b, source, steps, rows, seed))
        if train:
            result = result.model_copy(update={"trainings": trained(a, b, source, seeds)})
    if as_json:
        typer.echo(json.dumps(result.model_dump(mode="json"), indent=2))
    else:
        typer.echo("\n".join(comparison_text(result)))
    if not result.same or result.schedule:
        raise typer.Exit(1)
