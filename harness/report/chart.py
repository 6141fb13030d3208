"""What a figure shows, as data: whoever draws it decides nothing.

A chart is a grid of panels; a panel holds dots in named rows (`Dots`) or curves (`Curves`).

How the panels of a chart stand beside each other, and what they are called.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.analysis.quality import QualityTable
from harness.analysis.summary import Summary, Table
from harness.cells import THROUGHPUT, Phase, Setup
from harness.report.format import Unit
from harness.report.safe_text import line
from harness.report.style import ALL, Look, Places, Scope, is_reference, label, look, scope

SectionName = Literal["speed", "quality", "phases", "memory", "sameness", "noise"]


@dataclass(frozen=True)
class Mark:
    """One dot; `low` and `high` are its interval, `text` stands beside it.

    `name` tells it from the others of its row; `told` are its value and its bounds in words.
    """

    look: Look
    value: float
    low: float | None = None
    high: float | None = None
    text: str = ""
    hollow: bool = False
    name: str = ""
    told: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Dots:
    """Marks in rows from top to bottom; each row has room for `lanes` marks below each other.

    A linear axis begins at zero. Without `names` the rows are those of the panel to the left.
    `around` is a value that the marks stand left or right of, `band` what counts as the same.
    `at` are the values that the axis names, where they are not any round ones; `level` puts the
    marks of a row beside each other rather than below.
    """

    title: str
    axis: str
    unit: Unit
    rows: tuple[tuple[str, tuple[Mark, ...]], ...]
    lanes: int = 1
    log: bool = False
    names: bool = True
    scope: Scope = ALL
    around: float | None = None
    band: tuple[float, float] | None = None
    at: tuple[float, ...] = ()
    level: bool = False


@dataclass(frozen=True)
class Curve:
    """(x, y) points, each with bounds of y where it has any and with what is said of it.

    `band` is the spread around them: (x, low, high) from point to point.
    """

    look: Look
    points: tuple[tuple[float, float], ...]
    name: str = ""
    bounds: tuple[tuple[float, float] | None, ...] = ()
    told: tuple[tuple[str, ...], ...] = ()
    band: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True)
class Spot:
    """A place where curves meet; `low` and `high` are the interval of its x."""

    look: Look
    x: float
    y: float
    low: float | None = None
    high: float | None = None
    tip: tuple[str, ...] = ()


@dataclass(frozen=True)
class Curves:
    """Curves over an axis; `log` makes the upward one logarithmic, `log_over` the other.

    Curves may coincide, and so have different widths, unless they are `thin` ones that hardly do; a
    `flat` panel is half as high as others.
    `at` are the values that the axis names, where they are not any round ones.
    """

    title: str
    axis: str
    unit: Unit
    up: str
    up_unit: Unit
    curves: tuple[Curve, ...]
    target: float | None = None
    target_name: str = "target"
    log: bool = False
    scope: Scope = ALL
    log_over: bool = False
    thin: bool = False
    flat: bool = False
    at: tuple[float, ...] = ()
    spots: tuple[Spot, ...] = ()


@dataclass(frozen=True)
class Key:
    """One entry of a legend."""

    text: str
    look: Look
    hollow: bool = False
    line: bool = False


@dataclass(frozen=True)
class Chart:
    """`name` is the file's; panels stand row by row, None leaves a gap."""

    name: str
    section: SectionName
    title: str
    alt: str
    panels: tuple[tuple[Dots | Curves | None, ...], ...]
    legend: tuple[Key, ...] = ()


Panel = Dots | Curves


def arenas(summary: Summary, phases: tuple[Phase, ...] = THROUGHPUT) -> list[list[Table]]:
    """The tables of each arena and lane together: those of `phases`, in order."""
    arenas: dict[tuple[object, ...], list[Table]] = {}
    for table in (it for it in summary.tables if it.phase in phases):
        arenas.setdefault(table.rows[0].cell.setup.ranking, []).append(table)
    return list(arenas.values())


def side_by_side(rows: Sequence[Sequence[Panel]]) -> tuple[tuple[Panel | None, ...], ...]:
    """Phases beside each other; where every arena has but one, arenas two by two."""
    if all(len(panels) == 1 for panels in rows):
        flat = [panels[0] for panels in rows]
        rows = [flat[n : n + 2] for n in range(0, len(flat), 2)]
    width = max((len(panels) for panels in rows), default=0)
    return tuple((*panels, *[None] * (width - len(panels))) for panels in rows)


def keys(setups: Iterable[Setup], *, line: bool = False) -> tuple[Key, ...]:
    by_name = {label(it): it for it in setups}
    yardsticks = {name for name, it in by_name.items() if is_reference(it)}
    marks = dict.fromkeys(yardsticks if len(yardsticks) < len(by_name) else (), " (yardstick)")
    return tuple(
        Key(name + marks.get(name, ""), look(by_name[name]), line=line) for name in sorted(by_name)
    )


def task_title(table: Table | QualityTable, places: Places) -> str:
    lane = table.lane if isinstance(table, Table) else table.rows[0].setup.lane
    own = "" if lane == "identical" else lane
    return ", ".join(filter(None, (line(table.task.name), own, places.differing(table))))


def panel_title(table: Table, places: Places) -> str:
    return f"{task_title(table, places)} · {table.phase}"


def table_scope(table: Table) -> Scope:
    return scope(table.rows[0].cell.setup)
