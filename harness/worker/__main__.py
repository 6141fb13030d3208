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
from harness.worker import messages, system
from harness.worker.measure import Diverged, OtherWork
from harness.worker.messages import Failed, Finished, Load
from harness.worker.session import NotImported, Session, lacking
from harness.worker.usage import UsageCount


def main() -> None:
    sys.exit(work(messages.connected()))


def work(channel: Connection) -> int:
    """Serve until the end; returns the exit code."""
    try:
        serve(channel)
    except BaseException as error:
        full, limit = system.exhausted(), system.lift_limit()
        with contextlib.suppress(OSError):  # the disk of its log may be full
            traceback.print_exc()
        send(channel, failed(error, full, limit))
        return 1
    finally:
        system.end_escaped()
    return 0


def serve(channel: Connection) -> None:
    request = messages.REQUEST.validate_json(channel.recv_bytes(messages.MAX_BYTES))
    if not isinstance(request, Load):
        raise ValueError("a worker must be loaded first")
    if request.memory_limit is not None:
        system.limit_memory(request.memory_limit)
    system.adopt_orphans()
    count = UsageCount()
    with lacking(request.setup):
        session = Session(request)
    reply: messages.Reply = session.loaded
    while True:
        count.turn_ended(count.settle())
        if isinstance(reply, Finished):
            reply = reply.model_copy(update={"usage": session.with_growth(count.usage)})
        send(channel, reply)
        if isinstance(request, messages.Finish):
            return
        request = messages.REQUEST.validate_json(channel.recv_bytes(messages.MAX_BYTES))
        count.turn_begun()
        reply = session.answer(request)


def send(channel: Connection, reply: messages.Reply | messages.ForkReply) -> None:
    channel.send_bytes(reply.model_dump_json().encode())


def failed(error: BaseException, full: bool = False, limit: int | None = None) -> Failed:
    """The reply of a worker that ends; `full` where its memory, `limit` at most, ran out."""
    known = isinstance(error, Unsupported | Diverged | OtherWork | NotImported)
    line = in_one_line(error, named=not known)
    if isinstance(error, Unsupported):
        return Failed(status="unsupported", error=line)
    if isinstance(error, Diverged):
        return Failed(status="diverged", error=line)
    if not (full or system.ran_out(error)):
        return Failed(status="failed", error=line)
    if limit is not None:
        line += f" (it may have {limit / 1e9:.3g} GB)"
    return Failed(status="out-of-memory", error=line)


if __name__ == "__main__":
    main()
