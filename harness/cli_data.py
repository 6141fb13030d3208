"""The commands that take data out of the harness, and put runs side by side or together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import app
from harness.cli_options import RESULTS, Output

To = Annotated[str, typer.Option(help="A file, or - for standard output.", metavar="FILE")]


@app.command()
def export(
    name: Annotated[str | None, typer.Argument(metavar="[RUN]")] = None,
    what: Annotated[
        str,
        typer.Option(
            help="cells, pairs, trials, samples, readings, trainings, certificates or divergence."
        ),
    ] = "cells",
    format_: Annotated[
        str | None,
        typer.Option("--format", help="csv, json or parquet [default: by the file]."),
    ] = None,
    to: To = "-",
    output: Output = RESULTS,
) -> None:
    """Write a run's data as a tidy table: one row is one observation."""
    from harness import exporting

    exporting.export(name, output, what, format_, to)


@app.command()
def schema(
    name: Annotated[str | None, typer.Argument(help="run, comparison, or a frame.")] = None,
    write: Annotated[
        Path | None, typer.Option(help="Write every schema into a directory.", metavar="DIR")
    ] = None,
) -> None:
    """Print the JSON Schema of a JSON file (the names of all, if none is named)."""
    from harness import exporting

    exporting.schema(name, write)


@app.command()
def compare(
    a: Annotated[str, typer.Argument(metavar="RUN_A")],
    b: Annotated[str, typer.Argument(metavar="RUN_B")],
    format_: Annotated[
        str | None,
        typer.Option("--format", help="terminal, markdown or json [default: by the file]."),
    ] = None,
    to: To = "-",
    output: Output = RESULTS,
) -> None:
    """Is RUN_B faster than RUN_A, cell by cell? A name, a results directory or a run.json each."""
    from harness import comparing

    comparing.compare(a, b, output, format_, to)


@app.command()
def merge(
    runs: Annotated[list[str], typer.Argument(metavar="[MACHINE=]RUN...")],
    output: Output = RESULTS,
) -> None:
    """Put runs of several machines, or the shards of one, into one run with one report."""
    from harness import merging

    merging.merge(runs, output)
