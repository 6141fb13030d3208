"""Drawing in inches: scales, and a sketch that each renderer draws in its own way."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from matplotlib.ticker import MaxNLocator

from harness.report.letters import SMALL, Weight
from harness.report.style import BAND, INK, Look

Point = tuple[float, float]
FEWEST_TICKS = 3


@dataclass(frozen=True)
class Scale:
    """Maps `low` … `high` to 0 … `length` inches; on a log one zero stands where `low` does."""

    low: float
    high: float
    length: float
    log: bool = False

    def at(self, value: float) -> float:
        low, high = self._ends
        if self.log:
            value = math.log(max(value, self.low))
        return self.length * (value - low) / (high - low)

    @functools.cached_property
    def _ends(self) -> tuple[float, float]:
        return (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)

    def ticks(self, count: int, *, integer: bool = False) -> list[float]:
        """At most about `count` round values within the scale."""
        # An axis so narrow that it has hardly a part of a power of ten is all but an even one.
        if self.log and len(parts := self._log_ticks(count)) >= min(FEWEST_TICKS, count):
            return parts
        locator = MaxNLocator(count, steps=[1, 2, 2.5, 5, 10], integer=integer)
        values = (float(it) for it in locator.tick_values(self.low, self.high))
        # 0.30000000000000004 is not a round value.
        places = 12 - math.floor(math.log10(self.high - self.low))
        return [round(it, places) for it in values if self.low <= it <= self.high]

    def _log_ticks(self, count: int) -> list[float]:
        """Powers of ten, or where too few of them fit as many of their parts as have room."""
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        powers = range(first, last + 1)
        for parts in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
            values = [float(f"{part}e{it}") for it in powers for part in parts]
            within = [it for it in values if self.low <= it <= self.high]
            if len(within) >= min(FEWEST_TICKS, count):
                break
        return within[:: max(1, math.ceil(len(within) / count))]


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
    """A curve with its marker at one point, the last, and with what is said of each of them."""

    points: Sequence[Point]
    look: Look
    thick: float
    tips: Sequence[tuple[str, ...]] = ()
    marked: int = -1


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

    bands: list[tuple[Sequence[Point], str, float]] = field(default_factory=list)
    lines: list[tuple[Sequence[Point], str, float, float]] = field(default_factory=list)
    dots: list[Dot] = field(default_factory=list)
    curves: list[Stroke] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)

    def band(self, left: float, right: float, top: float, bottom: float, color: str = BAND) -> None:
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        self.bands.append((corners, color, 1.0))

    def line(
        self, points: Sequence[Point], color: str, thick: float = 0.8, alpha: float = 1.0
    ) -> None:
        self.lines.append((points, color, thick, alpha))
