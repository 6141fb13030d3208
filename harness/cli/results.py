"""`show`, `report`, `export`, `schema`, `compare`, `merge` and `history`: use stored results."""

from __future__ import annotations

import fnmatch
import io
import re
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from harness.analysis.history import METRICS, series
from harness.analysis.run_comparison import Comparison, same_machine
from harness.analysis.summary import Summary, summarise_run
from harness.cells import MACHINE, PHASE_ALIASES, PHASES
from harness.cli.app import Output, RunName
from harness.cli.console import Console, print_text
from harness.errors import ReportError, StoreError, UsageError, unknown
from harness.frameworks import framework_facts, matches
from harness.records import Run, RunInfo
from harness.report import history as history_report
from harness.report import run_comparison as comparison_report
from harness.report.frames import FORMATS, FRAMES, schema_text, schemas, written
from harness.report.terminal import render
from harness.report.write import keep_fonts, publish, uncollected
from harness.results import compare as compare_results
from harness.results import find, lines_of
from harness.runs import RESULTS
from harness.runs.files import within
from harness.runs.machine import command_line
from harness.runs.merge import Part, keep, merge_runs
from harness.runs.runner import free_name
from harness.runs.store import Store, create, open_existing
from harness.whole_files import write_whole

STDOUT = "-"
FORMAT_ALIASES = {"md": "markdown", "pq": "parquet"}
EXPORT_SUFFIXES = {".json": "json", ".parquet": "parquet", ".md": "markdown"}
"""By the file's name; a format that is not supported is refused, not written as CSV."""
COMPARE_FORMATS = ("terminal", "markdown", "json")
COMPARE_SUFFIXES = {".md": "markdown", ".json": "json", ".html": "html"}
MACHINE_AND_RUN = re.compile(rf"(?P<machine>{MACHINE})=(?P<run>.+)", re.DOTALL)

To = Annotated[
    str, typer.Option(help="Write to this file, or to standard output (-).", metavar="FILE")
]


def show(name: RunName = None, output: Output = RESULTS) -> None:
    stored = stored_run(name, output)
    render(stored, summarise_run(stored, framework_facts()), Console())


def report(name: RunName = None, output: Output = RESULTS) -> None:
    stored, console = stored_run(name, output), Console()
    publish(stored, output, console)
    print_text(console, f"report: {output / stored.info.name / 'report.html'}")


def stored_run(name: str | None, output: Path) -> Run:
    with open_existing(output) as store:
        return store.load(name or store.latest())


def show_and_report(run: Run, output: Path, console: Console, note: str = "") -> None:
    """Write the report and print the result, and a note on it.

    Raises ReportError only after that: the terminal can still have the result.
    """
    unwritten = None
    try:
        publish(run, output, console)
    except ReportError as error:
        unwritten = error
    render(run, summarise_run(run, framework_facts()), console)
    if note:
        print_text(console, note)
    if unwritten:
        raise unwritten
    print_text(console, f"\nreport: {output / run.info.name / 'report.html'}")


def export(
    name: RunName = None,
    what: Annotated[
        str,
        typer.Option(
            help="Choose cells, pairs, trials, samples, readings, trainings, certificates or "
            "divergence."
        ),
    ] = "cells",
    format_: Annotated[
        str | None,
        typer.Option("--format", help="Choose csv, json or parquet [default: by the file]."),
    ] = None,
    to: To = STDOUT,
    output: Output = RESULTS,
) -> None:
    """Raises UsageError before anything is written."""
    if what not in FRAMES:
        raise unknown("frame", what, FRAMES)
    chosen = format_ or EXPORT_SUFFIXES.get(Path(to).suffix, "csv")
    if chosen not in FORMATS:
        raise unknown("format", chosen, FORMATS, FORMAT_ALIASES)
    if chosen == "parquet" and to == STDOUT and sys.stdout.isatty():
        raise UsageError("Parquet is not text; name a file for it with --to")
    info, lines = lines_of(name, output, what)
    write_out(written(lines, chosen, what, info), to)


def schema(
    name: Annotated[
        str | None, typer.Argument(help="run, comparison, or a name of `export --what`.")
    ] = None,
    write: Annotated[
        Path | None, typer.Option(help="Write every schema into this directory.", metavar="DIR")
    ] = None,
) -> None:
    known = schemas()
    if write is not None:
        for each, content in known.items():
            write_out([schema_text(content).encode()], str(write / f"{each}.json"))
    elif name is None:
        print("\n".join(known))
    elif name in known:
        print(schema_text(known[name]), end="")
    else:
        raise unknown("schema", name, known)


def write_out(content: Iterable[bytes], to: str) -> None:
    """Write pieces to standard output, or into a file that appears whole or not at all.

    Raises UsageError where it cannot be written.
    """
    if to == STDOUT:
        for piece in content:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    path = Path(to)
    if path.is_dir() or "\0" in to:
        raise UsageError(f"{to}: not a file; name one to write to")
    try:
        write_whole(path, content)
    except OSError as error:
        raise UsageError(f"{to}: cannot write here: {error.strerror or error}") from None


