"""The command line: parse, call, print. Whatever is slow to import is imported by its command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness import __version__
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
    WholeTraining,
    given,
    selection,
)

app = typer.Typer(
    name="samestep",
    help="The same MLP in every framework, proved the same, then measured.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Get and check data sets.")
app.add_typer(data_app, name="data")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"samestep {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The same MLP in every framework, proved the same, then measured."""


@app.command()
def run(
    task: Task = None,
    framework: Framework = None,
    lane: Annotated[
        list[str] | None,
        typer.Option(help="identical (the default), idiomatic or both: whose loop is timed."),
    ] = None,
    phase: Annotated[
        list[str] | None, typer.Option(help="train, predict or latency (or a glob).")
    ] = None,
    device: Device = None,
    threads: Threads = None,
    dtype: Annotated[list[str] | None, typer.Option(help="float32 or float64.")] = None,
    set_: Vary = None,
    preset: Annotated[
        str | None, typer.Option(help="quick (the default), standard or full.")
    ] = None,
    blocks: Annotated[
        int | None, typer.Option(help="Number of blocks; with --precision, the maximum.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="Stop when every ratio is known so well, such as 2%.", metavar="SHARE"),
    ] = None,
    twin: Annotated[
        bool, typer.Option("--twin/--no-twin", help="One setup twice: what is noise?")
    ] = True,
    fork: Annotated[
        bool,
        typer.Option("--fork/--no-fork", help="Fork workers that need not start alone."),
    ] = True,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait a minute at most for a quiet machine.")
    ] = True,
    budget: Annotated[
        str | None, typer.Option(help="Begin no block that would end later: 120s, 10m, 1h.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Full trainings of every setup.")] = None,
    memory_limit: Annotated[
        str | None, typer.Option(help="What each worker may allocate: 2G, 512M.", metavar="SIZE")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            help="Only a part of the comparisons: 1/3 is the first of three.", metavar="I/N"
        ),
    ] = None,
    data_dir: DataDir = None,
    task_file: TaskFile = None,
    config: Annotated[
        Path | None, typer.Option(help="A TOML file that says the same as these flags.")
    ] = None,
    output: Output = RESULTS,
    dry_run: Annotated[bool, typer.Option(help="Print the plan and its expected time.")] = False,
    resume: Annotated[str | None, typer.Option(help="Go on with a run.", metavar="RUN")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="With --resume: repeat blocks with failures.")
    ] = False,
    fresh: Annotated[bool, typer.Option(help="Let no earlier certificate count.")] = False,
    whole: WholeTraining = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the result only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="A line for every block.")] = False,
) -> None:
    """Measure, print who is faster, and write the report."""
    from harness import running

    chosen = selection(
        task, framework, lane, phase, device, threads, dtype, set_, data_dir, task_file
    )
    flags = chosen | given(
        preset=preset,
        blocks=blocks,
        precision=precision,
        twin=None if twin else False,
        fork=None if fork else False,
        wait=None if wait else 0.0,
        budget=budget,
        seeds=seeds,
        memory_limit=memory_limit,
        shard=shard,
        whole=whole,
    )
    manner = "quiet" if quiet else "plain" if verbose else "screen"
    running.run(
        flags,
        config,
        output,
        manner,
        dry_run=dry_run,
        resume=resume,
        retry=retry_failed,
        fresh=fresh,
    )


@app.command(name="verify")
def verify_(
    task: Task = None,
    framework: Framework = None,
    lane: Lane = None,
    device: Device = None,
    threads: Threads = None,
    dtype: Annotated[
        list[str] | None, typer.Option(help="float32 or float64 (both, by default).")
    ] = None,
    set_: Vary = None,
    data_dir: DataDir = None,
    task_file: TaskFile = None,
    output: Output = RESULTS,
    fresh: Annotated[bool, typer.Option(help="Let no earlier certificate count.")] = False,
    whole: WholeTraining = None,
) -> None:
    """Prove that every framework and mode computes what the float64 reference computes."""
    from harness import verifying

    flags = selection(
        task, framework, lane, None, device, threads, dtype, set_, data_dir, task_file
    )
    verifying.verify(flags | given(whole=whole), output, fresh=fresh)


@app.command(name="list")
def list_(
    data_dir: DataDir = None,
    task_file: TaskFile = None,
    settings: Annotated[
        bool, typer.Option("--settings", help="The names that --set takes, and their values.")
    ] = False,
) -> None:
    """Tasks, frameworks with their modes, and presets; and what is unavailable, and why."""
    from harness import listing

    if settings:
        listing.show_settings()
    else:
        listing.show(data_dir, task_file)


@app.command()
def report(
    name: Annotated[str | None, typer.Argument(metavar="[RUN]")] = None, output: Output = RESULTS
) -> None:
    """Write a run's report again (the latest run's, if none is named)."""
    from harness import showing

    showing.report(name, output)


@app.command()
def show(
    name: Annotated[str | None, typer.Argument(metavar="[RUN]")] = None, output: Output = RESULTS
) -> None:
    """Print a run's result (the latest run's, if none is named)."""
    from harness import showing

    showing.show(name, output)


@app.command()
def info() -> None:
    """This machine, and what is installed on it."""
    from harness import listing

    listing.info()


@app.command()
def doctor(
    output: Output = RESULTS,
    json_: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Is this machine fit to measure on? Five seconds; exit code 7 if it is not."""
    from harness import doctoring

    doctoring.doctor(output, json_)


@app.command()
def selftest(
    seeds: Annotated[
        int, typer.Option(min=0, max=1000, help="Starts of every framework without a fault.")
    ] = 2,
    real: Annotated[
        bool, typer.Option(help="Plant faults in the adapters of installed frameworks too.")
    ] = True,
) -> None:
    """Plant faults and see whether the proof and the run notice them, and nothing else."""
    from harness import selftesting

    selftesting.selftest(seeds, real=real)


@app.command()
def explain(
    task: str,
    phase: Annotated[str, typer.Option(help="train or predict.")] = "train",
    rows: Annotated[
        int | None, typer.Option(min=1, help="Examples [default: the task's batch].")
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Change the task; names: list --settings.", metavar="NAME=VALUE"
        ),
    ] = None,
    task_file: TaskFile = None,
) -> None:
    """Print a task's step as the static graph that the reference replays."""
    from harness import explaining

    explaining.explain(task, phase, rows, dtype, set_ or [], task_file)


@data_app.command()
def fetch(name: str, data_dir: DataDir = None) -> None:
    """Download a data set: mnist or fashion-mnist. The only command that uses a network."""
    from harness import fetching

    fetching.fetch(name, data_dir)


@data_app.command()
def verify(name: Annotated[str | None, typer.Argument()] = None, data_dir: DataDir = None) -> None:
    """Check the files of a data set (of all, if none is named)."""
    from harness import fetching

    fetching.verify(name, data_dir)
