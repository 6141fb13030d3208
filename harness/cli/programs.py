"""`task import` and `diff`: the user's own programs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from harness.programs.importing import imported, task_file
from harness.programs.process import file_and_name, opened, write_arrays

Program = Annotated[str, typer.Argument(metavar="FILE[:NAME]", show_default=False)]


def task_import(
    program: Program,
    data: Annotated[
        str, typer.Option(help="The data set that it is trained on; teacher is synthetic.")
    ],
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
        found = imported(
            read.description, read.weights, data, plain, loss, optimizer, settings or ()
        )
        if weights is not None:
            write_arrays(weights, read.weights)
    typer.echo(task_file(found), nl=False)
