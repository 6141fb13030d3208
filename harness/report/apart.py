"""A part of the report made in a second process, while this one makes the rest."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import itertools
import mmap
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Generic, Self, TypeVar, cast

from harness.report.chart import Chart
from harness.worker.messages import die_with

if TYPE_CHECKING:
    from harness.report.figures import Drawing

MANY = 500
"""Trials from which on a second process is worth its start."""
MOST = 2**31 - 1
"""Pages, before anybody counted them."""

Made = TypeVar("Made")


class Meeting(ctypes.Structure):
    """Pages that the second process has begun, and the end of those that it may begin."""

    _fields_ = (("begun", ctypes.c_int), ("end", ctypes.c_int))


class Helper(Generic[Made]):
    """Runs an errand and draws charts, beside this process if `trials` are enough to make it pay.

    The second process is a copy of this one, so that it needs to be told nothing. After the errand
    it draws from the first page on; this process, when it has nothing else to do, from the last,
    until the two meet; where they do, one page may be drawn twice.
    """

    def __init__(self, errand: Callable[[], Made], charts: Sequence[Chart], trials: int) -> None:
        self._errand, self._charts = errand, charts
        self._meeting = Meeting(0, MOST)
        self._pool: ProcessPoolExecutor | None = None
        self._run: Future[Made] | None = None
        self._drawn: Future[list[list[Drawing]]] | None = None
        if trials >= MANY and _may_fork():
            self._start()

    def _start(self) -> None:
        self._meeting = Meeting.from_buffer(mmap.mmap(-1, ctypes.sizeof(Meeting)))
        self._meeting.end = MOST
        fork = multiprocessing.get_context("fork")
        given = (os.getpid(), self._meeting, self._errand, self._charts)
        # No room for another process, or it was killed at once: then there is none.
        with contextlib.suppress(OSError, BrokenProcessPool), warnings.catch_warnings():
            # The threads that Python 3.12 warns of are those of the BLAS, which stops them before
            # a fork and starts them after it.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pool = ProcessPoolExecutor(1, fork, _prepare, given)
            self._run = cast("Future[Made]", self._pool.submit(_run_errand))
            self._drawn = self._pool.submit(_draw)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            # Not by cancelling: where the process was killed, a thread of the pool would raise.
            self._meeting.end = 0
            self._pool.shutdown(wait=False)

    def made(self) -> Made:
        """What the errand brings; whatever it raises."""
        if self._run is not None:
            with contextlib.suppress(BrokenProcessPool):
                return self._run.result()
        return self._errand()

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
        if self._drawn is not None:
            with contextlib.suppress(BrokenProcessPool):
                return self._drawn.result()
        return []


def _may_fork() -> bool:
    """What another thread holds at that moment, its copy would hold for ever."""
    return sys.platform == "linux" and threading.active_count() == 1


def draw(pages: Sequence[Chart], of: int) -> list[Drawing]:
    """Some of so many pages, in this process; matplotlib is imported only where it draws."""
    from harness.report import figures

    return figures.draw(pages, figures.dots(of))


def _pages(charts: Sequence[Chart]) -> list[Chart]:
    from harness.report import figures

    return figures.pages(charts)


_meeting: Meeting
_errand: Callable[[], object]
_charts: Sequence[Chart]


def _prepare(
    parent: int, meeting: Meeting, errand: Callable[[], object], charts: Sequence[Chart]
) -> None:
    """In the second process, before all else."""
    die_with(parent)
    # An interrupt reaches the whole group: this process ends when the other wants no more of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()  # nothing that it draws goes in circles, and to look for that takes a tenth
    global _meeting, _errand, _charts
    _meeting, _errand, _charts = meeting, errand, charts


def _run_errand() -> object:
    return _errand()


def _draw() -> list[list[Drawing]]:
    """The first pages, each by itself, up to the end."""
    found: list[list[Drawing]] = []
    pages = _pages(_charts)
    for page in pages:
        if len(found) >= _meeting.end:
            break
        _meeting.begun = len(found) + 1
        found.append(draw((page,), of=len(pages)))
    return found
