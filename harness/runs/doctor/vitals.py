"""What the doctor knows of a machine: plain facts. Whatever is not told there is None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Busy(NamedTuple):
    """A process, and the share of one core that it took while it was watched."""

    name: str
    share: float


@dataclass(frozen=True)
class Counted:
    """Counters that only grow, at one moment; CPU times are in seconds, of the usable cores."""

    at: float
    processes: Mapping[int, tuple[str, float]] = field(default_factory=dict)
    busy: float | None = None
    steal: float | None = None
    uptime: float | None = None
    swapped: float | None = None
    pressure: Mapping[str, float] = field(default_factory=dict)
    throttled: float | None = None
    overheated: float | None = None


@dataclass(frozen=True)
class Watch:
    """What others did for a while.

    `busy_cores` are those that anyone kept busy, even a process too short-lived to be in `busy`;
    `steal_cores` went to other guests of the host. `pressure` is the share of the time in which
    some task waited, by resource. `throttled` counts the periods in which a container's quota was
    spent, `overheated` those in which a core slowed down to cool.
    """

    seconds: float
    busy: tuple[Busy, ...] = ()
    busy_cores: float | None = None
    steal_cores: float | None = None
    swapped: float | None = None
    pressure: Mapping[str, float] = field(default_factory=dict)
    throttled: float | None = None
    overheated: float | None = None


@dataclass(frozen=True)
class Facts:
    """A machine as one process finds it. Memory in bytes, times in seconds, temperatures in °C.

    `cores` may be used by this process, on `physical` ones; `quota` is in cores. `room` is the
    memory that is free, within the limits of a container too. `hottest` is a sensor's temperature
    and the critical one. `steal_share` and `overheated` count since the machine started. Others are
    watched at rest, while the doctor sleeps, and in the `effort` of its own probes, the last of
    these facts; `repeats` are log ratios of the times of equal work.
    """

    cores: int
    cores_of_machine: int
    watch: Watch
    physical: int | None = None
    virtual: bool | None = None
    governors: tuple[str, ...] = ()
    turbo: bool | None = None
    load: float | None = None
    steal_share: float | None = None
    overheated: float | None = None
    hottest: tuple[float, float | None] | None = None
    swap_used: int | None = None
    memory: int | None = None
    room: int | None = None
    quota: float | None = None
    clock: str | None = None
    peaks_reset: bool | None = None
    compiler: str | None = None
    disk_free: int | None = None
    disk_writable: bool = True
    filesystem: str | None = None
    effort: Watch | None = None
    blas: tuple[tuple[str, int], ...] | None = None
    denormal_ratio: float | None = None
    tick: float | None = None
    repeats: tuple[float, ...] = ()


def watched(before: Counted, after: Counted) -> Watch:
    """What happened between two readings; a process that is in one of them only is left out."""
    seconds = after.at - before.at

    def rate(earlier: float | None, later: float | None) -> float | None:
        grown = _grown(earlier, later)
        return None if grown is None else max(0.0, grown / seconds)

    shares = [
        Busy(name, (spent - before.processes[pid][1]) / seconds)
        for pid, (name, spent) in after.processes.items()
        if pid in before.processes
    ]
    return Watch(
        seconds=seconds,
        busy=tuple(sorted((it for it in shares if it.share > 0), key=lambda it: -it.share)),
        busy_cores=rate(before.busy, after.busy),
        steal_cores=rate(before.steal, after.steal),
        swapped=_grown(before.swapped, after.swapped),
        pressure={
            name: min(1.0, max(0.0, (waited - before.pressure[name]) / seconds))
            for name, waited in after.pressure.items()
            if name in before.pressure
        },
        throttled=_grown(before.throttled, after.throttled),
        overheated=_grown(before.overheated, after.overheated),
    )


def _grown(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before