def compare(
    a: Annotated[
        str, typer.Argument(metavar="RUN_A", help="A name, a results directory or a run.json.")
    ],
    b: Annotated[str, typer.Argument(metavar="RUN_B", help="The same.")],
    format_: Annotated[
        str | None,
        typer.Option("--format", help="Choose terminal, markdown or json [default: by the file]."),
    ] = None,
    to: To = STDOUT,
    output: Output = RESULTS,
) -> None:
    """Raises NotComparable where the runs have no cell in common."""
    chosen = format_ or COMPARE_SUFFIXES.get(Path(to).suffix, "terminal")
    if chosen not in COMPARE_FORMATS:
        raise unknown("format", chosen, COMPARE_FORMATS, FORMAT_ALIASES)
    with uncollected():
        comparison = compare_results(find(a, output, tables=False), find(b, output, tables=False))
        if chosen == "terminal" and to == STDOUT:
            comparison_report.render(comparison, Console())
            return
        write_out([_text(comparison, chosen).encode("utf-8")], to)


def _text(comparison: Comparison, format_: str) -> str:
    if format_ == "json":
        return comparison.model_dump_json(indent=1, ensure_ascii=True) + "\n"
    if format_ == "markdown":
        return comparison_report.markdown(comparison)
    held = io.StringIO()
    comparison_report.render(comparison, Console(file=held, width=80))
    return held.getvalue()


def merge(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="[MACHINE=]RUN...", help="Names, results directories or runs' folders."
        ),
    ],
    output: Output = RESULTS,
) -> None:
    """Raises UsageError or NotComparable before anything is written, ReportError where the merged
    run is stored and its report is not."""
    parts = [_part(name, output) for name in runs]
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
    note = f"left out: {merged.repeated} trainings of a seed that was trained already"
    show_and_report(stored, output, Console(), note if merged.repeated else "")


def _part(text: str, output: Path) -> Part:
    match = None if Path(text).exists() else MACHINE_AND_RUN.fullmatch(text)
    machine, name = (match["machine"], match["run"]) if match else ("", text)
    return Part(machine, find(name, output).run)


def history(
    metric: Annotated[
        str, typer.Argument(help="step, throughput, products, memory or peak.")
    ] = "step",
    task: Annotated[
        str, typer.Option("-t", "--task", help="Choose tasks by name or glob.", show_default=False)
    ] = "*",
    framework: Annotated[
        str,
        typer.Option(
            "-f",
            "--framework",
            help="Choose frameworks, and modes of them, by name or glob.",
            metavar="NAME[:MODE]",
            show_default=False,
        ),
    ] = "*",
    phase: Annotated[
        str, typer.Option(help="Choose train, predict, or a latency phase.")
    ] = "train",
    output: Output = RESULTS,
) -> None:
    """Raises UsageError for what does not exist or was never measured."""
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    if phase not in PHASES:
        raise unknown("phase", phase, PHASES, PHASE_ALIASES)
    console, folder = Console(), within(output, "history")
    with open_existing(output) as store:
        summaries, others = _summaries(store, console)
    chosen = [
        it
        for it in series(summaries, METRICS[metric])
        if it.cell.phase == phase
        and fnmatch.fnmatchcase(it.cell.setup.task, task)
        and matches(it.cell.setup, framework)
    ]
    if not chosen:
        raise UsageError(f"no run here measured such a cell ({phase}) and this metric ({metric})")
    keep_fonts(output)
    for each in chosen:
        history_report.render(each, METRICS[metric], console)
        png, _ = history_report.write(each, metric, METRICS[metric], folder)
        print_text(console, f"{png} (and .svg)\n")
    if others:
        print_text(console, f"{others} run(s) of other machines left out")


def _summaries(store: Store, console: Console) -> tuple[list[tuple[str, str | None, Summary]], int]:
    """Name, commit and summary of every run of this machine; and the number of runs of others.

    A damaged run is reported and left out. Raises StoreError where no other is left.
    """
    damage: dict[str, StoreError] = {}
    heads: dict[str, RunInfo] = {}
    summaries = []
    store.latest()  # raises where there is no run
    for name in store.runs():
        try:
            heads[name] = store.head(name).info
        except StoreError as error:
            damage[name] = error
    last = next(reversed(heads.values()), None)
    here = [name for name, it in heads.items() if last and same_machine(it.machine, last.machine)]
    facts = framework_facts()
    for name in here:
        # One after the other: the samples of all may be more than memory holds.
        try:
            summaries.append((name, heads[name].commit, summarise_run(store.load(name), facts)))
        except StoreError as error:
            damage[name] = error
    if not summaries:
        raise next(iter(damage.values()))
    for name, why in damage.items():
        print_text(console, f"left out: run {name}: {why}", "yellow")
    return summaries, len(heads) - len(here)
