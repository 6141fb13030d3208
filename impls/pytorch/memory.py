"""How much memory tensors take on the CPU, for which PyTorch keeps no peak of its own."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile


def bytes_alive(device: torch.device) -> int:
    """Bytes of all storages on a device that a tensor of this process looks at."""
    gc.collect()
    storages: dict[int, int] = {}
    for it in gc.get_objects():
        if type(it) in (Tensor, nn.Parameter) and it.device == device:
            storage = it.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def allocation_peak(run: Callable[[], Any]) -> int:
    """The most bytes by which tensors grow at any time while `run` runs, by the profiler's events.

    Each event gives the bytes of one allocation, or with a minus sign of one release.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        run()
    results = profiled.profiler.kineto_results  # the public lists have no single allocations
    events = [it for it in results.events() if it.name() == "[memory]"]
    grown = peak = 0
    for event in sorted(events, key=lambda it: it.start_ns()):
        grown += event.nbytes()
        peak = max(peak, grown)
    return peak
