"""`history`: one number of every cell over the stored runs of this machine."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from pathlib import Path

from rich.text import Text

from harness.analysis.history import METRICS, Series, series
from harness.analysis.run_comparison import same_machine
from harness.analysis.summary import Summary, summarise_run
from harness.cells import PHASE_ALIASES, PHASES
from harness.console import Console
from harness.errors import StoreError, UsageError, unknown
from harness.frameworks import default_modes, matches
from harness.records import RunInfo
from harness.report.history import render, write
from harness.runs.files import within
from harness.runs.store import Store, open_existing
from harness.showing import keep_fonts


def history(metric: str, task: str | None, framework: str | None, phase: str, output: Path) -> None:
    """Print and draw. Raises UsageError for what does not exist or was never measured."""
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    if phase not in PHASES:
        raise unknown("phase", phase, PHASES, PHASE_ALIASES)
    console, folder = Console(), within(output, "history")
    with open_existing(output) as store:
        told, others = _summaries(store, console)
    found = list(_asked(series(told, METRICS[metric]), task, framework, phase))
    if not found:
        raise UsageError(f"no run here measured such a cell ({phase}) and this metric ({metric})")
    keep_fonts(output)
    for it in found:
        render(it, METRICS[metric], console)
        png, _ = write(it, metric, METRICS[metric], folder)
        console.print(Text(f"{png} (and .svg)\n"), soft_wrap=True)
    if others:
        console.print(Text(f"{others} run(s) of other machines left out"))


def _summaries(store: Store, console: Console) -> tuple[list[tuple[str, str | None, Summary]], int]:
    """Name, commit and summary of every run of this machine, and how many are of others.

    A run that is damaged is named and left out. Raises StoreError where no other is left.
    """
    names = store.runs()
    if not names:
        raise UsageError("there is no run here yet; make one with: python -m harness run")
    damage: dict[str, StoreError] = {}
    heads: dict[str, RunInfo] = {}
    told = []
    for name in names:
        try:
            heads[name] = store.head(name).info
        except StoreError as error:
            damage[name] = error
    last = next(reversed(heads.values()), None)
    here = [name for name, it in heads.items() if last and same_machine(it.machine, last.machine)]
    defaults = default_modes()
    for name in here:
        # One after the other: the samples of all may be more than memory holds.
        try:
            told.append((name, heads[name].commit, summarise_run(store.load(name), defaults)))
        except StoreError as error:
            damage[name] = error
    if not told:
        raise next(iter(damage.values()))
    for name, why in damage.items():
        console.print(Text(f"left out: run {name}: {why}", "yellow"), soft_wrap=True)
    return told, len(heads) - len(here)


def _asked(
    found: list[Series], task: str | None, framework: str | None, phase: str
) -> Iterator[Series]:
    for it in found:
        setup = it.cell.setup
        if (
            it.cell.phase == phase
            and fnmatch.fnmatchcase(setup.task, task or "*")
            and matches(setup, framework or "*")
        ):
            yield it
