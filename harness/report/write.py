"""Writes a run's report into a directory; every file of it can be made again from the store."""

from __future__ import annotations

import contextlib
import gc
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic_core import PydanticSerializationError, to_json
from rich.console import Console
from rich.progress import Progress as ProgressBar

from harness.analysis.summary import rebased, summarise_run
from harness.errors import ReportError
from harness.frameworks import framework_facts
from harness.records import Run
from harness.report.charts import make_charts
from harness.report.compose import Content
from harness.report.document import run_document
from harness.report.frames import summary_csv
from harness.runs.files import output_option, within
from harness.whole_files import write_whole

FILES = ("report.html", "report.md", "results.csv", "trainings.csv", "run.json")
"""Of every report, without its figures."""
LONG = 120
"""Panels above which a report is long: only overviews are saved as files, all are on the page."""

Progress = Callable[[int, int], None]
"""Called with the number of panels that are drawn, and of all."""


def publish(run: Run, output: Path, console: Console) -> None:
    """Write the report of a run into its results directory; a long one shows its progress.

    Raises ReportError where that is not possible, UsageError where a link is in its place.
    """
    name = run.info.name
    refuse_links(output, name)
    keep_fonts(output)
    try:
        with ProgressBar(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("report", total=None, visible=False)
            write_report(
                run,
                output / name,
                lambda done, total: bar.update(
                    task, completed=done, total=total, visible=total > LONG
                ),
            )
    except (OSError, UnicodeError) as error:  # matplotlib reads the user's settings as UTF-8
        where = getattr(error, "filename", None) or output / name
        why = getattr(error, "strerror", None) or error
        raise ReportError(
            f"{where}: the report cannot be written: {why}; all results are kept; "
            f"try again with: python -m harness report {name}{output_option(output)}"
        ) from error


def refuse_links(output: Path, name: str) -> None:
    """Raises UsageError where a part of a run's report would be written elsewhere."""
    for part in ("figures", *FILES):
        within(output, name, part)


def keep_fonts(output: Path) -> None:
    """Have matplotlib keep its font list in the results directory, unless the user names another.

    Without a home directory it would search the system's fonts for every report.
    """
    os.environ.setdefault("MPLCONFIGDIR", str(within(output.absolute(), ".matplotlib")))


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Without Python's search for cycles, which finds none in a run and takes a fifth of the time
    of a large report. Those that the block made are collected at its end."""
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.collect()
        gc.enable()
        gc.unfreeze()


def write_report(run: Run, directory: Path, progress: Progress = lambda *_: None) -> list[Path]:
    """Write report, figures, CSV and JSON; returns the files in the order of their importance.

    Each file appears whole or not at all. Raises OSError if the directory cannot be written.
    """
    # These import matplotlib and Jinja2, which commands without figures must not wait for.
    from harness.report.figures import Drawing, draw
    from harness.report.markdown import render_markdown
    from harness.report.page import render_page

    summary = summarise_run(run, framework_facts())
    charts = make_charts(summary, run.certificates)
    panels = sum(len(it.panels) for it in charts)
    saved = [it for it in charts if it.overview or panels <= LONG]
    drawings: list[Drawing] = []
    for chart in charts:
        progress(sum(len(it.panels) for it in drawings), panels)
        with uncollected():
            drawings.append(draw(chart, saved=chart in saved))
    content = Content(run, summary, rebased(summary.tables, run.records))
    data = {
        "results.csv": summary_csv("cells", summary),
        "trainings.csv": summary_csv("trainings", summary),
        "run.json": _json(run_document(run, summary)),
    }
    page = render_page(content, drawings, data, carry=panels <= LONG)
    texts = {"report.html": page, "report.md": render_markdown(content, saved), **data}
    files = {name: text.encode("utf-8") for name, text in texts.items()}
    for drawing in drawings:
        if drawing.png:
            files[f"figures/{drawing.chart.name}.png"] = drawing.png
            files[f"figures/{drawing.chart.name}.svg"] = drawing.svg.encode("utf-8")
    # The page comes last: where it stands, all that it links to stands too.
    for name, written in reversed(files.items()):
        write_whole(directory / name, written)
    return [directory / name for name in files]


def _json(document: dict[str, Any]) -> str:
    """Indented; pydantic's writer takes a tenth of the time of Python's."""
    try:
        return to_json(document, indent=1, inf_nan_mode="null").decode("utf-8") + "\n"
    except PydanticSerializationError:
        # Bytes that are no text, in a variable or a path: Python's writer escapes them.
        return json.dumps(document, indent=1, allow_nan=False) + "\n"
