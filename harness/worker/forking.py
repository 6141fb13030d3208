"""Whether a process may be forked: no thread lives on in the child, and what it held stays held."""

from __future__ import annotations

import threading
from pathlib import Path

import threadpoolctl

from harness.worker.descendants import still_running

TASKS = Path("/proc/self/task")
RESTARTED = "jemalloc"
"""How the names of threads begin that are ended before a fork and begun again after it."""


def lost_threads() -> int:
    """How many threads of this process a forked child would miss; 0 where they cannot be counted.

    Those of OpenBLAS are not missed: it ends them before a fork, and begins them anew.
    """
    libraries = threadpoolctl.threadpool_info()
    blas: list[int] = [it["num_threads"] for it in libraries if it["internal_api"] == "openblas"]
    kept = 1 + sum(it - 1 for it in blas)
    found = sum(not _name(it).startswith(RESTARTED) for it in TASKS.glob("*"))
    return max(threading.active_count() - 1, found - kept)


def left_behind(*, processes: bool = True) -> str:
    """What a forked child would not have, e.g. `2 threads`; empty where it would have all.

    Processes that an import started are no child's: what they use would be counted nowhere.
    """
    if lost := lost_threads():
        return f"{lost} threads"
    if not processes:
        return ""
    return f"{started} processes" if (started := still_running()) else ""


def _name(thread: Path) -> str:
    try:
        return (thread / "comm").read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has ended
        return RESTARTED
