"""The cores that this process may use: its affinity, and the CPU quota of its container.

`root` stands for `/`, so that tests can lay out control groups of their own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from harness.worker.descendants import text_of

ROOT = Path("/")


def cores(root: Path = ROOT) -> int:
    """How many threads can work at once here: the default of a run, and its most."""
    return whole(len(usable()), quota(root))


def whole(seen: int, quota: float | None) -> int:
    """Whole cores of those that are seen, within a quota. More threads would be throttled."""
    return seen if quota is None else max(1, min(seen, int(quota)))


def usable() -> frozenset[int]:
    """The cores that this process may be scheduled on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def quota(root: Path = ROOT) -> float | None:
    """Cores that the tightest control group allows."""
    found = []
    for folder in groups("cpu", root):
        words = text_of(folder / "cpu.max").split() or [
            text_of(folder / f"cpu.cfs_{it}_us") for it in ("quota", "period")
        ]
        if len(words) == 2 and all(it.isdigit() for it in words):
            found.append(int(words[0]) / int(words[1]))
    return min(found, default=None)


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
