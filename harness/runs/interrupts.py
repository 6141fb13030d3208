"""What Ctrl-C and other requests to end do.

After Ctrl-C the block under way comes to its end; a second one, SIGTERM or a closed terminal ends
it at once. In every case what was measured is kept, and reported.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType


def install() -> None:
    """Make the signals that ask a process to end interrupt it, as Ctrl-C does.

    What is ignored stays ignored: that is how `nohup` works.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _once)


def _once(number: int, frame: FrameType | None) -> None:
    # A terminal that closes may signal twice; the report of what was measured is still to come.
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextlib.contextmanager
def patient() -> Iterator[Callable[[], bool]]:
    """Within, a first Ctrl-C is only remembered; the value tells whether there was one."""
    asked = False

    def remember(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    # A process that was started in the background ignores Ctrl-C, and goes on to do so.
    listening = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if listening:
        signal.signal(signal.SIGINT, remember)
    try:
        yield lambda: asked
    finally:
        if listening:
            signal.signal(signal.SIGINT, signal.default_int_handler)
