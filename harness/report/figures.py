"""Charts drawn with matplotlib, once each, and written as PNG and SVG.

Everything is laid out in inches from measured text, so that no label is clipped or overlaps
whatever its length; the same chart always gives the same files.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.report import panels
from harness.report.chart import Chart, Curves, Dots, Key, SectionName
from harness.report.looks import INK
from harness.report.panels import AXIS_ROOM, TITLE_ROOM
from harness.report.sketch import FAMILY, LARGE, SMALL, shortened, width

WIDTH, MARGIN, DPI = 9.0, 0.12, 150
PNG = {"compress_level": 4}
"""Half the time of the default for a tenth more bytes."""
PAGE = 18.0
"""No figure is much taller than this; a chart with more panels goes on in the next figure."""

Row = tuple[Dots | Curves | None, ...]


@dataclass(frozen=True)
class Drawing:
    """One figure in both formats; a chart of many panels has several, numbered from 2."""

    name: str
    section: SectionName
    title: str
    alt: str
    png: bytes
    svg: str


def draw(charts: Sequence[Chart]) -> list[Drawing]:
    """Every chart, page by page."""
    with mpl.rc_context():
        # Whatever a user's matplotlibrc says, the files are the same; text as paths needs no font
        # where they are shown.
        mpl.rcdefaults()
        mpl.rcParams.update(
            {
                "font.family": FAMILY,
                "text.parse_math": False,
                "lines.scale_dashes": False,
                "svg.hashsalt": "samestep",
                "svg.fonttype": "path",
            }
        )
        return [
            _drawing(chart, page, number)
            for chart in charts
            for number, page in enumerate(_pages(chart), start=1)
        ]


def _pages(chart: Chart) -> list[list[Row]]:
    pages: list[list[Row]] = [[]]
    for row in chart.panels:
        tall = sum(_row_height(it) for it in pages[-1])
        if pages[-1] and tall + _row_height(row) > PAGE:
            pages.append([])
        pages[-1].append(row)
    return pages


def _drawing(chart: Chart, rows: list[Row], number: int) -> Drawing:
    figure = _figure(chart, rows)
    png, svg = io.BytesIO(), io.StringIO()
    # Neither the date nor the version of matplotlib belongs into a file that may be compared.
    figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None}, pil_kwargs=PNG)
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return Drawing(
        name=chart.name if number == 1 else f"{chart.name}-{number}",
        section=chart.section,
        title=chart.title if number == 1 else f"{chart.title} ({number})",
        alt=chart.alt,
        png=png.getvalue(),
        svg=svg.getvalue(),
    )


def _figure(chart: Chart, rows: list[Row]) -> Figure:
    keys = _legend_rows(chart.legend)
    head = MARGIN + 0.3 + 0.24 * len(keys)
    tall = head + sum(_row_height(row) for row in rows)
    figure = Figure(figsize=(WIDTH, tall), facecolor="white")
    FigureCanvasAgg(figure)
    figure.text(
        MARGIN / WIDTH,
        1 - MARGIN / tall,
        chart.title,
        fontsize=LARGE,
        fontweight="bold",
        color=INK,
        va="top",
    )
    _draw_legend(figure, keys, tall)
    lefts, plot = _columns(rows)
    top = head
    for row in rows:
        for panel, left in zip(row, lefts, strict=True):
            if panel is not None:
                deep = panels.height(panel)
                bottom = 1 - (top + TITLE_ROOM + deep) / tall
                axes = figure.add_axes((left / WIDTH, bottom, plot / WIDTH, deep / tall))
                panels.sketch(panel, plot).onto(axes, plot, deep)
        top += _row_height(row)
    return figure


def _row_height(row: Row) -> float:
    return TITLE_ROOM + max(panels.height(panel) for panel in row) + AXIS_ROOM


def _columns(rows: Sequence[Row]) -> tuple[list[float], float]:
    """Where the axes of each column begin, and how wide all of them are."""
    columns = list(zip(*rows, strict=True))
    names = [max(panels.names_width(panel) for panel in column) for column in columns]
    texts = [max(panels.texts_width(panel) for panel in column) for column in columns]
    # One panel alone would be too wide to be read along.
    share = max(len(columns), 2) if len(rows) > 1 else max(len(columns), 1.2)
    plot = (WIDTH - 2 * MARGIN - sum(names) - sum(texts)) / share
    lefts, x = [], MARGIN
    for name, text in zip(names, texts, strict=True):
        lefts.append(x + name)
        x += name + plot + text
    return lefts, plot


def _legend_rows(keys: Sequence[Key]) -> list[list[tuple[Key, float]]]:
    """The legend's entries with where each begins, in as many rows as they need."""
    rows: list[list[tuple[Key, float]]] = []
    x = WIDTH
    for key in keys:
        room = 0.62 + width(shortened(key.text, SMALL, 2.5), SMALL)
        if x + room > WIDTH - MARGIN:
            rows.append([])
            x = MARGIN
        rows[-1].append((key, x))
        x += room
    return rows


def _draw_legend(figure: Figure, rows: list[list[tuple[Key, float]]], tall: float) -> None:
    for number, row in enumerate(rows):
        y = 1 - (MARGIN + 0.36 + 0.24 * number) / tall
        for key, x in row:
            half = 0.15 if key.line else 0.0
            middle = (x + 0.17) / WIDTH
            figure.add_artist(
                Line2D(
                    [middle - half / WIDTH, middle, middle + half / WIDTH],
                    [y, y, y],
                    color=key.look.color,
                    linewidth=2 if key.line else 0,
                    dashes=key.look.dashes or (None, None),
                    marker=key.look.marker,
                    markevery=[1],
                    markersize=6,
                    markerfacecolor="white" if key.hollow else key.look.color,
                    markeredgecolor=key.look.color,
                    markeredgewidth=1.4 if key.hollow else 0.8,
                )
            )
            figure.text(
                (x + 0.4) / WIDTH,
                y,
                shortened(key.text, SMALL, 2.5),
                fontsize=SMALL,
                color=INK,
                va="center",
            )
