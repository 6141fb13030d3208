"""The data of a chart: what a figure shows, without how it is drawn.

A chart is a list of panels. A panel has marks in named rows (`Dots`) or curves (`Curves`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from harness.report.format import Unit
from harness.report.style import ALL, Look, Scope

SectionName = Literal["speed", "quality", "phases", "memory", "sameness", "noise"]
Ends = tuple[float, float]


class Axis(NamedTuple):
    """`at` are its ticks, if they are not chosen by the renderer."""

    name: str
    unit: Unit
    log: bool = False
    at: tuple[float, ...] = ()


@dataclass(frozen=True)
class Mark:
    """One point and its interval. `text` is drawn next to it; hover shows name, words, bounds."""

    look: Look
    value: float
    low: float | None = None
    high: float | None = None
    text: str = ""
    hollow: bool = False
    name: str = ""
    words: str = ""
    bounds: str = ""


@dataclass(frozen=True)
class Dots:
    """Marks in rows, from top to bottom; a linear axis begins at zero.

    The marks of a row lie below each other, or at one height with `level`. `band` is what counts as
    equal to 1, which has a line.
    """

    title: str
    x: Axis
    rows: tuple[tuple[str, tuple[Mark, ...]], ...]
    scope: Scope = ALL
    band: Ends | None = None
    level: bool = False


@dataclass(frozen=True)
class Curve:
    """Points (x, y). `bounds` are intervals of y: lines, or with `band` a shaded area."""

    look: Look
    points: tuple[tuple[float, float], ...]
    name: str = ""
    bounds: tuple[Ends | None, ...] = ()
    band: bool = False


@dataclass(frozen=True)
class Curves:
    """Curves on a common pair of axes, and rings where they cross: their y, and marks on x.

    A `flat` panel is low.
    """

    title: str
    x: Axis
    y: Axis
    curves: tuple[Curve, ...]
    target: float | None = None
    scope: Scope = ALL
    flat: bool = False
    rings: tuple[tuple[float, Mark], ...] = ()


Panel = Dots | Curves


@dataclass(frozen=True)
class Key:
    """One entry of a legend; beside curves its marker stands on a line."""

    text: str
    look: Look
    hollow: bool = False


@dataclass(frozen=True)
class Chart:
    """`name` is the file's. An `overview` is saved as a file even from a long report.

    A chart that is not `inline` is saved only: the page shows the same in another way.
    """

    name: str
    section: SectionName
    title: str
    alt: str
    panels: tuple[Panel, ...]
    legend: tuple[Key, ...] = ()
    overview: bool = False
    inline: bool = True
