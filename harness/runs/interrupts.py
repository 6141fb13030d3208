"""What Ctrl-C and other requests to end do.

Ctrl-C lets the block under way come to its end; a second one ends it at once. SIGTERM and a closed
terminal end it at once, too: whoever sends them will not wait for long. In every case what was
measured is kept, and reported.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

ENDING = ("SIGTERM", "SIGHUP")


def install() -> None:
    """Make the signals that ask a process to end interrupt it, as Ctrl-C does.

    What is ignored stays ignored: that is how `nohup` works.
    """
    for name in ENDING:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _once)


def _once(number: int, frame: FrameType | None) -> None:
    # A terminal that closes may say so twice; the report of what is there is still to be written.
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextlib.contextmanager
def patient() -> Iterator[Callable[[], bool]]:
    """Within, a first Ctrl-C is only remembered; the value says whether there was one."""
    asked = False

    def remember(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    # Who began in the background ignores Ctrl-C, and is to go on doing so.
    listening = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if listening:
        signal.signal(signal.SIGINT, remember)
    try:
        yield lambda: asked
    finally:
        if listening:
            signal.signal(signal.SIGINT, signal.default_int_handler)
