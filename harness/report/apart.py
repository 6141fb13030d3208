"""Figures drawn in a process of their own, while this one writes the rest of the report."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.report.chart import Chart
    from harness.report.figures import Drawing

MANY = 40
"""Panels from which on a second process is worth its start."""


class Drawn:
    """The drawings of some charts, under way from the beginning where there are many."""

    def __init__(self, charts: Sequence[Chart]) -> None:
        self._charts = charts
        self._under_way: Future[list[Drawing]] | None = None
        if sum(it is not None for chart in charts for row in chart.panels for it in row) < MANY:
            return
        # Not forked: who reports may have threads, and what they hold would be held for ever.
        pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        self._under_way = pool.submit(drawn, charts)
        pool.shutdown(wait=False)

    def drawings(self) -> list[Drawing]:
        """All of them; what a second process could not draw is drawn here."""
        if self._under_way is not None:
            try:
                return self._under_way.result()
            except BrokenProcessPool:
                pass  # it was killed, or could not begin
        return drawn(self._charts)


def drawn(charts: Sequence[Chart]) -> list[Drawing]:
    """Importing matplotlib only where it is drawn with."""
    from harness.report.figures import draw

    return draw(charts)
