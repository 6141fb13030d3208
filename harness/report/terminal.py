"""A run while it goes on: what runs now, the ratios so far, the time left.

Everything is drawn between turns, never from a thread of its own: while a worker is timed the
runner sleeps.

The same verdicts in a terminal of 80 columns, or as plain text in a pipe.

Everything is written as `Text`, never as markup: names from outside stay what they are.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table as Grid
from rich.table import Table as RichTable
from rich.text import Text

from harness.analysis.quality import QualityTable
from harness.analysis.sentences import aggregate_sentence, by_how_much, ratio
from harness.analysis.summary import CellRow, Summary, Table, summarise
from harness.cells import LATENCY, Setup
from harness.records import Record, Run
from harness.report import format as fmt
from harness.report.advice_text import DEPENDS, UNDECIDED, UNKNOWN, choices
from harness.report.compose import facts, left_out, troubles
from harness.report.format import duration, seconds
from harness.report.proof_sections import spread_sentence, time_to_target
from harness.report.safe_text import line
from harness.report.style import Places, label, lane_mark
from harness.runs.block import Block, Step
from harness.tasks.metrics import METRICS
from harness.tasks.spec import Task

REFRESH_SECONDS = 0.25


class Plain:
    """One line a block and one a failure: for logs, pipes and `--quiet`'s opposite."""

    def __init__(self, console: Console, tasks: tuple[Task, ...]) -> None:
        self._console = console
        self._tasks = tasks
        self._records: list[Record] = []
        self._now: tuple[int, int, Block, float] | None = None
        self._began = time.monotonic()

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def block(self, number: int, of: int, block: Block, seconds_left: float) -> None:
        self._now = (number, of, block, seconds_left)
        self._began = time.monotonic()

    def progress(self, block: Block, step: Step, setup: Setup | None, done: float) -> None:
        if step != "done" or self._now is None:
            return
        number, of, _, _ = self._now
        took = time.monotonic() - self._began
        lines = [f"block {number}/{of}  {block.task.name}  {seconds(took)}"]
        lines += [f"    {line}" for line in ratios_so_far(self._summary(), block.task)]
        self._print("\n".join(lines))

    def ended(self, record: Record) -> None:
        self._records.append(record)
        if record.status not in ("ok", "interrupted"):
            self._print(f"{record.setup.id}: {record.status}: {record.error}")

    def note(self, text: str) -> None:
        self._print(text)

    def _summary(self) -> Summary:
        return summarise(self._tasks, self._records)

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
        self._ratios: list[str] = []
        self._drawn = 0.0

    def __enter__(self) -> Screen:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def progress(self, block: Block, step: Step, setup: Setup | None, done: float) -> None:
        if self._now is None:
            return
        if step == "done":
            self._ratios = ratios_so_far(self._summary(), block.task)
        elif time.monotonic() - self._drawn < REFRESH_SECONDS and step != "starting":
            return
        self._live.update(self._picture(step, setup, done), refresh=True)
        self._drawn = time.monotonic()

    def _picture(self, step: Step, setup: Setup | None, done: float) -> Group:
        assert self._now is not None
        number, of, block, left = self._now
        share = min(1.0, (number - 1 + done) / of)
        left = max(0.0, left - (time.monotonic() - self._began))
        head = Grid.grid(padding=(0, 2))
        head.add_row(
            Text(f"block {number} of {of}", style="bold"),
            ProgressBar(total=1.0, completed=share, width=30),
            Text(f"{100 * share:.0f} %, about {duration(left)} left"),
        )
        now = Text(f"{block.task.name}: {step} {setup.label if setup else ''}".rstrip())
        return Group(head, now, *(Text("  " + line) for line in self._ratios))


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
_STYLES = {"faster": "green", "slower": "red"}


def render(run: Run, summary: Summary, console: Console) -> None:
    """Print a run: a table with its verdict per task and phase, quality, what failed."""
    places = Places.of(summary)
    finals = {
        row.setup.id: fmt.quality(row.final, table.task.metric)
        for table in summary.qualities
        for row in table.rows
    }
    for table in summary.tables:
        _table(table, places, finals, console)
    several = len({it.device for it in summary.aggregates}) > 1
    if summary.tables:
        console.print(Text(INCREMENTAL, "dim"))
        console.print()
    for it in summary.aggregates:
        said = aggregate_sentence(it.label, it.baseline, it.speed, it.phase, it.tasks)
        console.print(Text(line(f"{it.device}: {said}" if several else said)))
    if summary.aggregates:
        console.print()
    for trained in summary.qualities:
        _quality(trained, places, console)
    _choices(run, summary, places, console)
    if not summary.tables and not summary.qualities:
        console.print(Text("No trial ended well, so there is nothing to compare.", "bold"))
    for trouble in troubles(summary):
        said = f"{trouble.label} on {trouble.task}: {trouble.status}, {trouble.trials}"
        why = f": {trouble.error}" if trouble.error else ""
        console.print(Text(f"{said}{why}", "red"), no_wrap=True, overflow="ellipsis")
    for what, reason in left_out(run):
        console.print(Text(f"left out: {what}: {reason}", "yellow"))
    for name, text in facts(run, summary):
        console.print(Text.assemble((f"{name}: ", "dim"), text))


