"""How much memory arrays take, by NumPy's own account: it reports its buffers to tracemalloc."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from impls.reference.instructions import Array


def traced_peak(run: Callable[[], Any], held: Iterable[Array]) -> int:
    """Peak bytes while `run` runs: what it allocates, on top of what was there before.

    That is `held`, and the arrays of every batch that this process has staged: tracemalloc does
    not see what was allocated before it was asked.
    """
    owners = {id(it): it for it in map(_owner, [*held, *_staged()])}
    before: int = sum(it.nbytes for it in owners.values())
    tracing = tracemalloc.is_tracing()
    if not tracing:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        base, _ = tracemalloc.get_traced_memory()
        run()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        if not tracing:
            tracemalloc.stop()
    return before + peak - base


def _owner(array: Array) -> Array:
    """The array whose memory a view looks at."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _staged() -> list[Array]:
    """Arrays in the named tuples of this package: batches, and what loads them."""
    gc.collect()
    tuples = [it for it in gc.get_objects() if issubclass(type(it), tuple)]
    ours = [it for it in tuples if str(type(it).__module__).startswith("impls.reference")]
    return [it for each in ours for it in each if isinstance(it, np.ndarray)]
