"""Files of a run: where it may write, and locks.

A run writes below the results directory only, and nowhere that a link leads to. A lock ends with
the process that holds it, and names that process.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import json
import os
import re
import shlex
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import psutil

from harness.errors import StoreError, UsageError
from harness.privacy import clean
from harness.runs import RESULTS

NETWORK = (
    *("nfs", "cifs", "smb", "9p", "afs", "ceph", "lustre", "glusterfs", "beegfs", "gpfs"),
    *("fuse.sshfs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.ceph", "fuse.davfs"),
)
"""How the types of network file systems begin: SQLite's locks are not reliable there."""
LONGEST_TEMPORARY = 60
"""Bytes of the path of a folder for temporary files: a socket's path has 107, libraries add 40."""
PLAIN = re.compile(r"[A-Za-z0-9_./+-]{1,200}")
"""A path that needs no quotes anywhere and leaves room for long names below it."""


def within(output: Path, *names: str) -> Path:
    """The path of these names below the results directory, which itself may be a link.

    Raises UsageError for a link or a name that would lead elsewhere.
    """
    path = output
    for name in names:
        if name in ("", os.curdir, os.pardir) or "/" in name or not name.isprintable():
            raise UsageError(f"{name!r}: no name of anything in {output}")
        path = path / name
        if path.is_symlink():
            raise UsageError(f"{path}: a link; nothing is written where it leads. Remove it")
    return path


def output_option(output: Path) -> str:
    """The end of a command that is to use this results directory."""
    return "" if output == RESULTS else f" -o {shlex.quote(str(output))}"


@contextlib.contextmanager
def temporary_files(folder: Path) -> Iterator[None]:
    """Make a folder in which processes that start meanwhile keep their temporary files.

    If its path is too long for sockets or not plain enough for compilers, they get the name that
    the system gives to an open file of this process.
    """
    tempfile.gettempdir()  # which is remembered from now on: the machine's lock lies there
    folder.mkdir(parents=True)
    before = os.environ.get("TMPDIR")
    descriptor, name = _opened(folder)
    if re.fullmatch(rf"[\w./-]{{1,{LONGEST_TEMPORARY}}}", str(folder), re.ASCII):
        name = str(folder)
    try:
        if name is not None:
            os.environ["TMPDIR"] = name
        yield
    finally:
        os.close(descriptor)
        os.environ.pop("TMPDIR", None)
        if before is not None:
            os.environ["TMPDIR"] = before


@functools.cache
def plain(folder: Path) -> Path:
    """The folder under a path that needs no quotes, valid as long as this process lives."""
    whole = folder.absolute()
    if PLAIN.fullmatch(str(whole)):
        return folder
    whole.mkdir(parents=True, exist_ok=True)
    name = _opened(whole)[1]
    return folder if name is None else Path(name)


def _opened(folder: Path) -> tuple[int, str | None]:
    """A descriptor of a folder, and the name that the system gives to it; None without /proc."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    name = f"/proc/{os.getpid()}/fd/{descriptor}"
    return descriptor, name if os.path.isdir(name) else None


def filesystem(directory: Path) -> str | None:
    """The type of the file system that a directory is or would be on; None if it is not known."""
    place = Path(os.path.realpath(directory))  # unlike `resolve` it accepts links in a circle
    try:
        every = psutil.disk_partitions(all=True)
    except OSError:  # /proc, where Linux lists them, is not mounted
        return None
    mounts = [it for it in every if place.is_relative_to(it.mountpoint)]
    # The last of several mounts in one place lies on top.
    nearest = max(reversed(mounts), key=lambda it: len(it.mountpoint), default=None)
    return nearest.fstype if nearest else None


def on_network(kind: str | None) -> bool:
    """Whether this is the type of a network file system."""
    return (kind or "").startswith(NETWORK)


def refuse_network(directory: Path) -> None:
    """Raises StoreError, with the ways out, for a directory that is on a network."""
    if on_network(kind := filesystem(directory)):
        raise StoreError(
            f"{directory}: on {kind}, a network file system, where a store is not safe; choose a "
            "local directory with -o; several machines share a run by `run --shard 1/2` and "
            "`--shard 2/2`, each with a directory of its own, and `merge`"
        )


POLL_SECONDS = 0.02
NAMED_SECONDS = 1.0
"""How long to wait for the note of a new holder."""
LONGEST_COMMAND = 200
NOTE = ("process", "since", "command", "in")
"""What a lock's file holds about its holder."""
MOST_BYTES = 10_000