def _table(table: Table, places: Places, finals: dict[str, str], console: Console) -> None:
    title = Text.assemble(
        (line(table.task.name), "bold"),
        " ",
        (table.phase + lane_mark(table.lane), "bold cyan"),
        _where(places, table),
    )
    console.print(title)
    shown = finals if table.phase == "train" else {}
    qualities = [shown.get(row.cell.setup.id, "") for row in table.rows]
    wide = console.width >= WIDE
    grid = RichTable(
        box=box.SIMPLE_HEAD, padding=(0, int(wide), 0, 0), pad_edge=False, show_edge=False
    )
    grid.add_column(Text("framework:mode"), overflow="fold", min_width=16)
    single = table.phase in LATENCY
    for name in ("p50", "p99") if single else ("examples\n/s", "median\nstep"):
        grid.add_column(Text(name), justify="right", no_wrap=True)
    grid.add_column(Text(f"× {line(table.baseline)}"), justify="right")
    # `cannot tell` in two lines leaves the interval in one, where there is a column for quality.
    tight = not wide and any(qualities) and any(it.speed.low for it in table.pairs)
    grid.add_column(Text("verdict"), max_width=8 if tight else None)
    grid.add_column(Text("incre-\nmental\npeak RSS"), justify="right", no_wrap=True)
    if any(qualities):
        grid.add_column(
            Text(_narrow(METRICS[table.task.metric].word)), justify="right", no_wrap=True
        )
    for row, quality in zip(table.rows, qualities, strict=True):
        grid.add_row(*_row(table, row), *([Text(quality)] if any(qualities) else []))
    console.print(grid)
    for row in table.rows:
        if row.unranked:
            console.print(Text(f"{label(row.cell.setup)}: {line(row.unranked)}", "yellow"))
    console.print(Text(line(table.sentence), "bold"))
    if sizes := by_how_much(table.pairs, table.precision):
        console.print(Text(line(sizes)))
    console.print()


def _narrow(word: str) -> str:
    """A heading for a narrow column, e.g. `accu-` above `racy`."""
    half = len(word) // 2
    return f"{word[:half]}-\n{word[half:]}" if len(word) > 6 else word


def _row(table: Table, row: CellRow) -> Iterable[Text]:
    name = row.cell.setup.label
    pair = next((it for it in table.pairs if it.label == name), None)
    ratio, verdict = fmt.NONE, fmt.NONE
    if name == table.baseline:
        ratio, verdict = fmt.SAME, "baseline"
    elif pair is not None:
        ratio, verdict = " ".join(fmt.ratio_interval(pair.speed)).strip(), pair.verdict
    if row.unranked:
        verdict = "not ranked"
    # The column's heading says that these are multiples.
    ratio = ratio.replace(" ×", "")
    return (
        Text(label(row.cell.setup), "bold" if name == table.winner else "").append(
            "\nyardstick" if name in table.yardsticks else "", "dim"
        ),
        *(Text(it) for it in (_single(row) if table.phase in LATENCY else _steady(row))),
        Text(ratio),
        Text(verdict, _STYLES.get(verdict, "")),
        Text(fmt.memory(row.memory.incremental_peak_rss)),
    )


def _steady(row: CellRow) -> tuple[str, str]:
    return fmt.number(row.examples_per_second.estimate), fmt.seconds(row.step.estimate)


def _single(row: CellRow) -> tuple[str, str]:
    """The distribution of single iterations, as far as there are readings for it."""
    if row.latency is None:
        return fmt.NONE, fmt.NONE
    shares = (row.latency.p50, row.latency.p99)
    p50, p99 = (fmt.NONE if it is None else fmt.seconds(it.estimate) for it in shares)
    return p50, p99


def _quality(table: QualityTable, places: Places, console: Console) -> None:
    what = METRICS[table.task.metric].word
    console.print(
        Text.assemble(
            (line(table.task.name), "bold"),
            f" {what}{_where(places, table)}: {spread_sentence(table)}",
        )
    )
    if table.task.target is not None:
        target = fmt.quality(table.task.target, table.task.metric)
        times = ", ".join(f"{label(row.setup)} {time_to_target(row)}" for row in table.rows)
        console.print(Text(f"Time to {target}: {times}."))
    console.print()


def _choices(run: Run, summary: Summary, places: Places, console: Console) -> None:
    told = choices(run, summary, places)
    if told:
        console.print(Text("Which should I choose?", "bold"))
    for it in (it for it in told if it.answer != UNKNOWN):
        why = f": {it.because}" if it.answer in (DEPENDS, UNDECIDED) else ""
        console.print(Text.assemble((f"{it.scenario}: ", "dim"), f"{it.answer}{why}"))
    unknown = [it.scenario for it in told if it.answer == UNKNOWN]
    if unknown:
        console.print(Text.assemble((f"{UNKNOWN}: ", "dim"), "; ".join(unknown)))
    if told:
        console.print()


def _where(places: Places, table: Table | QualityTable) -> str:
    place = places.differing(table)
    return f" ({place})" if place else ""
