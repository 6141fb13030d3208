"""`python -m harness.worker FD`: serve requests on a socket inherited from the runner.

Standard output and standard error belong to the framework; nothing here writes to them but the
traceback of a failure.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from multiprocessing.connection import Connection

from harness.adapter import Unsupported
from harness.errors import in_one_line
from harness.records import Status
from harness.worker.measure import Diverged, OtherWork
from harness.worker.messages import (
    MAX_BYTES,
    REQUEST,
    Failed,
    Finish,
    Finished,
    ForkReply,
    Load,
    Reply,
    connected,
)
from harness.worker.session import NotImported, Session, lacking
from harness.worker.system import (
    adopt_orphans,
    end_escaped,
    exhausted,
    lift_limit,
    limit_memory,
    ran_out,
)
from harness.worker.usage import UsageCount


def main() -> None:
    sys.exit(work(connected()))


def work(channel: Connection) -> int:
    """A worker's whole life; returns its exit code."""
    try:
        serve(channel)
    except BaseException as error:
        full, limit = exhausted(), lift_limit()
        with contextlib.suppress(OSError):  # where its output goes the disk may be full
            traceback.print_exc()
        send(channel, failed(error, full, limit))
        return 1
    finally:
        end_escaped()
    return 0


def serve(channel: Connection) -> None:
    request = REQUEST.validate_json(channel.recv_bytes(MAX_BYTES))
    if not isinstance(request, Load):
        raise ValueError("a worker must be loaded first")
    if request.memory_limit is not None:
        limit_memory(request.memory_limit)
    adopt_orphans()
    count = UsageCount()
    with lacking(request.setup):
        session = Session(request)
    reply: Reply = session.loaded
    while True:
        count.turn_ended(count.settle())
        if isinstance(reply, Finished):
            reply = reply.model_copy(update={"usage": session.with_growth(count.found())})
        send(channel, reply)
        if isinstance(request, Finish):
            return
        request = REQUEST.validate_json(channel.recv_bytes(MAX_BYTES))
        count.turn_begun()
        reply = session.answer(request)


def send(channel: Connection, reply: Reply | ForkReply) -> None:
    channel.send_bytes(reply.model_dump_json().encode())


def failed(error: BaseException, full: bool = False, limit: int | None = None) -> Failed:
    """What a worker tells of its end; `full` where its memory, `limit` at most, ran out."""
    status, line = _status(error, full), _one_line(error)
    if status == "out-of-memory" and limit is not None:
        line += f" (it may have {limit / 1e9:.3g} GB)"
    return Failed(status=status, error=line)


def _status(error: BaseException, full: bool) -> Status:
    match error:
        case Unsupported():
            return "unsupported"
        case Diverged():
            return "diverged"
    return "out-of-memory" if full or ran_out(error) else "failed"


def _one_line(error: BaseException) -> str:
    ours = isinstance(error, Unsupported | Diverged | OtherWork | NotImported)
    return in_one_line(error, named=not ours)


if __name__ == "__main__":
    main()
