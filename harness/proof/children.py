"""A function run in a forked child: it may crash, hang or use up memory without harm to others."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import IO, Any

from harness.adapter import Unsupported
from harness.errors import in_one_line
from harness.worker.descendants import adopt_orphans, end_all, end_descendants
from harness.worker.lifeline import die_with


class ChildFailed(Exception):
    """It ended without an answer; the message says how."""


def in_child(
    function: Callable[[], str], limit: float, keep_imports: bool = True, *, fresh: bool = False
) -> str:
    """What `function` returns in a child of this process, which may take `limit` seconds.

    With `keep_imports` modules that it imported on the way are imported here too: the next child
    has them at once. A `fresh` child is no copy of this process and imports everything itself; the
    function must be one that can be pickled.
    Raises Unsupported if it did, and ChildFailed for any other way not to answer.
    """
    reader, writer = multiprocessing.Pipe(duplex=False)
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    if fresh:
        spawned = multiprocessing.get_context("spawn").Process(
            target=_live, args=(function, writer, parent)
        )
        spawned.start()
        child = spawned.pid or 0
    else:
        # What is here already no child need search for garbage: to look is to copy, page by page.
        gc.freeze()
        child = os.fork()
        if not child:
            _live(function, writer, parent)
    writer.close()
    try:
        return _understood(_answer(reader, child, limit), keep_imports and not fresh)
    finally:
        reader.close()
        end_descendants(child)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, 0)


def _live(function: Callable[[], str], writer: Connection, parent: int) -> None:
    """The child's whole life; it must not return into its parent's code."""
    try:
        die_with(parent)
        adopt_orphans()
        before = set(sys.modules)
        answer = function()
        _send(writer, "answer", answer, [it for it in sys.modules if it not in before])
    except Unsupported as reason:
        _send(writer, "unsupported", str(reason))
    except BaseException as error:
        traceback.print_exc()
        _send(writer, "failure", in_one_line(error))
    finally:
        end_all()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _send(writer: Connection, kind: str, text: str, imported: Sequence[str] = ()) -> None:
    writer.send_bytes(json.dumps([kind, text, list(imported)]).encode())


def _answer(reader: Connection, child: int, limit: float) -> bytes:
    with open_ended(child) as ended:
        waited: list[Any] = [reader, *([ended] if ended else [])]
        if not wait(waited, limit):
            raise ChildFailed(f"no result within {limit:.0f} s")
        with contextlib.suppress(EOFError, OSError):
            if reader.poll(0):
                return reader.recv_bytes()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
    raise ChildFailed(f"its process {how}")


def _understood(message: bytes, keep_imports: bool) -> str:
    kind, text, imported = json.loads(message)
    for name in imported if keep_imports else ():
        with contextlib.suppress(Exception):  # some are made on the fly, and need not be here
            importlib.import_module(name)
    if kind == "unsupported":
        raise Unsupported(text)
    if kind == "failure":
        raise ChildFailed(text)
    return str(text)


def open_ended(pid: int) -> contextlib.AbstractContextManager[IO[bytes] | None]:
    """A file that becomes readable when a process ends, where the system has such (Linux)."""
    if not hasattr(os, "pidfd_open"):
        return contextlib.nullcontext()
    return open(os.pidfd_open(pid), "rb", buffering=0)
