"""Figures drawn in a second process, while this one writes the rest of the report."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from ctypes import Structure, c_int
from typing import TYPE_CHECKING, Self

from harness.report.chart import Chart

if TYPE_CHECKING:
    from harness.report.figures import Drawing

MANY = 500
"""Trials from which on a second process is worth its start."""


class Meeting(Structure):
    """Pages that the second process has begun, and the end of those that it may begin."""

    _fields_ = (("begun", c_int), ("end", c_int))


class Artist:
    """Draws beside this process what was made of `trials`, if there is that much to draw.

    The second process starts at once: it has imported matplotlib when the charts are there. It
    draws from the first page on and this one, when it has nothing else to do, from the last, until
    the two meet; where they do, one page may be drawn twice.
    """

    def __init__(self, trials: int) -> None:
        self._meeting = Meeting(0, 0)
        self._pages: list[Chart] = []
        self._futures: list[Future[list[Drawing]]] = []
        self._pool: ProcessPoolExecutor | None = None
        if trials >= MANY and not _in_script():
            self._start()

    def _start(self) -> None:
        # Not forked: who reports may have threads, and what they hold would be held for ever.
        spawn = multiprocessing.get_context("spawn")
        try:
            meeting = spawn.RawValue(Meeting, 0, 0)
            pool = ProcessPoolExecutor(1, spawn, _prepare, (meeting,))
            pool.submit(draw, ())
        except OSError:
            return  # no room for what two processes share
        self._pool, self._meeting = pool, meeting

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            # Not by cancelling: where the process was killed, a thread of the pool would raise.
            self._meeting.end = 0
            self._pool.shutdown(wait=False)

    def begin(self, charts: Sequence[Chart]) -> None:
        """Hand the charts over, page by page."""
        from harness.report import figures

        self._pages = figures.pages(charts)
        self._meeting.end = len(self._pages)
        if self._pool is not None:
            try:
                for number, page in enumerate(self._pages):
                    self._futures.append(self._pool.submit(_draw, number, page))
            except BrokenProcessPool:
                pass

    def drawings(self) -> list[Drawing]:
        """All figures, in order."""
        found = [self._drawn(number) for number in reversed(range(len(self._pages)))]
        return [drawing for it in reversed(found) for drawing in it]

    def _drawn(self, number: int) -> list[Drawing]:
        if number < min(self._meeting.begun, len(self._futures)):
            try:
                return self._futures[number].result()
            except BrokenProcessPool:
                pass  # it was killed
        self._meeting.end = number
        return draw(self._pages[number : number + 1])


def _in_script() -> bool:
    """A new process imports the main module: a script that is no module would run once more."""
    main = sys.modules["__main__"]
    return getattr(main, "__spec__", None) is None and hasattr(main, "__file__")


def draw(charts: Sequence[Chart]) -> list[Drawing]:
    """In this process; matplotlib is imported only where it draws."""
    from harness.report import figures

    return figures.draw(charts)


def _prepare(meeting: Meeting) -> None:
    """In the second process, before all else."""
    global _meeting
    _meeting = meeting
    # An interrupt reaches the whole group: this process ends when the other wants no more of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _draw(number: int, page: Chart) -> list[Drawing]:
    if number >= _meeting.end:
        return []
    _meeting.begun = number + 1
    return draw((page,))


_meeting: Meeting
