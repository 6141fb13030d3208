"""Two runs side by side, in the terminal, as Markdown and as a fragment of HTML."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from harness.analysis.between import Comparison
from harness.records import RunInfo
from harness.report import format as fmt
from harness.report.compose import machine
from harness.report.inert import cell, line, prose
from harness.report.sheets import sheets

_STYLES = {"faster": "green", "slower": "red", "less": "green", "more": "red", "differs": "red"}
_MARKS = {"a": "only before", "b": "only after"}


def render(comparison: Comparison, console: Console) -> None:
    """Print it in 80 columns."""
    for title, text in _sides(comparison):
        console.print(Text.assemble((f"{title}: ", "dim"), text))
    console.print()
    for sheet in sheets(comparison):
        console.print(Text(sheet.title, "bold"))
        grid = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
        for number, name in enumerate(sheet.head[:5]):
            grid.add_column(
                Text(name),
                justify="left" if number in (0, 4) else "right",
                overflow="fold",
                min_width=8 if number else 16,
            )
        for row in sheet.rows:
            # The headings say that these are multiples.
            texts = [it.replace(" ×", "") for it in row[:4]]
            grid.add_row(*map(Text, texts), Text(row[4], _STYLES.get(row[4], "")))
        console.print(grid)
        console.print(Text(sheet.lead, "bold"))
        for note in sheet.notes:
            console.print(Text(note))
        console.print()
    for text in _apart(comparison):
        console.print(Text(text, "yellow"))
    for what, a, b in _facts(comparison):
        console.print(Text.assemble((f"{what}: ", "dim"), f"{a} → {b}"))
    for note in comparison.notes:
        console.print(Text(line(note), "italic"))


def markdown(comparison: Comparison) -> str:
    """The whole comparison as Markdown."""
    parts = [f"# {prose(_title(comparison))}"]
    parts.append("\n".join(f"- **{name}:** {prose(text)}" for name, text in _sides(comparison)))
    for it in sheets(comparison):
        parts += [f"## {prose(it.title)}", f"**{prose(it.lead)}**", _grid(it.head, it.rows)]
        parts += [prose(note) for note in it.notes]
    if comparison.apart:
        parts.append("## Not compared")
        parts.append("\n".join(f"- {prose(text)}" for text in _apart(comparison)))
    if comparison.facts:
        parts += ["## What differs", _grid(("", "before", "after"), tuple(_facts(comparison)))]
    parts += [prose(note) for note in comparison.notes]
    return "\n\n".join(parts) + "\n"


def fragment(comparison: Comparison) -> str:
    """The whole comparison as one `section` of HTML, to be put into any page."""
    parts = ['<section class="comparison">', f"<h2>{_html(_title(comparison))}</h2>", "<dl>"]
    for name, text in _sides(comparison):
        parts.append(f"<dt>{_html(name)}</dt><dd>{_html(text)}</dd>")
    parts.append("</dl>")
    for it in sheets(comparison):
        parts.append(_html_table(it.title, it.head, it.rows))
        parts.append(f"<p><strong>{_html(it.lead)}</strong></p>")
        parts += [f"<p>{_html(note)}</p>" for note in it.notes]
    if comparison.apart:
        items = "".join(f"<li>{_html(text)}</li>" for text in _apart(comparison))
        parts += ["<h3>Not compared</h3>", f"<ul>{items}</ul>"]
    if comparison.facts:
        facts = tuple(_facts(comparison))
        parts += ["<h3>What differs</h3>", _html_table("", ("", "before", "after"), facts)]
    parts += [f"<p>{_html(note)}</p>" for note in comparison.notes]
    return "\n".join((*parts, "</section>")) + "\n"


def _title(comparison: Comparison) -> str:
    return f"{line(comparison.a.name)} → {line(comparison.b.name)}"


def _sides(comparison: Comparison) -> Iterator[tuple[str, str]]:
    for name, it in (("Before", comparison.a), ("After", comparison.b)):
        yield name, _run(it)


def _run(info: RunInfo) -> str:
    return f"{line(info.name)}, {line(info.created)}, {machine(info.machine)}"


def _apart(comparison: Comparison) -> Iterator[str]:
    for it in comparison.apart:
        yield f"{_MARKS[it.side]}: {line(it.cell)}: {line(it.reason)}"


def _facts(comparison: Comparison) -> Iterator[tuple[str, str, str]]:
    for it in comparison.facts:
        a, b = (fmt.NONE if side is None else line(str(side)) for side in (it.a, it.b))
        yield line(it.what), a, b


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ":--" + " | --:" * (len(head) - 1)
    texts = (" | ".join(cell(prose(it)) for it in row) for row in (head, *rows))
    first, *rest = (f"| {it} |" for it in texts)
    return "\n".join((first, f"| {rule} |", *rest))


def _html_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    caption = f"<caption>{_html(title)}</caption>" if title else ""
    top = "".join(f'<th scope="col">{_html(it)}</th>' for it in head)
    body = "".join(
        f'<tr><th scope="row">{_html(row[0])}</th>'
        + "".join(f"<td>{_html(it)}</td>" for it in row[1:])
        + "</tr>"
        for row in rows
    )
    return f"<table>{caption}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _html(text: str) -> str:
    return html.escape(line(text))
