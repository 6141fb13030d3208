"""A check as a table in the terminal, and as Markdown for a comment."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.analysis.stats import too_wide
from harness.cells import Setup
from harness.gate.check import Checked
from harness.gate.judging import Line
from harness.report.format import NOT_KNOWN, percent
from harness.report.safe_text import cell, code, prose
from harness.report.safe_text import line as inert

STYLES = {
    "fine": "green",
    "improved": "green",
    "changed": "yellow",
    "cannot tell": "yellow",
    "regression": "bold red",
    "not proven": "bold red",
}
HEAD = ("setup", "what", "outcome", "change", "")
SAID = {
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
        table = Table(title=Text(_name(setup)), title_justify="left", title_style="bold", box=None)
        for name in HEAD[1:]:
            table.add_column(name, overflow="fold")
        for it in lines:
            _, what, outcome, change, detail = _cells(it)
            style = STYLES[it.outcome]
            table.add_row(Text(what), Text(outcome, style), Text(change), Text(detail))
        console.print(table)
        console.print()
    for text in summary(checked):
        console.print(Text(text), soft_wrap=True)


def markdown(checked: Checked) -> str:
    """The same for a comment on a change."""
    shown = worth_a_line(checked.lines)
    against = code((checked.against or checked.baseline or "nothing")[:40])
    head = ["| " + " | ".join(HEAD) + " |", "| :-- | :-- | :-- | --: | :-- |"]
    rows = ["| " + " | ".join(cell(prose(text)) for text in _cells(it)) + " |" for it in shown]
    table = "\n".join([*head, *rows]) if rows else ""
    title = f"### Check against {against}: {checked.outcome}"
    return "\n\n".join([title, *filter(None, [table]), *map(prose, summary(checked))]) + "\n"


def worth_a_line(lines: Iterable[Line]) -> list[Line]:
    return [it for it in lines if it.outcome != "fine" or it.what == "speed"]


def summary(checked: Checked) -> list[str]:
    """How many things were compared, how speed was, and what it comes to."""
    fine = sum(it.outcome in ("fine", "improved", "changed") for it in checked.lines)
    said = [f"{fine} of {len(checked.lines)} comparisons fine."]
    if checked.note:
        what = "Failed" if checked.outcome == "cells failed" else "Speed"
        said.append(f"{what}: {inert(checked.note)}.")
    return [*said, SAID[checked.outcome]]


def _cells(it: Line) -> tuple[str, str, str, str, str]:
    phase = f", {it.phase}" if it.phase else ""
    return _name(it.setup), f"{it.what}{phase}", it.outcome, _change(it), inert(it.detail)


def _name(setup: Setup) -> str:
    lane = "" if setup.lane == "identical" else f" ({setup.lane})"
    return inert(f"{setup.task} {setup.label}{lane}")


def _change(it: Line) -> str:
    if it.what != "speed" or it.change is None:
        return "" if not it.change or abs(it.change) < 1e-4 else _signed(it.change)
    bounds = ""
    if it.low is not None and it.high is not None:
        wide = too_wide(1 + it.low, 1 + it.high)
        bounds = f" {NOT_KNOWN}" if wide else f" ({_signed(it.low)} to {_signed(it.high)})"
    return f"{_signed(it.change)} time{bounds}"


def _signed(share: float) -> str:
    return ("+" if share >= 0 else "−") + percent(abs(share))
