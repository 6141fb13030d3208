"""Letters as outlines of one font, measured and set here.

matplotlib lays out every text anew for every file; a report has thousands of short ones.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import LoadFlags
from numpy.typing import NDArray

FAMILY = "DejaVu Sans"
EM = 100.0
"""Units of an outline in the size of its font."""
SMALL, MEDIUM, LARGE = 8.5, 9.5, 11.0
"""Sizes in points."""
RISE = {"top": 0.76, "center": 0.36, "center_baseline": 0.36, "bottom": -0.2}
"""From where a text is placed down to its baseline, in sizes of its font."""

Weight = Literal["normal", "bold"]


class Glyph(NamedTuple):
    """An outline with x to the right and y up, and how far the next letter stands from it."""

    vertices: NDArray[np.float64]
    codes: NDArray[np.uint8]
    advance: float


class Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float


@functools.lru_cache(maxsize=4096)
def glyph(letter: str, weight: Weight = "normal") -> Glyph:
    font = get_font(_file(weight))
    font.set_size(EM, 72)
    loaded = font.load_char(ord(letter), flags=LoadFlags.NO_HINTING)
    vertices, codes = font.get_path()
    advance = loaded.linearHoriAdvance / 65536
    return Glyph(np.array(vertices, float).reshape(-1, 2), np.array(codes, np.uint8), advance)


@functools.cache
def _file(weight: Weight) -> str:
    return findfont(FontProperties(family=FAMILY, weight=weight))


@functools.lru_cache(maxsize=8192)
def width(text: str, size: float, weight: Weight = "normal") -> float:
    """Inches that a text takes."""
    return sum(glyph(it, weight).advance for it in text) / EM * size / 72


@functools.cache
def _characters() -> frozenset[int]:
    return frozenset(get_font(_file("normal")).get_charmap())


@functools.lru_cache(maxsize=8192)
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


@functools.lru_cache(maxsize=8192)
def outline(text: str, weight: Weight = "normal") -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Vertices of all its letters and their codes; read-only, the same text stands everywhere."""
    own = [(it.vertices + np.array([along, 0]), it.codes) for it, along in placed(text, weight)]
    if not own:
        return np.empty((0, 2)), np.empty(0, np.uint8)
    return np.concatenate([it for it, _ in own]), np.concatenate([it for _, it in own])


def placed(text: str, weight: Weight = "normal") -> Iterator[tuple[Glyph, float]]:
    """Each outline with its distance from the beginning, both in units of the outline."""
    along = 0.0
    for letter in text:
        one = glyph(letter, weight)
        yield one, along
        along += one.advance


class Line(NamedTuple):
    """A text set at (x, y) in inches, y down: where its baseline begins, and how it is turned."""

    text: str
    x: float
    y: float
    size: float
    weight: Weight
    color: str
    rotation: float

    @property
    def box(self) -> Box:
        """What it covers, from the top of its letters to below the baseline."""
        long, em = width(self.text, self.size, self.weight), self.size / 72
        if self.rotation:
            return Box(self.x - RISE["top"] * em, self.y - long, self.x + 0.2 * em, self.y)
        return Box(self.x, self.y - RISE["top"] * em, self.x + long, self.y + 0.2 * em)


def line_of(
    text: str,
    x: float,
    y: float,
    *,
    ha: str = "left",
    va: str = "center_baseline",
    size: float = SMALL,
    weight: Weight = "normal",
    color: str,
    rotation: float = 0,
) -> Line:
    """A text placed by its edge or middle; turned it may be by 90° only, around its middle."""
    em, long = size / 72, width(text, size, weight)
    back = {"left": 0.0, "center": long / 2, "right": long}[ha]
    down = RISE[va] * em
    if rotation:
        assert math.isclose(rotation, 90)
        return Line(text, x + down, y + back, size, weight, color, rotation)
    return Line(text, x - back, y + down, size, weight, color, rotation)
