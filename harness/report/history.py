"""A history as a table in the terminal and as one figure for each cell, PNG and SVG."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from harness.analysis.history import Counts, Metric, Point, Series
from harness.analysis.stats import Interval
from harness.errors import StoreError
from harness.report import format as fmt
from harness.report.chart import Axis, Chart, Curve, Curves
from harness.report.columns import Column, grid
from harness.report.format import Unit, Value
from harness.report.safe_text import line
from harness.report.style import lane_mark, look, place
from harness.report.terminal import rich_table
from harness.whole_files import write_whole

LABELS = 12
"""Runs that are named below the figure, at most."""
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
        Column("commit", lambda it: (it[1].commit or "")[:HASH], "text"),
        Column(metric.counts, lambda it: Value(" ".join(_texts(it[1], unit)).rstrip())),
        Column("", lambda it: marks.get(it[0], ""), "text"),
    )
    console.print(Text(f"{metric.title}: {_title(series)}", "bold"))
    console.print(rich_table(grid(columns, enumerate(series.points))))


def _texts(point: Point, unit: Unit) -> tuple[str, str]:
    """A value and its bounds in brackets, empty without any."""
    low, high = (None, None) if point.low == point.high else (point.low, point.high)
    return fmt.interval(
        Interval(estimate=point.value, low=low, high=high, n=0, method="none"), unit
    )


def _title(series: Series) -> str:
    setup = series.cell.setup
    name = f"{line(setup.task)} {series.cell.phase}, {line(setup.label)}{lane_mark(setup.lane)}"
    return f"{name} ({place(setup)})"


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
    points, name, unit = series.points, _title(series), UNITS[metric.counts]
    title = f"{metric.title}: {name}"
    named = range(0, len(points), -(-len(points) // LABELS))
    ends = ((it.low, it.high) for it in points)
    curve = Curve(
        look(series.cell.setup),
        tuple((float(n), it.value) for n, it in enumerate(points)),
        name,
        tuple(None if low is None or high is None else (low, high) for low, high in ends),
        tuple((line(f"{it.run} {(it.commit or '')[:HASH]}"), *_texts(it, unit)) for it in points),
    )
    panel = Curves(
        title="",
        x=Axis("", "setting", at=tuple(map(float, named))),
        y=Axis(metric.title, unit),
        curves=(curve,),
        names=tuple(line(points[n].run) for n in named),
        steps=tuple((it.place - 0.5, f"{it.factor:.3g} ×") for it in series.changes),
    )
    return Chart("history", "speed", title, title, (panel,))
