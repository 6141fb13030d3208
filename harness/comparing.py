"""`compare`: is one run faster than another, cell by cell, and may they be compared at all?"""

from __future__ import annotations

import contextlib
import gc
import io
from collections.abc import Iterator
from pathlib import Path

from harness.analysis.run_comparison import Comparison, compare_runs
from harness.console import Console
from harness.errors import NotComparable, unknown
from harness.exporting import FORMAT_ALIASES, STDOUT, put
from harness.report.run_comparison import markdown, render
from harness.results import Results, find

FORMATS = ("terminal", "markdown", "json")
_SUFFIXES = {".md": "markdown", ".json": "json", ".html": "html"}


def compare(a: str, b: str, output: Path, format_: str | None, to: str) -> None:
    """Print or write the comparison. Raises NotComparable where it would say nothing."""
    chosen = format_ or _SUFFIXES.get(Path(to).suffix, "terminal")
    if chosen not in FORMATS:
        raise unknown("format", chosen, FORMATS, FORMAT_ALIASES)
    with _uncollected():
        found = compared(find(a, output, tables=False), find(b, output, tables=False))
        if chosen == "terminal" and to == STDOUT:
            render(found, Console())
            return
        put([_text(found, chosen).encode("utf-8")], to)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without Python's search for cycles: of two large runs it would find none, and take as long as
    all else together."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def compared(a: Results, b: Results) -> Comparison:
    """The two runs side by side. Raises NotComparable if they have no cell in common."""
    for it in (a, b):
        if len(it.info.machines) > 1:
            raise NotComparable(
                f"{it.info.name} holds {len(it.info.machines)} machines; compare the runs that it "
                "was made of"
            )
        if not it.blocks:
            raise NotComparable(f"{it.info.name} has no cell that was timed")
    found = compare_runs(
        a.info, a.blocks, b.info, b.blocks, (a.summary.qualities, b.summary.qualities)
    )
    if not found.tables:
        why = found.apart[0] if found.apart else None
        detail = f": {why.cell}: {why.reason}" if why else ": each has its baseline only"
        raise NotComparable(f"{a.info.name} and {b.info.name} have no cell in common{detail}")
    return found


def _text(found: Comparison, format_: str) -> str:
    if format_ == "json":
        return found.model_dump_json(indent=1, ensure_ascii=True) + "\n"
    if format_ == "markdown":
        return markdown(found)
    held = io.StringIO()
    render(found, Console(file=held, width=80))
    return held.getvalue()
