"""How the panels of a chart stand beside each other, and what they are called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.analysis.quality import QualityTable
from harness.analysis.summary import Summary, Table
from harness.cells import THROUGHPUT, Phase, Setup
from harness.report.chart import Curves, Dots, Key
from harness.report.content import Scope
from harness.report.inert import line
from harness.report.looks import Places, label, look, scope

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
    looks = {label(it): look(it) for it in setups}
    return tuple(Key(name, looks[name], line=line) for name in sorted(looks))


def task_title(table: Table | QualityTable, places: Places) -> str:
    lane = table.lane if isinstance(table, Table) else table.rows[0].setup.lane
    own = "" if lane == "identical" else lane
    return ", ".join(filter(None, (line(table.task.name), own, places.differing(table))))


def panel_title(table: Table, places: Places) -> str:
    return f"{task_title(table, places)} · {table.phase}"


def table_scope(table: Table) -> Scope:
    return scope(table.rows[0].cell.setup)
