"""Bursts of work, timed: does the clock stop when the device does, and who worked meanwhile?"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from harness.adapter import Adapter
from harness.proof.demand import Demand

BURST_SECONDS = 0.03
MOST_ITERATIONS = 4096
BURSTS = 5
LATE_SHARE = 0.2
"""Of the time that a burst took in all. A device that has done its work hands over a tensor in the
time that it takes to hand it over again; one that has not makes the first wait for the rest."""
HALF_A_THREAD = 0.5
"""n busy threads ask for n cores at the most, waiting with open eyes included. One thread more
makes it n + 1; half of one is for whoever hands the work over."""


class Burst(NamedTuple):
    """`late` is the time that only the first look at the result took, `seconds` all of it;
    `asked_seconds` is what all threads together asked for of a core."""

    seconds: float
    asked_seconds: float
    late: float

    @property
    def late_share(self) -> float:
        return self.late / self.seconds

    @property
    def threads(self) -> float:
        return self.asked_seconds / self.seconds


def bursts(
    adapter: Adapter, work: Callable[[int], Any], look: Callable[[Any], Any]
) -> tuple[Burst, ...]:
    """Several bursts of `work(iterations)`, long enough to be timed; `look` fetches its result."""
    work(1), work(1)  # the first calls may build what later ones use
    iterations = 1
    while (
        _burst(adapter, work, look, iterations).seconds < BURST_SECONDS
        and iterations < MOST_ITERATIONS
    ):
        iterations *= 2
    return tuple(_burst(adapter, work, look, iterations) for _ in range(BURSTS))


def _burst(
    adapter: Adapter, work: Callable[[int], Any], look: Callable[[Any], Any], iterations: int
) -> Burst:
    demand, begin = Demand(), time.perf_counter()
    handle = work(iterations)
    adapter.synchronize()
    done = time.perf_counter()
    look(handle)
    looked, asked = time.perf_counter(), demand.seconds()
    look(handle)
    again = time.perf_counter()
    return Burst(looked - begin, asked, (looked - done) - (again - looked))


def ends_late(taken: tuple[Burst, ...]) -> str:
    """Why `synchronize` does not wait for the end; empty where it does. The least of several
    counts: a busy machine delays a look now and then, an unfinished device always."""
    least = min(burst.late_share for burst in taken)
    if least <= LATE_SHARE:
        return ""
    return f"{least:.0%} of the time of a burst passed after it had ended"


def too_many_threads(taken: tuple[Burst, ...], asked: int) -> str:
    """Why more threads than asked for must have worked; empty where not. The second largest
    counts: once may be chance."""
    most = sorted(burst.threads for burst in taken)[-2]
    if most <= asked + HALF_A_THREAD:
        return ""
    return f"{most:.1f} threads were at work on the average; {asked} asked for"
