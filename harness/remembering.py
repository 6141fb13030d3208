"""`history`: one number of every cell over the stored runs of this machine."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from pathlib import Path

from rich.text import Text

from harness.adapter import Setting
from harness.analysis.history import METRICS, Series, series
from harness.analysis.summary import summarise_run
from harness.cells import PHASE_ALIASES, PHASES
from harness.console import Console
from harness.errors import UsageError, unknown
from harness.frameworks import default_modes
from harness.gate.check import SAME_MACHINE
from harness.records import Run
from harness.report.history import render, write
from harness.runs.places import within
from harness.runs.store import open_existing
from harness.showing import keep_fonts


def history(metric: str, task: str | None, framework: str | None, phase: str, output: Path) -> None:
    """Print and draw. Raises UsageError for what does not exist or was never measured."""
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    if phase not in PHASES:
        raise unknown("phase", phase, PHASES, PHASE_ALIASES)
    with open_existing(output) as store:
        runs = [store.load(name) for name in store.runs()]
    if not runs:
        raise UsageError("there is no run here yet; make one with: python -m harness run")
    here = [it for it in runs if _machine(it) == _machine(runs[-1])]
    defaults = default_modes()
    told = ((it.info.name, it.info.commit, summarise_run(it, defaults)) for it in here)
    found = list(_asked(series(told, METRICS[metric]), task, framework, phase))
    if not found:
        raise UsageError(f"no run here measured such a cell ({phase}) and this metric ({metric})")
    console, folder = Console(), within(output, "history")
    keep_fonts(output)
    for it in found:
        render(it, METRICS[metric], console)
        png, _ = write(it, metric, METRICS[metric], folder)
        console.print(Text(f"{png} (and .svg)\n"), soft_wrap=True)
    if others := len(runs) - len(here):
        console.print(Text(f"{others} run(s) of other machines left out"))


def _machine(run: Run) -> tuple[Setting, ...]:
    return tuple(run.info.machine.get(it) for it in SAME_MACHINE)


def _asked(
    found: list[Series], task: str | None, framework: str | None, phase: str
) -> Iterator[Series]:
    name, _, mode = (framework or "*").partition(":")
    for it in found:
        setup = it.cell.setup
        if (
            it.cell.phase == phase
            and fnmatch.fnmatchcase(setup.task, task or "*")
            and fnmatch.fnmatchcase(setup.framework, name)
            and fnmatch.fnmatchcase(setup.mode, mode or "*")
        ):
            yield it
