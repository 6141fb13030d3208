"""`merge`: runs of several machines, or the shards of one, put into one store and one report."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

from rich.text import Text

from harness.analysis.summary import summarise_run
from harness.cells import MACHINE
from harness.console import Console
from harness.errors import ReportError, UsageError
from harness.frameworks import default_modes
from harness.records import Run
from harness.report.terminal import render
from harness.results import find
from harness.runs.machine import command_line
from harness.runs.merge import Part, merge_runs
from harness.runs.runner import free_name
from harness.runs.store import Store, create
from harness.showing import write

_GIVEN = re.compile(rf"(?P<machine>{MACHINE})=(?P<run>.+)", re.DOTALL)


def merge(names: list[str], output: Path) -> None:
    """Merge, print and report. Raises UsageError or NotComparable before anything is written,
    ReportError where the merged run is stored and its report is not."""
    parts = [_part(name, output) for name in names]
    if len(parts) < 2:
        raise UsageError("merging takes two runs at least")
    now = datetime.now().astimezone()
    # Whatever is wrong with them is found before a store is made.
    merge_runs(parts, "", "", ())
    with create(output) as store:
        name = free_name(f"{now:%Y-%m-%d-%H%M}-merged", store.runs(), output)
        merged = merge_runs(parts, name, now.isoformat(timespec="seconds"), command_line())
        keep(merged.run, store)
        stored = store.load(name)
    console, unwritten = Console(), None
    try:
        write(stored, output)
    except ReportError as error:
        unwritten = error  # the terminal can still have the result
    render(stored, summarise_run(stored, default_modes()), console)
    if merged.repeated:
        said = f"left out: {merged.repeated} trainings of a seed that was trained already"
        console.print(Text(said), soft_wrap=True)
    if unwritten:
        raise unwritten
    console.print(Text(f"\nreport: {output / name / 'report.html'}"), soft_wrap=True)


def _part(text: str, output: Path) -> Part:
    given = None if Path(text).exists() else _GIVEN.fullmatch(text)
    machine, name = (given["machine"], given["run"]) if given else ("", text)
    return Part(machine, find(name, output).run)


def keep(run: Run, store: Store) -> None:
    """Write everything of a run into a store, or, on any failure, nothing of it."""
    name = run.info.name
    with store.together():
        store.add_run(run.info, run.tasks)
        for it in run.certificates:
            store.add_certificate(it)
        store.relate(name, [it.key for it in run.certificates])
        for record in run.records:
            store.start(name, record.trial, record.block, record.attempt, record.setup)
            store.end(record)
        if run.stopped_by:
            store.stop(name, run.stopped_by, run.seconds or 0)
