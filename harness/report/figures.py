"""Draws charts with matplotlib: PNG and SVG files, and the same SVG as parts of the page.

The page shows each panel of a figure by itself, so that a phone puts them below each other. Its
colours follow the page's theme; every mark has its value as `<title>`.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import re
import unicodedata
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from harness.analysis.stats import CONFIDENCE
from harness.report import format as fmt
from harness.report.chart import Chart, Curve, Curves, Dots, Key, Mark, Panel
from harness.report.columns import grouped
from harness.report.safe_text import line
from harness.report.style import BAND, FAINT, GRID, INK, PAPER, Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Transform

CELL, COLUMNS, MARGIN, GAP = 3.6, 2, 0.1, 0.2
"""The width of a panel and what is left free, in inches; a figure has two panels in a row."""
TITLE, AXIS = 0.34, 0.44
"""Inches above and below the axes of a panel."""
ROW, LANE, TALL = 0.22, 0.15, 1.55
"""Inches: a row of marks, each further mark in it, the height of curves."""
SMALL, MEDIUM, LARGE = 7.5, 8.5, 10.0
LETTER = 0.6 * SMALL / 72
"""The usual width of a letter, in inches."""
NAME, VALUE, TEXT = 26, 14, 44
"""The longest name, value and other text, in letters."""
DPI, TALLEST = 150, 30_000
"""Pixels: to the inch, and the height of a picture at most."""
TIPS, LEAST_TIPS = 24, 3
"""Points that have a tip: of all curves of a panel, and of one curve at least."""
INTERVAL = f"{fmt.whole_percent(CONFIDENCE)} interval"
BELOW: dict[str, Any] = {"ha": "center", "va": "top", "color": FAINT}
"""How the labels below an axis are written."""
THEME = {INK: "ink", FAINT: "soft", GRID: "grid", BAND: "band", PAPER: "paper"}
"""The colours that follow the theme of the page, by its variables."""
SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "samestep",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": SMALL,
    "text.color": INK,
}

Span = tuple[float, float]
Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""A part of a figure: its left and top, width and height, in inches from the top left corner."""
Tip = tuple[str, ...]
Placed = tuple[str, Mark, float]
"""A mark with the name of its row, and its y."""


@dataclass
class Sheet:
    """A figure, with the boxes of its parts and what hover shows in them, both by their ids."""

    figure: Figure
    parts: dict[str, Box] = field(default_factory=dict)
    marks: dict[str, list[Element]] = field(default_factory=lambda: defaultdict(list))

    def mark(self, axes: Axes, color: str, points: Sequence[Point], tips: Sequence[Tip]) -> None:
        """Room for a pointer at points of the axes, each with its tip."""
        group = Element("g", {"style": f"--c: {color}"})
        places = axes.transData.transform(points) * 72 / self.figure.dpi
        tall = 72 * self.figure.get_figheight()
        for (x, y), tip in zip(places, tips, strict=True):
            place = {"cx": f"{x:.1f}", "cy": f"{tall - y:.1f}"}
            mark = ElementTree.SubElement(group, "circle", {"class": "mark", **place})
            ElementTree.SubElement(mark, "title").text = "\n".join(map(line, filter(None, tip)))
        self.marks[str(axes.get_gid())].append(group)

    def write(self, x: float, y: float, text: str, **style: Any) -> None:
        wide, tall = self.figure.get_size_inches()
        self.figure.text(x / wide, 1 - y / tall, line(text), va="center", **style)


@dataclass(frozen=True)
class Drawing:
    """One figure: its two files, empty if they are not saved, and the parts of the page.

    `panels` and `keys` (the legend's markers) are `<svg>` elements in the chart's order; `shapes`
    are the markers that they use, by their ids.
    """

    chart: Chart
    svg: str
    png: bytes
    panels: tuple[str, ...]
    keys: tuple[str, ...]
    shapes: dict[str, str]


