"""Figures drawn in a second process, while this one writes the rest of the report."""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
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
MOST = 2**31 - 1
"""Pages, before anybody counted them."""


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
        self._charts: Sequence[Chart] = ()
        self._drawn: Future[list[list[Drawing]]] | None = None
        self._pool: ProcessPoolExecutor | None = None
        if trials >= MANY and not _in_script():
            self._start()

    def _start(self) -> None:
        # Not forked: who reports may have threads, and what they hold would be held for ever.
        spawn = multiprocessing.get_context("spawn")
        try:
            meeting = spawn.RawValue(Meeting, 0, 0)
            pool = ProcessPoolExecutor(1, spawn, _prepare, (meeting,))
            pool.submit(int)  # starts it
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
        """Hand the charts over."""
        self._charts, self._meeting.end = charts, MOST
        if self._pool is not None:
            with contextlib.suppress(BrokenProcessPool):
                self._drawn = self._pool.submit(_draw, charts)

    @functools.cached_property
    def pages(self) -> list[Chart]:
        """What is drawn, a page each."""
        return _pages(self._charts)

    def drawings(self) -> list[Drawing]:
        """All figures, in order."""
        pages = self.pages
        last: list[list[Drawing]] = []
        while self._meeting.begun < (end := len(pages) - len(last)):
            self._meeting.end = end - 1
            last.append(draw(pages[end - 1 : end], of=len(pages)))
        end = len(pages) - len(last)
        first = self._first()[:end]  # both may have begun the page where they met
        missing = draw(pages[len(first) : end], of=len(pages))
        return [*itertools.chain(*first), *missing, *itertools.chain(*reversed(last))]

    def _first(self) -> list[list[Drawing]]:
        """What the second process drew, page by page; nothing where it was killed."""
        if self._drawn is None:
            return []
        try:
            return self._drawn.result()
        except BrokenProcessPool:
            return []


def _in_script() -> bool:
    """A new process imports the main module: a script that is no module would run once more."""
    main = sys.modules["__main__"]
    return getattr(main, "__spec__", None) is None and hasattr(main, "__file__")


def draw(pages: Sequence[Chart], of: int) -> list[Drawing]:
    """Some of so many pages, in this process; matplotlib is imported only where it draws."""
    from harness.report import figures

    return figures.draw(pages, figures.dots(of))


def _pages(charts: Sequence[Chart]) -> list[Chart]:
    from harness.report import figures

    return figures.pages(charts)


def _prepare(meeting: Meeting) -> None:
    """In the second process, before all else."""
    from harness.report import figures  # noqa: F401 - while there is nothing to draw yet

    gc.disable()  # nothing that it draws goes in circles, and to look for that takes a tenth
    global _meeting
    _meeting = meeting
    # An interrupt reaches the whole group: this process ends when the other wants no more of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _draw(charts: Sequence[Chart]) -> list[list[Drawing]]:
    """The first pages, each by itself, up to the end."""
    found: list[list[Drawing]] = []
    pages = _pages(charts)
    for page in pages:
        if len(found) >= _meeting.end:
            break
        _meeting.begun = len(found) + 1
        found.append(draw((page,), of=len(pages)))
    return found


_meeting: Meeting
