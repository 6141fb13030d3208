"""Older code, where processes of its own can import it."""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.runs.machine import GitFailed, git
from harness.runs.process import ROOT

ROOMS = ("harness", "impls")


@dataclass(frozen=True)
class Sides:
    """Folders from which the two sides import. Both are of one length: by how much a path shifts
    the memory of a process must not be what is measured."""

    now: Path
    before: Path


@contextlib.contextmanager
def sides(against: str, folder: Path, this: Path = ROOT) -> Iterator[Sides]:
    """This code and the older one: a git revision, or a folder that holds an installed version.

    A revision is unpacked below `folder`; the repository is only read. Raises UsageError for what
    is neither.
    """
    now, before = folder / "new", folder / "old"
    now.symlink_to(this, target_is_directory=True)
    if (place := _installed(against)) is not None:
        before.symlink_to(place, target_is_directory=True)
    else:
        _unpack(_resolved(against), before)
    yield Sides(now, before)


def revision(against: str) -> str | None:
    """The commit that a revision names in the checkout of this code; None where there is none."""
    try:
        return _commit(against)
    except GitFailed:
        return None


def unresolved(against: str) -> str:
    """Why a revision names no commit in the checkout of this code, and the way out; empty where it
    names one."""
    try:
        _commit(against)
    except GitFailed as error:
        with contextlib.suppress(GitFailed):
            if git(ROOT, "rev-parse", "--is-shallow-repository").strip() == b"true":
                return f"{error}; the clone is shallow, get all of it with: git fetch --unshallow"
        return str(error)
    return ""


def _commit(against: str) -> str:
    # A word that begins with a dash would be an option.
    word = f"{against}^{{commit}}"
    return git(ROOT, "rev-parse", "--verify", "--end-of-options", word).decode().strip()


def refuse_unknown(against: str) -> None:
    """Raises UsageError for what is neither a revision nor a folder, before anything is done."""
    if _installed(against) is None:
        _resolved(against)


def _resolved(against: str) -> str:
    commit = revision(against)
    if commit is None:
        raise UsageError(
            f"--against {against!r}: no git revision of {ROOT}, and no folder that holds an "
            f"installed version (harness/ and impls/): {unresolved(against)}"
        )
    return commit


def _installed(against: str) -> Path | None:
    place = Path(against)
    if against and all((place / it / "__init__.py").is_file() for it in ROOMS):
        return place.resolve()
    return None


def _unpack(commit: str, place: Path) -> None:
    try:
        packed = git(ROOT, "archive", "--format=tar", commit, "--", *ROOMS)
    except GitFailed as error:
        rooms = " and ".join(ROOMS)
        raise UsageError(f"--against {commit}: no {rooms} in this revision: {error}") from None
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(place, filter="data")