def draw(chart: Chart, *, saved: bool = True) -> Drawing:
    """The figure, with both files if they are `saved`."""
    svg, png = io.BytesIO(), io.BytesIO()
    with settings():
        sheet = make_sheet(chart)
        save, dpi = sheet.figure.savefig, min(DPI, TALLEST / sheet.figure.get_figheight())
        save(svg, format="svg", metadata=dict.fromkeys(("Date", "Creator")))
        if saved:
            save(png, format="png", dpi=dpi, metadata={"Software": None})
    root = _tidied(svg.getvalue(), sheet)
    whole = f'<?xml version="1.0" encoding="utf-8"?>\n{_markup(root)}\n' if saved else ""
    _use_theme(root)
    parts = {it.get("id"): it for it in root.iter("g")}
    return Drawing(
        chart,
        whole,
        png.getvalue(),
        tuple(_panel(parts[f"panel-{n}"], sheet, it) for n, it in enumerate(chart.panels)),
        tuple(
            _cut(parts[f"key-{n}"], sheet, {"class": "key", "aria-hidden": "true"})
            for n in range(len(chart.legend))
        ),
        {it.attrib["id"]: _markup(it) for it in root.findall("defs/path")},
    )


@contextlib.contextmanager
def settings() -> Iterator[None]:
    """Defaults and SETTINGS, whatever a matplotlibrc says. No text is read as mathematics."""
    import matplotlib as mpl

    with mpl.rc_context(), warnings.catch_warnings():
        # A name may have letters that the font lacks: the picture shows boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS)
        yield


# The figure: title and legend, then the panels from left to right and from top to bottom.


def make_sheet(chart: Chart) -> Sheet:
    from matplotlib.figure import Figure

    columns = min(len(chart.panels), COLUMNS)
    title = shortened(chart.title, 2 * TEXT)
    wide = max(columns * (CELL + GAP), 1.15 * LETTER * LARGE / SMALL * breadth(title)) + 2 * MARGIN
    entries = [shortened(it.text, NAME) for it in chart.legend]
    step = 0.5 + LETTER * max(map(breadth, entries), default=0)
    across = max(1, int((wide - MARGIN) / step))
    top = MARGIN + 0.3 + 0.2 * math.ceil(len(entries) / across)
    heights = [*map(_height, chart.panels)]
    rows = (max(heights[n : n + COLUMNS]) for n in range(0, len(heights), COLUMNS))
    tops = [*itertools.accumulate(rows, initial=top)]
    sheet = Sheet(Figure(figsize=(wide, tops[-1] + MARGIN)))
    sheet.write(MARGIN, MARGIN + 0.12, title, size=LARGE, weight="bold")
    lines = any(isinstance(it, Curves) for it in chart.panels)
    for n, key in enumerate(chart.legend):
        row, column = divmod(n, across)
        x, y = MARGIN + column * step, MARGIN + 0.34 + 0.2 * row
        _legend_key(sheet, f"key-{n}", key, x, y, lined=lines)
    for n, panel in enumerate(chart.panels):
        row, column = divmod(n, COLUMNS)
        _draw_panel(sheet, f"panel-{n}", panel, MARGIN + column * (CELL + GAP), tops[row])
    return sheet


def _legend_key(sheet: Sheet, name: str, key: Key, x: float, y: float, *, lined: bool) -> None:
    from matplotlib.lines import Line2D

    wide, tall = sheet.figure.get_size_inches()
    handle = Line2D(
        [(x + it) / wide for it in (0.02, 0.16, 0.3)],
        [1 - y / tall] * 3,
        transform=sheet.figure.transFigure,
        color=key.look.color,
        linestyle=_dashes(key.look) if lined else "none",
        linewidth=1.6,
        markevery=[1],
        gid=name,
        **_marker(key.look, hollow=key.hollow),
    )
    sheet.figure.add_artist(handle)
    sheet.parts[name] = (x, y - 0.08, 0.32, 0.16)
    sheet.write(x + 0.38, y, shortened(key.text, NAME))


def _height(panel: Panel) -> float:
    return TITLE + _axes_height(panel) + AXIS


def _axes_height(panel: Panel) -> float:
    if isinstance(panel, Dots):
        return _row_height(panel) * max(len(panel.rows), 1)
    return TALL * (0.6 if panel.flat else 1.0)


def _row_height(panel: Dots) -> float:
    most = max((len(marks) for _, marks in panel.rows), default=1)
    texts = any(mark.text for _, marks in panel.rows for mark in marks)
    return max(ROW, 0.07 + (LANE if texts else 0.1) * (1 if panel.level else most))


