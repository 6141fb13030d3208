"""One panel of a chart as a sketch: its grid, its names, its marks or curves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

from harness.analysis.stats import CONFIDENCE
from harness.report import format as fmt
from harness.report.chart import Curve, Curves, Dots, Mark, Spot
from harness.report.letters import MEDIUM, SMALL, shortened, width
from harness.report.sketch import Dot, Point, Scale, Sketch, Stroke, Text
from harness.report.style import FAINT, GRID, INK

NAME_LIMIT = 1.9
ROW, CURVES_HEIGHT = 0.26, 1.9
TITLE_ROOM, AXIS_ROOM = 0.28, 0.52
MARK_SPACING, TEXT_SPACING = 0.11, 0.17
"""Between the marks of one row; numbers beside marks need more."""
FIXED = ("accuracy", "share", "change", "ratio", "setting")
"""Units whose axis is what it is."""
CAPPED = 0.11
"""Inches that an interval takes at least to be drawn with caps."""
AROUND = 0.16
"""How opaque the band around a curve is: bands of several may lie on each other."""
TOLD = 48
"""Points of a panel's curves that say their value."""
INTERVAL = f"{fmt.whole_percent(CONFIDENCE)} interval"


def names_width(panel: Dots | Curves | None, limit: float = NAME_LIMIT) -> float:
    """Room to the left of a panel's axes, no name of a row taking more than `limit`."""
    if panel is None:
        return 0.0
    if isinstance(panel, Curves):
        return 0.75
    return max((width(it, SMALL) for it in _names(panel, limit)), default=0.0) + 0.15


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
    return CURVES_HEIGHT * (0.55 if panel.flat else 1.0) if panel else 0.0


def sketch(
    panel: Dots | Curves, wide: float, *, limit: float = NAME_LIMIT, titled: bool = True
) -> Sketch:
    """The panel, its axes `wide` inches wide; `titled` with its title and what its axes count."""
    drawn = Sketch()
    tall = height(panel)
    if titled:
        title = shortened(panel.title, MEDIUM, wide + texts_width(panel), "bold")
        drawn.texts.append(Text(0, -0.08, title, va="bottom", size=MEDIUM, weight="bold"))
        below = axis(panel)
        drawn.texts.append(Text(wide / 2, tall + 0.26, below, ha="center", va="top", color=FAINT))
    if isinstance(panel, Dots):
        _dots(drawn, panel, wide, tall, limit)
    else:
        _curves(drawn, panel, wide, tall, titled=titled)
    drawn.line([(0, tall), (wide, tall)], GRID, 1)
    return drawn


def axis(panel: Dots | Curves) -> str:
    """What the axis counts that goes right."""
    return f"{panel.axis}, log axis" if panel.log and isinstance(panel, Dots) else panel.axis


def turned(panel: Dots | Curves) -> Dots | Curves | None:
    """The panel with its axis logarithmic where it is linear, or the other way round.

    None where the other axis would show nothing: shares of one, changes of either sign, and
    ratios, which are symmetric on a log axis alone; or where both axes are logarithmic.
    """
    unit = panel.unit if isinstance(panel, Dots) else panel.up_unit
    if unit in FIXED or (isinstance(panel, Curves) and panel.log_over):
        return None
    return replace(panel, log=not panel.log)


def _names(panel: Dots, limit: float) -> list[str]:
    return [shortened(name, SMALL, limit) for name, _ in panel.rows if panel.names]


def _row_height(panel: Dots) -> float:
    texts = panel.level or any(mark.text for _, marks in panel.rows for mark in marks)
    spacing = TEXT_SPACING if texts else MARK_SPACING
    return max(ROW, 0.12 + spacing * panel.lanes)


def _dots(drawn: Sketch, panel: Dots, wide: float, tall: float, limit: float) -> None:
    scale = _dots_scale(panel, wide)
    names, deep = _names(panel, limit), _row_height(panel)
    for number in range(0, len(panel.rows), 2):
        drawn.band(0, wide, number * deep, (number + 1) * deep)
    if scale is not None:
        _ticks(drawn, scale, tall, panel.unit, panel.at)
        _around(drawn, panel, scale, tall)
    for number, (row, marks) in enumerate(panel.rows):
        top = number * deep
        middle = top + deep / 2
        if panel.names:
            drawn.texts.append(Text(0, middle, names[number], dx=-0.08, ha="right"))
        if not marks or scale is None:
            drawn.texts.append(Text(0, middle, "not counted", dx=0.08, color=FAINT))
        for place, mark in enumerate(marks):
            if scale is not None:
                share = 0.5 if panel.level else (place + 0.5) / len(marks)
                y = top + 0.06 + (deep - 0.12) * share
                _mark(drawn, mark, y, scale, row)


