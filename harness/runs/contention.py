"""What else uses the cores: the machine's counters, less what this process and its children use.

A fact that this system does not have is None. `root` stands for `/`, so that tests can replace it.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from harness.analysis.contention import OTHERS_LIMIT, crowding, used_by_others
from harness.records import Around
from harness.runs.machine import ROOT, usable
from harness.worker.system import cpu_of_descendants, descendants, queues, text_of

WATCH_SECONDS = 0.2
"""Long enough for a counter that grows in steps of 10 ms."""
PORTION, PORTIONS = bytes(1 << 18), 16
"""What each thread of the fixed computation hashes: 2 to 10 ms of work in a core's own cache."""
MOST_FIXED = 8
"""How often a block makes the fixed computation, at most."""


class CoreTimes(NamedTuple):
    """Seconds since the machine started, of some cores together."""

    busy: float
    stolen: float
    everything: float


class Used(NamedTuple):
    """What the machine and this process with all its descendants have used so far, in seconds.

    `busy` and `stolen` are those of all usable cores. `cpu` is the CPU time of the processes, ended
    children included; `ran` and `waited` are the times that their live threads ran, and stood in
    line for a core.
    """

    at: float
    busy: float | None
    stolen: float | None
    cpu: float
    ran: float
    waited: float | None


def core_times(cpus: frozenset[int], root: Path = ROOT) -> CoreTimes | None:
    """Busy, stolen and all time of these cores: proc(5), `/proc/stat`."""
    wanted = {f"cpu{it}" for it in cpus}
    rows = [line.split() for line in text_of(root / "proc/stat").splitlines()]
    ticks = [[int(it) for it in row[1:]] for row in rows if row and row[0] in wanted]
    if not ticks or min(map(len, ticks)) < 8:
        return None
    second = os.sysconf("SC_CLK_TCK")
    busy = sum(row[0] + row[1] + row[2] + row[5] + row[6] for row in ticks)
    stolen, everything = sum(row[7] for row in ticks), sum(sum(row[:8]) for row in ticks)
    return CoreTimes(busy / second, stolen / second, everything / second)


def used(root: Path = ROOT) -> Used:
    """All counters now. The time to read them counts as CPU time of this process."""
    processes = (os.getpid(), *descendants())
    threads = [it for pid in processes for it in queues(root / "proc" / str(pid))]
    times = core_times(usable(), root)
    return Used(
        at=time.perf_counter(),
        busy=times.busy if times else None,
        stolen=times.stolen if times else None,
        cpu=time.process_time() + cpu_of_descendants(),
        ran=sum(it.ran for it in threads),
        waited=sum(it.waited for it in threads) if threads else None,
    )


class Watcher:
    """Counts while the turns of one block are taken. `begin`, then `round` before each, `end`."""

    def __init__(self, threads: int, rounds: int) -> None:
        self._threads, self._every = threads, max(1, rounds // MOST_FIXED)
        self._fixed: list[float] = []
        self._before: Used | None = None

    def begin(self) -> None:
        self._before = used()

    def round(self, number: int) -> None:
        if number % self._every == 0:
            self._fixed.append(fixed_seconds(min(self._threads, len(usable()))))

    def end(self) -> Around:
        """What was counted since `begin`."""
        assert self._before is not None
        before, after = self._before, used()
        return Around(
            seconds=after.at - before.at,
            cores=len(usable()),
            others_seconds=_others(before, after),
            stolen_seconds=increase(before.stolen, after.stolen),
            ran_seconds=increase(before.ran, after.ran) or 0.0,
            waited_seconds=increase(before.waited, after.waited),
            fixed=tuple(self._fixed),
        )


def _others(before: Used, after: Used) -> float | None:
    busy = increase(before.busy, after.busy)
    return None if busy is None else max(0.0, busy - (after.cpu - before.cpu))


def increase(before: float | None, after: float | None) -> float | None:
    """Never below 0: a thread that ended meanwhile takes its times along."""
    return None if before is None or after is None else max(0.0, after - before)


def others(seconds: float = WATCH_SECONDS) -> float | None:
    """Cores that other processes keep busy, watched for a moment in which this one sleeps."""
    before = used()
    time.sleep(seconds)
    after = used()
    seconds_of_others = _others(before, after)
    return None if seconds_of_others is None else seconds_of_others / (after.at - before.at)


def fixed_seconds(threads: int) -> float:
    """How long a fixed computation takes in so many threads, until the last of them ends."""
    workers = [threading.Thread(target=_fixed_work) for _ in range(threads)]
    begin = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return time.perf_counter() - begin


def _fixed_work() -> None:
    digest = hashlib.sha256()
    for _ in range(PORTIONS):
        digest.update(PORTION)  # without Python's global lock: portions are large


class QuietWait:
    """Waits before blocks until others leave the cores alone; no longer than `most` s in all."""

    def __init__(
        self,
        most: float,
        note: Callable[[str], None],
        ending: Callable[[], bool] = lambda: False,
        busy_cores: Callable[[], float | None] = others,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._left, self._note, self._ending = most, note, ending
        self._busy_cores, self._clock = busy_cores, clock

    def before(self, threads: int) -> None:
        """Return when a block of so many threads may begin."""
        noted = False
        while self._left > 0 and not self._ending():
            begin = self._clock()
            busy, cores = self._busy_cores(), len(usable())
            if busy is None or crowding(busy, cores, threads) < OTHERS_LIMIT:
                return
            if not noted:
                self._note(
                    f"{used_by_others(busy, cores, past=False)}: waiting for a quiet machine, "
                    f"{self._left:.0f} s at most (--no-wait: do not wait)"
                )
                noted = True
            self._left -= self._clock() - begin
        if noted and not self._ending():
            self._note("the machine is still busy: measuring all the same")
