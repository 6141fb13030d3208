"""Charts as parts of the page: the same sketches as inline SVG.

Text is text, colours follow the page's theme, and every mark says its value to a pointer, to the
keyboard and to a screen reader. A panel is as wide as its place: what lies along its axes is in
per cent of them, and letters and marks keep their size.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape

from markupsafe import Markup

from harness.report import panels
from harness.report.chart import Chart, Curves, Dots, Key
from harness.report.sketch import Dot, Sketch, Stroke, Text
from harness.report.style import BAND, FAINT, GRID, INK, Look, Scope

PIXELS = 96
"""To the inch."""
NARROWEST, LEAST_PLOT = 3.15, 1.05
"""Inches: what a panel takes on a phone, and what of it is left to its axes at least."""
NAMES = 1.3
FINGER = 11
"""Pixels around a mark that count as on it."""
OWN = {INK: "ink", FAINT: "faint", GRID: "grid", BAND: "band"}
SHAPES = {
    "o": "disc",
    "s": "square",
    "^": "up",
    "D": "diamond",
    "v": "down",
    "P": "plus",
    "X": "cross",
    "*": "star",
}
PATHS = {
    "disc": "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z",
    "square": "M-4-4h8v8h-8z",
    "up": "M0-5L4.8 3.8h-9.6z",
    "diamond": "M0-5.4L5.4 0L0 5.4L-5.4 0z",
    "down": "M0 5L4.8-3.8h-9.6z",
    "cross": "M-3.5-5L0-1.5L3.5-5L5-3.5L1.5 0L5 3.5L3.5 5L0 1.5L-3.5 5L-5 3.5L-1.5 0L-5-3.5z",
    "star": "M0.0-5.8L1.5-2.0L5.5-1.8L2.4 0.8L3.4 4.7L0.0 2.5L-3.4 4.7L-2.4 0.8L-5.5-1.8L-1.5-2.0z",
    "plus": "M-1.7-5h3.4v3.3h3.3v3.4h-3.3v3.3h-3.4v-3.3h-3.3v-3.4h3.3z",
}
MARKERS = Markup("").join(
    Markup('<path id="shape-{}" d="{}"/>').format(name, path) for name, path in PATHS.items()
)
"""Every marker once, for all charts of a page to use."""


@dataclass(frozen=True)
class Plot:
    """One panel; `drawn` has it on its own axis and, where that makes sense, on the other."""

    title: str
    axis: str
    scope: Scope
    drawn: tuple[tuple[str, Markup], ...]


@dataclass(frozen=True)
class Picture:
    """One chart; `switch` says whether its axes can be turned from linear to logarithmic."""

    name: str
    section: str
    title: str
    alt: str
    legend: tuple[tuple[Markup, str], ...]
    plots: tuple[Plot, ...]
    log: bool
    switch: bool


def picture(chart: Chart, *, both: bool = True) -> Picture:
    """The whole chart, its panels row by row; `both` on either axis where they can be turned."""
    own = [it for row in chart.panels for it in _named(row)]
    plots = tuple(plot(it, both=both) for it in own)
    return Picture(
        name=chart.name,
        section=chart.section,
        title=chart.title,
        alt=chart.alt,
        legend=tuple((_key(it), it.text) for it in chart.legend),
        plots=plots,
        log=any(it.log for it in own),
        switch=any(len(it.drawn) > 1 for it in plots),
    )


def _named(row: Sequence[Dots | Curves | None]) -> Iterator[Dots | Curves]:
    """The panels of a row, each with the names and the title that it shares with the first."""
    title = next((it.title for it in row if it and it.title), "")
    for it in row:
        if isinstance(it, Dots):
            yield replace(it, names=True, title=it.title or title)
        elif it:
            yield replace(it, title=it.title or title)


def plot(panel: Dots | Curves, *, both: bool = True) -> Plot:
    """One panel by itself."""
    other = panels.turned(panel) if both else None
    drawn = tuple(
        ("log" if it.log else "linear", _framed(it)) for it in (panel, other) if it is not None
    )
    what = panel.axis if isinstance(panel, Dots) else f"{panel.up} over {panel.axis}"
    return Plot(panel.title, what, panel.scope, drawn)


def palette(charts: Iterable[Chart]) -> Markup:
    """The style rules of every colour that is a framework's."""
    colors = {it.color for chart in charts for row in chart.panels for it in _looks(row)}
    colors |= {key.look.color for chart in charts for key in chart.legend}
    rules = (f".{_class(it)}{{--c:{it}}}" for it in sorted(colors) if it not in OWN)
    return Markup("\n".join(rules))


