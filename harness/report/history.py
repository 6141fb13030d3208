"""A history as a table in the terminal and as one figure a cell, PNG and SVG."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.analysis.history import Counts, Metric, Point, Series
from harness.analysis.stats import too_wide
from harness.errors import StoreError
from harness.report import format as texts
from harness.report.safe_text import line
from harness.report.style import look, place
from harness.runs.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE, DPI, LABELS = (9.0, 3.6), 150, 12
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
    setup = series.cell.setup
    parts = (name, setup.task, setup.digest[:4], setup.framework, setup.mode, setup.lane)
    where = (setup.device, f"t{setup.threads}", setup.dtype, series.cell.phase)
    stem = "".join(it if it.isalnum() or it in "-_" else "_" for it in "-".join(parts + where))
    png, svg = _drawn(series, metric)
    paths = [folder / f"{stem}.png", folder / f"{stem}.svg"]
    try:
        for path, content in zip(paths, (png, svg.encode("utf-8")), strict=True):
            write_whole(path, content)
    except OSError as error:
        raise StoreError(f"{error.filename or folder}: {error.strerror or error}") from None
    return paths


def _drawn(series: Series, metric: Metric) -> tuple[bytes, str]:
    import matplotlib as mpl

    with mpl.rc_context(), warnings.catch_warnings():
        # A name may have letters that the font lacks: they are drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        mpl.rcdefaults()
        mpl.rcParams.update({"svg.hashsalt": "samestep", "text.parse_math": False})
        figure = _figure(series, metric)
        png, svg = io.BytesIO(), io.StringIO()
        figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return png.getvalue(), svg.getvalue()


def _figure(series: Series, metric: Metric) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    points, shown = series.points, look(series.cell.setup)
    figure = Figure(figsize=SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    values = [it.value for it in points]
    lows = [it.value - (it.value if it.low is None else min(it.low, it.value)) for it in points]
    highs = [(it.value if it.high is None else max(it.high, it.value)) - it.value for it in points]
    axes.errorbar(
        range(len(points)),
        values,
        yerr=[lows, highs],
        color=shown.color,
        marker=shown.marker,
        markersize=5,
        linewidth=1.2,
        capsize=2,
    )
    for change in series.changes:
        axes.axvline(change.place - 0.5, color="black", linestyle=":", linewidth=1)
        axes.annotate(
            f"{change.factor:.3g} ×",
            (change.place - 0.5, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(3, -10),
            textcoords="offset points",
            fontsize=8,
        )
    axes.set_title(f"{metric.title}: {title(series)}", loc="left", fontsize=10)
    axes.set_ylim(bottom=0, top=1.15 * max(it.high or it.value for it in points))
    axes.yaxis.set_major_formatter(lambda value, _: text(value, metric.counts) if value else "0")
    every = -(-len(points) // LABELS)
    axes.set_xticks(range(0, len(points), every), _names(points[::every]), fontsize=7)
    axes.tick_params(axis="x", labelrotation=30)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def _names(points: Sequence[Point]) -> list[str]:
    return [line(it.run) + (f"\n{line(it.commit)[:HASH]}" if it.commit else "") for it in points]
