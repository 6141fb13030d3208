"""A section of a report, without markup: a table in words, which the page and Markdown render.

Every text in it is safe to show (`safe_text.line`), every number already formatted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from harness.analysis.noise import GroupNoise
from harness.analysis.sentences import listed
from harness.cells import Setup
from harness.report.columns import Grid, Row
from harness.report.safe_text import line
from harness.report.style import ALL, Scope, lane_mark, place


@dataclass(frozen=True)
class Section:
    """One table with its heading (task, phase, and where it ran), lead sentence and notes.

    `others` are the same table against each other `baseline`, in the order of its rows. What
    repeats other tables or goes into detail is `folded` under these words until a reader opens it.
    """

    anchor: str
    task: str
    phase: str
    place: str
    grid: Grid
    notes: tuple[str, ...] = ()
    scope: Scope = ALL
    lead: str = ""
    baseline: str = ""
    others: tuple[Section, ...] = ()
    folded: str = ""


def section(
    anchor: str,
    group: Setup | GroupNoise,
    phase: str,
    grid: Grid,
    notes: Iterable[str] = (),
    *,
    lane: str = "",
    where: str | None = None,
    **more: Any,
) -> Section:
    """One table about a group, or a lane of it; `where` says less than its whole place."""
    task, where = line(group.task), place(group) if where is None else where
    about = Scope(task, group.device, lane)
    return Section(anchor, task, phase + lane_mark(lane), where, grid, tuple(notes), about, **more)


def grouped(rows: Iterable[Row], key: Callable[[Row], object]) -> list[list[Row]]:
    """The rows of each key together, in the order in which the keys come."""
    groups: dict[object, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return list(groups.values())


def reasons(outcomes: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    """Notes on names and verdicts that have a reason, each reason once."""
    names: dict[str, list[str]] = {}
    for name, verdict, reason in outcomes:
        if reason:
            names.setdefault(f"{verdict}, {line(reason)}", []).append(line(name))
    return (f"{listed(of_reason)}: {why}." for why, of_reason in names.items())
