"""The data of a chart: what a figure shows, without how it is drawn.

A chart is a list of panels. A panel has marks in named rows (`Dots`) or curves (`Curves`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.report.format import Unit
from harness.report.style import ALL, Look, Scope

SectionName = Literal["speed", "quality", "phases", "memory", "sameness", "noise"]
Ends = tuple[float, float]


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

    The marks of a row lie below each other, or at one height with `level`. `around` is a vertical
    line that marks are compared with, `band` what counts as equal to it. `at` are the ticks, if
    they are not chosen by the renderer.
    """

    title: str
    axis: str
    unit: Unit
    rows: tuple[tuple[str, tuple[Mark, ...]], ...]
    log: bool = False
    scope: Scope = ALL
    around: float | None = None
    band: Ends | None = None
    at: tuple[float, ...] = ()
    level: bool = False


@dataclass(frozen=True)
class Curve:
    """Points (x, y). `bounds` are intervals of y: lines, or with `band` a shaded area.

    `tips` are the lines that hover shows for each point, if they are not chosen by the renderer.
    """

    look: Look
    points: tuple[tuple[float, float], ...]
    name: str = ""
    bounds: tuple[Ends | None, ...] = ()
    band: bool = False
    tips: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Crossing:
    """A point where curves meet; `low` and `high` are the interval of its x."""

    x: float
    y: float
    low: float | None
    high: float | None
    tip: tuple[str, ...]


@dataclass(frozen=True)
class Curves:
    """Curves on a common pair of axes; `log_x` and `log_y` make an axis logarithmic.

    `at` are the ticks of x, `steps` vertical lines with a text. With `names` at its ticks a panel
    is twice as wide and y begins at zero. A `flat` panel is low.
    """

    title: str
    axis: str
    unit: Unit
    up: str
    up_unit: Unit
    curves: tuple[Curve, ...]
    target: float | None = None
    target_name: str = "target"
    log_x: bool = False
    log_y: bool = False
    scope: Scope = ALL
    flat: bool = False
    at: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    steps: tuple[tuple[float, str], ...] = ()
    crossings: tuple[Crossing, ...] = ()


Panel = Dots | Curves


@dataclass(frozen=True)
class Key:
    """One entry of a legend."""

    text: str
    look: Look
    hollow: bool = False
    line: bool = False


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
