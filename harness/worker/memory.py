"""A limit on what a worker may allocate, and how running out of memory is told from other failures.

Imports nothing but the standard library: the limit is set before anything else is loaded.
"""

from __future__ import annotations

import re
import resource
from pathlib import Path

NEARLY = 0.95
FAILED_ALLOCATION = re.compile(
    r"bad_alloc|out of memory|OOM when allocating|allocation still failed"
    r"|failed to map segment"
    r"|(?:can(?:no|')t|unable to|failed to|could not) allocate",
    re.IGNORECASE,
)
"""How C++, CUDA, TensorFlow, OpenBLAS, the loader, PyTorch and the C library say it."""


def limit_memory(size: int) -> None:
    """Let this process and its children hold no more than `size` bytes each (Linux).

    What counts is private memory that can be written: heap, mapped arrays, stacks. Code and the
    address space that a framework only reserves do not. `lift_limit` can take it back.
    """
    resource.setrlimit(resource.RLIMIT_DATA, (size, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def lift_limit() -> int | None:
    """Lift the limit and return it, None where there is none: a worker that ran out of memory
    could not even say so."""
    limit, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
    return None if limit == hard else limit


def exhausted() -> bool:
    """Whether this process holds nearly what it may: whatever fails now fails for that reason."""
    limit, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if limit == hard:
        return False
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return NEARLY * limit < int(status.partition("VmData:")[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        return False


def ran_out(error: BaseException) -> bool:
    """Whether an exception, of whatever framework, says that memory could not be had."""
    return isinstance(error, MemoryError) or tells_of_it(f"{type(error).__name__}: {error}")


def tells_of_it(text: str) -> bool:
    """Whether a message, or what a process wrote before it died, says so."""
    return FAILED_ALLOCATION.search(text) is not None
