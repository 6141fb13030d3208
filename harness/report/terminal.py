"""A run in the terminal: while it goes on, and its verdicts in 80 columns when it is done.

Progress is drawn between turns, never from a thread: while a worker is timed the runner sleeps.
Everything is written as `Text`, never as markup: names from outside stay what they are.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table as RichTable
from rich.text import Text

from harness.analysis.quality import QualityTable
from harness.analysis.sentences import aggregate_sentence, imprecise, ratio
from harness.analysis.summary import Summary, Table, summarise
from harness.cells import LATENCY, Setup
from harness.records import Record, Run
from harness.report import format as fmt
from harness.report.advice_text import DEPENDS, UNDECIDED, UNKNOWN, Choice, choices
from harness.report.columns import CellOf, Column, Grid, cells, grid, shown_in
from harness.report.compose import facts, left_out, troubles
from harness.report.format import Value
from harness.report.proof_sections import spread_sentence, time_to_target
from harness.report.safe_text import line
from harness.report.style import Places, label, lane_mark
from harness.runs.block import Block, Step
from harness.tasks.metrics import METRICS
from harness.tasks.spec import Task

REFRESH_SECONDS = 0.25


class Plain:
    """One line a block and one a failure: for logs and pipes."""

    def __init__(self, console: Console, tasks: tuple[Task, ...]) -> None:
        self._console, self._tasks = console, tasks
        self._records: list[Record] = []
        self._number = self._blocks = 0
        self._left = 0.0
        self._began = time.monotonic()

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def block(self, number: int, of: int, block: Block, seconds_left: float) -> None:
        self._number, self._blocks, self._left = number, of, seconds_left
        self._began = time.monotonic()

    def progress(self, block: Block, step: Step, setup: Setup | None, done: float) -> None:
        if step == "done":
            took = fmt.seconds(time.monotonic() - self._began)
            head = f"block {self._number}/{self._blocks}  {block.task.name}  {took}"
            self.note("\n    ".join([head, *self._ratios(block.task)]))

    def ended(self, record: Record) -> None:
        self._records.append(record)
        if record.status not in ("ok", "interrupted"):
            self._print(f"{record.setup.id}: {record.status}: {record.error}")

    def note(self, text: str) -> None:
        self._print(text)

    def _ratios(self, task: Task) -> list[str]:
        return ratios_so_far(summarise(self._tasks, self._records), task)

    def _print(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)


class Silent(Plain):
    """For `--quiet`: failures only."""

    def progress(self, block: Block, step: Step, setup: Setup | None, done: float) -> None:
        return

    def note(self, text: str) -> None:
        return


class Screen(Plain):
    """For a terminal: one picture, redrawn in place."""

    def __init__(self, console: Console, tasks: tuple[Task, ...]) -> None:
        super().__init__(console, tasks)
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._shown: list[str] = []
        self._drawn = 0.0

    def __enter__(self) -> Screen:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def progress(self, block: Block, step: Step, setup: Setup | None, done: float) -> None:
        if step == "done":
            self._shown = self._ratios(block.task)
        elif time.monotonic() - self._drawn < REFRESH_SECONDS and step != "starting":
            return
        share = min(1.0, (self._number - 1 + done) / max(self._blocks, 1))
        left = max(0.0, self._left - (time.monotonic() - self._began))
        head = RichTable.grid(padding=(0, 2))
        head.add_row(
            Text(f"block {self._number} of {self._blocks}", style="bold"),
            ProgressBar(total=1.0, completed=share, width=30),
            Text(f"{100 * share:.0f} %, about {fmt.duration(left)} left"),
        )
        now = Text(f"{block.task.name}: {step} {setup.label if setup else ''}".rstrip())
        ratios = (Text(f"  {it}") for it in self._shown)
        self._live.update(Group(head, now, *ratios), refresh=True)
        self._drawn = time.monotonic()


def ratios_so_far(summary: Summary, task: Task) -> list[str]:
    """`train  reference:eager 1.31 × (1.28–1.34) pytorch:eager`, a line a pair."""
    tables = [it for it in summary.tables if it.task.digest == task.digest]
    width = max((len(it.phase) for it in tables), default=0)
    return [
        f"{table.phase:{width}} {pair.label}  {ratio(pair.speed)} as fast as {pair.baseline}"
        for table in tables
        for pair in table.pairs
    ]


WIDE = 92
"""From here on every column has the width it likes."""
INCREMENTAL = (
    "Incremental peak RSS is what a phase adds to the memory of its process; the report has that "
    "of the whole process."
)
STYLES = {
    **dict.fromkeys(("faster", "less", "fine", "improved"), "green"),
    **dict.fromkeys(("cannot tell", "changed"), "yellow"),
    **dict.fromkeys(("slower", "more", "differs"), "red"),
    **dict.fromkeys(("regression", "not proven"), "bold red"),
}
"""Of verdicts and outcomes."""


def render(run: Run, summary: Summary, console: Console) -> None:
    """Print a run: a table with its verdict per task and phase, quality, what failed."""
    places = Places(summary)
    finals = {
        row.setup.id: fmt.quality(row.final, table.task.metric)
        for table in summary.qualities
        for row in table.rows
    }
    for table in summary.tables:
        _table(table, places, finals, console)
    if summary.tables:
        console.print(Text(INCREMENTAL, "dim"), end="\n\n")
    several = len({it.device for it in summary.aggregates}) > 1
    for mean in summary.aggregates:
        sentence = aggregate_sentence(mean.label, mean.baseline, mean.speed, mean.phase, mean.tasks)
        console.print(Text(line(f"{mean.device}: {sentence}" if several else sentence)))
    if summary.aggregates:
        console.print()
    for trained in summary.qualities:
        _quality(trained, places, console)
    _choices(choices(run, summary), console)
    if not summary.tables and not summary.qualities:
        console.print(Text("No trial ended well, so there is nothing to compare.", "bold"))
    for trouble in troubles(summary):
        why = f": {trouble.error}" if trouble.error else ""
        text = f"{trouble.label} on {trouble.task}: {trouble.status}, {trouble.trials}{why}"
        console.print(Text(text, "red"), no_wrap=True, overflow="ellipsis")
    for what, reason in left_out(run):
        console.print(Text(f"left out: {what}: {reason}", "yellow"))
    for name, fact in facts(run, summary):
        console.print(Text.assemble((f"{name}: ", "dim"), fact))


def _table(table: Table, places: Places, finals: Mapping[str, str], console: Console) -> None:
    phase = (table.phase + lane_mark(table.lane), "bold cyan")
    where = places.bracketed(table)
    console.print(Text.assemble((line(table.task.name), "bold"), " ", phase, where))
    columns = list(shown_in("terminal latency" if table.phase in LATENCY else "terminal", table))
    trained = table.phase == "train" and any(it.cell.setup.id in finals for it in table.rows)
    if trained:
        columns.append(_final(METRICS[table.task.metric].word, finals))
    wide = console.width >= WIDE
    # `cannot tell` in two lines leaves the interval in one, where there is a column for quality.
    narrow = not wide and trained and any(it.speed.low for it in table.pairs)
    console.print(rich_table(grid(columns, cells(table)), wide=wide, narrow=narrow))
    for row in table.rows:
        if row.unranked:
            console.print(Text(f"{label(row.cell.setup)}: {line(row.unranked)}", "yellow"))
    console.print(Text(line(table.sentence), "bold"))
    if sizes := imprecise(table.pairs, table.precision):
        console.print(Text(line(sizes)))
    console.print()


def _final(word: str, finals: Mapping[str, str]) -> Column[CellOf]:
    """The quality that trainings end with, beside their speed."""
    half = len(word) // 2
    brief = f"{word[:half]}-\n{word[half:]}" if len(word) > 6 else ""
    return Column(word, lambda it: Value(finals.get(it.setup.id, "")), brief=brief)


def rich_table(
    grid: Grid, shown: int | None = None, *, wide: bool = False, narrow: bool = False
) -> RichTable:
    """A table, or so many of its columns; a `narrow` one breaks verdicts in two lines."""
    table = RichTable(
        box=box.SIMPLE_HEAD, padding=(0, int(wide), 0, 0), pad_edge=False, show_edge=False
    )
    columns = grid.columns[:shown]
    for column in columns:
        table.add_column(
            Text(column.brief or column.title),
            justify="right" if column.side == "number" else "left",
            overflow="fold",
            min_width=16 if column.side == "name" else None,
            max_width=8 if narrow and column.role == "verdict" else None,
        )
    for row in grid.rows:
        table.add_row(*map(_cell, columns, row))
    return table


def _cell(column: Column[Any], entry: Value) -> Text:
    """Of bounds only those of ratios are shown; their heading says that they are multiples."""
    if column.unit == "ratio":
        return Text(f"{entry.text} {entry.detail}".replace(" ×", "").strip())
    if column.side == "name":
        if entry.detail == "yardstick":
            return Text(entry.text).append("\nyardstick", "dim")
        return Text(entry.text, "bold" if entry.detail else "")
    judged = column.title.startswith(("verdict", "outcome"))
    return Text(entry.text, STYLES.get(entry.text, "") if judged else "")


def _quality(table: QualityTable, places: Places, console: Console) -> None:
    metric, target = table.task.metric, table.task.target
    text = f" {METRICS[metric].word}{places.bracketed(table)}: {spread_sentence(table)}"
    console.print(Text.assemble((line(table.task.name), "bold"), text))
    if target is not None:
        times = ", ".join(f"{label(row.setup)} {time_to_target(row)}" for row in table.rows)
        console.print(Text(f"Time to {fmt.quality(target, metric)}: {times}."))
    console.print()


def _choices(advice: Sequence[Choice], console: Console) -> None:
    if not advice:
        return
    console.print(Text("Which should I choose?", "bold"))
    unknown = [it.scenario for it in advice if it.answer == UNKNOWN]
    for choice in advice:
        if choice.answer != UNKNOWN:
            why = f": {choice.because}" if choice.answer in (DEPENDS, UNDECIDED) else ""
            console.print(Text.assemble((f"{choice.scenario}: ", "dim"), f"{choice.answer}{why}"))
    if unknown:
        console.print(Text.assemble((f"{UNKNOWN}: ", "dim"), "; ".join(unknown)))
    console.print()
