"""Wheels and environments that are made by hand: no test needs a network."""

from __future__ import annotations

import os
import sys
import sysconfig
import zipfile
from pathlib import Path

from harness.install import NEEDS
from harness.venvs import Venv

OURS = {"borrowed.pth": sysconfig.get_path("purelib")}
"""A file by which an environment sees the packages of the running interpreter."""


def wheel(folder: Path, name: str, version: str, files: dict[str, str] | None = None) -> None:
    """A wheel of these files."""
    info = f"{name}-{version}.dist-info"
    content = {
        **(files or {}),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{it},,\n" for it in (*content, f"{info}/RECORD"))
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as packed:
        for place, text in {**content, f"{info}/RECORD": record}.items():
            packed.writestr(place, text)


def needed(folder: Path) -> None:
    """What a worker needs, as wheels that borrow it from the running interpreter."""
    for requirement in NEEDS:
        wheel(folder, requirement.partition(">")[0], "99.0")
    wheel(folder, "numpy", "99.0", OURS)


def only_from(folder: Path) -> dict[str, str]:
    """The variables by which pip installs from this folder and from nowhere else."""
    return {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_CONSTRAINT": "",
    }


def environment_of(folder: Path, framework: str, version: str, **packages: str) -> Venv:
    """An environment that holds nothing but a link to Python and what tells versions."""
    made = Venv(framework, version, folder / f"{framework}@{version}")
    made.interpreter.parent.mkdir(parents=True)
    made.interpreter.symlink_to(sys.executable)
    for name, it in packages.items():
        python = f"python{sysconfig.get_python_version()}"
        place = made.folder / "lib" / python / "site-packages" / f"{name}-{it}.dist-info"
        place.mkdir(parents=True)
        (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {it}\n")
    return made