def _around(drawn: Sketch, panel: Dots, scale: Scale, tall: float) -> None:
    """The value that marks stand around, and what of it counts as the same."""
    if panel.band is not None:
        drawn.band(scale.at(panel.band[0]), scale.at(panel.band[1]), 0, tall, GRID)
    if panel.around is not None:
        x = scale.at(panel.around)
        drawn.line([(x, 0), (x, tall)], FAINT, 1)


def _dots_scale(panel: Dots, wide: float) -> Scale | None:
    marks = [mark for _, marks in panel.rows for mark in marks]
    values = [it for mark in marks for it in (mark.value, mark.low, mark.high) if it is not None]
    if not values:
        return None
    if panel.around is not None:
        values += [*(panel.band or ()), panel.around]
        room = (max(values) / min(values)) ** 0.06
        return Scale(min(values) / room, max(values) * room, wide, log=True)
    if panel.log:
        # A log axis has no zero: it stands at the left edge.
        above = [it for it in values if it > 0] or [1.0]
        return Scale(min(above) / 1.6, max(above) * 1.6, wide, log=True)
    return Scale(0, max(values) * 1.02 or 1, wide)


def _ticks(
    drawn: Sketch, scale: Scale, tall: float, unit: fmt.Unit, at: Sequence[float] = ()
) -> None:
    """Grid lines with as many labels below as have room beside each other."""
    for count in (len(at), 5, 4, 3, 2, 1) if at else (5, 4, 3, 2, 1):
        if at:
            values = list(at)[:: math.ceil(len(at) / count)]
        else:
            values = scale.ticks(count, integer=unit in ("epoch", "step", "block"))
        labels = [(scale.at(it), fmt.tick(it, unit)) for it in values]
        if all(
            right - left > (width(a, SMALL) + width(b, SMALL)) / 2 + 0.1
            for (left, a), (right, b) in itertools.pairwise(labels)
        ):
            break
    for x, text in labels:
        drawn.line([(x, 0), (x, tall)], GRID)
        drawn.texts.append(Text(x, tall + 0.06, text, ha="center", va="top", color=FAINT))


def _mark(drawn: Sketch, mark: Mark, y: float, scale: Scale, row: str) -> None:
    x = right = scale.at(mark.value)
    color, ends = mark.look.color, None
    if not scale.log:
        drawn.line([(0, y), (x, y)], color, 1.6, 0.35)
    if mark.low is not None and mark.high is not None:
        low, high = ends = scale.at(mark.low), scale.at(mark.high)
        right = max(right, high)
        drawn.line([(low, y), (high, y)], color, 2.2)
        # A mark hides caps that lie within it, and they its shape.
        for edge in ends if high - low > CAPPED else ():
            drawn.line([(edge, y - 0.055), (edge, y + 0.055)], color, 1.6)
    value, bounds = mark.told
    said = f"{INTERVAL} {bounds}" if bounds else ""
    tip = (", ".join(filter(None, (row, mark.name))), value, said)
    drawn.dots.append(Dot(mark.look, x, y, mark.hollow, ends, tip))
    if mark.text:
        drawn.texts.append(Text(right, y, mark.text, dx=0.1))


