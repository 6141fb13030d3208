"""What became of every cell between two runs, as tables in words.

Two runs side by side, in the terminal, as Markdown and as a fragment of HTML.
"""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from harness.analysis.quality import QualityPair
from harness.analysis.run_comparison import (
    Basis,
    Change,
    ChangeTable,
    Comparison,
    MemoryChange,
    QualityChange,
    QualityChanges,
)
from harness.analysis.sentences import listed, ratio
from harness.analysis.stats import Interval, percent
from harness.analysis.verdicts import LEAST_MARGIN, MOST_MARGIN, Shift
from harness.records import RunInfo
from harness.report import format as fmt
from harness.report.compose import machine
from harness.report.proof_sections import NINE_IN_TEN, margin_text
from harness.report.safe_text import cell, line, prose
from harness.report.style import lane_mark
from harness.tasks.metrics import METRICS

_KINDS = {"total_rss": "total peak RSS", "device_allocated": "peak allocated on the device"}

Said = tuple[str, str, str]
"""A name, its verdict, and what more there is to say."""


@dataclass(frozen=True)
class Sheet:
    """One table of a comparison in words; the first column of every row is a name."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lead: str
    notes: tuple[str, ...] = ()


def sheets(comparison: Comparison) -> tuple[Sheet, ...]:
    """Speed, a sheet for each table; then memory; then quality."""
    return (
        *(_speed(it, comparison.basis) for it in comparison.tables),
        *(_memory(it) for it in comparison.tables if it.memory),
        *(_quality(it) for it in comparison.qualities),
    )


def _place(table: ChangeTable | QualityChanges) -> str:
    return f"{line(table.device)}, {fmt.count(table.threads, 'thread')}, {table.dtype}"


def _phase(table: ChangeTable) -> str:
    return f"{line(table.task)} {table.phase}{lane_mark(table.lane)}"


def _speed(table: ChangeTable, basis: Basis) -> Sheet:
    baseline = line(table.baseline)
    title = f"{_phase(table)} ({_place(table)})"
    lead = _lead([_said(it.label, it.shift) for it in table.changes], table.margin)
    notes = tuple(_notes(table))
    if basis == "ratio":
        head = ("framework:mode", "before", "after", "× as fast as before", "verdict")
        rows = tuple(_row(it, basis) for it in table.changes)
        return Sheet(f"{title}, × {baseline}", head, rows, lead, notes)
    ratios = [_said(it.label, it.relative) for it in table.changes if it.relative]
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
    against = (_ratio(relative.speed), relative.verdict) if relative else (fmt.NONE, fmt.NONE)
    return (
        line(change.label),
        shown(change.before),
        shown(change.after),
        _ratio(change.shift.speed),
        change.shift.verdict,
        *(against if basis == "time" else ()),
    )


def _ratio(it: Interval) -> str:
    """With its bounds, in a table."""
    return " ".join(fmt.ratio_interval(it)).strip()


def _said(label: str, shift: Shift) -> Said:
    return label, shift.verdict, f"is {ratio(shift.speed)} as fast as before"


def _lead(found: Sequence[Said], margin: float) -> str:
    """What changed, then what did not, then what is not known."""
    quiet = {
        "equivalent": f"no difference larger than {percent(margin)}",
        "cannot tell": "cannot tell",
        "not ranked": "not ranked",
    }
    said = [f"{line(label)} {words}" for label, verdict, words in found if verdict not in quiet]
    changed = bool(said)
    for verdict, words in quiet.items():
        names = [line(label) for label, it, _ in found if it == verdict]
        if names:
            said.append(f"{words} for {listed(names)}")
    text = f"{'; '.join(said)}."
    # A name keeps its own spelling, a word begins the sentence.
    return text if changed else text[:1].upper() + text[1:]


def _notes(table: ChangeTable) -> Iterator[str]:
    yield from _reasons((line(it.label), it.shift.verdict, it.shift.reason) for it in table.changes)
    for it in table.changes:
        if not it.shift.agrees:
            yield f"{line(it.label)}: Welch’s t does not agree with the exact interval."
    if table.margin > MOST_MARGIN:
        yield (
            f"No equality is claimed: one of the runs could not tell a setup from itself to "
            f"{percent(table.margin)}."
        )


def _memory(table: ChangeTable) -> Sheet:
    found = [(it.label, it.verdict, _amount(it)) for it in table.memory]
    return Sheet(
        title=f"{_phase(table)}, {_KINDS[table.memory[0].kind]} ({_place(table)})",
        head=("framework:mode", "peak before", "peak after", "× as much as before", "verdict"),
        rows=tuple(
            (
                line(it.label),
                fmt.memory(it.before),
                fmt.memory(it.after),
                _ratio(it.times),
                it.verdict,
            )
            for it in table.memory
        ),
        lead=_lead(found, LEAST_MARGIN),
        notes=_reasons((line(it.label), it.verdict, it.reason) for it in table.memory),
    )


def _amount(it: MemoryChange) -> str:
    return f"takes {ratio(it.times)} as much memory as before"


def _reasons(found: Iterable[Said]) -> tuple[str, ...]:
    """Of names and verdicts that have a reason, each reason once."""
    names: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, verdict, reason in found:
        if reason:
            names[verdict, line(reason)].append(name)
    return tuple(
        f"{listed(of_it)}: {verdict}, {reason}." for (verdict, reason), of_it in names.items()
    )


def _quality(table: QualityChanges) -> Sheet:
    metric = table.metric
    return Sheet(
        title=f"{line(table.task)}, final {metric} ({_place(table)})",
        head=("framework:mode", "before", "after", "difference by seed", "verdict"),
        rows=tuple(
            (
                _name(it),
                fmt.quality(it.before, metric),
                fmt.quality(it.after, metric),
                _difference(it.pair, metric),
                it.pair.verdict,
            )
            for it in table.changes
        ),
        lead=_quality_lead(table),
        notes=_reasons((_name(it), it.pair.verdict, it.pair.reason) for it in table.changes),
    )


def _quality_lead(table: QualityChanges) -> str:
    within = margin_text(table.changes[0].pair, table.metric)
    said = []
    for verdict, words in (
        ("differs", "Another quality than before"),
        ("equivalent", f"As good as before, {NINE_IN_TEN} within {within},"),
        ("cannot tell", f"Cannot tell whether as good as before, {NINE_IN_TEN} within {within},"),
    ):
        names = [_name(it) for it in table.changes if it.pair.verdict == verdict]
        if names:
            said.append(f"{words} for {listed(names)}.")
    return " ".join(said)


def _name(change: QualityChange) -> str:
    return f"{line(change.label)}{lane_mark(change.lane)}"


def _difference(pair: QualityPair, metric: str) -> str:
    """After less before, e.g. `+0.02 points (−0.01 to +0.05)`, or a share of the error."""
    found = pair.difference
    if found is None:
        return fmt.NONE

    points = METRICS[metric].unit == "percent"

    def signed(value: float) -> str:
        if pair.relative:
            return fmt.change(value)
        text = f"{100 * value:+.2f}" if points else f"{value:+.3g}"
        return text.replace("-", "−")

    unit = " points" if points and not pair.relative else ""
    text = f"{signed(found.estimate)}{unit}"
    if found.low is not None and found.high is not None:
        return f"{text} ({signed(found.low)} to {signed(found.high)})"
    if found.least is None or found.most is None:
        return text
    return f"{text} (range of {found.n}: {signed(found.least)} to {signed(found.most)})"


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
