"""A run while it goes on: what runs now, the ratios so far, the time left.

Everything is drawn between turns, never from a thread of its own: while a worker is timed the
runner sleeps.
"""

from __future__ import annotations

import time

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table as Grid
from rich.text import Text

from harness.analysis.summary import Summary, summarise
from harness.analysis.words import ratio
from harness.cells import Setup
from harness.records import Record
from harness.report.format import duration, seconds
from harness.runs.block import Block, Step
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
