"""The commands of the gate: `baseline save`, `check`, `history`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import app
from harness.cli_options import (
    RESULTS,
    DataDir,
    Device,
    Framework,
    Lane,
    Output,
    Task,
    TaskFile,
    Threads,
    Vary,
    selection,
)

baseline_app = typer.Typer(help="Keep what was found, to be compared with later.")
app.add_typer(baseline_app, name="baseline")

Phase = Annotated[list[str] | None, typer.Option(help="train or predict (both, by default).")]
Dtype = Annotated[list[str] | None, typer.Option(help="float32 (the default) or float64.")]
Deterministic = Annotated[
    bool, typer.Option("--deterministic", help="Time nothing: what no clock decides is enough.")
]


@baseline_app.command(name="save")
def save(
    name: str,
    run: Annotated[
        str | None, typer.Option("--from", help="Take the times of a run.", metavar="RUN")
    ] = None,
    task: Task = None,
    framework: Framework = None,
    lane: Lane = None,
    phase: Phase = None,
    device: Device = None,
    threads: Threads = None,
    dtype: Dtype = None,
    set_: Vary = None,
    data_dir: DataDir = None,
    task_file: TaskFile = None,
    deterministic: Deterministic = False,
    output: Output = RESULTS,
) -> None:
    """Keep numbers, proofs, programs, memory and times: of the reference, unless told otherwise."""
    from harness import gating

    flags = selection(
        task, framework, lane, phase, device, threads, dtype, set_, data_dir, task_file
    )
    gating.save(name, flags, run, output, clocked=not deterministic)


@app.command()
def check(
    baseline: Annotated[
        str | None, typer.Option(help="Compare with this baseline.", metavar="NAME")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="Take turns with older code: a git revision, or its folder.", metavar="REV"
        ),
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(help="By how much what may grow [speed:5%, memory:2%, program:0%]."),
    ] = None,
    task: Task = None,
    framework: Framework = None,
    lane: Lane = None,
    phase: Phase = None,
    device: Device = None,
    threads: Threads = None,
    dtype: Dtype = None,
    set_: Vary = None,
    data_dir: DataDir = None,
    task_file: TaskFile = None,
    deterministic: Deterministic = False,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object, for machines.")] = False,
    markdown: Annotated[
        Path | None, typer.Option(help="Write the table for a comment, too.", metavar="FILE")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="A line for everything.")] = False,
    output: Output = RESULTS,
) -> None:
    """Has anything become worse? Exit code 1 if so; docs/exit-codes.md tells the others."""
    from harness import gating

    flags = selection(
        task, framework, lane, phase, device, threads, dtype, set_, data_dir, task_file
    )
    gating.gate(
        baseline,
        against,
        flags,
        fail_on or [],
        output,
        clocked=not deterministic,
        as_json=json_,
        comment=markdown,
        everything=verbose,
    )


@app.command()
def history(
    metric: Annotated[
        str, typer.Argument(help="step, throughput, products, memory or peak.")
    ] = "step",
    task: Annotated[
        str | None, typer.Option("-t", "--task", help="A task's name, or a glob.")
    ] = None,
    framework: Annotated[
        str | None,
        typer.Option(
            "-f", "--framework", help="NAME or NAME:MODE, or globs.", metavar="NAME[:MODE]"
        ),
    ] = None,
    phase: Annotated[str, typer.Option(help="train, predict, or a latency phase.")] = "train",
    output: Output = RESULTS,
) -> None:
    """One number of every cell over the stored runs, and where it changed."""
    from harness import remembering

    remembering.history(metric, task, framework, phase, output)
