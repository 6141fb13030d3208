"""A check as a table in the terminal, and as Markdown for a comment."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.gate.check import Checked
from harness.gate.judging import Line
from harness.report.format import percent
from harness.report.inert import cell, code, prose
from harness.report.inert import line as inert

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
    "fine": "Nothing became worse.",
    "regression": "Something became worse.",
    "not comparable": "Nothing that was timed can be compared.",
    "parity failed": "Not every setup computes what the reference computes.",
    "cannot tell": "The blocks do not decide it; make more, or measure on a quieter machine.",
}


def render(checked: Checked, console: Console, *, everything: bool = False) -> None:
    """Print what is worth a line: all but what is fine, and every time; or everything."""
    shown = list(checked.lines) if everything else worth_a_line(checked.lines)
    table = Table(box=box.SIMPLE, title_justify="left")
    for name in HEAD:
        table.add_column(name, overflow="fold", no_wrap=name == "outcome")
    for it in shown:
        style = STYLES[it.outcome]
        setup, what, outcome, change, detail = _cells(it)
        table.add_row(Text(setup), Text(what), Text(outcome, style), Text(change), Text(detail))
    if shown:
        console.print(table)
    for text in summary(checked):
        console.print(Text(text), soft_wrap=True)


def markdown(checked: Checked) -> str:
    """The same for a comment on a change."""
    shown = worth_a_line(checked.lines)
    against = code((checked.against or checked.baseline or "nothing")[:40])
    rows = [HEAD, (":--", ":--", ":--", "--:", ":--")]
    rows += [tuple(cell(prose(text)) for text in _cells(it)) for it in shown]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows) if shown else ""
    title = f"### Check against {against}: {checked.outcome}"
    return "\n\n".join([title, *filter(None, [table]), *map(prose, summary(checked))]) + "\n"


def worth_a_line(lines: Iterable[Line]) -> list[Line]:
    return [it for it in lines if it.outcome != "fine" or it.what == "speed"]


def summary(checked: Checked) -> list[str]:
    """How many things were compared, how speed was, and what it comes to."""
    fine = sum(it.outcome in ("fine", "improved", "changed") for it in checked.lines)
    said = [f"{fine} of {len(checked.lines)} comparisons fine."]
    if checked.note:
        said.append(f"Speed: {inert(checked.note)}.")
    return [*said, SAID[checked.outcome]]


def _cells(it: Line) -> tuple[str, str, str, str, str]:
    where = f"{it.setup.task} {it.setup.label}"
    if it.setup.lane != "identical":
        where += f" ({it.setup.lane})"
    phase = f", {it.phase}" if it.phase else ""
    return inert(where), f"{it.what}{phase}", it.outcome, _change(it), inert(it.detail)


def _change(it: Line) -> str:
    if it.what != "speed" or it.change is None:
        return "" if not it.change or abs(it.change) < 1e-4 else _signed(it.change)
    bounds = (
        "" if it.low is None or it.high is None else f" ({_signed(it.low)} to {_signed(it.high)})"
    )
    return f"{_signed(it.change)} time{bounds}"


def _signed(share: float) -> str:
    return ("+" if share >= 0 else "−") + percent(abs(share))
