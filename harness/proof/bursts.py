"""Bursts of work, timed: does the clock stop when the device does, and who worked meanwhile?"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from harness.adapter import Adapter
from harness.worker.demand import Demand

BURST_SECONDS = 0.02
MOST_ITERATIONS = 4096
CALIBRATING = 3
BURSTS, LONG_BURSTS, LONG_SECONDS = 5, 3, 0.2
LATE_SHARE = 0.2
"""Of the time that a burst took in all. A device that has done its work hands over a tensor in the
time that it takes to hand it over again; one that has not makes the first wait for the rest."""
HALF_A_THREAD = 0.5
"""CPU time ÷ wall time of n busy threads is n at the most, waiting with open eyes included. One
thread more makes it n + 1; half of one is for whoever hands the work over."""
POOLS = 2
"""On a busy machine CPU time hides threads, and what they ask for shows them: but there a thread
that has handed its work over may stand in line beside the one that has it. With a pool of n threads
for operations, one for what is inside them and a caller, 2n + 1 may ask at once and be honest."""


class Burst(NamedTuple):
    """`late` is the time that only the first look at the result took, `seconds` all of it;
    `cpu_seconds` is what all threads together got of a core, `asked_seconds` what they asked for.
    """

    seconds: float
    cpu_seconds: float
    asked_seconds: float
    late: float

    @property
    def late_share(self) -> float:
        return self.late / self.seconds

    def excess(self, threads: int) -> float:
        """How many threads more than so many must have worked; negative where it fits."""
        got = self.cpu_seconds / self.seconds - (threads + HALF_A_THREAD)
        asked = self.asked_seconds / self.seconds - (POOLS * threads + 1 + HALF_A_THREAD)
        return max(got, asked)


def bursts(
    adapter: Adapter, work: Callable[[int], Any], look: Callable[[Any], Any]
) -> tuple[Burst, ...]:
    """Several bursts of `work(iterations)`, long enough to be timed; `look` fetches its result."""
    work(1), work(1)  # the first calls may build what later ones use
    iterations = 1
    # The shortest counts: one that others delayed would leave all bursts too short to be timed.
    while (
        seconds := min(_burst(adapter, work, look, iterations).seconds for _ in range(CALIBRATING))
    ) < BURST_SECONDS and iterations < MOST_ITERATIONS:
        iterations *= 2
    many = BURSTS if seconds < LONG_SECONDS else LONG_BURSTS
    return tuple(_burst(adapter, work, look, iterations) for _ in range(many))


def _burst(
    adapter: Adapter, work: Callable[[int], Any], look: Callable[[Any], Any], iterations: int
) -> Burst:
    demand, begin = Demand(), time.perf_counter()
    handle = work(iterations)
    adapter.synchronize()
    done = time.perf_counter()
    look(handle)
    looked = time.perf_counter()
    spent = demand.since(looked - begin)
    look(handle)
    again = time.perf_counter()
    return Burst(looked - begin, *spent, (looked - done) - (again - looked))


def ends_late(taken: tuple[Burst, ...]) -> str:
    """Why `synchronize` does not wait for the end; empty where it does. The least of several
    counts: a busy machine delays a look now and then, an unfinished device always."""
    least = min(burst.late_share for burst in taken)
    if least <= LATE_SHARE:
        return ""
    return f"{100 * least:.0f} % of the time of a burst passed after it had ended"


def too_many_threads(taken: tuple[Burst, ...], asked: int) -> str:
    """Why more threads than asked for must have worked; empty where not. The second largest
    counts: once may be chance."""
    worst = sorted(taken, key=lambda it: it.excess(asked))[-2]
    if worst.excess(asked) <= 0:
        return ""
    got, wanted = worst.cpu_seconds / worst.seconds, worst.asked_seconds / worst.seconds
    return f"{got:.1f} threads at work on the average, {wanted:.1f} in line; {asked} asked for"
