"""How a process that the runner started hears from it, and ends with it.

Imports nothing but the standard library.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from multiprocessing.connection import Connection

PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Ask the kernel to kill this process when the runner dies, however it dies (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        sys.exit(1)


def connected() -> Connection:
    """The channel that the command line names, `… DESCRIPTOR PARENT`; without the parent this
    process ends."""
    descriptor, parent = map(int, sys.argv[1:3])
    die_with(parent)
    # A process that the framework starts must not hold the channel open after our death.
    os.set_inheritable(descriptor, False)
    return Connection(descriptor)