def _draw_panel(sheet: Sheet, name: str, panel: Panel, left: float, top: float) -> None:
    sheet.parts[name] = (left, top + TITLE - 0.05, CELL, _height(panel) - TITLE - 0.05)
    title = shortened(panel.title, int(0.8 * CELL / LETTER * SMALL / MEDIUM))
    sheet.write(left, top + TITLE - 0.16, title, size=MEDIUM, weight="bold")
    before, after = _sides(panel)
    inner, tall = CELL - before - after, _axes_height(panel)
    width, height = sheet.figure.get_size_inches()
    x, y = (left + before) / width, 1 - (top + TITLE + tall) / height
    axes = sheet.figure.add_axes((x, y, inner / width, tall / height), gid=name)
    axes.set_axis_off()  # what it shows is drawn here in a quarter of the time
    if isinstance(panel, Dots):
        _dots(sheet, axes, panel, inner)
    else:
        _curves(sheet, axes, panel, inner)
    _text(axes, 0.5, 0, shortened(_axis(panel), TEXT), axes.transAxes, (0, -15), **BELOW)


def _sides(panel: Panel) -> tuple[float, float]:
    """Inches to the left and to the right of the axes."""
    if isinstance(panel, Curves):
        return 0.62, 0.14
    names = max((breadth(shortened(it, NAME)) for it, _ in panel.rows), default=0)
    texts = max(
        (breadth(shortened(it.text, VALUE)) for _, row in panel.rows for it in row), default=0
    )
    return LETTER * names + 0.12, LETTER * texts + 0.16


def _axis(panel: Panel) -> str:
    if isinstance(panel, Dots):
        return f"{panel.x.name}, log axis" if panel.x.log else panel.x.name
    return f"{panel.y.name} over {panel.x.name}"


def _text(
    axes: Axes, x: float, y: float, text: str, at: Transform, shift: Span = (0, 0), **style: Any
) -> None:
    """A text at a place, moved by so many points."""
    figure: Any = axes.get_figure(root=True)
    place = (at.transform((x, y)) + [it * figure.dpi / 72 for it in shift]) / figure.bbox.size
    style = {"va": "center_baseline", "transform": figure.transFigure, **style}
    axes.text(place[0], place[1], line(text), **style)


# Marks in rows.


def _dots(sheet: Sheet, axes: Axes, panel: Dots, wide: float) -> None:
    low, high = _dots_span(panel)
    if panel.x.log:
        axes.set_xscale("log")
    axes.set(xlim=(low, high), ylim=(len(panel.rows), 0))
    stripes = [n + 0.5 for n in range(0, len(panel.rows), 2)]
    axes.hlines(stripes, low, high, BAND, linewidth=72 * _row_height(panel), zorder=0)
    _ticks(axes, panel, (low, high), wide)
    for n, (name, row) in enumerate(panel.rows):
        place = axes.get_yaxis_transform()
        _text(axes, 0, n + 0.5, shortened(name, NAME), place, (-5, 0), ha="right")
        if not row:
            _text(axes, 0, n + 0.5, "not counted", place, (5, 0), color=FAINT)
    if panel.band is not None:
        axes.axvspan(*panel.band, color=GRID, linewidth=0, zorder=0)
        axes.axvline(1.0, color=FAINT, linewidth=0.8)
    marks = list(_placed(panel))
    _lines(axes, panel, marks)
    for group in grouped(marks, lambda it: (it[1].look, it[1].hollow)):
        points = [(max(it.value, low), y) for _, it, y in group]
        _, first, _ = group[0]
        _markers(axes, points, first.look, hollow=first.hollow)
        sheet.mark(axes, first.look.color, points, [_mark_tip(name, it) for name, it, _ in group])
    for _, mark, y in marks:
        if mark.text:
            right = max(mark.value, mark.high or 0.0, low)
            _text(axes, right, y, shortened(mark.text, VALUE), axes.transData, (6, 0))


def _dots_span(panel: Dots) -> Span:
    marks = [mark for _, marks in panel.rows for mark in marks]
    values = [it for mark in marks for it in (mark.value, mark.low, mark.high) if it is not None]
    values += panel.band or ()
    if not panel.x.log:
        return 0.0, 1.04 * max(values, default=1.0) or 1.0
    # A log axis has no zero: it is drawn at the left end.
    above = [it for it in values if it > 0] or [1.0]
    low, high = min(above), max(above)
    room = 1.6 if panel.band is None else max((high / low) ** 0.06, 1.01)
    return low / room, high * room


def _placed(panel: Dots) -> Iterator[Placed]:
    edge = 0.05 / _row_height(panel)
    for n, (row, marks) in enumerate(panel.rows):
        for lane, mark in enumerate(marks):
            share = 0.5 if panel.level else (lane + 0.5) / len(marks)
            yield row, mark, n + edge + (1 - 2 * edge) * share