class LockHeld(Exception):
    """Another process holds the lock; the message names it, as far as it is known."""


@contextlib.contextmanager
def held(path: Path, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock of a file, waiting for it at most `patience` seconds.

    The kernel releases it when this process ends, however it ends: a leftover file blocks no run.
    Raises LockHeld, and OSError where there can be no such file, or where there is one that is not
    a lock's: that one is not changed.
    """
    descriptor = _opened_lock(path)
    try:
        _acquire(descriptor, time.monotonic() + patience)
        _refuse_foreign(descriptor, path)
        _write_note(descriptor, _note_of_this_process())
        try:
            yield
        finally:
            _write_note(descriptor, b"")
    finally:
        os.close(descriptor)


def machine_lock() -> Path:
    """The one lock of this machine: `SAMESTEP_LOCK`, else a file for all users."""
    given = os.environ.get("SAMESTEP_LOCK")
    return Path(given) if given else Path(tempfile.gettempdir()) / "samestep.lock"


@contextlib.contextmanager
def measuring_alone() -> Iterator[None]:
    """Be the only run that measures on this machine. Raises UsageError that names the other one."""
    path = machine_lock()
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(held(path))
        except LockHeld as holder:
            raise UsageError(
                f"another run is measuring on this machine: {holder}; wait for it to end"
            ) from None
        except OSError as error:
            raise UsageError(
                f"{path}: cannot be this machine's lock: {error.strerror}; remove it, or name "
                "another file in SAMESTEP_LOCK"
            ) from None
        yield


def _opened_lock(path: Path) -> int:
    """A descriptor for the lock's file, which may be another user's; no link is followed."""
    flags = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    while True:
        try:
            return os.open(path, flags | os.O_RDWR)
        except PermissionError:
            return os.open(path, flags | os.O_RDONLY)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):  # another process was faster
                descriptor = os.open(path, flags | os.O_RDWR | os.O_CREAT | os.O_EXCL)
                os.fchmod(descriptor, 0o666)
                return descriptor


def _refuse_foreign(descriptor: int, path: Path) -> None:
    """Raises OSError for anything but a regular file with one name and at most a holder's note."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    if status.st_nlink > 1:
        raise OSError(errno.EMLINK, "a hard link to a file that has other names", str(path))
    content = os.pread(descriptor, MOST_BYTES + 1, 0)
    if content.strip(b"\0") and _parsed_note(content) is None:  # zeros: the power failed
        raise OSError(errno.EEXIST, "a file with other content than a lock's", str(path))


def _acquire(descriptor: int, until: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= until:
                raise LockHeld(_holder(descriptor)) from None
        time.sleep(POLL_SECONDS)


def _note_of_this_process() -> bytes:
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    # All users may read the machine's lock, and a killed process leaves its note behind.
    command = clean(" ".join(["python", *sys.orig_argv[1:]]))[:LONGEST_COMMAND]
    values = os.getpid(), since, command, clean(os.getcwd())
    return json.dumps(dict(zip(NOTE, values, strict=True))).encode()


def _parsed_note(content: bytes) -> dict[str, object] | None:
    """What a holder wrote of itself; None for anything else."""
    with contextlib.suppress(ValueError, RecursionError):
        note = json.loads(content)
        if isinstance(note, dict) and tuple(note) == NOTE:
            return note
    return None


def _write_note(descriptor: int, content: bytes) -> None:
    with contextlib.suppress(OSError):  # a full disk, or another user's file, locks as well
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, content, 0)


def _holder(descriptor: int) -> str:
    """Which living process holds a lock; one that was just taken has no note for a moment."""
    until = time.monotonic() + NAMED_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            note = _parsed_note(os.pread(descriptor, MOST_BYTES, 0)) or {}
            process = note.get("process")
            if isinstance(process, int) and psutil.pid_exists(process):
                where = f"since {note['since']}, in {note['in']}"
                return f"process {process}, {where}: {note['command']}"
        time.sleep(POLL_SECONDS)
    return "a process that does not say which"
