"""What the operating system counts: noise while a sample is timed, and resident memory."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import time
from pathlib import Path
from typing import NamedTuple

import psutil

PROC = Path("/proc")


class Counters(NamedTuple):
    """CPU time and context switches of this process and its threads; steal of the machine."""

    cpu_seconds: float
    voluntary_switches: int
    involuntary_switches: int
    steal_seconds: float | None

    def since(self, before: Counters) -> Counters:
        steal = None
        if self.steal_seconds is not None and before.steal_seconds is not None:
            steal = self.steal_seconds - before.steal_seconds
        return Counters(
            self.cpu_seconds - before.cpu_seconds,
            self.voluntary_switches - before.voluntary_switches,
            self.involuntary_switches - before.involuntary_switches,
            steal,
        )


def read_counters() -> Counters:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Counters(time.process_time(), usage.ru_nvcsw, usage.ru_nivcsw, _steal_seconds())


def _steal_seconds() -> float | None:
    """CPU time that the hypervisor gave to others, all cores; None where it is not told."""
    try:
        fields = (PROC / "stat").read_text(encoding="ascii").split("\n", 1)[0].split()
        return int(fields[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return None


class PeakRSS:
    """High-water mark of resident memory since `reset`, from the kernel's VmHWM.

    `ru_maxrss` would not do: it is inherited through fork and exec, so that a small child of a
    large parent reports the parent's size.
    """

    def __init__(self) -> None:
        self._base: int | None = None

    def reset(self) -> None:
        self._base = None
        _give_back_free_memory()
        try:
            (PROC / "self" / "clear_refs").write_text("5", encoding="ascii")
        except OSError:
            return  # not resettable here: the incremental peak is unknown, never 0
        self._base = psutil.Process().memory_info().rss

    def incremental(self) -> int | None:
        """Bytes above the size at the last reset; None where it could not be reset."""
        peak = self.total()
        return None if peak is None or self._base is None else max(0, peak - self._base)

    def total(self) -> int | None:
        try:
            status = (PROC / "self" / "status").read_text(encoding="ascii", errors="replace")
        except OSError:
            return None
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return None


def _give_back_free_memory() -> None:
    """Return freed heap to the system (glibc), lest an earlier phase's leftovers hide a peak."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
