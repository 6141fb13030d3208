"""Drawing in inches: measured text, scales, and a sketch that becomes few matplotlib artists.

matplotlib's own axes, ticks and marks cost a tenth of a second a panel; a report has a hundred.
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator

from harness.report.looks import Look

FAMILY = "DejaVu Sans"
INK, FAINT, GRID, BAND = "#1d2129", "#5b6270", "#e3e6ea", "#f4f5f7"
SMALL, MEDIUM, LARGE = 8.5, 9.5, 11.0

Point = tuple[float, float]
Weight = Literal["normal", "bold"]


@functools.lru_cache(maxsize=4096)
def width(text: str, size: float, weight: Weight = "normal") -> float:
    """Inches that a text takes."""
    font = FontProperties(family=FAMILY, size=size, weight=weight)
    points, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(points) / 72


@functools.cache
def _characters() -> frozenset[int]:
    return frozenset(get_font(findfont(FAMILY)).get_charmap())


@functools.lru_cache(maxsize=4096)
def shortened(text: str, size: float, limit: float, weight: Weight = "normal") -> str:
    """The text, its middle left out where it takes more than `limit` inches.

    Names of variants differ at their ends. A character that the font does not have becomes a box.
    """
    text = "".join(it if ord(it) in _characters() else "\N{WHITE SQUARE}" for it in text)
    if width(text, size, weight) <= limit:
        return text
    for kept in range(len(text) - 1, 1, -1):
        cut = f"{text[: kept - kept // 2]}…{text[-(kept // 2) :]}"
        if width(cut, size, weight) <= limit:
            return cut
    return "…"


@dataclass(frozen=True)
class Scale:
    """Maps `low` … `high` to 0 … `length` inches."""

    low: float
    high: float
    length: float
    log: bool = False

    def at(self, value: float) -> float:
        low, high, value = (
            (math.log(it) for it in (self.low, self.high, value))
            if self.log
            else (self.low, self.high, value)
        )
        return self.length * (value - low) / (high - low)

    def ticks(self, count: int, *, integer: bool = False) -> list[float]:
        """At most about `count` round values within the scale."""
        if self.log:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            return [10.0**it for it in range(first, last + 1, 1 + (last - first) // count)]
        locator = MaxNLocator(count, steps=[1, 2, 2.5, 5, 10], integer=integer)
        values = (float(it) for it in locator.tick_values(self.low, self.high))
        # 0.30000000000000004 is not a round value.
        return [round(it, 12) for it in values if self.low <= it <= self.high]


@dataclass
class Sketch:
    """What is to be drawn into one panel; x goes right and y goes down, in inches."""

    bands: list[Sequence[Point]] = field(default_factory=list)
    lines: list[tuple[Sequence[Point], str, float, float]] = field(default_factory=list)
    dots: dict[tuple[Look, bool], list[Point]] = field(default_factory=lambda: defaultdict(list))
    curves: list[tuple[Sequence[Point], Look, float]] = field(default_factory=list)
    texts: list[tuple[float, float, str, dict[str, object]]] = field(default_factory=list)

    def band(self, wide: float, top: float, bottom: float) -> None:
        self.bands.append([(0, top), (wide, top), (wide, bottom), (0, bottom)])

    def line(
        self, points: Sequence[Point], color: str, thick: float = 0.8, alpha: float = 1.0
    ) -> None:
        self.lines.append((points, color, thick, alpha))

    def dot(self, look: Look, x: float, y: float, *, hollow: bool = False) -> None:
        self.dots[look, hollow].append((x, y))

    def curve(self, points: Sequence[Point], look: Look, thick: float) -> None:
        """A line in the setup's colour and dashes, with its marker at the last point."""
        self.curves.append((points, look, thick))

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        ha: Literal["left", "center", "right"] = "left",
        va: Literal["top", "center", "center_baseline", "bottom"] = "center_baseline",
        color: str = INK,
        size: float = SMALL,
        weight: Weight = "normal",
        rotation: float = 0,
    ) -> None:
        how = {"ha": ha, "va": va, "color": color, "size": size, "weight": weight}
        self.texts.append((x, y, text, how | {"rotation": rotation}))

    def onto(self, axes: Axes, wide: float, tall: float) -> None:
        """Draw everything into axes of this size; text and marks may leave them."""
        axes.set_axis_off()
        axes.set(xlim=(0, wide), ylim=(tall, 0))
        axes.add_collection(
            PolyCollection(self.bands, facecolors=BAND, edgecolors="none", zorder=0),
            autolim=False,
        )
        segments = LineCollection(
            [it[0] for it in self.lines],
            colors=[to_rgba(it[1], it[3]) for it in self.lines],
            linewidths=[it[2] for it in self.lines],
            clip_on=False,
            zorder=1,
        )
        axes.add_collection(segments, autolim=False)
        for points, look, thick in self.curves:
            axes.plot(
                [x for x, _ in points],
                [y for _, y in points],
                color=look.color,
                linewidth=thick,
                dashes=look.dashes or (None, None),
                marker=look.marker,
                markevery=[-1],
                markersize=4 + thick,
                clip_on=False,
                zorder=2,
            )
        for (look, hollow), points in self.dots.items():
            axes.plot(
                [x for x, _ in points],
                [y for _, y in points],
                linestyle="none",
                marker=look.marker,
                markersize=6.5,
                markerfacecolor="white" if hollow else look.color,
                markeredgecolor=look.color if hollow else "white",
                markeredgewidth=1.6 if hollow else 0.8,
                clip_on=False,
                zorder=3,
            )
        for x, y, text, how in self.texts:
            axes.text(x, y, text, **how)  # type: ignore[arg-type]
