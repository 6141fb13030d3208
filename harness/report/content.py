"""What a report says, in order and in words, without markup: the page and Markdown render it.

Every text in it is safe to show (`safe_text.line`), every number already formatted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.cells import Setup
from harness.report.columns import Grid
from harness.report.safe_text import line
from harness.report.style import ALL, Scope, lane_mark, place, scope


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
    lead: str
    grid: Grid
    notes: tuple[str, ...] = ()
    scope: Scope = ALL
    baseline: str = ""
    others: tuple[Section, ...] = ()
    folded: str = ""


def section(
    anchor: str,
    setup: Setup,
    phase: str,
    grid: Grid,
    notes: Sequence[str] = (),
    *,
    lead: str = "",
    where: str | None = None,
    baseline: str = "",
    others: tuple[Section, ...] = (),
    folded: str = "",
) -> Section:
    """One table about the group and lane of a setup; `where` says less than its whole place."""
    return Section(
        anchor=anchor,
        task=line(setup.task),
        phase=phase + lane_mark(setup.lane),
        place=place(setup) if where is None else where,
        lead=lead,
        grid=grid,
        notes=tuple(notes),
        scope=scope(setup),
        baseline=baseline,
        others=others,
        folded=folded,
    )


@dataclass(frozen=True)
class Raw:
    """All samples of one cell: a row a block with its median; `note` says what is left out."""

    anchor: str
    title: str
    scope: Scope
    grid: Grid
    note: str = ""


@dataclass(frozen=True)
class Everything:
    """All cells in one table, and the samples behind each."""

    cells: Grid
    scopes: tuple[Scope, ...]
    raws: tuple[Raw, ...]


@dataclass(frozen=True)
class Choice:
    """What to choose in one scenario, and why; `anchors` are its tables, each with a text."""

    scenario: str
    answer: str
    because: str
    anchors: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Trouble:
    """Trials of one setup that ended badly for one reason; `tail` keeps its lines."""

    label: str
    task: str
    place: str
    status: str
    trials: str
    error: str
    tail: str


@dataclass(frozen=True)
class Repeat:
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
