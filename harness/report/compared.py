"""Two runs side by side, in the terminal, as Markdown and as a fragment of HTML."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from harness.analysis.between import Change, ChangeTable, Comparison
from harness.analysis.comparable import Basis
from harness.analysis.intervals import Interval
from harness.analysis.shifts import MOST_MARGIN, Shift
from harness.analysis.verdicts import percent
from harness.analysis.words import listed, ratio
from harness.records import RunInfo
from harness.report import format as fmt
from harness.report.compose import machine
from harness.report.inert import cell, line, prose

_STYLES = {"faster": "green", "slower": "red"}
_MARKS = {"a": "only before", "b": "only after"}


@dataclass(frozen=True)
class Sheet:
    """One table of a comparison in words; the first column of every row is a name."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lead: str
    notes: tuple[str, ...] = ()


def sheets(comparison: Comparison) -> tuple[Sheet, ...]:
    """What became of every cell, a sheet for each table."""
    return tuple(_sheet(it, comparison.basis) for it in comparison.tables)


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


def _sheet(table: ChangeTable, basis: Basis) -> Sheet:
    threads = fmt.count(table.threads, "thread")
    lane = "" if table.lane == "identical" else f", {table.lane}"
    baseline = line(table.baseline)
    place = f"{line(table.device)}, {threads}, {table.dtype}"
    title = f"{line(table.task)} {table.phase}{lane} ({place})"
    shifts = {it.label: it.shift for it in table.changes}
    lead = _lead(shifts, table.margin)
    # A name keeps its own spelling, a word begins the sentence.
    if not any(it.verdict in ("faster", "slower") for it in shifts.values()):
        lead = lead[:1].upper() + lead[1:]
    notes = tuple(_notes(table))
    if basis == "ratio":
        head = ("framework:mode", "before", "after", "× as fast as before", "verdict")
        rows = tuple(_row(it, basis) for it in table.changes)
        return Sheet(f"{title}, × {baseline}", head, rows, lead, notes)
    ratios = {it.label: it.relative for it in table.changes if it.relative}
    against = _lead(ratios, table.margin)
    return Sheet(
        title=title,
        head=(
            *("framework:mode", "step before", "step after", "× as fast as before", "verdict"),
            *(f"the same against {baseline}", f"verdict against {baseline}"),
        ),
        rows=tuple(_row(it, basis) for it in table.changes),
        lead=lead,
        notes=(*((f"Against {baseline}: {against}",) if ratios else ()), *notes),
    )


def _row(change: Change, basis: Basis) -> tuple[str, ...]:
    def shown(it: Interval) -> str:
        return fmt.seconds(it.estimate) if basis == "time" else fmt.ratio_interval(it)[0]

    relative = change.relative
    against = (ratio(relative.speed), relative.verdict) if relative else (fmt.NONE, fmt.NONE)
    return (
        line(change.label),
        shown(change.before),
        shown(change.after),
        ratio(change.shift.speed),
        change.shift.verdict,
        *(against if basis == "time" else ()),
    )


def _lead(shifts: Mapping[str, Shift], margin: float) -> str:
    """What changed, then what did not, then what is not known."""
    said = [
        f"{line(label)} is {ratio(it.speed)} as fast as before"
        for label, it in shifts.items()
        if it.verdict in ("faster", "slower")
    ]
    for verdict, words in (
        ("equivalent", f"no difference larger than {percent(margin)}"),
        ("cannot tell", "cannot tell"),
        ("not ranked", "not ranked"),
    ):
        names = [line(label) for label, it in shifts.items() if it.verdict == verdict]
        if names:
            said.append(f"{words} for {listed(names)}")
    return f"{'; '.join(said)}."


def _notes(table: ChangeTable) -> Iterator[str]:
    for it in table.changes:
        if it.shift.reason:
            yield f"{line(it.label)}: {it.shift.verdict}, {line(it.shift.reason)}."
        if not it.shift.agrees:
            yield f"{line(it.label)}: Welch’s t does not agree with the exact interval."
    if table.margin > MOST_MARGIN:
        yield (
            f"No equality is claimed: one of the runs could not tell a setup from itself to "
            f"{percent(table.margin)}."
        )


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
