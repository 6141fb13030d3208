"""Checks of what goes on right now, and may be over in a minute.

Each is a pure function from facts to what it says, None where the fact is not told on this system.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence

from harness.analysis.contention import OTHERS_LIMIT, OTHERS_WARNING, used_by_others
from harness.analysis.noise import PRESSURE_LIMIT, STEAL_LIMIT
from harness.runs.doctor.said import Level, Said, graded, percent, size
from harness.runs.doctor.vitals import Busy, Facts, Watch

BUSY_SHARES = (OTHERS_WARNING, OTHERS_LIMIT)
"""Of all usable cores, from where on other processes are worth a warning, and disturb a block."""
SHOWN_SHARE = 0.02
"""Of a core: a process that takes less is not named."""
SWAP_SPOILS = 1_000_000
"""Bytes a second; fewer are a nuisance."""
SCATTERS = (0.03, 0.10)
"""The same for the scatter of equal work: on a quiet virtual machine of two cores 0.5 to 2 %."""


def other_work(facts: Facts) -> Said | None:
    seen, watch = facts.watch.busy, facts.watch
    if watch.busy_cores is None and not seen:
        return None
    busy = max(watch.busy_cores or 0.0, sum(it.share for it in seen))
    level = graded(busy / facts.cores, *BUSY_SHARES)
    found = used_by_others(busy, facts.cores, past=False)
    if level == "ok":
        return Said(level, found)
    named = _named(seen)
    if busy - sum(it.share for it in seen) >= BUSY_SHARES[0]:
        named.append("processes that came and went")
    return Said(level, f"{found}: {', '.join(named)}" if named else found, "end or pause them")


def _named(seen: Sequence[Busy]) -> list[str]:
    """The three names that take most, in percent of a core; small change is left out."""
    shares: dict[str, list[float]] = defaultdict(list)
    for it in seen:
        if it.share >= SHOWN_SHARE:
            shares[it.name].append(it.share)
    largest = sorted(shares, key=lambda name: -sum(shares[name]))[:3]
    return [
        f"{f'{len(shares[it])} × ' if len(shares[it]) > 1 else ''}{it} {percent(sum(shares[it]))}"
        for it in largest
    ]


def load(facts: Facts) -> Said | None:
    if facts.load is None:
        return None
    level = graded(facts.load / facts.cores, 0.5)
    advice = "wait a minute or two, and ask again" if level != "ok" else ""
    return Said(level, f"{facts.load:.2f} over the last minute, {facts.cores} cores", advice)


def steal(facts: Facts) -> Said | None:
    now = _worst(facts, lambda it: it.steal_cores)
    if now is None:
        return None
    level = graded(now, STEAL_LIMIT / 2, STEAL_LIMIT)
    found = f"the hypervisor gives {now:.2f} of a core to others"
    if facts.steal_share is not None:
        found += f"; {percent(facts.steal_share)} of all time since the start"
        if level == "ok" and facts.steal_share >= STEAL_LIMIT / 2:
            level = "note"
    advice = "measure at a quieter hour, or on a host of your own" if level != "ok" else ""
    return Said(level, found, advice)


def pressure(facts: Facts) -> Said | None:
    shares = facts.watch.pressure
    if not shares:
        return None
    level = graded(shares.get("cpu", 0.0), PRESSURE_LIMIT / 5, PRESSURE_LIMIT)
    if level == "ok" and max(shares.get("memory", 0.0), shares.get("io", 0.0)) >= 0.05:
        level = "warning"
    names = {"cpu": "a core", "memory": "memory", "io": "a disk"}
    told = ", ".join(f"{names[it]} {percent(share)}" for it, share in shares.items())
    advice = "find out what runs here, and end or pause it" if level != "ok" else ""
    return Said(level, f"time in which some task waited for {told}", advice)


def swap(facts: Facts) -> Said | None:
    if facts.swap_used is None:
        return None
    moved = facts.watch.swapped or 0
    if moved:
        level: Level = "unfit" if moved / facts.watch.seconds >= SWAP_SPOILS else "warning"
        return Said(level, f"{size(moved)} moved while we looked", "free memory first")
    if facts.memory and facts.swap_used >= 0.01 * facts.memory:
        return Said("note", f"{size(facts.swap_used)} in use, and nothing moves")
    return Said("ok", "nothing moves")


def heat(facts: Facts) -> Said | None:
    if _worst(facts, lambda it: it.overheated):
        return Said("unfit", "cores slow down to cool right now", "let the machine cool")
    hottest = facts.hottest
    if hottest and hottest[1] and hottest[0] >= hottest[1] - 5:
        found = f"{hottest[0]:.0f} °C, and {hottest[1]:.0f} °C is critical"
        return Said("warning", found, "let the machine cool, see to its fans")
    if facts.overheated:
        return Said("note", f"throttled {facts.overheated:.0f} times since the start, not now")
    if hottest is None and facts.overheated is None:
        return None
    return Said("ok", f"at most {hottest[0]:.0f} °C" if hottest else "never throttled")


def quota(facts: Facts) -> Said | None:
    if _worst(facts, lambda it: it.throttled):
        return Said("unfit", "the container's quota is spent right now", "raise it (docker --cpus)")
    if facts.quota is None:
        return Said("ok", "none")
    found = f"{facts.quota:g} cores, of {facts.cores} that are seen"
    if facts.quota < 1:
        return Said("unfit", found, "raise it to one core at least (docker --cpus)")
    if facts.quota < facts.cores:
        whole = math.floor(facts.quota)
        return Said("warning", found, f"run with --threads {whole}, or bind it to cores instead")
    return Said("ok", found)


def repeatability(facts: Facts) -> Said | None:
    if not facts.repeats:
        return None
    noise = scatter(facts.repeats)
    pairs = "pair" if len(facts.repeats) == 1 else "pairs"
    found = f"equal work in turns scatters by {percent(noise)} ({len(facts.repeats)} {pairs})"
    level = graded(noise, *SCATTERS)
    return Said(level, found, "find what disturbs it, or take more blocks" if level != "ok" else "")


def scatter(logs: tuple[float, ...]) -> float:
    """The standard deviation of log ratios as their median absolute value tells it, which a few
    outliers do not move: 1.4826 × for normal ones (Hampel 1974)."""
    return 1.4826 * statistics.median(abs(it) for it in logs)


def _worst(facts: Facts, count: Callable[[Watch], float | None]) -> float | None:
    """The larger of what was counted at rest and at work: an idle guest is robbed of nothing."""
    told = [count(it) for it in (facts.watch, facts.effort) if it is not None]
    return max((it for it in told if it is not None), default=None)
