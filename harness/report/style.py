"""How a setup is named and drawn: the same colour, marker and line everywhere."""

from __future__ import annotations

import functools
import itertools
import re
import zlib
from dataclasses import dataclass
from typing import Protocol

from harness.adapter import Framework
from harness.analysis.summary import Summary
from harness.cells import Setup
from harness.frameworks import frameworks
from harness.report.format import count
from harness.report.safe_text import line

UNKNOWN_COLOR = "#6B6B6B"
"""For a framework that is in the records but no longer among the folders."""
HEX = re.compile(r"#[0-9A-Fa-f]{6}")
"""A colour that may stand in a page: that of a foreign framework is not trusted."""
INK, FAINT, GRID, BAND, PAPER = "#1d2129", "#5b6270", "#e3e6ea", "#f4f5f7", "#ffffff"
"""Colours of text, of explanations, of grid lines, of every second row, and of the background."""
MARKERS = ("D", "P", "o", "s", "^", "v", "X", "*")
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (2, 1.5), (6, 1.5, 1.5, 1.5), (1, 1), (8, 2))
"""By a mode's place among its framework's modes: the default has a solid line."""


@dataclass(frozen=True)
class Scope:
    """What a part of the report is about; empty is all of them."""

    task: str = ""
    device: str = ""
    lane: str = ""


ALL = Scope()


@dataclass(frozen=True)
class Look:
    color: str
    marker: str
    dashes: tuple[float, ...]


PLAIN = Look(INK, "o", ())
"""Of a legend of kinds of marks, not of frameworks."""


@functools.cache
def _known() -> dict[str, Framework]:
    return frameworks()


def look(setup: Setup) -> Look:
    """The colour is the framework's, the first marker that of its version; modes go on from there.

    The marker comes from the name, so that it does not depend on the other setups.
    """
    framework = _known().get(setup.framework)
    color, modes = UNKNOWN_COLOR, list[str]()
    if framework:
        modes = list(framework.idioms if setup.lane == "idiomatic" else framework.modes)
        color = framework.color if HEX.fullmatch(framework.color) else UNKNOWN_COLOR
    place = modes.index(setup.mode) if setup.mode in modes else 0
    marker = zlib.adler32(setup.name.encode()) + place
    dashes = place + bool(setup.version)
    return Look(color, MARKERS[marker % len(MARKERS)], DASHES[dashes % len(DASHES)])


def is_reference(setup: Setup) -> bool:
    """Whether its framework is the yardstick of the others."""
    framework = _known().get(setup.framework)
    return framework is not None and framework.role == "reference"


def framework_title(name: str) -> str:
    """The framework's own spelling of its name."""
    framework = _known().get(name)
    return line(framework.title if framework else name)


def lane_mark(lane: str) -> str:
    """The lane in a heading; the identical one is not named."""
    return "" if lane in ("", "identical") else f", {lane}"


def label(setup: Setup) -> str:
    """`framework:mode`, safe to show."""
    return line(setup.label)


def scope(setup: Setup) -> Scope:
    return Scope(line(setup.task), setup.device, setup.lane)


class Located(Protocol):
    """A setup, a group or a table: whatever was measured in one place."""

    @property
    def device(self) -> str: ...
    @property
    def threads(self) -> int: ...
    @property
    def dtype(self) -> str: ...


class Places:
    """The places of all tables of a summary."""

    def __init__(self, summary: Summary) -> None:
        tables: tuple[Located, ...] = (*summary.tables, *summary.qualities)
        self._all = {_parts(it) for it in tables}

    @property
    def common(self) -> str:
        """The one place of all tables, or empty."""
        return ", ".join(next(iter(self._all))) if len(self._all) == 1 else ""

    def differing(self, table: Located) -> str:
        """What of the table's place is not the same everywhere, e.g. `2 threads`; or empty."""
        varies = (len(set(values)) > 1 for values in zip(*self._all, strict=True))
        return ", ".join(itertools.compress(_parts(table), varies))

    def bracketed(self, table: Located) -> str:
        """The same in brackets behind a title; or empty."""
        differing = self.differing(table)
        return f" ({differing})" if differing else ""


def place(located: Located) -> str:
    """Device, threads and dtype in words."""
    return ", ".join(_parts(located))


def _parts(located: Located) -> tuple[str, str, str]:
    return (line(located.device), count(located.threads, "thread"), line(located.dtype))
