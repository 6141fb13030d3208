"""How a setup is named and drawn: the same colour, marker and line everywhere."""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from harness.adapter import Framework
from harness.analysis.quality import QualityTable
from harness.analysis.summary import Summary, Table
from harness.cells import Lane, Setup
from harness.frameworks import frameworks
from harness.report.safe_text import line

UNKNOWN_COLOR = "#6B6B6B"
"""For a framework that is in the records but no longer among the folders."""
HEX = re.compile(r"#[0-9A-Fa-f]{6}")
"""What a framework's colour must be to stand in a page: a stranger may have written it."""
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
"""In legends that tell kinds of marks, not frameworks."""


@functools.cache
def _known() -> dict[str, Framework]:
    return frameworks()


def look(setup: Setup) -> Look:
    """The colour is the framework's, the first marker that of its version; modes go on from there.

    The marker comes from the name, so that it stays the same whoever else takes part.
    """
    framework = _known().get(setup.framework)
    color = framework.color if framework and HEX.fullmatch(framework.color) else UNKNOWN_COLOR
    own = framework.idioms if framework and setup.lane == "idiomatic" else None
    modes = list(own if own is not None else framework.modes) if framework else []
    place = modes.index(setup.mode) if setup.mode in modes else 0
    marker = zlib.adler32(setup.name.encode()) + place
    dashes = place + bool(setup.version)
    return Look(color, MARKERS[marker % len(MARKERS)], DASHES[dashes % len(DASHES)])


def is_reference(setup: Setup) -> bool:
    """Whether its framework is the yardstick of the others."""
    framework = _known().get(setup.framework)
    return framework is not None and framework.role == "reference"


def lane_mark(lane: Lane) -> str:
    """What tells the idiomatic lane in headings; the identical one is what nobody need name."""
    return "" if lane == "identical" else f", {lane}"


def label(setup: Setup) -> str:
    """`framework:mode`, inert."""
    return line(setup.label)


def scope(setup: Setup) -> Scope:
    """What a part about this setup's group and lane is about."""
    return Scope(line(setup.task), setup.device, setup.lane)


def framework_title(name: str) -> str:
    """The framework's own spelling of its name."""
    framework = _known().get(name)
    return line(framework.title if framework else name)


class Places:
    """Where tables were measured, in words; only what differs needs saying beside each."""

    def __init__(self, tables: Iterable[Table | QualityTable]) -> None:
        self._all = {_place(table) for table in tables}

    @classmethod
    def of(cls, summary: Summary) -> Places:
        return cls((*summary.tables, *summary.qualities))

    @property
    def common(self) -> str:
        """The one place of all tables, or empty."""
        return _joined(next(iter(self._all))) if len(self._all) == 1 else ""

    def differing(self, table: Table | QualityTable) -> str:
        """What of the table's place is not the same everywhere, e.g. `2 threads`; or empty."""
        place = _place(table)
        varies = [len({it[n] for it in self._all}) > 1 for n in range(len(place))]
        return ", ".join(part for part, it in zip(place, varies, strict=True) if it)


def place(setup: Setup) -> str:
    """Device, threads and dtype in words."""
    return _joined(_place(setup))


def _place(it: Table | QualityTable | Setup) -> tuple[str, str, str]:
    threads = f"{it.threads} thread" + ("s" if it.threads != 1 else "")
    return (it.device, threads, it.dtype)


def _joined(parts: tuple[str, ...]) -> str:
    return ", ".join(parts)