def _looks(row: Sequence[Dots | Curves | None]) -> Iterator[Look]:
    for panel in row:
        if isinstance(panel, Dots):
            yield from (mark.look for _, marks in panel.rows for mark in marks)
        elif panel:
            yield from (curve.look for curve in panel.curves)


def _class(color: str) -> str:
    return OWN.get(color) or f"c-{color[1:].lower()}"


def _key(key: Key) -> Markup:
    """A legend's marker, on a piece of its line where it stands for one."""
    body = _dash(key.look) if key.line else ""
    hollow = " hollow" if key.hollow else ""
    return Markup(
        f'<svg class="key {_class(key.look.color)}" width="30" height="14" aria-hidden="true">'
        f'{body}<use href="#shape-{SHAPES[key.look.marker]}" class="dot{hollow}" x="15" y="7"/>'
        "</svg>"
    )


def _dash(look: Look) -> str:
    return f'<path class="curve" d="M1 7H29" stroke-width="2"{_dashes(look)}/>'


def _dashes(look: Look) -> str:
    lengths = " ".join(f"{it * PIXELS / 72:.3g}" for it in look.dashes)
    return f' stroke-dasharray="{lengths}"' if lengths else ""


def _framed(panel: Dots | Curves) -> Markup:
    left = panels.names_width(panel, NAMES)
    # What stands beside the upward axis is said above the panel.
    left, right = left - (0.2 if isinstance(panel, Curves) else 0), panels.texts_width(panel)
    wide = max(NARROWEST - left - right, LEAST_PLOT)
    tall = panels.height(panel)
    body = _body(panels.sketch(panel, wide, limit=NAMES, titled=False), wide, tall)
    about = panel.axis if isinstance(panel, Dots) else f"{panel.up} over {panel.axis}"
    log = ", log axis" if panel.log else ""
    return Markup(
        f'<div class="frame" style="padding:0 {_px(right)}px 24px {_px(left)}px">'
        f'<svg class="plot" role="group" aria-label="{escape(f"{panel.title}: {about}{log}")}" '
        f'width="100%" height="{_px(tall)}">{body}</svg></div>'
    )


def _body(sketch: Sketch, wide: float, tall: float) -> str:
    def across(x: float) -> str:
        return f"{100 * x / wide:.4g}%"

    stretched = (
        f'<svg viewBox="0 0 {_px(wide)} {_px(tall)}" preserveAspectRatio="none" width="100%" '
        f'height="100%" overflow="visible" aria-hidden="true">{"".join(_along(sketch))}</svg>'
    )
    texts = (_text(it, across(it.x)) for it in sketch.texts)
    ends = (_end(it, across(it.points[-1][0])) for it in sketch.curves if it.points)
    marks = [
        *(_point(it, n, across) for it in sketch.curves for n, tip in enumerate(it.tips) if tip),
        *(_dot(it, across) for it in sketch.dots),
    ]
    # One stop for the keyboard in each panel; arrow keys go on from there.
    stops = (it.replace("@", "0" if not n else "-1", 1) for n, it in enumerate(marks))
    return stretched + "".join((*texts, *ends, *stops))


