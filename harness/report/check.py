"""A check as a table in the terminal, and as Markdown for a comment."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from harness.analysis.stats import too_wide
from harness.cells import Setup
from harness.gate.check import Checked
from harness.gate.judging import Line
from harness.report.columns import Column, grid
from harness.report.format import NOT_KNOWN, Value, percent
from harness.report.markdown import table as markdown_table
from harness.report.safe_text import code, line, prose
from harness.report.style import lane_mark
from harness.report.terminal import rich_table

WORDS = {
    "cells failed": "A setup failed: nothing more was compared.",
    "fine": "Nothing became worse.",
    "regression": "Something became worse.",
    "not comparable": "Nothing that was timed can be compared.",
    "parity failed": "Not every setup computes what the reference computes.",
    "cannot tell": "The blocks do not decide it: check again on a quieter machine, or allow a "
    "larger change with --fail-on speed:10%.",
}


def render(checked: Checked, console: Console, *, everything: bool = False) -> None:
    """Print what is worth a line: all but what is fine, and every time; or everything."""
    shown = list(checked.lines) if everything else worth_a_line(checked.lines)
    for setup, lines in itertools.groupby(shown, key=lambda it: it.setup):
        console.print(Text(_name(setup), "bold"))
        console.print(rich_table(grid(COLUMNS[1:], lines)))
        console.print()
    for text in summary(checked):
        console.print(Text(text), soft_wrap=True)


def markdown(checked: Checked) -> str:
    shown = worth_a_line(checked.lines)
    against = code((checked.against or checked.baseline or "nothing")[:40])
    table = [markdown_table(grid(COLUMNS, shown))] if shown else []
    title = f"### Check against {against}: {checked.outcome}"
    return "\n\n".join([title, *table, *map(prose, summary(checked))]) + "\n"


def worth_a_line(lines: Iterable[Line]) -> list[Line]:
    return [it for it in lines if it.outcome != "fine" or it.what == "speed"]


def summary(checked: Checked) -> list[str]:
    """How many things were compared, how speed was, and what it comes to."""
    fine = sum(it.outcome in ("fine", "improved", "changed") for it in checked.lines)
    sentences = [f"{fine} of {len(checked.lines)} comparisons fine."]
    if checked.note:
        what = "Failed" if checked.outcome == "cells failed" else "Speed"
        sentences.append(f"{what}: {line(checked.note)}.")
    return [*sentences, WORDS[checked.outcome]]


def _name(setup: Setup) -> str:
    return line(f"{setup.task} {setup.label}{lane_mark(setup.lane)}")


def _change(result: Line) -> str:
    if result.change is None or (result.what != "speed" and abs(result.change) < 1e-4):
        return ""
    if result.what != "speed":
        return _signed(result.change)
    bounds = ""
    if result.low is not None and result.high is not None:
        wide = too_wide(1 + result.low, 1 + result.high)
        bounds = f" {NOT_KNOWN}" if wide else f" ({_signed(result.low)} to {_signed(result.high)})"
    return f"{_signed(result.change)} time{bounds}"


def _signed(share: float) -> str:
    return ("+" if share >= 0 else "−") + percent(abs(share))


COLUMNS: tuple[Column[Line], ...] = (
    Column("setup", lambda it: _name(it.setup), "text"),
    Column("what", lambda it: f"{it.what}, {it.phase}" if it.phase else it.what, "text"),
    Column("outcome", lambda it: it.outcome, "text"),
    Column("change", lambda it: Value(_change(it))),
    Column("", lambda it: it.detail, "text"),
)
