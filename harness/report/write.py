"""Writes a run's report into a directory; every file of it can be made again from the store."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from harness.analysis.summary import Summary, rebased, summarise_run
from harness.errors import ReportError
from harness.frameworks import framework_facts
from harness.records import Run
from harness.report.apart import Helper
from harness.report.charts import divergence_chart, make_charts, make_forests
from harness.report.compose import make_content
from harness.report.document import run_document
from harness.report.frames import results_csv, trainings_csv
from harness.runs.files import output_option, within, write_whole

FILES = ("report.html", "report.md", "results.csv", "trainings.csv", "run.json")
"""Of every report, beside its figures."""


def publish(run: Run, output: Path) -> None:
    """Write the report of a run into its results directory.

    Raises ReportError where that is not possible, UsageError where a link is in its place.
    """
    name = run.info.name
    refuse_links(output, name)
    keep_fonts(output)
    try:
        write_report(run, output / name)
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


def write_report(run: Run, directory: Path) -> list[Path]:
    """Write report, figures, CSV and JSON; returns the files in the order of their importance.

    Each file appears whole or not at all. Raises OSError if the directory cannot be written.
    """
    summary = summarise_run(run, framework_facts())
    divergence = divergence_chart(run.certificates)
    charts = [*make_charts(summary), *([divergence] if divergence else [])]
    with Helper(functools.partial(_data, run, summary), charts, len(run.records)) as helper:
        # These bring matplotlib and Jinja2: the commands that draw nothing need not wait for them,
        # and the other process draws meanwhile.
        from harness.report.markdown import render_markdown
        from harness.report.page import render_page

        others = rebased(summary.tables, run.records, run.certificates)
        content = make_content(run, summary, others)
        data = helper.made()
        page = render_page(content, charts, make_forests(summary, others), data)
        text = render_markdown(content, helper.pages)
        drawings = helper.drawings()
    files = {"report.html": page, "report.md": text, **data}
    figures: dict[str, str | bytes] = {}
    for drawing in drawings:
        figures[f"figures/{drawing.name}.png"] = drawing.png
        figures[f"figures/{drawing.name}.svg"] = drawing.svg
    # The page comes last: where it stands, all that it speaks of stands too.
    paths = {name: _write(directory / name, it) for name, it in reversed((files | figures).items())}
    return [paths[name] for name in (*files, *figures)]


def _data(run: Run, summary: Summary) -> dict[str, str]:
    """The files for programs."""
    return {
        "results.csv": results_csv(summary),
        "trainings.csv": trainings_csv(summary),
        "run.json": _json(run_document(run, summary)),
    }


def _json(document: dict[str, Any]) -> str:
    """Indented; pydantic's writer takes a tenth of the time of Python's."""
    try:
        return to_json(document, indent=1, inf_nan_mode="null").decode("utf-8") + "\n"
    except PydanticSerializationError:
        # Bytes that are no text, in a variable or a path: Python's writer escapes them.
        return json.dumps(document, indent=1, allow_nan=False) + "\n"


def _write(path: Path, content: str | bytes) -> Path:
    return write_whole(path, content.encode("utf-8") if isinstance(content, str) else content)
