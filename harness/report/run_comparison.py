"""Two runs side by side: what became of every cell, in the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from harness.analysis.quality import QualityPair
from harness.analysis.run_comparison import (
    Basis,
    Change,
    ChangeTable,
    Comparison,
    Fact,
    MemoryChange,
    QualityChange,
    QualityChanges,
)
from harness.analysis.sentences import listed, ratio
from harness.analysis.stats import Interval, percent
from harness.analysis.verdicts import LEAST_MARGIN, MOST_MARGIN, Shift
from harness.report import format as fmt
from harness.report.columns import Column, Grid, grid, reasons
from harness.report.compose import machine
from harness.report.format import Value
from harness.report.markdown import table as markdown_table
from harness.report.proof_sections import NINE_IN_TEN, margin_text
from harness.report.safe_text import line, prose
from harness.report.style import lane_mark, place
from harness.report.terminal import rich_table
from harness.tasks.metrics import METRICS

_KINDS = {"total_rss": "total peak RSS", "device_allocated": "peak allocated on the device"}
SHOWN = 5
"""Columns of a table for which a terminal has room."""
Outcome = tuple[str, str, str]
"""A name, its verdict, and that in full."""


class OutcomeTable(NamedTuple):
    title: str
    grid: Grid
    lead: str
    notes: tuple[str, ...]


def outcome_tables(comparison: Comparison) -> tuple[OutcomeTable, ...]:
    """Speed, then memory, then quality."""
    return (
        *(_speed(it, comparison.basis) for it in comparison.tables),
        *(_memory(it) for it in comparison.tables if it.memory),
        *(_quality(it) for it in comparison.qualities),
    )


def _phase(table: ChangeTable) -> str:
    return f"{line(table.task)} {table.phase}{lane_mark(table.lane)}"


def _speed(table: ChangeTable, basis: Basis) -> OutcomeTable:
    baseline, timed = line(table.baseline), basis == "time"
    title = f"{_phase(table)} ({place(table)})"
    lead = _lead([_outcome(it.label, it.shift) for it in table.changes], table.margin)

    def alone(interval: Interval) -> Value:
        """Without its bounds: they are those of the change."""
        text, _ = fmt.interval(interval, "seconds" if timed else "ratio")
        return Value(text, raw=interval.estimate)

    step = "step " if timed else ""
    columns: list[Column[Change]] = [
        Column("framework:mode", lambda it: it.label, "name"),
        Column(f"{step}before", lambda it: alone(it.before)),
        Column(f"{step}after", lambda it: alone(it.after)),
        Column("× as fast as before", lambda it: it.shift.speed, "ratio"),
        Column("verdict", lambda it: it.shift.verdict, "text"),
    ]
    notes = [*_notes(table)]
    if timed:
        against = f"against {baseline}"
        columns += [
            Column(f"the same {against}", lambda it: it.relative and it.relative.speed, "ratio"),
            Column(f"verdict {against}", lambda it: it.relative and it.relative.verdict, "text"),
        ]
        if ratios := [_outcome(it.label, it.relative) for it in table.changes if it.relative]:
            notes.insert(0, f"Against {baseline}: {_lead(ratios, table.margin)}")
    else:
        title += f", × {baseline}"
    return OutcomeTable(title, grid(columns, table.changes), lead, tuple(notes))


def _outcome(label: str, shift: Shift) -> Outcome:
    return label, shift.verdict, f"is {ratio(shift.speed)} as fast as before"


def _lead(outcomes: Sequence[Outcome], margin: float) -> str:
    """What changed, then what did not, then what is not known."""
    quiet = {
        "equivalent": f"no difference larger than {percent(margin)}",
        "cannot tell": "cannot tell",
        "not ranked": "not ranked",
    }
    parts = [f"{line(name)} {words}" for name, verdict, words in outcomes if verdict not in quiet]
    for verdict, words in quiet.items():
        if names := [line(name) for name, it, _ in outcomes if it == verdict]:
            parts.append(f"{words} for {listed(names)}")
    return fmt.capital(f"{'; '.join(parts)}.")


def _notes(table: ChangeTable) -> Iterator[str]:
    yield from reasons((it.label, it.shift.verdict, it.shift.reason) for it in table.changes)
    for change in table.changes:
        if not change.shift.agrees:
            yield f"{line(change.label)}: Welch’s t does not agree with the exact interval."
    if table.margin > MOST_MARGIN:
        yield (
            f"No equality is claimed: one of the runs could not tell a setup from itself to "
            f"{percent(table.margin)}."
        )


MEMORY: tuple[Column[MemoryChange], ...] = (
    Column("framework:mode", lambda it: line(it.label), "name"),
    Column("peak before", lambda it: it.before, "bytes"),
    Column("peak after", lambda it: it.after, "bytes"),
    Column("× as much as before", lambda it: it.times, "ratio"),
    Column("verdict", lambda it: it.verdict, "text"),
)


def _memory(table: ChangeTable) -> OutcomeTable:
    outcomes = [
        (it.label, it.verdict, f"takes {ratio(it.times)} as much memory as before")
        for it in table.memory
    ]
    return OutcomeTable(
        title=f"{_phase(table)}, {_KINDS[table.memory[0].kind]} ({place(table)})",
        grid=grid(MEMORY, table.memory),
        lead=_lead(outcomes, LEAST_MARGIN),
        notes=tuple(reasons((it.label, it.verdict, it.reason) for it in table.memory)),
    )


def _quality(table: QualityChanges) -> OutcomeTable:
    metric = table.metric
    columns: list[Column[QualityChange]] = [
        Column("framework:mode", _name, "name"),
        Column("before", lambda it: Value(fmt.quality(it.before, metric), raw=it.before)),
        Column("after", lambda it: Value(fmt.quality(it.after, metric), raw=it.after)),
        Column("difference by seed", lambda it: Value(_difference(it.pair, metric))),
        Column("verdict", lambda it: it.pair.verdict, "text"),
    ]
    outcomes = ((_name(it), it.pair.verdict, it.pair.reason) for it in table.changes)
    return OutcomeTable(
        title=f"{line(table.task)}, final {metric} ({place(table)})",
        grid=grid(columns, table.changes),
        lead=_quality_lead(table),
        notes=tuple(reasons(outcomes)),
    )


def _quality_lead(table: QualityChanges) -> str:
    within = margin_text(table.changes[0].pair, table.metric)
    sentences = []
    for verdict, words in (
        ("differs", "Another quality than before"),
        ("equivalent", f"As good as before, {NINE_IN_TEN} within {within},"),
        ("cannot tell", f"Cannot tell whether as good as before, {NINE_IN_TEN} within {within},"),
    ):
        names = [_name(it) for it in table.changes if it.pair.verdict == verdict]
        if names:
            sentences.append(f"{words} for {listed(names)}.")
    return " ".join(sentences)


def _name(change: QualityChange) -> str:
    return f"{line(change.label)}{lane_mark(change.lane)}"


def _difference(pair: QualityPair, metric: str) -> str:
    """After less before, e.g. `+0.02 points (−0.01 to +0.05)`, or a share of the error."""
    difference = pair.difference
    if difference is None:
        return fmt.NONE
    points = METRICS[metric].unit == "percent" and not pair.relative

    def signed(value: float) -> str:
        if pair.relative:
            return fmt.change(value)
        return (f"{100 * value:+.2f}" if points else f"{value:+.3g}").replace("-", "−")

    text = f"{signed(difference.estimate)}{' points' if points else ''}"
    many, low, high = "", difference.low, difference.high
    if low is None or high is None:
        many, low, high = f"range of {difference.n}: ", difference.least, difference.most
    if low is None or high is None:
        return text
    return f"{text} ({many}{signed(low)} to {signed(high)})"


def render(comparison: Comparison, console: Console) -> None:
    """Print it in 80 columns."""
    for title, text in _sides(comparison):
        console.print(Text.assemble((f"{title}: ", "dim"), text))
    console.print()
    for table in outcome_tables(comparison):
        console.print(Text(table.title, "bold"))
        console.print(rich_table(table.grid, SHOWN))
        console.print(Text(table.lead, "bold"))
        for note in table.notes:
            console.print(Text(note))
        console.print()
    for text in _not_compared(comparison):
        console.print(Text(text, "yellow"))
    for what, before, after in grid(FACTS, comparison.facts).rows:
        console.print(Text.assemble((f"{what.text}: ", "dim"), f"{before.text} → {after.text}"))
    for note in comparison.notes:
        console.print(Text(line(note), "italic"))


def markdown(comparison: Comparison) -> str:
    parts = [f"# {prose(f'{comparison.a.name} → {comparison.b.name}')}"]
    parts.append("\n".join(f"- **{name}:** {prose(text)}" for name, text in _sides(comparison)))
    for table in outcome_tables(comparison):
        parts += [f"## {prose(table.title)}", f"**{prose(table.lead)}**"]
        parts += [markdown_table(table.grid), *map(prose, table.notes)]
    if comparison.apart:
        parts.append("## Not compared")
        parts.append("\n".join(f"- {prose(text)}" for text in _not_compared(comparison)))
    if comparison.facts:
        parts += ["## What differs", markdown_table(grid(FACTS, comparison.facts))]
    return "\n\n".join([*parts, *map(prose, comparison.notes)]) + "\n"


def _sides(comparison: Comparison) -> Iterator[tuple[str, str]]:
    for name, info in (("Before", comparison.a), ("After", comparison.b)):
        yield name, f"{line(info.name)}, {line(info.created)}, {machine(info.machine)}"


def _not_compared(comparison: Comparison) -> Iterator[str]:
    sides = {"a": "only before", "b": "only after"}
    return (f"{sides[it.side]}: {line(it.cell)}: {line(it.reason)}" for it in comparison.apart)


FACTS: tuple[Column[Fact], ...] = (
    Column("", lambda it: it.what, "text"),
    Column("before", lambda it: None if it.a is None else str(it.a), "text"),
    Column("after", lambda it: None if it.b is None else str(it.b), "text"),
)
