"""Figures drawn in a process of their own, while this one writes the rest of the report.

As a program it reads pickled charts from its input and writes the drawings to its output.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
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
        self._child: subprocess.Popen[bytes] | None = None
        if sum(it is not None for chart in charts for row in chart.panels for it in row) < MANY:
            return
        self._child = subprocess.Popen(
            [sys.executable, "-m", "harness.report.apart"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(pickle.dumps(charts))
            self._child.stdin.close()
        except BrokenPipeError:
            pass  # it has failed, which `drawings` makes good

    def drawings(self) -> list[Drawing]:
        """All of them; what a second process could not draw is drawn here."""
        if self._child is not None:
            assert self._child.stdout is not None
            with self._child.stdout as answer:
                told = answer.read()
            if self._child.wait() == 0:
                drawn: list[Drawing] = pickle.loads(told)
                return drawn
        from harness.report.figures import draw

        return draw(self._charts)


def main() -> None:
    """Read first: whoever asked may go on while this imports what it draws with."""
    told = sys.stdin.buffer.read()
    from harness.report.figures import draw

    sys.stdout.buffer.write(pickle.dumps(draw(pickle.loads(told))))


if __name__ == "__main__":
    main()
