"""What a report says, in order and in words, without markup: the page and Markdown render it.

Every text in it is safe to show (`safe_text.line`), every number already formatted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

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


class Everything(NamedTuple):
    """All cells in one table with the scope of each row, and the samples of each: a row a block."""

    cells: Grid
    scopes: tuple[Scope, ...]
    samples: tuple[Section, ...]


class Choice(NamedTuple):
    """What to choose in one scenario, and why; `anchors` are its tables, each with a text."""

    scenario: str
    answer: str
    because: str
    anchors: tuple[tuple[str, str], ...]


class Trouble(NamedTuple):
    """Trials of one setup that ended badly for one reason; `tail` keeps its lines."""

    label: str
    task: str
    place: str
    status: str
    trials: str
    error: str
    tail: str


class Repeat(NamedTuple):
    """All that is needed to run it again; `config` is indented JSON."""

    command: str
    commit: str
    facts: tuple[tuple[str, Grid], ...]
    config: str


@dataclass(frozen=True)
class Content:
    title: str
    question: str
    byline: str
    facts: tuple[tuple[str, str], ...]
    choices: tuple[Choice, ...]
    speed: tuple[Section, ...]
    quality: tuple[Section, ...]
    phases: tuple[Section, ...]
    memory: tuple[Section, ...]
    sameness: tuple[Section, ...]
    settings: tuple[Section, ...]
    idioms: tuple[Section, ...]
    means: tuple[Section, ...]
    noise: tuple[Section, ...]
    troubles: tuple[Trouble, ...]
    left_out: tuple[tuple[str, str], ...]
    method: tuple[tuple[str, str], ...]
    everything: Everything
    repeat: Repeat
