"""`Console`: what prints tables, colours and progress, and makes texts of strangers inert.

Commands print with this one and never with Rich's own; `tests/test_printing.py` says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, cast

import rich.console
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

from harness.report.inert import shown
from harness.streams import Inert


class _Unchanged:
    """The same stream for `Console`."""

    def __init__(self, stream: Inert) -> None:
        self._stream = stream
        self.write = stream.write_unchanged

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


class Console(rich.console.Console):
    """Rich's, in which texts hold no terminal sequences: those are its own alone, and no links."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for it in super().render(renderable, options):
            if it.control:
                yield it
            else:
                style = it.style.update_link(None) if it.style and it.style.link else it.style
                yield Segment(shown(it.text), style)

    @property
    def file(self) -> IO[str]:
        found = super().file
        return cast("IO[str]", _Unchanged(found)) if isinstance(found, Inert) else found

    @file.setter
    def file(self, new: IO[str]) -> None:
        self._file = new
