"""Printing: streams that survive a closed reader, and a console that prints no foreign sequences.

Names, errors and settings may come from a foreign framework or store, and hold terminal sequences.
The streams make every print harmless; `Console` does so before it adds colours. Commands never
print with Rich's console (`tests/test_printing.py`).
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, TextIO, cast

import rich.console
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from harness.frameworks import faults
from harness.records import Unavailable
from harness.report.safe_text import line, shown

if TYPE_CHECKING:
    from harness.runs.plan import Plan

GONE = (errno.EPIPE, errno.EIO)
"""What writing to a closed pipe and to a closed terminal fails with."""


class Lasting(io.FileIO):
    """A descriptor for writing; once its reader has closed it, it becomes the null device."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            if error.errno not in GONE:
                raise
            _null(self.fileno())
            return memoryview(data).nbytes  # type: ignore[arg-type]


class SafeText(io.TextIOWrapper):
    """A text stream in which control characters and terminal sequences do nothing."""

    def write(self, text: str) -> int:
        super().write(shown(text))
        return len(text)

    def write_unchanged(self, text: str) -> int:
        """For `Console`, which makes texts harmless before it adds colours."""
        return super().write(text)


def outlive_readers() -> None:
    """Replace `sys.stdout` and `sys.stderr`. Streams that are closed become the null device."""
    # Else a store or a worker's channel would take their numbers.
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            _null(descriptor)
    sys.stdout, sys.stderr = _lasting(sys.stdout, 1), _lasting(sys.stderr, 2)


def _lasting(stream: TextIO | None, descriptor: int) -> TextIO:
    return SafeText(
        io.BufferedWriter(Lasting(descriptor)),
        encoding=stream.encoding if stream else "utf-8",
        errors=stream.errors if stream else "replace",
        line_buffering=True,
    )


def _null(descriptor: int) -> None:
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != descriptor:
        os.dup2(opened, descriptor)
        os.close(opened)


class _Unchanged:
    """The same stream for `Console`."""

    def __init__(self, stream: SafeText) -> None:
        self._stream = stream
        self.write = stream.write_unchanged

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


class Console(rich.console.Console):
    """Rich's console, in which texts bring no terminal sequences and no links."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for part in super().render(renderable, options):
            if part.control:
                yield part
            else:
                style = part.style
                if style is not None and style.link:
                    style = style.update_link(None)
                yield Segment(shown(part.text), style)

    @property
    def file(self) -> IO[str]:
        stream = super().file
        return cast("IO[str]", _Unchanged(stream)) if isinstance(stream, SafeText) else stream

    @file.setter
    def file(self, new: IO[str]) -> None:
        self._file = new


def print_text(console: rich.console.Console, text: str, style: str = "") -> None:
    """Print plain text; the terminal breaks its lines, so that they can be copied whole."""
    console.print(Text(text, style), soft_wrap=True)


def print_left_out(
    planned: Iterable[Unavailable], console: Console, notes: Iterable[str] = ()
) -> None:
    """Print the notes, then what a plan leaves out and every folder that holds no framework."""
    for note in notes:
        print_text(console, f"note: {note}")
    left_out = [(it.what, it.reason) for it in planned]
    for what, why in dict.fromkeys((*left_out, *faults())):
        print_text(console, f"left out: {what}: {line(why)}")


def print_overruled(plan: Plan, console: Console) -> None:
    """Print which environment variables of the user do not count, and what replaces them."""
    from harness.runs.process import overruled  # `list` needs none of what this imports

    if text := overruled(plan.setups):
        print_text(console, text)
