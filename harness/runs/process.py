"""A worker as the runner sees it: a process of its own that answers, or fails in a typed way."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO, Any, Protocol

from pydantic import ValidationError

import harness
from harness.cells import Setup
from harness.frameworks import frameworks
from harness.records import Status
from harness.worker.messages import MAX_BYTES, REPLY, Failed, Reply, Request

ROOT = Path(harness.__file__).parents[1]
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
TAIL_BYTES = 4000
LAST_WORDS_SECONDS = 5.0


class WorkerFailed(Exception):
    """The worker is gone, or as good as gone; `status` says how."""

    def __init__(self, status: Status, error: str) -> None:
        super().__init__(error)
        self.status: Status = status
        self.error = error


class Worker(Protocol):
    """What a block needs of a worker; tests have one whose times are given."""

    def request(self, request: Request, limit: float) -> Reply:
        """Ask and wait, asleep, at most `limit` seconds. Raises WorkerFailed."""

    def stderr_tail(self) -> str:
        """The end of what it wrote to standard error."""

    def close(self) -> None:
        """End it, and everything that it started."""


class WorkerProcess:
    """A fresh process group, driven over a socket of its own."""

    def __init__(self, setup: Setup, log: Path) -> None:
        self._log = log
        ours, theirs = socket.socketpair()
        with theirs:
            self._channel = Connection(ours.detach())
            # Safe path (-P): no folder of the user's may shadow a framework.
            command = [sys.executable, "-P", "-m", "harness.worker"]
            try:
                with log.open("wb") as output:
                    self._process = subprocess.Popen(
                        [*command, str(theirs.fileno()), str(os.getpid())],
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        pass_fds=[theirs.fileno()],
                        env=environment(setup),
                        start_new_session=True,
                    )
            except OSError as error:
                self._channel.close()
                raise WorkerFailed("not-started", str(error)) from None
        self._ended = _watch(self._process.pid)

    def request(self, request: Request, limit: float) -> Reply:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # told below
            self._channel.send_bytes(request.model_dump_json().encode())
        # Woken by an answer or by the end of the process, even where a child of the worker
        # still holds the socket.
        waited: list[Any] = [self._channel]
        if self._ended is not None:
            waited.append(self._ended)
        ready = wait(waited, limit)
        if not ready:
            self.close()
            raise WorkerFailed("hung", f"no answer to '{request.ask}' within {limit:.0f} s")
        reply = self._read()
        if isinstance(reply, Failed):
            raise WorkerFailed(reply.status, reply.error)
        return reply

    def _read(self) -> Reply:
        try:
            if self._channel.poll(0):
                return REPLY.validate_json(self._channel.recv_bytes(MAX_BYTES))
        except ValidationError:
            self.close()
            raise WorkerFailed("failed", "the worker sent something that is no answer") from None
        except (EOFError, OSError):
            pass
        raise self._exit()

    def _exit(self) -> WorkerFailed:
        try:
            code = self._process.wait(LAST_WORDS_SECONDS)
        except subprocess.TimeoutExpired:
            self.close()
            return WorkerFailed("failed", "the worker closed its channel without an answer")
        if code == 0:
            return WorkerFailed("no-result", "the worker exited 0 without an answer")
        if code < 0:
            return WorkerFailed("crashed", f"killed by {signal.Signals(-code).name}")
        return WorkerFailed("crashed", f"exited with code {code}")

    def stderr_tail(self) -> str:
        try:
            with self._log.open("rb") as log:
                log.seek(max(0, self._log.stat().st_size - TAIL_BYTES))
                return log.read().decode("utf-8", errors="replace")
        except OSError:
            return ""

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._channel.close()
        if self._ended is not None:
            self._ended.close()
            self._ended = None
        if self._log.exists() and not self._log.stat().st_size:
            self._log.unlink()


def environment(setup: Setup) -> Mapping[str, str]:
    """The worker's environment: thread counts and the device, set before anything is imported."""
    variables = dict(os.environ)
    variables |= dict.fromkeys(THREAD_VARIABLES, str(setup.threads))
    if setup.device == "cpu":
        variables["CUDA_VISIBLE_DEVICES"] = ""
    variables |= frameworks()[setup.framework].environment
    paths = [str(ROOT), variables.get("PYTHONPATH", "")]
    variables["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return variables


def _watch(pid: int) -> IO[bytes] | None:
    """A file that becomes readable when the process ends (Linux), else None."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return open(os.pidfd_open(pid), "rb", buffering=0)
    except OSError:
        return None