def _lines(axes: Axes, panel: Dots, marks: Sequence[Placed]) -> None:
    """Intervals, and on a linear axis a pale line from zero to each mark."""
    if not panel.x.log:
        colors, values = [it.look.color for _, it, _ in marks], [it.value for _, it, _ in marks]
        axes.hlines([y for *_, y in marks], 0, values, colors, linewidth=1.3, alpha=0.35)
    known = [
        (y, it.low, it.high, it.look.color)
        for _, it, y in marks
        if it.low is not None and it.high is not None
    ]
    if known:
        y, low, high, color = zip(*known, strict=True)
        axes.hlines(y, low, high, color, linewidth=2.0)


def _mark_tip(row: str, mark: Mark) -> Tip:
    bounds = f"{INTERVAL} {mark.bounds}" if mark.low is not None else mark.bounds
    return (", ".join(filter(None, (row, mark.name))), mark.words, bounds)


# Curves.


def _curves(sheet: Sheet, axes: Axes, panel: Curves, wide: float) -> None:
    over = _span([x for it in panel.curves for x, _ in it.points], log=panel.x.log)
    up = _span(_heights(panel), log=panel.y.log)
    if panel.x.log:
        axes.set_xscale("log")
    if panel.y.log:
        axes.set_yscale("log")
    axes.set(xlim=over, ylim=up)
    _ticks(axes, panel, over, wide)
    heights = round_ticks(*up, 4, log=panel.y.log)
    axes.hlines(heights, *over, colors=GRID, linewidth=0.8, zorder=0.5)
    for height in heights:
        label, place = fmt.tick(height, panel.y.unit), axes.get_yaxis_transform()
        _text(axes, 0, height, label, place, (-5, 0), ha="right", color=FAINT)
    for number, curve in enumerate(panel.curves):
        # Each is thinner than those below, so that curves that coincide are all visible.
        rest = (len(panel.curves) - 1 - number) / max(len(panel.curves) - 1, 1)
        _curve(sheet, axes, panel, curve, 1.2 + 1.3 * rest)
    for y, ring in panel.rings:
        if ring.low is not None and ring.high is not None:
            axes.hlines(y, max(ring.low, over[0]), min(ring.high, over[1]), INK, linewidth=1.3)
        _markers(axes, [(ring.value, y)], ring.look, hollow=ring.hollow)
        sheet.mark(axes, INK, [(ring.value, y)], [_mark_tip("", ring)])
    if panel.target is not None:
        # On the side where the curves do not end.
        below = 2 * sum(it.points[-1][1] > panel.target for it in panel.curves) > len(panel.curves)
        side: dict[str, Any] = {"ha": "right", "va": "top" if below else "bottom"}
        place, shift = axes.get_yaxis_transform(), (0, -3 if below else 3)
        axes.axhline(panel.target, color=INK, linewidth=0.9, dashes=(4, 4))
        _text(axes, 1, panel.target, "target", place, shift, **side)


def _heights(panel: Curves) -> list[float]:
    """All that a panel's upward axis must have room for."""
    heights = [y for it in panel.curves for _, y in it.points]
    heights += [end for it in panel.curves for ends in it.bounds if ends for end in ends]
    return heights + ([] if panel.target is None else [panel.target])


