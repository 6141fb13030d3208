"""`doctor`: is this machine fit to measure on, and what to do about what is not."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from harness.console import Console
from harness.doctor.checks import Checkup, Diagnosis, Level, collect, examine
from harness.errors import CannotTell
from harness.report.safe_text import line

MARKS: dict[Level, tuple[str, str]] = {
    "unfit": ("✗", "bold red"),
    "warning": ("!", "bold yellow"),
    "note": ("·", "cyan"),
    "ok": ("✓", "green"),
}


def doctor(output: Path, as_json: bool) -> None:
    """Look for about five seconds and print what was found, as a table or as JSON.

    Raises CannotTell where the machine is not fit.
    """
    console = Console()
    if console.is_terminal and not as_json:
        console.print("looking at this machine for about five seconds …", style="dim")
    facts = collect(output)
    checkup = examine(facts)
    if as_json:
        content = {
            "fit": checkup.fit,
            "level": checkup.level,
            **checkup.model_dump(mode="json"),
            "facts": dataclasses.asdict(facts),
        }
        print(json.dumps(content, indent=1, allow_nan=False))
    else:
        show(checkup, console)
    if not checkup.fit:
        raise CannotTell("this machine is not fit to measure on now")


def show(checkup: Checkup, console: Console) -> None:
    """Print every finding, worst first, and a last sentence."""
    grid = Table(show_header=False, box=None, padding=(0, 1, 0, 0), pad_edge=False)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_column(overflow="fold")
    for finding in checkup.findings:
        mark, style = MARKS[finding.level]
        grid.add_row(Text(mark, style), Text(finding.name, "bold"), _text(finding))
    console.print(grid)
    if checkup.untold:
        console.print(Text(f"Not told on this system: {_joined(checkup.untold)}.", "dim"))
    console.print()
    console.print(Text(sentence(checkup), MARKS[checkup.level][1]))


def _text(finding: Diagnosis) -> Text:
    text = Text(line(finding.found))
    if finding.advice:
        text.append(f"\n→ {line(finding.advice)}", "italic")
    return text


def sentence(checkup: Checkup) -> str:
    """The last word on a machine."""
    unfit, warned = checkup.at("unfit"), checkup.at("warning")
    if unfit:
        names = _joined([it.name for it in unfit])
        return f"Not fit to measure on now: {names}. A run would say that it cannot tell."
    if warned:
        names = _joined([it.name for it in warned])
        return f"Fit to measure on, with wider intervals than need be: {names}."
    return "Fit to measure on."


def _joined(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
