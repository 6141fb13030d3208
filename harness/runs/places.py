"""Where a run may write: below the results directory, and nowhere that a link leads to."""

from __future__ import annotations

import atexit
import functools
import os
import re
import shutil
import tempfile
from pathlib import Path

import psutil

from harness.errors import StoreError, UsageError

NETWORK = (
    *("nfs", "cifs", "smb", "9p", "afs", "ceph", "lustre", "glusterfs", "beegfs", "gpfs"),
    *("fuse.sshfs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.ceph", "fuse.davfs"),
)
"""How the types of network file systems begin. SQLite's locks and its shared memory are not to be
relied on there."""


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


@functools.cache
def plain(folder: Path) -> Path:
    """The folder under a path that every compiler can take.

    PyTorch puts paths of its files into commands unquoted. One with a blank is reached through a
    link in a temporary folder, which ends with this process.
    """
    whole = folder.absolute()
    if PLAIN.fullmatch(str(whole)):
        return folder
    whole.mkdir(parents=True, exist_ok=True)
    general = tempfile.gettempdir()
    below = general if PLAIN.fullmatch(general) else "/tmp"
    place = tempfile.mkdtemp(prefix="samestep-", dir=below)
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    link = Path(place) / "folder"
    link.symlink_to(whole)
    return link


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
