"""Charts laid out on sheets, each drawn as PNG and as SVG.

Everything is laid out in inches from measured text, so that no label is clipped or overlaps
whatever its length; the same chart always gives the same files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.report import panels
from harness.report.canvas import COARSE, FINE, Canvas
from harness.report.chart import Chart, Curves, Dots, Key, SectionName
from harness.report.letters import LARGE, SMALL, shortened, width
from harness.report.panels import AXIS_ROOM, TITLE_ROOM
from harness.report.pixels import png
from harness.report.sketch import Dot, Sketch, Stroke, Text
from harness.report.vectors import svg

WIDTH, MARGIN = 9.0, 0.12
PAGE = 18.0
"""No figure is much taller than this; a chart with more panels goes on in the next figure."""
FEW_PAGES = 20

Row = tuple[Dots | Curves | None, ...]


@dataclass(frozen=True)
class Drawing:
    """One figure in both formats."""

    name: str
    section: SectionName
    title: str
    alt: str
    png: bytes
    svg: str


def draw(charts: Sequence[Chart], dpi: int = FINE) -> list[Drawing]:
    """Every chart, page by page."""
    return [_drawing(it, dpi) for it in pages(charts)]


def dots(count: int) -> int:
    """To the inch, of so many pages: the PNGs of a long report are for a look, its SVGs for print.

    Of 40 pages the whole report so takes a ninth less time.
    """
    return FINE if count <= FEW_PAGES else COARSE


def pages(charts: Sequence[Chart]) -> list[Chart]:
    """The charts, a large one as several that fit on a page, numbered from 2."""
    return [
        replace(chart, panels=rows)
        if number == 1
        else replace(
            chart,
            name=f"{chart.name}-{number}",
            title=f"{chart.title} ({number})",
            panels=rows,
        )
        for chart in charts
        for number, rows in enumerate(_fitting(chart.panels), start=1)
    ]


def _fitting(rows: Sequence[Row]) -> list[tuple[Row, ...]]:
    fitting: list[tuple[Row, ...]] = [()]
    for row in rows:
        tall = sum(_row_height(it) for it in fitting[-1])
        if fitting[-1] and tall + _row_height(row) > PAGE:
            fitting.append(())
        fitting[-1] += (row,)
    return fitting


def _drawing(page: Chart, dpi: int) -> Drawing:
    canvas = sheet(page, dpi)
    return Drawing(page.name, page.section, page.title, page.alt, png(canvas), svg(canvas))


def sheet(page: Chart, dpi: int = FINE) -> Canvas:
    """Title and legend, and below them the panels row by row."""
    head = MARGIN + 0.3 + 0.24 * len(_legend_rows(page.legend))
    canvas = Canvas(WIDTH, head + sum(_row_height(row) for row in page.panels), dpi)
    canvas.add(_head(page))
    lefts, plot = _columns(page.panels)
    top = head
    for row in page.panels:
        for panel, left in zip(row, lefts, strict=True):
            if panel is not None:
                canvas.add(panels.sketch(panel, plot), left, top + TITLE_ROOM)
        top += _row_height(row)
    return canvas


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


def _head(chart: Chart) -> Sketch:
    drawn = Sketch()
    title = Text(MARGIN, MARGIN, chart.title, va="top", size=LARGE, weight="bold")
    drawn.texts.append(title)
    for number, row in enumerate(_legend_rows(chart.legend)):
        y = MARGIN + 0.36 + 0.24 * number
        for key, x in row:
            if key.line:
                points = [(x + it, y) for it in (0.02, 0.17, 0.32)]
                drawn.curves.append(Stroke(points, key.look, 2, marked=1))
            else:
                drawn.dots.append(Dot(key.look, x + 0.17, y, key.hollow))
            drawn.texts.append(Text(x + 0.4, y, shortened(key.text, SMALL, 2.5)))
    return drawn
