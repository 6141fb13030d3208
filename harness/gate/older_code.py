"""Older code, in a folder from which processes can import it."""

from __future__ import annotations

import contextlib
import io
import tarfile
from pathlib import Path
from typing import NamedTuple

from harness.errors import UsageError
from harness.runs.machine import GitFailed, git
from harness.runs.process import ROOT

ROOMS = ("harness", "impls")


class Sides(NamedTuple):
    """Folders to import from. Their paths have one length, which shifts a process's memory."""

    now: Path
    before: Path


def sides(against: str, folder: Path, this: Path = ROOT) -> Sides:
    """This code and the older one, which is unpacked below `folder`; see `located`."""
    now, before = folder / "new", folder / "old"
    now.symlink_to(this, target_is_directory=True)
    place = located(against)
    if isinstance(place, Path):
        before.symlink_to(place, target_is_directory=True)
    else:
        _unpack(place, before)
    return Sides(now, before)


def located(against: str) -> Path | str:
    """A folder that holds an installed version, or the commit that a git revision names.

    Raises UsageError for what is neither.
    """
    place = Path(against)
    if against and all((place / room / "__init__.py").is_file() for room in ROOMS):
        return place.resolve()
    commit, why_not = _resolved(against)
    if commit is None:
        raise UsageError(
            f"--against {against!r}: no git revision of {ROOT}, and no folder that holds an "
            f"installed version (harness/ and impls/): {why_not}"
        )
    return commit


def revision(against: str) -> str | None:
    """The commit that a revision names in the checkout of this code; None where there is none."""
    return _resolved(against)[0]


def unresolved(against: str) -> str:
    """Why a revision names no commit, and the way out; empty where it names one."""
    return _resolved(against)[1]


def _resolved(against: str) -> tuple[str | None, str]:
    # A word that begins with a dash would be an option.
    word = f"{against}^{{commit}}"
    try:
        return git(ROOT, "rev-parse", "--verify", "--end-of-options", word).decode().strip(), ""
    except GitFailed as error:
        way_out = ""
        with contextlib.suppress(GitFailed):
            if git(ROOT, "rev-parse", "--is-shallow-repository").strip() == b"true":
                way_out = "; the clone is shallow, get all of it with: git fetch --unshallow"
        return None, f"{error}{way_out}"


def _unpack(commit: str, place: Path) -> None:
    try:
        packed = git(ROOT, "archive", "--format=tar", commit, "--", *ROOMS)
    except GitFailed as error:
        rooms = " and ".join(ROOMS)
        raise UsageError(f"--against {commit}: no {rooms} in this revision: {error}") from None
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(place, filter="data")
