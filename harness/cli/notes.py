"""Notes on a plan, printed before the results of a verb."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.text import Text

from harness.cli.console import Console
from harness.frameworks import faults
from harness.records import Unavailable
from harness.report.safe_text import line

if TYPE_CHECKING:
    from harness.runs.plan import Plan


def print_left_out(
    planned: Iterable[Unavailable], console: Console, notes: Iterable[str] = ()
) -> None:
    """Print the notes, then what a plan leaves out and every folder that holds no framework."""
    for note in notes:
        console.print(Text(f"note: {note}"), soft_wrap=True)
    left_out = [(it.what, it.reason) for it in planned]
    for what, why in dict.fromkeys((*left_out, *faults())):
        console.print(Text(f"left out: {what}: {line(why)}"), soft_wrap=True)


def print_overruled(plan: Plan, console: Console) -> None:
    """Print which environment variables of the user do not count, and what replaces them."""
    from harness.runs.process import overruled  # `list` needs none of what this imports

    if text := overruled(plan.setups):
        console.print(Text(text), soft_wrap=True)
