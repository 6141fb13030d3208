"""Stores on disk, filled with runs that were never measured."""

from __future__ import annotations

from pathlib import Path

from harness.records import Run
from harness.runs.merge import keep
from harness.runs.store import create
from tests.builders import TASK, make_run, measured


def make_store(directory: Path, *runs: Run) -> Path:
    """A results directory with these runs, oldest first; trials get their run's name."""
    with create(directory) as store:
        for run in runs:
            records = [
                it.model_copy(update={"trial": f"{run.info.name}/{it.trial}"}) for it in run.records
            ]
            keep(run.model_copy(update={"records": tuple(records)}), store)
    return directory


def named(name: str, *, info: dict[str, object] | None = None, **measures: object) -> Run:
    """A run of digits-mlp; `info` is its description's, all else goes to `measured`."""
    tasks = measures.pop("tasks", (TASK,))
    return make_run(measured(tasks, **measures), tasks, name=name, **(info or {}))
