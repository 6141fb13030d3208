"""What `report` and `show` do with a stored run."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from rich.progress import Progress
from rich.text import Text

from harness.analysis.summary import summarise_run
from harness.cli_options import RESULTS
from harness.console import Console
from harness.errors import ReportError, UsageError
from harness.frameworks import default_modes
from harness.records import Run
from harness.report.terminal import render
from harness.report.write import FILES, LONG, write_report
from harness.runs.files import within
from harness.runs.store import Store, open_existing


def report(name: str | None, output: Path) -> None:
    """Write the report of a stored run again."""
    with open_existing(output) as store:
        stored = store.load(_named(name, store))
    write(stored, output)
    page = output / stored.info.name / "report.html"
    Console().print(Text(f"report: {page}"), soft_wrap=True)


def show(name: str | None, output: Path) -> None:
    """Print the result of a stored run."""
    with open_existing(output) as store:
        stored = store.load(_named(name, store))
    render(stored, summarise_run(stored, default_modes()), Console())


def _named(name: str | None, store: Store) -> str:
    runs = store.runs()
    if name is None and not runs:
        raise UsageError("there is no run here yet; make one with: python -m harness run")
    return name or runs[-1]


def write(stored: Run, output: Path) -> None:
    """Write the report of a run; raises ReportError where that is not possible, UsageError where
    a link is in its place."""
    name = stored.info.name
    refuse_links(output, name)
    keep_fonts(output)
    try:
        console = Console()
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("report", total=None, visible=False)
            write_report(
                stored,
                output / name,
                lambda done, total: bar.update(
                    task, completed=done, total=total, visible=total > LONG
                ),
            )
    except (OSError, UnicodeError) as error:  # matplotlib reads the user's settings as UTF-8
        where = getattr(error, "filename", None) or output / name
        why = getattr(error, "strerror", None) or error
        raise ReportError(
            f"{where}: the report cannot be written: {why}; all "
            f"results are kept; try again with: python -m harness report {name}{elsewhere(output)}"
        ) from error


def refuse_links(output: Path, name: str) -> None:
    """Raises UsageError where a part of the report of a run would be written elsewhere."""
    for part in ("figures", *FILES):
        within(output, name, part)


def keep_fonts(output: Path) -> None:
    """Have matplotlib keep its list of the system's fonts in the results directory, unless the user
    has named another folder: without a home it would search them for every report."""
    os.environ.setdefault("MPLCONFIGDIR", str(within(output.absolute(), ".matplotlib")))


def elsewhere(output: Path) -> str:
    """What a command needs besides to find a results directory."""
    return "" if output == RESULTS else f" -o {shlex.quote(str(output))}"
