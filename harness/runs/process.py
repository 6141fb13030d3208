"""A worker as the runner sees it: a process of its own that answers, or fails in a typed way."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO, Any, ClassVar, Protocol

from pydantic import TypeAdapter, ValidationError

import harness
from harness import venvs
from harness.cells import Setup
from harness.environment import CLEARED, DEBUGGING, PLACEMENT, THREAD_LIMITS, THREAD_VARIABLES
from harness.frameworks import frameworks
from harness.privacy import clean, copy_clean
from harness.records import Status
from harness.runs.files import plain
from harness.worker.messages import MAX_BYTES, REPLY, Failed, Reply
from harness.worker.system import end_descendants, is_out_of_memory

ROOT = Path(harness.__file__).parents[1]
TAIL_BYTES = 4000
LAST_WORDS_SECONDS = 5.0


class WorkerFailed(Exception):
    """The worker is gone, or as good as gone; `status` says how. Its text has nothing private."""

    def __init__(self, status: Status, error: str) -> None:
        error = clean(error)
        super().__init__(error)
        self.status: Status = status
        self.error = error


class Message(Protocol):
    """What any kind of process is asked: a request of `harness.worker.messages` or its like."""

    @property
    def ask(self) -> str: ...

    def model_dump_json(self) -> str: ...


class Process(Protocol):
    """What is asked of the process itself; `subprocess.Popen` has it all."""

    pid: int

    def wait(self, timeout: float) -> int:
        """Its exit code, or minus the signal. Raises subprocess.TimeoutExpired."""


class WorkerProcess:
    """A fresh process group, driven over a socket.

    Its output goes to a file without a name, and, once it has ended, without anything private into
    `log`. What its framework compiles is cached in the folder `caches`, which later workers may
    share. `code` is the folder from which it imports `harness` and `impls`. It runs the interpreter
    of the setup's version. A process of another kind has another `program` and other `replies`.
    """

    program: ClassVar[tuple[str, ...]] = ("-m", "harness.worker")
    forked: ClassVar[bool] = False
    """Whether it began as a copy of a process that had imported its framework."""
    replies: ClassVar[TypeAdapter[Any]] = REPLY

    def __init__(
        self, setup: Setup, log: Path, caches: Path | None = None, code: Path = ROOT
    ) -> None:
        self._log = log
        self._caches = caches
        self._filled = _has_files(caches)
        self._interpreter = venvs.interpreter(setup)
        self._asked: tuple[str, float, float] = ("", 0.0, 0.0)
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:  # too many files are open
            raise WorkerFailed("not-started", str(error)) from None
        with theirs, contextlib.ExitStack() as undo:
            self._channel = undo.enter_context(Connection(ours.detach()))
            try:
                self._output: IO[bytes] = undo.enter_context(tempfile.TemporaryFile(dir=log.parent))
                variables = self.environment(setup, caches, code)
                self._process = self._begun(theirs.fileno(), self._output.fileno(), variables)
            except (OSError, WorkerFailed) as error:
                raise WorkerFailed("not-started", str(error)) from None
            undo.pop_all()
        self._ended = watch(self._process.pid)

    def _begun(self, channel: int, output: int, variables: Mapping[str, str]) -> Process:
        """Start the process, which answers on `channel`. Raises OSError or WorkerFailed."""
        # Safe path (-P): no folder of the user's may shadow a framework.
        return subprocess.Popen(
            [self._interpreter, "-P", *self.program, str(channel), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[channel],
            env=variables,
            start_new_session=True,
        )

    def environment(self, setup: Setup, caches: Path | None, code: Path) -> Mapping[str, str]:
        return environment(setup, caches, code)

    @property
    def cold(self) -> bool:
        """Whether it found its compile cache empty and filled it."""
        return not self._filled and _has_files(self._caches)

    def request(self, request: Message, limit: float) -> Reply:
        """Ask and wait. Raises WorkerFailed."""
        self.ask(request, limit)
        return self.answer()

    def ask(self, request: Message, limit: float) -> None:
        """Ask and do not wait; `limit` seconds from now its answer is overdue."""
        self._asked = (request.ask, limit, time.monotonic() + limit)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # `answer` reports it
            self._channel.send_bytes(request.model_dump_json().encode())

    def answer(self) -> Reply:
        """Wait, asleep, for the answer to the last request. Raises WorkerFailed."""
        # Woken by the end of the process too, even where a child of it still holds the socket.
        waited: list[Any] = [self._channel]
        if self._ended is not None:
            waited.append(self._ended)
        asked, limit, overdue = self._asked
        if not wait(waited, max(0.0, overdue - time.monotonic())):
            self.close()
            raise WorkerFailed("hung", f"no answer to '{asked}' within {limit:.0f} s")
        message = None
        with contextlib.suppress(EOFError, OSError):
            if self._channel.poll(0):
                message = self._message()
        if message is None:
            raise self._exit()
        try:
            reply: Reply = self.replies.validate_json(message)
        except ValidationError:
            self.close()
            raise WorkerFailed("failed", "the worker sent something that is no answer") from None
        if isinstance(reply, Failed):
            raise WorkerFailed(reply.status, reply.error)
        return reply

    def _message(self) -> bytes:
        """What lies in the channel; the rest of half a message is waited for within the limit."""
        asked, limit, overdue = self._asked
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self._kill()

        watchdog = threading.Timer(max(LAST_WORDS_SECONDS, overdue - time.monotonic()), give_up)
        watchdog.start()
        try:
            return self._channel.recv_bytes(MAX_BYTES)
        except OSError as error:
            if not late.is_set() and error.errno is None:
                raise WorkerFailed("failed", f"sent more than {MAX_BYTES >> 20} MiB") from None
            raise
        finally:
            watchdog.cancel()
            if late.is_set():
                raise WorkerFailed("hung", f"half an answer to '{asked}' within {limit:.0f} s")

    def _exit(self) -> WorkerFailed:
        try:
            code = self._process.wait(LAST_WORDS_SECONDS)
        except subprocess.TimeoutExpired:
            self.close()
            return WorkerFailed("failed", "the worker closed its channel without an answer")
        if code == 0:
            return WorkerFailed("no-result", "the worker exited 0 without an answer")
        how = f"killed by {_signal(-code)}" if code < 0 else f"exited with code {code}"
        if is_out_of_memory(self.stderr_tail()):
            return WorkerFailed("out-of-memory", f"{how} after memory ran out")
        if code == -signal.SIGKILL:
            how += ": by a user, or by the system because memory ran out"
        return WorkerFailed("crashed", how)

    def stderr_tail(self) -> str:
        """The end of what it wrote to standard error."""
        try:
            if self._output.closed:
                with self._log.open("rb") as log:
                    return _tail(log.fileno())
            return clean(_tail(self._output.fileno()))
        except OSError:
            return ""

    def close(self) -> None:
        """End it, and everything that it started."""
        if self._channel.closed:
            return
        self._kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # in the kernel, and deaf to signals
            self._process.wait(LAST_WORDS_SECONDS)
        self._channel.close()
        if self._ended is not None:
            self._ended.close()
            self._ended = None
        self._keep_log()

    def _keep_log(self) -> None:
        with self._output as output, contextlib.suppress(OSError):  # a full disk keeps none
            self._log.unlink(missing_ok=True)  # it may be a link, or a queue without a reader
            if os.fstat(output.fileno()).st_size:
                output.seek(0)
                copy_clean(output, self._log)

    def _kill(self) -> None:
        """The whole group, and what has left it: what a worker started may outlive it."""
        end_descendants(self._process.pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _tail(descriptor: int) -> str:
    """The end of a file, without a move of the position at which it is written."""
    size = os.fstat(descriptor).st_size
    read = os.pread(descriptor, TAIL_BYTES, max(0, size - TAIL_BYTES))
    return read.decode("utf-8", errors="replace")


def environment(setup: Setup, caches: Path | None = None, code: Path = ROOT) -> Mapping[str, str]:
    """The worker's environment: thread counts and the device, set before anything is imported,
    and where its framework keeps what it compiles. `overruled` describes it."""
    framework = frameworks()[setup.framework]
    variables = {name: it for name, it in os.environ.items() if name not in CLEARED}
    variables |= dict.fromkeys(THREAD_VARIABLES, str(setup.threads))
    if setup.device == "cpu":
        variables["CUDA_VISIBLE_DEVICES"] = ""
    variables |= framework.variables(setup.mode, setup.threads)
    variables |= cache_variables(setup, caches)
    venv = venvs.venv_of(setup)
    paths = [str(venv.code(code) if venv else code), variables.get("PYTHONPATH", "")]
    variables["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return variables


def overruled(setups: Iterable[Setup]) -> str | None:
    """One line on the user's variables that workers do not get as they are set, and what decides
    instead; None where there are none."""
    environments = [(setup, environment(setup, Path(os.devnull))) for setup in setups]
    by_reason: dict[str, list[str]] = defaultdict(list)
    for name, value in sorted(os.environ.items()):
        changed = [setup for setup, variables in environments if variables.get(name) != value]
        if changed and name != "PYTHONPATH":  # samestep only adds to it
            why = " and ".join(dict.fromkeys(_reason(name, setup) for setup in changed))
            by_reason[why].append(clean(f"{name}={value}"))
    parts = (f"{', '.join(names)} ({why})" for why, names in by_reason.items())
    return f"overruled for the workers: {'; '.join(parts)}" if by_reason else None


def _reason(name: str, setup: Setup) -> str:
    framework = frameworks()[setup.framework]
    if name in PLACEMENT:
        return "cleared: every worker may use the same cores"
    if name in DEBUGGING:
        return "cleared: an aid for debugging"
    if name in (*THREAD_VARIABLES, *THREAD_LIMITS):
        return f"by --threads {setup.threads}"
    if name in framework.environment:
        value = framework.variables(setup.mode, setup.threads)[name]
        return f"{framework.title} gets {value or 'none'}"
    if name in framework.tuning.caches:
        return f"{framework.title} gets a compile cache of this run"
    return f"by --device {setup.device}" if name == "CUDA_VISIBLE_DEVICES" else "by samestep"


def cache_variables(setup: Setup, caches: Path | None) -> dict[str, str]:
    """Where the framework of a setup is to keep what it compiles."""
    if caches is None:
        return {}
    folder = plain(caches) / setup.version
    return {name: str(folder / name) for name in frameworks()[setup.framework].tuning.caches}


def _has_files(folder: Path | None) -> bool:
    return folder is not None and any(it.is_file() for it in folder.rglob("*"))


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # of the real-time signals only the first and the last have names
        return f"signal {number}"


def watch(pid: int) -> IO[bytes] | None:
    """A file that becomes readable when the process ends (Linux), else None."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return open(os.pidfd_open(pid), "rb", buffering=0)
    except OSError:
        return None
