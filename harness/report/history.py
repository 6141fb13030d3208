"""A history as a table in the terminal and as one figure for each cell, PNG and SVG."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from harness.analysis.history import Counts, Metric, Point, Series
from harness.analysis.stats import Interval
from harness.errors import StoreError
from harness.report import format as fmt
from harness.report.chart import Axis, Chart, Dots
from harness.report.charts import mark
from harness.report.columns import Column, grid
from harness.report.format import Unit, Value
from harness.report.safe_text import line
from harness.report.style import lane_mark, look, place
from harness.report.terminal import rich_table
from harness.whole_files import write_whole

UNITS: dict[Counts, Unit] = {
    "seconds": "seconds",
    "bytes": "bytes",
    "examples/s": "number",
    "times": "number",
}
HASH = 7
"""Digits of a commit."""


def render(series: Series, metric: Metric, console: Console) -> None:
    """A line for every run, with a mark where the level changed."""
    marks = {it.place: f"← {it.factor:.3g} × from here on" for it in series.changes}
    unit = UNITS[metric.counts]
    columns: tuple[Column[tuple[int, Point]], ...] = (
        Column("run", lambda it: it[1].run, "text"),
        Column("commit", lambda it: _commit(it[1]), "text"),
        Column(metric.counts, lambda it: Value(_text(it[1], unit))),
        Column("", lambda it: marks.get(it[0], ""), "text"),
    )
    console.print(Text(f"{metric.title}: {', '.join(_titles(series))}", "bold"))
    console.print(rich_table(grid(columns, enumerate(series.points))))


def _interval(point: Point) -> Interval:
    low, high = (None, None) if point.low == point.high else (point.low, point.high)
    return Interval(estimate=point.value, low=low, high=high, n=0, method="none")


def _text(point: Point, unit: Unit) -> str:
    return " ".join(fmt.interval(_interval(point), unit)).rstrip()


def _commit(point: Point) -> str:
    return line((point.commit or "")[:HASH])


def _titles(series: Series) -> tuple[str, str]:
    """What was done, and by which setup."""
    setup = series.cell.setup
    who = f"{line(setup.label)}{lane_mark(setup.lane)} ({place(setup)})"
    return f"{line(setup.task)} {series.cell.phase}", who


def write(series: Series, name: str, metric: Metric, folder: Path) -> list[Path]:
    """The figure of one cell in both formats. Raises StoreError where it cannot be written."""
    from harness.report.figures import draw

    setup = series.cell.setup
    parts = (name, setup.task, setup.digest[:4], setup.name, setup.mode, setup.lane)
    where = (setup.device, f"t{setup.threads}", setup.dtype, series.cell.phase)
    file = "".join(it if it.isalnum() or it in "-_" else "_" for it in "-".join(parts + where))
    drawing = draw(_chart(series, metric))
    try:
        return [
            write_whole(folder / f"{file}.png", drawing.png),
            write_whole(folder / f"{file}.svg", drawing.svg.encode("utf-8")),
        ]
    except OSError as error:
        raise StoreError(f"{error.filename or folder}: {error.strerror or error}") from None


def _chart(series: Series, metric: Metric) -> Chart:
    """A row for every run; an arrow points to where the level changed."""
    unit, shown, rows = UNITS[metric.counts], look(series.cell.setup), []
    arrows = {it.place: f"← {it.factor:.3g} ×" for it in series.changes}
    for n, point in enumerate(series.points):
        words = {"text": arrows.get(n, ""), "name": _commit(point)}
        rows.append((line(point.run), (mark(shown, _interval(point), unit, **words),)))
    what, who = _titles(series)
    panel = Dots(who, Axis(metric.title, unit), tuple(rows))
    title = f"{metric.title}: {what}"
    return Chart("history", "speed", title, f"{title}, {who}", (panel,))
