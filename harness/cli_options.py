"""Options that several commands take, and what of them was given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

RESULTS = Path("results")
"""The results directory that is meant where none is named."""

Output = Annotated[
    Path, typer.Option("-o", "--output", help="The results directory.", metavar="DIR")
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Where data sets lie [default: SAMESTEP_DATA, else the cache].", metavar="DIR"
    ),
]
TaskFile = Annotated[
    Path | None, typer.Option(help="A TOML file with tasks of your own.", metavar="FILE")
]
Task = Annotated[list[str] | None, typer.Option("-t", "--task", help="A task's name, or a glob.")]
Framework = Annotated[
    list[str] | None,
    typer.Option("-f", "--framework", help="NAME or NAME:MODE, or globs.", metavar="NAME[:MODE]"),
]
Lane = Annotated[list[str] | None, typer.Option(help="identical (the default), idiomatic or both.")]
Device = Annotated[list[str] | None, typer.Option(help="cpu, gpu or gpu:N.")]
Threads = Annotated[list[int] | None, typer.Option(help="Threads of each worker.")]
WholeTraining = Annotated[
    bool | None,
    typer.Option(
        "--whole/--no-whole",
        help="Prove over whole trainings in float64 (by default in standard and full).",
        show_default=False,
    ),
]
Vary = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Vary a task: batch_size=32,256 makes two; hidden=128-64 is one net of two layers. "
        "All names: list --settings.",
        metavar="NAME=VALUE,...",
    ),
]


def given(**flags: Any) -> dict[str, Any]:
    """What was given of the flags, by their names in the configuration."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in flags.items()
        if value not in (None, [])
    }


def selection(
    task: list[str] | None,
    framework: list[str] | None,
    lane: list[str] | None,
    phase: list[str] | None,
    device: list[str] | None,
    threads: list[int] | None,
    dtype: list[str] | None,
    settings: list[str] | None,
    data_dir: Path | None,
    task_file: Path | None,
) -> dict[str, Any]:
    """What was given of the flags that choose cells."""
    return given(
        tasks=task,
        frameworks=framework,
        lanes=lane,
        phases=phase,
        devices=device,
        threads=threads,
        dtypes=dtype,
        settings=settings,
        data_dir=data_dir,
        task_file=task_file,
    )
