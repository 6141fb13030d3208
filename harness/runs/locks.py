"""Locks that end with the process that holds them, and say which process that is."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from harness.errors import UsageError
from harness.privacy import clean

LOOK_SECONDS = 0.02
NAMED_SECONDS = 1.0
"""How long to wait for a new holder to write down who it is."""
LONGEST_COMMAND = 200
NOTE = ("process", "since", "command", "in")
"""What a lock's file says of its holder."""
MOST_BYTES = 10_000


class Held(Exception):
    """Somebody else holds the lock; the message says who, as far as it is known."""


@contextlib.contextmanager
def held(path: Path, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock of a file, waiting for it at most `patience` seconds.

    The kernel gives it back when this process ends, however it ends, so a lock that is left over
    holds nobody up. Raises Held, and OSError where there can be no such file, or where there is
    one that is not a lock's: nothing of that changes.
    """
    descriptor = _opened(path)
    try:
        _refuse_shared(descriptor, path)
        _acquire(descriptor, time.monotonic() + patience)
        _refuse_foreign(descriptor, path)
        _note(descriptor, _self())
        try:
            yield
        finally:
            _note(descriptor, b"")
    finally:
        os.close(descriptor)


def machine_lock() -> Path:
    """The one lock of this machine, whoever runs: `SAMESTEP_LOCK`, else a file for all users."""
    given = os.environ.get("SAMESTEP_LOCK")
    return Path(given) if given else Path(tempfile.gettempdir()) / "samestep.lock"


@contextlib.contextmanager
def measuring_alone() -> Iterator[None]:
    """Be the only run that measures on this machine. Raises UsageError that says who else does."""
    path = machine_lock()
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(held(path))
        except Held as holder:
            raise UsageError(
                f"another run is measuring on this machine: {holder}; wait for it to end"
            ) from None
        except OSError as error:
            raise UsageError(
                f"{path}: cannot be this machine's lock: {error.strerror}; remove it, or name "
                "another file in SAMESTEP_LOCK"
            ) from None
        yield


def _opened(path: Path) -> int:
    """A descriptor for the lock's file; no link is followed.

    In a folder that all may write, a file of another user can be opened but not created over.
    """
    flags = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    while True:
        try:
            return os.open(path, flags | os.O_RDWR)
        except PermissionError:
            return os.open(path, flags | os.O_RDONLY)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):  # somebody was faster
                descriptor = os.open(path, flags | os.O_RDWR | os.O_CREAT | os.O_EXCL)
                os.fchmod(descriptor, 0o666)
                return descriptor


def _refuse_shared(descriptor: int, path: Path) -> None:
    """Raises OSError for a device, a queue or a folder, and for a file that has another name too:
    what is written here would be written there."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    if found.st_nlink > 1:
        raise OSError(errno.EMLINK, "a hard link to a file that has other names", str(path))


def _refuse_foreign(descriptor: int, path: Path) -> None:
    """Raises OSError for a file that holds anything but the note of a holder."""
    content = os.pread(descriptor, MOST_BYTES + 1, 0)
    if content.strip(b"\0") and _noted(content) is None:  # zeros: the power failed
        raise OSError(errno.EEXIST, "a file with other content than a lock's", str(path))


def _acquire(descriptor: int, until: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= until:
                raise Held(_holder(descriptor)) from None
        time.sleep(LOOK_SECONDS)


def _self() -> bytes:
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    # All users may read the machine's lock, and what is killed leaves its note behind.
    command = clean(" ".join(["python", *sys.orig_argv[1:]]))[:LONGEST_COMMAND]
    values = os.getpid(), since, command, clean(os.getcwd())
    return json.dumps(dict(zip(NOTE, values, strict=True))).encode()


def _noted(content: bytes) -> dict[str, object] | None:
    """What a holder wrote of itself; None for anything else."""
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(content)
        if isinstance(found, dict) and tuple(found) == NOTE:
            return found
    return None


def _note(descriptor: int, content: bytes) -> None:
    with contextlib.suppress(OSError):  # a full disk, or another user's file, locks as well
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, content, 0)


def _holder(descriptor: int) -> str:
    """Who wrote itself down, if it lives; a lock that was just taken has no name for a moment."""
    until = time.monotonic() + NAMED_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            told = _noted(os.pread(descriptor, MOST_BYTES, 0))
            if told and isinstance(told["process"], int) and _lives(told["process"]):
                return (
                    f"process {told['process']}, since {told['since']}, "
                    f"in {told['in']}: {told['command']}"
                )
        time.sleep(LOOK_SECONDS)
    return "a process that does not say which"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return pid > 0
