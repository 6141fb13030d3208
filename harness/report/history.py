"""A history as a table in the terminal and as one figure for each cell, PNG and SVG."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.analysis.history import Counts, Metric, Point, Series
from harness.analysis.stats import too_wide
from harness.errors import StoreError
from harness.report import format as texts
from harness.report.chart import Chart, Curve, Curves
from harness.report.format import Unit
from harness.report.safe_text import line
from harness.report.style import look, place
from harness.whole_files import write_whole

LABELS = 12
"""Runs that are named below the figure, at most."""
UNITS: dict[Counts, Unit] = {"seconds": "seconds", "bytes": "bytes"}
HASH = 7
"""Digits of a commit."""


def text(value: float | None, counts: Counts) -> str:
    if counts == "seconds":
        return texts.seconds(value)
    if counts == "bytes":
        return texts.memory(value)
    return texts.number(value)


def render(series: Series, metric: Metric, console: Console) -> None:
    """A line for every run, with a mark where the level changed."""
    factors = {it.place: it.factor for it in series.changes}
    table = Table(
        title=Text(f"{metric.title}: {title(series)}"),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE,
    )
    for name, side in (("run", "left"), ("commit", "left"), (metric.counts, "right"), ("", "left")):
        table.add_column(name, justify=side, overflow="fold")  # type: ignore[arg-type]
    for number, point in enumerate(series.points):
        factor = factors.get(number)
        mark = "" if factor is None else f"← {factor:.3g} × from here on"
        bounds = _bounds(point, metric.counts)
        table.add_row(
            Text(line(point.run)),
            Text(line(point.commit or "")[:HASH]),
            Text(f"{text(point.value, metric.counts)}{bounds}"),
            Text(mark, "bold yellow"),
        )
    console.print(table)


def _bounds(point: Point, counts: Counts) -> str:
    if point.low is None or point.high is None or point.low == point.high:
        return ""
    if too_wide(point.low, point.high):
        return f" {texts.NOT_KNOWN}"
    return f" ({text(point.low, counts)}–{text(point.high, counts)})"


def title(series: Series) -> str:
    setup = series.cell.setup
    lane = "" if setup.lane == "identical" else f", {setup.lane}"
    return f"{line(setup.task)} {series.cell.phase}, {line(setup.label)}{lane} ({place(setup)})"


def write(series: Series, name: str, metric: Metric, folder: Path) -> list[Path]:
    """The figure of one cell in both formats. Raises StoreError where it cannot be written."""
    from harness.report.figures import draw

    setup = series.cell.setup
    parts = (name, setup.task, setup.digest[:4], setup.name, setup.mode, setup.lane)
    where = (setup.device, f"t{setup.threads}", setup.dtype, series.cell.phase)
    file = "".join(it if it.isalnum() or it in "-_" else "_" for it in "-".join(parts + where))
    drawing = draw(_chart(series, metric))
    paths = [folder / f"{file}.png", folder / f"{file}.svg"]
    try:
        contents = (drawing.png, drawing.svg.encode("utf-8"))
        for path, content in zip(paths, contents, strict=True):
            write_whole(path, content)
    except OSError as error:
        raise StoreError(f"{error.filename or folder}: {error.strerror or error}") from None
    return paths


def _chart(series: Series, metric: Metric) -> Chart:
    points, every = series.points, -(-len(series.points) // LABELS)
    shown = [(n, it) for n, it in enumerate(points) if n % every == 0]
    what = f"{metric.title}: {title(series)}"
    curve = Curve(
        look(series.cell.setup),
        tuple((float(n), it.value) for n, it in enumerate(points)),
        name=title(series),
        bounds=tuple(_ends(it) for it in points),
        tips=tuple(
            (_name(it), text(it.value, metric.counts), _bounds(it, metric.counts)) for it in points
        ),
    )
    panel = Curves(
        title="",
        axis="",
        unit="setting",
        up=metric.title,
        up_unit=UNITS.get(metric.counts, "error"),
        curves=(curve,),
        at=tuple(float(n) for n, _ in shown),
        names=tuple(line(it.run) for _, it in shown),
        steps=tuple((it.place - 0.5, f"{it.factor:.3g} ×") for it in series.changes),
    )
    return Chart("history", "speed", what, what, (panel,))


def _ends(it: Point) -> tuple[float, float] | None:
    if it.low is None or it.high is None:
        return None
    return min(it.low, it.value), max(it.high, it.value)


def _name(it: Point) -> str:
    return line(f"{it.run} {(it.commit or '')[:HASH]}")
