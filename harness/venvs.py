"""Environments with another version of a framework, each in a folder `NAME@VERSION` of its own.

`python -m harness env add` makes them (`harness.install`). The processes of such a version run its
interpreter. The code of the harness is not installed there: they import it from where it is here.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import re
import shlex
import sys
import sysconfig
import zlib
from dataclasses import dataclass
from pathlib import Path

from harness.cells import VERSION, Setup
from harness.errors import UsageError

NAMED = re.compile(rf"([^@.][^@]*)@({VERSION})")
REQUESTED = "requested.txt"
"""The file of an environment that keeps what was asked for, one requirement a line."""


def directory() -> Path:
    """Where environments lie: `SAMESTEP_ENVS`, else in the user's data folder.

    Raises UsageError for a user without a home directory.
    """
    try:
        if chosen := os.environ.get("SAMESTEP_ENVS"):
            return Path(chosen).expanduser().absolute()
        from platformdirs import user_data_path

        return user_data_path("samestep", appauthor=False) / "envs"
    except RuntimeError:
        raise UsageError("no folder for environments: name one in SAMESTEP_ENVS") from None


@dataclass(frozen=True)
class Venv:
    """The environment of one version of a framework."""

    framework: str
    version: str
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.framework}@{self.version}"

    @property
    def interpreter(self) -> Path:
        return _path(self.folder, "scripts") / "python"

    def installed(self, distribution: str) -> str:
        """The version of a distribution. Raises importlib.metadata.PackageNotFoundError."""
        where = [str(_path(self.folder, "purelib"))]
        for installed in importlib.metadata.distributions(name=distribution, path=where):
            return installed.version
        raise importlib.metadata.PackageNotFoundError(distribution)

    def packages(self) -> dict[str, str]:
        """Every distribution and its version."""
        installed = importlib.metadata.distributions(path=[str(_path(self.folder, "purelib"))])
        return dict(sorted((it.name, it.version) for it in installed if it.name))

    @property
    def broken(self) -> str:
        """Why nothing can run in it; empty where it is whole."""
        if not self.folder.is_dir():
            return f"{self.folder} does not exist"
        if not os.access(self.interpreter, os.X_OK):
            return f"{self.interpreter} is gone"
        if not _path(self.folder, "purelib").is_dir():
            return f"it was not made with Python {sysconfig.get_python_version()}"
        return ""

    @property
    def requested(self) -> list[str]:
        """The requirements that it was made from."""
        try:
            return (self.folder / REQUESTED).read_text(encoding="utf-8").split("\n")[:-1]
        except (OSError, ValueError):
            return [f"{self.framework}=={self.version}"]

    @property
    def way_out(self) -> str:
        """What to do where it is broken."""
        words = shlex.join(self.requested)
        return f"python -m harness env remove {self.name}, then env add {words}"

    def code(self, code: Path) -> Path:
        """The folder from which its processes import `harness` and `impls`, and nothing else.

        A checkout is that folder. What pip installed lies among packages that must stay unseen, so
        links stand for it.
        """
        if next(code.glob("*.dist-info"), None) is None:
            return code
        links = self.folder / f"code-{zlib.crc32(os.fsencode(code)):08x}"
        links.mkdir(exist_ok=True)
        for name in ("harness", "impls"):
            if not (links / name).is_symlink():
                (links / name).symlink_to(code / name, target_is_directory=True)
        return links


def made() -> list[Venv]:
    """Every environment that there is, broken ones too, by name."""
    try:
        folders = sorted(directory().iterdir())
    except (OSError, UsageError):
        return []
    return [Venv(match[1], match[2], it) for it in folders if (match := NAMED.fullmatch(it.name))]


def venv_of(setup: Setup) -> Venv | None:
    """The environment of a setup's version; None where that is the one beside samestep."""
    return named(setup.name)


def named(name: str) -> Venv | None:
    """The environment of `tensorflow@2.18.1`; None for a name without a version."""
    framework, _, version = name.partition("@")
    return Venv(framework, version, directory() / name) if version else None


def interpreter(setup: Setup) -> str:
    """The Python that a setup's processes run."""
    venv = venv_of(setup)
    return str(venv.interpreter) if venv else sys.executable


@functools.cache
def _path(folder: Path, kind: str) -> Path:
    """Where an environment has its `scripts` or its packages (`purelib`)."""
    return Path(sysconfig.get_path(kind, "venv", {"base": str(folder), "platbase": str(folder)}))