def _along(sketch: Sketch) -> Iterator[str]:
    """What is stretched with the panel: bands, lines alike in one path, curves."""
    for corners, color, alpha in sketch.bands:
        yield f'<path class="fill {_class(color)}"{_opacity(alpha)} d="{_d(corners)}z"/>'
    alike: dict[tuple[str, float, float], list[str]] = defaultdict(list)
    for points, color, thick, alpha in sketch.lines:
        alike[color, thick, alpha].append(_d(points))
    for (color, thick, alpha), paths in alike.items():
        yield (
            f'<path class="line {_class(color)}" stroke-width="{thick * PIXELS / 72:.2g}"'
            f'{_opacity(alpha)} d="{"".join(paths)}"/>'
        )
    for it in sketch.curves:
        yield (
            f'<path class="curve {_class(it.look.color)}" '
            f'stroke-width="{it.thick * PIXELS / 72:.2g}"{_dashes(it.look)} d="{_d(it.points)}"/>'
        )


def _opacity(alpha: float) -> str:
    return f' opacity="{alpha:g}"' if alpha < 1 else ""


def _dot(it: Dot, across: Callable[[float], str]) -> str:
    y, x = _px(it.y), across(it.x)
    reach = ""
    if it.ends and max(abs(end - it.x) for end in it.ends) > FINGER / PIXELS:
        low, high = (across(end) for end in it.ends)
        reach = f'<line class="reach" x1="{low}" x2="{high}" y1="{y}" y2="{y}"/>'
    hollow = " hollow" if it.hollow else ""
    return (
        f"{_opened(it.look, it.tip)}{reach}"
        f'<circle class="reach" cx="{x}" cy="{y}" r="{FINGER}"/>'
        f'<use href="#shape-{SHAPES[it.look.marker]}" class="dot{hollow}" x="{x}" y="{y}"/></g>'
    )


def _point(it: Stroke, number: int, across: Callable[[float], str]) -> str:
    x, y = it.points[number]
    return (
        f"{_opened(it.look, it.tips[number], 'point ')}"
        f'<circle class="reach" cx="{across(x)}" cy="{_px(y)}" r="8"/></g>'
    )


def _opened(look: Look, tip: Sequence[str], kind: str = "") -> str:
    said = escape("\n".join(filter(None, tip)))
    return (
        f'<g class="mark {kind}{_class(look.color)}" role="img" tabindex="@"><title>{said}</title>'
    )


def _end(it: Stroke, x: str) -> str:
    shape, y = SHAPES[it.look.marker], _px(it.points[-1][1])
    return f'<use href="#shape-{shape}" class="dot {_class(it.look.color)}" x="{x}" y="{y}"/>'


def _text(it: Text, x: str) -> str:
    anchor = {"left": "", "center": " middle", "right": " end"}[it.ha]
    down = {"top": ".8em", "bottom": "-.2em"}.get(it.va, ".34em")
    aside = f' dx="{_px(it.dx)}"' if it.dx else ""
    return (
        f'<text class="{_class(it.color)}{anchor}" x="{x}" y="{_px(it.y)}"{aside} '
        f'dy="{down}">{escape(it.text)}</text>'
    )


def _d(points: Iterable[tuple[float, float]]) -> str:
    """A path from point to point, each told from the one before: half as long to read."""
    steps, left, up = [], 0, 0
    for x, y in points:
        right, down = round(10 * PIXELS * x), round(10 * PIXELS * y)
        steps.append(f"{_tenths(right - left)} {_tenths(down - up)}")
        left, up = right, down
    return f"M{'l'.join(filter(None, (steps[0], ' '.join(steps[1:]))))}".replace(" -", "-")


@functools.lru_cache(maxsize=8192)
def _tenths(number: int) -> str:
    return f"{number / 10:g}"


def _px(inches: float) -> str:
    return f"{inches * PIXELS:.1f}".removesuffix(".0")
