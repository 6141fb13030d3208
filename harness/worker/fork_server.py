"""`python -m harness.worker.fork_server FD PARENT`: import a framework once, then fork workers.

No thread lives on in a forked child, and a lock that it held stays locked.

Nothing of the framework is used here but the modules that it declares as harmless: threads,
devices, graphs and tensors begin in the worker, where they are measured. If the import itself has
started threads, nothing is forked.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle

import threadpoolctl

from harness.cells import Setup
from harness.frameworks import declaration
from harness.worker import messages
from harness.worker.session import failed, implementation, refuse_other_version, send, work
from harness.worker.system import adopt_orphans, hide_from, still_running, text_of, threads_of

RESTARTED = "jemalloc"
"""How the names of threads begin that end before a fork and start again after it."""


def lost_threads() -> int:
    """How many threads of this process a forked child would miss; 0 where they cannot be counted.

    Those of OpenBLAS are not missed: it ends them before a fork, and begins them anew.
    """
    libraries = threadpoolctl.threadpool_info()
    blas: list[int] = [it["num_threads"] for it in libraries if it["internal_api"] == "openblas"]
    kept = 1 + sum(it - 1 for it in blas)
    names = [text_of(it / "comm") for it in threads_of("self")]  # empty: it has ended
    lasting = sum(bool(it) and not it.startswith(RESTARTED) for it in names)
    return max(threading.active_count() - 1, lasting - kept)


def left_behind(*, processes: bool = True) -> str:
    """What a forked child would not have, e.g. `2 threads`; empty where it would have all.

    Processes that an import started would be children of no worker, so nothing would count them.
    """
    if lost := lost_threads():
        return f"{lost} threads"
    started = still_running() if processes else 0
    return f"{started} processes" if started else ""


def main() -> None:
    channel = messages.connected()
    adopt_orphans()
    forked = False
    while True:
        try:
            request = messages.FORK_REQUEST.validate_json(channel.recv_bytes(messages.MAX_BYTES))
        except EOFError:
            return
        match request:
            case messages.Import(setups=setups):
                try:
                    _import(setups, forked)
                except Exception as error:
                    traceback.print_exc()
                    send(channel, failed(error))
                    return
                send(channel, messages.Imported())
            case messages.Fork(environment=environment):
                forked = True
                send(channel, messages.Forked(pid=_fork(channel, environment)))
            case messages.Reap(pid=pid):
                ended, status = os.waitpid(pid, os.WNOHANG)
                code = os.waitstatus_to_exitcode(status) if ended else None
                send(channel, messages.Reaped(code=code))


def _import(setups: tuple[Setup, ...], forked: bool) -> None:
    """Import what workers of these setups, all of one framework, import until they are built."""
    framework = declaration(setups[0].framework)
    hide_from(framework)
    refuse_other_version(setups[0])
    for setup in setups:
        implementation(setup)
        if ahead := framework.tuning.ahead.get(setup.mode):
            importlib.import_module(ahead)
    # Workers that were forked before are processes of this one too.
    if lost := left_behind(processes=not forked):
        raise RuntimeError(
            f"{lost} run once {setups[0].framework} is imported, and a forked worker would wait "
            "for them for ever, or not count them: its workers start fresh"
        )


def _fork(channel: Connection, environment: dict[str, str]) -> int:
    """Fork a worker into its own process group; its channel and its log follow the request."""
    theirs, log = recv_handle(channel), recv_handle(channel)
    parent = os.getpid()
    # A garbage collection of the worker would copy every page of what is here already.
    gc.collect()
    gc.freeze()
    if pid := os.fork():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.setpgid(pid, pid)  # here too: the group must exist before something ends it
        os.close(theirs)
        os.close(log)
        return pid
    code = 1
    try:
        messages.die_with(parent)
        os.setpgid(0, 0)
        channel.close()
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        os.environ.update(environment)
        code = work(Connection(theirs))
    finally:  # never back into the code of the fork server
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
