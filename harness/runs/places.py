"""Where a run may write: below the results directory, and nowhere that a link leads to."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from harness.errors import StoreError, UsageError

NETWORK = (
    *("nfs", "cifs", "smb", "9p", "afs", "ceph", "lustre", "glusterfs", "beegfs", "gpfs"),
    *("fuse.sshfs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.ceph", "fuse.davfs"),
)
"""How the types of network file systems begin. SQLite's locks and its shared memory are not to be
relied on there."""
LONGEST_TEMPORARY = 60
"""Bytes that the path of a folder for temporary files may have: a socket's path has at most 107,
and libraries add up to 40."""


PLAIN = re.compile(r"[A-Za-z0-9_./+-]{1,200}")
"""A path that needs no quotes anywhere and leaves room for long names below it."""


def within(output: Path, *names: str) -> Path:
    """The path of these names below the results directory, which itself may be a link.

    Raises UsageError where one of them is a link, or no plain name: what is written there would
    be written elsewhere.
    """
    path = output
    for name in names:
        if name in ("", os.curdir, os.pardir) or "/" in name or not name.isprintable():
            raise UsageError(f"{name!r}: no name of anything in {output}")
        path = path / name
        if path.is_symlink():
            raise UsageError(f"{path}: a link; nothing is written where it leads. Remove it")
    return path


def write_whole(path: Path, content: bytes | Iterable[bytes], *, lasting: bool = False) -> Path:
    """Write a file that appears whole or not at all, and make its folder; returns the path.

    What stands there and is not a regular file, such as a link, stays as it is. With `lasting` the
    content is on the disk when this returns. Raises OSError.
    """
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
        why = "a link, or not a regular file; nothing is written there. Remove it"
        raise OSError(errno.EEXIST, why, str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    unfinished.unlink(missing_ok=True)
    try:
        with unfinished.open("xb") as file:
            file.writelines([content] if isinstance(content, bytes) else content)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


@contextlib.contextmanager
def temporary_files(folder: Path) -> Iterator[None]:
    """Make a folder, where processes begun meanwhile keep their temporary files.

    Some libraries never remove theirs. This process itself goes on with its own folder.
    """
    tempfile.gettempdir()  # which is remembered from now on: the machine's lock lies there
    folder.mkdir(parents=True)
    before = os.environ.get("TMPDIR")
    with _short(folder) as name:
        if name is not None:
            os.environ["TMPDIR"] = name
        try:
            yield
        finally:
            if before is not None:
                os.environ["TMPDIR"] = before
            else:
                os.environ.pop("TMPDIR", None)


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[str | None]:
    """A name of a folder that is short enough for sockets and plain enough for compilers.

    Where its path is not, it is the name that the system gives to an open file of this process;
    None where the system has no such names.
    """
    if re.fullmatch(rf"[\w./-]{{1,{LONGEST_TEMPORARY}}}", str(folder), re.ASCII):
        yield str(folder)
        return
    descriptor, name = _opened(folder)
    try:
        yield name
    finally:
        os.close(descriptor)


@functools.cache
def plain(folder: Path) -> Path:
    """The folder under a path that every compiler can take, as long as this process lives.

    PyTorch puts paths of its files into commands unquoted.
    """
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
    """The type of the file system that a directory is or would be on; None where it is not told."""
    place = Path(os.path.realpath(directory))  # unlike `resolve` it bears links in a circle
    try:
        every = psutil.disk_partitions(all=True)
    except OSError:  # Linux tells it in /proc
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