def _curves(drawn: Sketch, panel: Curves, wide: float, tall: float, *, titled: bool) -> None:
    points = [it for curve in panel.curves for it in curve.points]
    heights = [y for _, y in points] + ([] if panel.target is None else [panel.target])
    heights += [it for curve in panel.curves for own in curve.bounds if own for it in own]
    heights += [it for curve in panel.curves for _, low, high in curve.band for it in (low, high)]
    over = (_log_span if panel.log_over else _span)([x for x, _ in points], wide)
    up = _log_span(heights, tall) if panel.log else _span(heights, tall)
    _ticks(drawn, over, tall, panel.unit, panel.at)
    for tick in up.ticks(5):
        y = tall - up.at(tick)
        drawn.line([(0, y), (wide, y)], GRID)
        label = fmt.tick(tick, panel.up_unit)
        drawn.texts.append(Text(0, y, label, dx=-0.08, ha="right", color=FAINT))
    if titled:
        middle = tall / 2
        drawn.texts.append(
            Text(0, middle, panel.up, -0.66, "center", "center", color=FAINT, rotation=90)
        )

    def place(point: Point) -> Point:
        return over.at(point[0]), tall - up.at(point[1])

    for curve in panel.curves:
        edges = [(x, low) for x, low, _ in curve.band]
        edges += [(x, high) for x, _, high in reversed(curve.band)]
        if edges:
            drawn.bands.append(([place(it) for it in edges], curve.look.color, AROUND))
    for number, curve in enumerate(panel.curves):
        # Each on top of the ones before, and thinner, so that curves that coincide all show.
        rest = (len(panel.curves) - 1 - number) / max(len(panel.curves) - 1, 1)
        points = [place(it) for it in curve.points]
        thick = 1.4 + (1.0 if panel.thin else 2.6) * rest
        drawn.curves.append(Stroke(points, curve.look, thick, curve.told or _tips(panel, curve)))
        for (x, _), bounds in zip(points, curve.bounds, strict=False):
            if bounds:
                _whisker(
                    drawn, x, tall - up.at(bounds[0]), tall - up.at(bounds[1]), curve.look.color
                )
    for spot in panel.spots:
        _spot(drawn, spot, place((spot.x, spot.y)), over)
    if panel.target is not None:
        ends = [it.points[-1][1] for it in panel.curves]
        _target(drawn, panel, ends, tall - up.at(panel.target), wide)


def _whisker(drawn: Sketch, x: float, low: float, high: float, color: str) -> None:
    """An upright interval with its two ends."""
    drawn.line([(x, low), (x, high)], color, 1.4)
    for end in (low, high):
        drawn.line([(x - 0.04, end), (x + 0.04, end)], color, 1.4)


def _spot(drawn: Sketch, spot: Spot, at: Point, over: Scale) -> None:
    """A ring with its interval, which may go on beyond the axis."""
    x, y = at
    ends = None
    if spot.low is not None and spot.high is not None:
        ends = max(over.at(spot.low), 0.0), min(over.at(spot.high), over.length)
        drawn.line([(ends[0], y), (ends[1], y)], INK, 1.4)
    drawn.dots.append(Dot(spot.look, x, y, True, ends, spot.tip))


def _tips(panel: Curves, curve: Curve) -> list[tuple[str, ...]]:
    """What is said of each point; of many only of some, the last among them."""
    shown = max(6, TOLD // len(panel.curves))
    count, stride = len(curve.points), 1 + (len(curve.points) - 1) // shown
    return [
        (
            curve.name,
            f"{panel.up} {fmt.text(y, panel.up_unit)}{_spread(panel, curve, number)}",
            f"{panel.axis} {fmt.text(x, panel.unit)}",
        )
        if (count - 1 - number) % stride == 0
        else ()
        for number, (x, y) in enumerate(curve.points)
    ]


def _spread(panel: Curves, curve: Curve, number: int) -> str:
    if not curve.band:
        return ""
    low, high = (fmt.text(it, panel.up_unit) for it in curve.band[number][1:])
    return f" ({low} to {high})"


def _span(values: Sequence[float], length: float) -> Scale:
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or max(abs(high), 1e-9) * 0.1
    return Scale(low - room, high + room, length)


def _log_span(values: Sequence[float], length: float) -> Scale:
    room = max((max(values) / min(values)) ** 0.08, 1.1)
    return Scale(min(values) / room, max(values) * room, length, log=True)


def _target(drawn: Sketch, panel: Curves, ends: Sequence[float], y: float, wide: float) -> None:
    assert panel.target is not None
    dash = 0.06
    for n in range(int(wide / dash / 2) + 1):
        x = 2 * n * dash
        drawn.line([(x, y), (min(x + dash, wide), y)], INK, 1)
    # On the side where the curves do not end.
    below = sum(end > panel.target for end in ends) * 2 > len(ends)
    text = Text(wide, y - 0.05, panel.target_name, ha="right", va="bottom")
    drawn.texts.append(replace(text, y=y + 0.05, va="top") if below else text)
