"""One panel of a chart as a sketch: its grid, its names, its marks or curves."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from harness.report import format as fmt
from harness.report.charts import Curves, Dots, Mark
from harness.report.sketch import (
    FAINT,
    GRID,
    INK,
    MEDIUM,
    SMALL,
    Point,
    Scale,
    Sketch,
    shortened,
    width,
)

NAME_LIMIT = 1.9
ROW, CURVES_HEIGHT = 0.26, 1.9
TITLE_ROOM, AXIS_ROOM = 0.28, 0.52
MARK_SPACING, TEXT_SPACING = 0.11, 0.17
"""Between the marks of one row; numbers beside marks need more."""


def names_width(panel: Dots | Curves | None) -> float:
    """Room to the left of a panel's axes."""
    if panel is None:
        return 0.0
    if isinstance(panel, Curves):
        return 0.75
    return max((width(it, SMALL) for it in _names(panel)), default=0.0) + 0.15


def texts_width(panel: Dots | Curves | None) -> float:
    """Room to the right of a panel's axes, for the number beside its rightmost mark."""
    if not isinstance(panel, Dots):
        return 0.15
    texts = [mark.text for _, marks in panel.rows for mark in marks]
    return max((width(text, SMALL) for text in texts), default=0.0) + 0.25


def height(panel: Dots | Curves | None) -> float:
    """Height of a panel's axes."""
    if isinstance(panel, Dots):
        return _row_height(panel) * len(panel.rows)
    return CURVES_HEIGHT if panel else 0.0


def sketch(panel: Dots | Curves, wide: float) -> Sketch:
    """The panel, its axes `wide` inches wide."""
    drawn = Sketch()
    title = shortened(panel.title, MEDIUM, wide + texts_width(panel), "bold")
    drawn.text(0, -0.08, title, va="bottom", size=MEDIUM, weight="bold")
    tall = height(panel)
    drawn.text(wide / 2, tall + 0.26, panel.axis, ha="center", va="top", color=FAINT)
    if isinstance(panel, Dots):
        _dots(drawn, panel, wide, tall)
    else:
        _curves(drawn, panel, wide, tall)
    drawn.line([(0, tall), (wide, tall)], GRID, 1)
    return drawn


def _names(panel: Dots) -> list[str]:
    return [shortened(name, SMALL, NAME_LIMIT) for name, _ in panel.rows if panel.names]


def _row_height(panel: Dots) -> float:
    spacing = MARK_SPACING if panel.log else TEXT_SPACING
    return max(ROW, 0.12 + spacing * panel.lanes)


def _dots(drawn: Sketch, panel: Dots, wide: float, tall: float) -> None:
    scale = _dots_scale(panel, wide)
    if scale is not None:
        _ticks(drawn, scale, tall, panel.unit)
    names, deep = _names(panel), _row_height(panel)
    for number, (_, marks) in enumerate(panel.rows):
        top = number * deep
        middle = top + deep / 2
        if number % 2 == 0:
            drawn.band(wide, top, top + deep)
        if panel.names:
            drawn.text(-0.08, middle, names[number], ha="right")
        if not marks or scale is None:
            drawn.text(0.08, middle, "not counted", color=FAINT)
        for place, mark in enumerate(marks):
            if scale is not None:
                y = top + 0.06 + (deep - 0.12) * (place + 0.5) / len(marks)
                _mark(drawn, mark, y, scale)


def _dots_scale(panel: Dots, wide: float) -> Scale | None:
    marks = [mark for _, marks in panel.rows for mark in marks]
    values = [value for it in marks for value in (it.value, it.high) if value is not None]
    if not values:
        return None
    if panel.log:
        return Scale(min(values) / 1.6, max(values) * 1.6, wide, log=True)
    return Scale(0, max(values) * 1.02 or 1, wide)


def _ticks(drawn: Sketch, scale: Scale, tall: float, unit: fmt.Unit) -> None:
    """Grid lines with as many labels below as have room beside each other."""
    for count in (5, 4, 3, 2, 1):
        values = scale.ticks(count, integer=unit in ("epoch", "step"))
        labels = [(scale.at(it), fmt.tick(it, unit)) for it in values]
        if all(
            right - left > (width(a, SMALL) + width(b, SMALL)) / 2 + 0.1
            for (left, a), (right, b) in itertools.pairwise(labels)
        ):
            break
    for x, text in labels:
        drawn.line([(x, 0), (x, tall)], GRID)
        drawn.text(x, tall + 0.06, text, ha="center", va="top", color=FAINT)


def _mark(drawn: Sketch, mark: Mark, y: float, scale: Scale) -> None:
    x = right = scale.at(mark.value)
    color = mark.look.color
    if not scale.log:
        drawn.line([(0, y), (x, y)], color, 1.6, 0.35)
    if mark.low is not None and mark.high is not None:
        low, high = scale.at(mark.low), scale.at(mark.high)
        right = max(right, high)
        drawn.line([(low, y), (high, y)], color, 2.2)
        for edge in (low, high):
            drawn.line([(edge, y - 0.055), (edge, y + 0.055)], color, 1.6)
    drawn.dot(mark.look, x, y, hollow=mark.hollow)
    if mark.text:
        drawn.text(right + 0.1, y, mark.text)


def _curves(drawn: Sketch, panel: Curves, wide: float, tall: float) -> None:
    points = [it for curve in panel.curves for it in curve.points]
    heights = [y for _, y in points] + ([] if panel.target is None else [panel.target])
    over = _span([x for x, _ in points], wide)
    up = _log_span(heights, tall) if panel.log else _span(heights, tall)
    _ticks(drawn, over, tall, panel.unit)
    for tick in up.ticks(5):
        y = tall - up.at(tick)
        drawn.line([(0, y), (wide, y)], GRID)
        drawn.text(-0.08, y, fmt.tick(tick, panel.up_unit), ha="right", color=FAINT)
    drawn.text(-0.66, tall / 2, panel.up, ha="center", va="center", color=FAINT, rotation=90)

    def place(point: Point) -> Point:
        return over.at(point[0]), tall - up.at(point[1])

    medians = [it for it in panel.curves if not it.faint]
    for curve in panel.curves:
        if curve.faint:
            points = [place(it) for it in curve.points]
            drawn.line(points, curve.look.color, 0.8, 0.3)
    for number, curve in enumerate(medians):
        # Each on top of the ones before, and thinner, so that curves that coincide all show.
        rest = (len(medians) - 1 - number) / max(len(medians) - 1, 1)
        points = [place(it) for it in curve.points]
        drawn.curve(points, curve.look, 1.4 + 2.6 * rest)
    if panel.target is not None:
        ends = [it.points[-1][1] for it in medians]
        _target(drawn, panel, ends, tall - up.at(panel.target), wide)


def _span(values: Sequence[float], length: float) -> Scale:
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or max(abs(high), 1e-9) * 0.1
    return Scale(low - room, high + room, length)


def _log_span(values: Sequence[float], length: float) -> Scale:
    return Scale(min(values) / 3, max(values) * 3, length, log=True)


def _target(drawn: Sketch, panel: Curves, ends: Sequence[float], y: float, wide: float) -> None:
    assert panel.target is not None
    dash = 0.06
    for n in range(int(wide / dash / 2) + 1):
        x = 2 * n * dash
        drawn.line([(x, y), (min(x + dash, wide), y)], INK, 1)
    # On the side where the curves do not end.
    below = sum(end > panel.target for end in ends) * 2 > len(ends)
    drawn.text(
        wide,
        y + (0.05 if below else -0.05),
        panel.target_name,
        ha="right",
        va="top" if below else "bottom",
    )