def _curve(sheet: Sheet, axes: Axes, panel: Curves, curve: Curve, thick: float) -> None:
    xs, ys = zip(*curve.points, strict=True)
    marked = bool(curve.bounds) and not curve.band
    axes.plot(
        xs,
        ys,
        color=curve.look.color,
        linewidth=thick,
        linestyle=_dashes(curve.look),
        markevery=None if marked else [len(xs) - 1],
        zorder=3,
        **_marker(curve.look),
    )
    ends = [(x, *it) for x, it in zip(xs, curve.bounds, strict=False) if it]
    if ends:
        x, low, high = zip(*ends, strict=True)
        if curve.band:
            axes.fill_between(x, low, high, color=curve.look.color, alpha=0.16, linewidth=0)
        else:
            axes.vlines(x, low, high, curve.look.color, linewidth=1.3)
    # Of many points without markers only some have a tip, the last one included.
    most = len(xs) if marked else max(LEAST_TIPS, TIPS // len(panel.curves))
    shown = sorted(range(len(xs))[:: -math.ceil(len(xs) / most)])
    tips = [_tip(panel, curve, n) for n in shown]
    sheet.mark(axes, curve.look.color, [curve.points[n] for n in shown], tips)


def _tip(panel: Curves, curve: Curve, n: int) -> Tip:
    """What hover shows for one point of a curve."""
    x, y = curve.points[n]
    value = f"{panel.y.name} {fmt.text(y, panel.y.unit)}"
    if bounds := curve.bounds[n] if curve.bounds else None:
        low, high = (fmt.text(it, panel.y.unit) for it in bounds)
        value += f" ({low} to {high})"
    return curve.name, value, f"{panel.x.name} {fmt.text(x, panel.x.unit)}"


def _span(values: Sequence[float], *, log: bool) -> Span:
    low, high = min(values), max(values)
    if log:
        room = max((high / low) ** 0.08, 1.1)
        return low / room, high * room
    room = 0.06 * (high - low) or max(abs(high), 1e-9) * 0.1
    return low - room, high + room


# Ticks, markers, text.


def _ticks(axes: Axes, panel: Panel, span: Span, wide: float) -> None:
    """Those of the x axis: as many as have room for their labels."""
    bottom, place = axes.get_ylim()[0], axes.get_xaxis_transform()
    axes.axhline(bottom, color=GRID, linewidth=1.2)
    at, unit = panel.x.at, panel.x.unit
    for count in range(max(len(at), 5), 0, -1):
        if at:
            ticks = list(at[:: math.ceil(len(at) / count)])
        else:
            whole = unit in ("epoch", "step", "block")
            ticks = round_ticks(*span, count, log=panel.x.log, integer=whole)
        labels = [fmt.tick(it, unit) for it in ticks]
        if LETTER * sum(breadth(it) + 2 for it in labels) < wide:
            break
    axes.vlines(ticks, *axes.get_ylim(), colors=GRID, linewidth=0.8, zorder=0.5)
    for x, label in zip(ticks, labels, strict=True):
        _text(axes, x, 0, label, place, (0, -4), **BELOW)


def round_ticks(
    low: float, high: float, count: int, *, log: bool = False, integer: bool = False
) -> list[float]:
    """At most about `count` round values between `low` and `high`."""
    from matplotlib.ticker import MaxNLocator

    if log:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for digits in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
            ticks = [float(f"{digit}e{power}") for power in powers for digit in digits]
            ticks = [it for it in ticks if low <= it <= high]
            if len(ticks) >= min(3, count):
                return ticks[:: math.ceil(len(ticks) / count)]
        # So short a part of a log axis is almost linear.
    locator = MaxNLocator(count, steps=[1, 2, 2.5, 5, 10], integer=integer)
    places = 12 - math.floor(math.log10(high - low))  # 0.30000000000000004 is not round
    values = (round(float(it), places) for it in locator.tick_values(low, high))
    return [it for it in values if low <= it <= high]


def _markers(axes: Axes, points: Sequence[Point], look: Look, *, hollow: bool) -> None:
    x, y = zip(*points, strict=True)
    axes.plot(x, y, linestyle="none", zorder=4, clip_on=False, **_marker(look, hollow=hollow))


def _marker(look: Look, *, hollow: bool = False) -> dict[str, Any]:
    return {
        "marker": look.marker,
        "markersize": 5.5 if look.marker in "osD" else 7.0,
        "markerfacecolor": PAPER if hollow else look.color,
        "markeredgecolor": look.color if hollow else PAPER,
        "markeredgewidth": 1.4 if hollow else 0.8,
    }


def _dashes(look: Look) -> Any:
    return (0, look.dashes) if look.dashes else "-"


def breadth(text: str) -> int:
    """Letters of usual width that a text takes."""
    return sum(2 if unicodedata.east_asian_width(it) in "FW" else 1 for it in text)


def shortened(text: str, limit: int) -> str:
    """A text on one line, without its middle where it is longer than `limit`."""
    text = line(text)
    if breadth(text) <= limit:
        return text
    kept = (limit - 1) if text.isascii() else (limit - 1) // 2
    return f"{text[: kept // 2]}…{text[kept // 2 - kept :]}"


# The SVG: without what a reader does not need, with tips, and in parts for the page.

_DECIMALS, _SPACES = re.compile(r"(\.\d)\d+"), re.compile(r"\s*([MLCQz])\s*")
_USUAL = re.compile(
    rf"(font-family:[^;]*|font-size: {SMALL:g}px|stroke-line\w+: \w+|stroke-dashoffset: 0|"
    "fill: none);? ?"
)
"""Style that is the same for all of a figure."""
_LINK = "{http://www.w3.org/1999/xlink}href"


def _markup(element: Element) -> str:
    return ElementTree.tostring(element, encoding="unicode").replace(" />", "/>")


def _tidied(svg: bytes, sheet: Sheet) -> Element:
    root, shapes = ElementTree.fromstring(svg), Element("defs")
    style = f"text {{ fill: {INK} }} .mark {{ r: 8px; pointer-events: all }}"
    ElementTree.SubElement(shapes, "style").text = style
    _slim(root, shapes)
    root.insert(0, shapes)
    font = {"font-family": "DejaVu Sans, Verdana, sans-serif", "font-size": f"{SMALL:g}px"}
    root.attrib.update(font, xmlns="http://www.w3.org/2000/svg", fill="none")
    for group in list(root.iter("g")):
        group.extend(sheet.marks.get(group.get("id", ""), ()))
    return root


def _slim(element: Element, shapes: Element) -> None:
    """Make an element and all below it small; markers are moved to `shapes`."""
    _slim_attributes(element)
    parts: list[Element] = []
    for child in element:
        _slim(child, shapes)
        parts += child if child.tag == "g" and not child.attrib else [child]
    element[:] = []
    for part in parts:
        last = element[-1] if len(element) else element
        if part.tag == "defs":
            shapes.extend(part.findall("path"))
        elif part.tag == "path" == last.tag and part.get("style") == last.get("style"):
            last.set("d", last.attrib["d"] + part.attrib["d"])  # they differ in places only
        elif part.tag != "metadata":
            element.append(part)
    uses = element.findall("use")
    if uses:  # the markers of one line have one style
        element.set("style", uses[0].attrib.get("style", ""))
        for use in uses:
            use.attrib.pop("style", None)


def _slim_attributes(element: Element) -> None:
    """One decimal; no ids and styles that say nothing."""
    element.tag, element.tail = element.tag.partition("}")[2], None
    if element.tag != "text":
        element.text = None
    for name in {"d", "x", "y", "transform"} & element.attrib.keys():
        element.set(name, _SPACES.sub(r"\1", _DECIMALS.sub(r"\1", element.attrib[name])).strip())
    if element.get("transform", "").startswith("rotate(-0"):
        del element.attrib["transform"]
    if "style" in element.attrib:
        style = _USUAL.sub("", element.attrib.pop("style"))
        style = style.replace(f"fill: {INK}", "") if element.tag == "text" else style
        element.attrib.update({"style": style.strip("; ")} if style else {})
    if element.tag == "g" and not element.get("id", "").startswith(("panel-", "key-")):
        element.attrib.pop("id", None)
    element.attrib.pop("clip-path", None)
    if _LINK in element.attrib:
        element.set("href", element.attrib.pop(_LINK))


_CLASSES = {"text-anchor: end": "end", "text-anchor: middle; fill: var(--soft)": "tick"}
"""Style of most texts, for which the page has a rule."""
_FILLED = re.compile(r"fill: (#[^;]+); stroke: var\(--paper\); stroke-width: 0\.8")


def _use_theme(root: Element) -> None:
    """Replace the colours that follow the page's theme; what most parts share are its rules."""
    colors = re.compile("|".join(THEME))
    for element in root.iter():
        if "style" not in element.attrib:
            continue
        style = colors.sub(lambda c: f"var(--{THEME[c.group()]})", element.attrib["style"])
        if filled := _FILLED.fullmatch(style):
            element.set("class", "filled")
            style = f"--c:{filled[1]}"
        if style in _CLASSES:
            element.set("class", _CLASSES[style])
            del element.attrib["style"]
        else:
            element.set("style", style)


def _panel(group: Element, sheet: Sheet, panel: Panel) -> str:
    label = shortened(f"{panel.title}: {_axis(panel)}", 200)
    return _cut(group, sheet, {"class": "plot", "role": "group", "aria-label": label})


def _cut(group: Element, sheet: Sheet, attributes: dict[str, str]) -> str:
    """A part of the figure as an element of its own; the page repeats no id."""
    size = " ".join(f"{72 * it:.4g}" for it in sheet.parts[group.get("id", "")])
    part = Element("svg", {**attributes, "viewBox": size})
    for element in group.iter("g"):
        element.attrib.pop("id", None)
    part.append(group)
    return _markup(part)
