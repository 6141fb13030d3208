"""Sketches side by side on one sheet, measured in inches: what `pixels` and `vectors` draw.

All that looks alike on a sheet is kept together, so that it is drawn at once.
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from matplotlib.markers import MarkerStyle
from matplotlib.path import Path
from matplotlib.transforms import Affine2D

from harness.report.letters import Line, line_of
from harness.report.sketch import Point, Sketch
from harness.report.style import FAINT, Look

FINE, COARSE = 150, 100
"""Dots to the inch."""
POINTS = 72
"""To the inch."""
DOT, HALO = 6.5, 2.25
"""Points."""

Points: TypeAlias = list[Point]


class Canvas:
    """A sheet of `wide` × `tall` inches, in whole pixels, `dpi` an inch; x goes right, y down.

    From the ground up: `bands` by colour and opacity; `strokes`, straight lines, by colour, points
    and opacity; `curves` by look and points; `marks` by look, hollowness and points; `lines` of
    text.
    """

    def __init__(self, wide: float, tall: float, dpi: int = FINE) -> None:
        self.wide, self.tall = (math.ceil(round(it * dpi, 6)) / dpi for it in (wide, tall))
        self.dpi = dpi
        self.bands: dict[tuple[str, float], list[Points]] = defaultdict(list)
        self.strokes: dict[tuple[str, float, float], list[Points]] = defaultdict(list)
        self.curves: dict[tuple[Look, float], list[Points]] = defaultdict(list)
        self.marks: dict[tuple[Look, bool, float], Points] = defaultdict(list)
        self.lines: list[Line] = []

    def add(self, sketch: Sketch, left: float = 0.0, top: float = 0.0) -> None:
        """Everything of a sketch, its corner at (left, top)."""

        def moved(points: Iterable[Point]) -> list[Point]:
            return [(left + x, top + y) for x, y in points]

        for corners, color, alpha in sketch.bands:
            self.bands[color, alpha].append(moved(corners))
        for line, color, thick, alpha in sketch.lines:
            self.strokes[color, thick, alpha].append(moved(line))
        for it in sketch.curves:
            points = moved(it.points)
            self.curves[it.look, it.thick].append(points)
            self.marks[it.look, False, 4 + it.thick].append(points[it.marked])
        for dot in sketch.dots:
            self.marks[dot.look, dot.hollow, DOT] += moved([(dot.x, dot.y)])
        for text in sketch.texts:
            self.lines.append(
                line_of(
                    text.text,
                    left + text.x + text.dx,
                    top + text.y,
                    ha=text.ha,
                    va=text.va,
                    size=text.size,
                    weight=text.weight,
                    color=text.color,
                    rotation=text.rotation,
                )
            )

    def colors(self) -> Iterator[str]:
        yield from (color for color, _ in self.bands)
        yield from (color for color, _, _ in self.strokes)
        yield from (look.color for look, _ in self.curves)
        yield from (look.color for look, _, _ in self.marks)
        yield from (it.color for it in self.lines)

    def crossed(self) -> list[Line]:
        """Texts that lie across a line on which marks are read: it would strike them through."""
        posts = [
            line
            for (color, _, _), strokes in self.strokes.items()
            if color == FAINT
            for line in strokes
        ]
        return [
            it
            for it in self.lines
            for (x, top), *_, (_, bottom) in posts
            if top < it.y < bottom and it.box.left < x < it.box.right
        ]


def ink(look: Look, hollow: bool) -> tuple[str, str, float]:
    """Of a mark the colours of edge and face, and the edge's points."""
    return (look.color, "white", 1.6) if hollow else ("white", look.color, 0.8)


@functools.lru_cache(maxsize=256)
def shape_of(marker: str, size: float) -> Path:
    """A mark's outline in points; y goes up."""
    style = MarkerStyle(marker)
    return style.get_path().transformed(style.get_transform() + Affine2D().scale(size))
