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

from harness.report.looks import BAND, INK, Look

FAMILY = "DejaVu Sans"
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
    """Maps `low` … `high` to 0 … `length` inches; on a log one zero stands where `low` does."""

    low: float
    high: float
    length: float
    log: bool = False

    def at(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            low, high, value = (math.log(it) for it in (low, high, max(value, low)))
        return self.length * (value - low) / (high - low)

    def ticks(self, count: int, *, integer: bool = False) -> list[float]:
        """At most about `count` round values within the scale."""
        if self.log:
            return self._log_ticks(count)
        locator = MaxNLocator(count, steps=[1, 2, 2.5, 5, 10], integer=integer)
        values = (float(it) for it in locator.tick_values(self.low, self.high))
        # 0.30000000000000004 is not a round value.
        return [round(it, 12) for it in values if self.low <= it <= self.high]

    def _log_ticks(self, count: int) -> list[float]:
        """Powers of ten, or where fewer than three fit as many of their parts as have room."""
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        powers = range(first, last + 1)
        for parts in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
            values = [float(f"{part}e{it}") for it in powers for part in parts]
            within = [it for it in values if self.low <= it <= self.high]
            if len(within) >= min(3, count):
                break
        return within[:: 1 + (len(within) - 1) // count]


@dataclass(frozen=True)
class Dot:
    """A mark with the ends of its interval, and what is said of it: name, value, bounds."""

    look: Look
    x: float
    y: float
    hollow: bool = False
    ends: tuple[float, float] | None = None
    tip: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stroke:
    """A curve, with what is said of each of its points."""

    points: Sequence[Point]
    look: Look
    thick: float
    tips: Sequence[tuple[str, ...]] = ()


@dataclass(frozen=True)
class Text:
    """A text at (x, y); `dx` is a distance from x that no scale stretches."""

    x: float
    y: float
    text: str
    dx: float = 0.0
    ha: Literal["left", "center", "right"] = "left"
    va: Literal["top", "center", "center_baseline", "bottom"] = "center_baseline"
    color: str = INK
    size: float = SMALL
    weight: Weight = "normal"
    rotation: float = 0


@dataclass
class Sketch:
    """What is to be drawn into one panel; x goes right and y goes down, in inches."""

    bands: list[tuple[Sequence[Point], str]] = field(default_factory=list)
    lines: list[tuple[Sequence[Point], str, float, float]] = field(default_factory=list)
    dots: list[Dot] = field(default_factory=list)
    curves: list[Stroke] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)

    def band(self, left: float, right: float, top: float, bottom: float, color: str = BAND) -> None:
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        self.bands.append((corners, color))

    def line(
        self, points: Sequence[Point], color: str, thick: float = 0.8, alpha: float = 1.0
    ) -> None:
        self.lines.append((points, color, thick, alpha))

    def onto(self, axes: Axes, wide: float, tall: float) -> None:
        """Draw everything into axes of this size; text and marks may leave them."""
        axes.set_axis_off()
        axes.set(xlim=(0, wide), ylim=(tall, 0))
        axes.add_collection(
            PolyCollection(
                [it for it, _ in self.bands],
                facecolors=[color for _, color in self.bands],
                edgecolors="none",
                zorder=0,
            ),
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
        for it in self.curves:
            axes.plot(
                [x for x, _ in it.points],
                [y for _, y in it.points],
                color=it.look.color,
                linewidth=it.thick,
                dashes=it.look.dashes or (None, None),
                marker=it.look.marker,
                markevery=[-1],
                markersize=4 + it.thick,
                clip_on=False,
                zorder=2,
            )
        alike: dict[tuple[Look, bool], list[Point]] = defaultdict(list)
        for dot in self.dots:
            alike[dot.look, dot.hollow].append((dot.x, dot.y))
        for (look, hollow), points in alike.items():
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
        for text in self.texts:
            axes.text(
                text.x + text.dx,
                text.y,
                text.text,
                ha=text.ha,
                va=text.va,
                color=text.color,
                size=text.size,
                weight=text.weight,
                rotation=text.rotation,
            )
