"""The facts of this machine, read without importing a framework: cores, quota, versions, commit.

`root` stands for `/`, so that tests can lay out control groups of their own.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

import harness
from harness.adapter import Setting
from harness.cells import Setup
from harness.frameworks import folder_of, frameworks, version
from harness.privacy import cleaned
from harness.venvs import venv_of
from harness.worker.system import text_of

ROOT = Path("/")


def cores(root: Path = ROOT) -> int:
    """How many threads can work at once here: the default of a run, and its most."""
    return whole(len(usable()), quota(root))


def whole(visible: int, quota: float | None) -> int:
    """Whole cores of the visible ones, within a quota. More threads would be throttled."""
    return visible if quota is None else max(1, min(visible, int(quota)))


def usable() -> frozenset[int]:
    """The cores that this process may be scheduled on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def quota(root: Path = ROOT) -> float | None:
    """Cores that the tightest control group allows."""
    quotas = []
    for folder in groups("cpu", root):
        words = text_of(folder / "cpu.max").split() or [
            text_of(folder / f"cpu.cfs_{it}_us") for it in ("quota", "period")
        ]
        if len(words) == 2 and all(it.isdigit() for it in words):
            quotas.append(int(words[0]) / int(words[1]))
    return min(quotas, default=None)


def groups(controller: str, root: Path) -> Iterator[Path]:
    """The folders of our control group and those above it, of version 1 and of version 2."""
    top = root / "sys/fs/cgroup"
    for line in text_of(root / "proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        mount = top if not names else top / controller if controller in names.split(",") else None
        if mount is None:
            continue
        # In a container the path may be the host's, of which only the mount itself is there.
        parts = [it for it in path.split("/") if it] if ".." not in path else []
        for depth in range(len(parts), -1, -1):
            yield mount.joinpath(*parts[:depth])


class GitFailed(Exception):
    """The message is git's own reason, with the way out where git names one."""


def git(root: Path, *words: str) -> bytes:
    """What git prints in the checkout at a folder. Raises GitFailed."""
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, timeout=60)
    except FileNotFoundError:
        raise GitFailed("git is not installed") from None
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise GitFailed(f"git: {error}") from None
    if done.returncode:
        reason = " ".join(done.stderr.decode(errors="replace").split()).removeprefix("fatal: ")
        raise GitFailed(reason or f"git ended with code {done.returncode}")
    return done.stdout


RECORDED_PACKAGES = ("numpy", "scipy", "pandas", "scikit-learn", "keras", "threadpoolctl")
CHANGES = "+changes"


def gpus() -> tuple[str, ...]:
    """Names of the NVIDIA GPUs, by the driver's own tool; empty where there is none."""
    return tuple(name for name, _ in _nvidia())


@functools.cache
def _nvidia() -> tuple[tuple[str, str], ...]:
    """Name and driver of every NVIDIA GPU."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    query = [tool, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    lines = (it.rpartition(",") for it in done.stdout.splitlines() if it.strip())
    return tuple((name.strip(), driver.strip()) for name, _, driver in lines)


def fingerprint() -> dict[str, Setting]:
    """The facts that decide whether two runs share a machine, as plain values."""
    cpu = text_of(Path("/proc/cpuinfo"))
    models = (
        it.partition(":")[2].strip() for it in cpu.splitlines() if it.startswith("model name")
    )
    return {
        "cpu": next(models, "") or platform.processor() or platform.machine(),
        "cores": cores(),
        "cores_of_machine": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": ", ".join(gpus()) or None,
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "virtual": " hypervisor" in cpu if cpu else None,
    }


def versions(setups: Iterable[Setup] = ()) -> dict[str, str]:
    """Installed versions of samestep, the frameworks and the libraries that they compute with.

    Those of other environments are named `tensorflow@2.18.1` and `numpy (tensorflow@2.18.1)`.
    """
    known = frameworks()
    packages = (*RECORDED_PACKAGES, *(name for it in known.values() for name in it.tuning.beneath))
    installed = {"samestep": harness.__version__, "python": platform.python_version()}
    installed |= {name: it for name, fw in known.items() if (it := version(fw))}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            installed[package] = importlib.metadata.version(package)
    venvs = {it.name: venv for it in setups if (venv := venv_of(it))}
    for name, venv in sorted(venvs.items()):
        in_venv = venv.packages()
        installed[name] = venv.version
        installed |= {f"{it} ({name})": in_venv[it] for it in packages if it in in_venv}
    if drivers := sorted({driver for _, driver in _nvidia()}):
        installed["nvidia-driver"] = ", ".join(drivers)
    return installed


def commit(measured: Iterable[str]) -> str | None:
    """The git commit of the code, with CHANGES if other code runs; None outside a checkout.

    Other code is a changed file of the checkout, a file of `harness` or of a `measured` framework
    that is unknown to git, and a measured framework outside of the checkout.
    """
    root = Path(harness.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    folders = [root / "harness", *(folder_of(it).resolve() for it in measured)]
    try:
        head = git(root, "rev-parse", "HEAD").decode().strip()
        changed = not all(it.is_relative_to(root) for it in folders)
        changed = changed or bool(git(root, "status", "--porcelain", "-uno"))
        if not changed:  # files that no commit has, ignored ones included
            unknown = git(root, "ls-files", "--others", "-z", "--", *map(str, folders))
            changed = any(it.endswith((b".py", b".so", b".pyd")) for it in unknown.split(b"\0"))
    except GitFailed:
        return None
    return head + (CHANGES if changed else "")


def command_line() -> tuple[str, ...]:
    """How this run was asked for, to be repeated; with nothing private."""
    return cleaned(("python", "-m", "harness", *sys.argv[1:]))
