"""What a report says, in order and in words, without markup: the page and Markdown render it.

Every text in it is already inert (`inert.line`), every number already formatted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["name", "number", "text"]


@dataclass(frozen=True)
class Column:
    """`name` is set as code, `number` to the right, `text` to the left."""

    title: str
    kind: Kind = "number"


@dataclass(frozen=True)
class Value:
    """One entry of a table; `detail` (an interval, a remark) is set smaller beside it."""

    text: str
    detail: str = ""


@dataclass(frozen=True)
class Grid:
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]


@dataclass(frozen=True)
class Section:
    """One table with its heading (task, phase, and where it ran), lead sentence and notes."""

    anchor: str
    task: str
    phase: str
    place: str
    lead: str
    grid: Grid
    notes: tuple[str, ...] = ()


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
    unavailable: tuple[tuple[str, str], ...]
    method: tuple[tuple[str, str], ...]
    repeat: Repeat
