"""`python -m harness.worker FD`: serve requests on a socket inherited from the runner.

Standard output and standard error belong to the framework; nothing here writes to them but the
traceback of a failure.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from multiprocessing.connection import Connection

from harness.adapter import Unsupported
from harness.records import Status
from harness.worker.measure import Diverged, OtherWork, settle
from harness.worker.messages import MAX_BYTES, REQUEST, Failed, Finish, Load, Reply
from harness.worker.session import Session

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent = int(sys.argv[2])
    die_with(parent)
    descriptor = int(sys.argv[1])
    # A process that the framework starts must not hold the channel open after our death.
    os.set_inheritable(descriptor, False)
    channel = Connection(descriptor)
    try:
        serve(channel)
    except BaseException as error:
        traceback.print_exc()
        send(channel, Failed(status=_status(error), error=_one_line(error)))
        sys.exit(1)


def die_with(parent: int) -> None:
    """Ask the kernel to kill this process when the runner dies, however it dies (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        sys.exit(1)


def serve(channel: Connection) -> None:
    request = REQUEST.validate_json(channel.recv_bytes(MAX_BYTES))
    if not isinstance(request, Load):
        raise ValueError("a worker must be loaded first")
    session = Session(request)
    reply: Reply = session.loaded
    while True:
        settle()
        send(channel, reply)
        if isinstance(request, Finish):
            return
        request = REQUEST.validate_json(channel.recv_bytes(MAX_BYTES))
        reply = session.answer(request)


def send(channel: Connection, reply: Reply) -> None:
    channel.send_bytes(reply.model_dump_json().encode())


def _status(error: BaseException) -> Status:
    match error:
        case Unsupported():
            return "unsupported"
        case Diverged():
            return "diverged"
        case MemoryError():
            return "out-of-memory"
    return "failed"


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, Unsupported | Diverged | OtherWork):
        return text[:500]
    return f"{type(error).__name__}: {text}"[:500]


if __name__ == "__main__":
    main()
