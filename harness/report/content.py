"""What a report says, in order and in words, without markup: the page and Markdown render it.

Every text in it is already inert (`inert.line`), every number already formatted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["name", "number", "text"]


@dataclass(frozen=True)
class Column:
    """`name` is set as code, `number` to the right, `text` to the left.

    `ratio` and `verdict` are those that follow the choice of a baseline. `description` says what
    the title cannot.
    """

    title: str
    kind: Kind = "number"
    role: Literal["", "ratio", "verdict"] = ""
    description: str = ""


@dataclass(frozen=True)
class Value:
    """One entry of a table; `detail` (an interval, a remark) is set smaller beside it.

    `raw` is the number that it stands for, by which rows are sorted; `anchor` is where it leads.
    """

    text: str
    detail: str = ""
    raw: float | None = None
    anchor: str = ""


@dataclass(frozen=True)
class Grid:
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]


@dataclass(frozen=True)
class Scope:
    """What a part of the report is about; empty is all of them."""

    task: str = ""
    device: str = ""
    lane: str = ""


ALL = Scope()


def explained(columns: Iterable[Column]) -> tuple[str, ...]:
    """The descriptions of columns as notes below their table."""
    return tuple(
        f"{it.title[:1].upper()}{it.title[1:]}: {it.description}"
        for it in columns
        if it.description
    )


@dataclass(frozen=True)
class Section:
    """One table with its heading (task, phase, and where it ran), lead sentence and notes.

    `others` are the same table against each other `baseline`, in the order of its rows.
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
