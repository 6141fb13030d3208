"""What this machine is, read without importing a framework."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import psutil

import harness
from harness.adapter import Setting
from harness.frameworks import frameworks, version
from harness.runs.cgroups import cores as cores

RECORDED_PACKAGES = ("numpy", "scipy", "pandas", "scikit-learn", "keras", "threadpoolctl")
RECORDED_PREFIXES = (
    "OMP_", "OPENBLAS_", "MKL_", "BLIS_", "KMP_", "GOTO_", "VECLIB_", "XLA_", "TORCH", "PYTORCH_",
    "TF_CPP_", "TF_ENABLE_", "TF_FORCE_", "TF_NUM_", "TF_USE_", "TF_XLA_", "KERAS_",
    "CUDA_", "NVIDIA_", "MALLOC_", "LD_PRELOAD", "PYTHONHASHSEED",
)  # fmt: skip


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
        told = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    lines = (it.rpartition(",") for it in told.stdout.splitlines() if it.strip())
    return tuple((name.strip(), driver.strip()) for name, _, driver in lines)


def fingerprint() -> dict[str, Setting]:
    """The facts that decide whether two runs share a machine, as plain values."""
    return {
        "cpu": _cpu_model(),
        "cores": cores(),
        "cores_of_machine": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": ", ".join(gpus()) or None,
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "virtual": _hypervisor(),
    }


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _hypervisor() -> bool | None:
    try:
        return " hypervisor" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return None


def versions() -> dict[str, str]:
    """Installed versions of samestep, the frameworks and the libraries beneath them."""
    found = {"samestep": harness.__version__, "python": platform.python_version()}
    found |= {name: it for name, fw in frameworks().items() if (it := version(fw))}
    beneath = [name for it in frameworks().values() for name in it.beneath]
    for package in (*RECORDED_PACKAGES, *beneath):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if drivers := sorted({driver for _, driver in _nvidia()}):
        found["nvidia-driver"] = ", ".join(drivers)
    return found


def environment() -> dict[str, str]:
    """The environment variables that can change a measurement."""
    return {name: it for name, it in os.environ.items() if name.startswith(RECORDED_PREFIXES)}


def commit() -> str | None:
    """The git commit of the code, with `+changes` if the tree has any; None outside a checkout."""
    root = Path(harness.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        return head + ("+changes" if _git(root, "status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *words: str) -> str:
    command = ["git", "-C", str(root), *words]
    told = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    return told.stdout.strip()


def command_line() -> tuple[str, ...]:
    """How this run was asked for, to be repeated."""
    return ("python", "-m", "harness", *sys.argv[1:])
