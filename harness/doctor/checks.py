"""Is this machine fit to measure on? Each check is a pure function from facts to a result.

A check returns None if this system does not have its fact. *Unfit* spoils a run: it makes each
block noisy or disturbed by the rules in `harness.analysis`, or ends the run. A *warning* widens
intervals or shifts the figures of every framework. A *note* is worth knowing.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from harness.analysis.contention import OTHERS_LIMIT, OTHERS_WARNING, used_by_others
from harness.analysis.noise import STEAL_LIMIT
from harness.doctor import facts as sensors
from harness.doctor.facts import Busy, Facts, Watch, watched
from harness.frameworks import faults
from harness.runs.files import on_network
from harness.runs.machine import usable, whole
from harness.tasks.spec import Frozen

Level = Literal["ok", "note", "warning", "unfit"]
LEVELS: tuple[Level, ...] = ("unfit", "warning", "note", "ok")
"""Worst first."""


class Result(NamedTuple):
    """`advice` counts only where the level is not ok."""

    level: Level
    text: str
    advice: str = ""


def graded(value: float, warning: float, unfit: float = math.inf) -> Level:
    """The level of a value, of which more is worse."""
    return "unfit" if value >= unfit else "warning" if value >= warning else "ok"


def percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"


def size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"


BUSY_SHARES = (OTHERS_WARNING, OTHERS_LIMIT)
"""The shares of all usable cores from which on other processes are worth a warning, and disturb a
block."""
SHOWN_SHARE = 0.02
"""Of a core: a process that takes less is not named."""
SWAP_SPOILS = 1_000_000
"""Bytes a second; fewer are a nuisance."""
SCATTERS = (0.03, 0.10)
"""The same for the scatter of equal work: on a quiet virtual machine of two cores 0.5 to 2 %."""


def other_work(facts: Facts) -> Result | None:
    seen, watch = facts.watch.busy, facts.watch
    if watch.busy_cores is None and not seen:
        return None
    of_seen = sum(it.share for it in seen)
    busy = max(watch.busy_cores or 0.0, of_seen)
    level = graded(busy / facts.cores, *BUSY_SHARES)
    text = used_by_others(busy, facts.cores, past=False)
    named = [] if level == "ok" else _named(seen)
    if level != "ok" and busy - of_seen >= BUSY_SHARES[0]:
        named.append("processes that came and went")
    return Result(level, f"{text}: {', '.join(named)}" if named else text, "end or pause them")


def _named(seen: Sequence[Busy]) -> list[str]:
    """The three names that take most, in percent of a core; small change is left out."""
    shares: dict[str, list[float]] = defaultdict(list)
    for busy in seen:
        if busy.share >= SHOWN_SHARE:
            shares[busy.name].append(busy.share)
    largest = sorted(shares, key=lambda name: -sum(shares[name]))[:3]
    return [
        f"{f'{len(shares[it])} × ' if len(shares[it]) > 1 else ''}{it} {percent(sum(shares[it]))}"
        for it in largest
    ]


def steal(facts: Facts) -> Result | None:
    now = _worst(facts, lambda it: it.steal_cores)
    if now is None:
        return None
    level = graded(now, STEAL_LIMIT / 2, STEAL_LIMIT)
    text = f"the hypervisor gives {now:.2f} of a core to others"
    if facts.steal_share is not None:
        text += f"; {percent(facts.steal_share)} of all time since the start"
        if level == "ok" and facts.steal_share >= STEAL_LIMIT / 2:
            level = "note"
    return Result(level, text, "measure at a quieter hour, or on a host of your own")


def swap(facts: Facts) -> Result | None:
    if facts.swap_used is None:
        return None
    moved = facts.watch.swapped or 0
    if moved:
        level: Level = "unfit" if moved / facts.watch.seconds >= SWAP_SPOILS else "warning"
        return Result(level, f"{size(moved)} moved meanwhile", "free memory first")
    if facts.memory and facts.swap_used >= 0.01 * facts.memory:
        return Result("note", f"{size(facts.swap_used)} in use, and nothing moves")
    return Result("ok", "nothing moves")


def heat(facts: Facts) -> Result | None:
    if _worst(facts, lambda it: it.overheated):
        return Result("unfit", "cores slow down to cool right now", "let the machine cool")
    hottest = facts.hottest
    if hottest and hottest[1] and hottest[0] >= hottest[1] - 5:
        text = f"{hottest[0]:.0f} °C, and {hottest[1]:.0f} °C is critical"
        return Result("warning", text, "let the machine cool, see to its fans")
    if facts.overheated:
        return Result("note", f"throttled {facts.overheated:.0f} times since the start, not now")
    if hottest is None and facts.overheated is None:
        return None
    return Result("ok", f"at most {hottest[0]:.0f} °C" if hottest else "never throttled")


def quota(facts: Facts) -> Result | None:
    if _worst(facts, lambda it: it.throttled):
        return Result(
            "unfit", "the container's quota is spent right now", "raise it (docker --cpus)"
        )
    quota = math.inf if facts.quota is None else facts.quota
    text = "none" if facts.quota is None else f"{quota:g} cores, of {facts.cores} that are seen"
    if quota < 1:
        return Result("unfit", text, "raise it to one core at least (docker --cpus)")
    if facts.cores == 1:
        advice = "give it two: the system itself needs one now and then"
        return Result("warning", f"1 core of {facts.cores_of_machine} may be used", advice)
    if quota < facts.cores:
        advice = f"run with --threads {math.floor(quota)}, or bind it to cores instead"
        return Result("warning", text, advice)
    return Result("ok", text)


def repeatability(facts: Facts) -> Result | None:
    if not facts.repeats:
        return None
    noise = scatter(facts.repeats)
    pairs = "pair" if len(facts.repeats) == 1 else "pairs"
    text = f"equal work in turns scatters by {percent(noise)} ({len(facts.repeats)} {pairs})"
    return Result(graded(noise, *SCATTERS), text, "find what disturbs it, or take more blocks")


def scatter(logs: tuple[float, ...]) -> float:
    """A robust standard deviation of log ratios: 1.4826 × their median size (Hampel 1974)."""
    return 1.4826 * statistics.median(abs(it) for it in logs)


def _worst(facts: Facts, count: Callable[[Watch], float | None]) -> float | None:
    """The larger of what was counted at rest and at work: an idle guest is robbed of nothing."""
    counts = [count(it) for it in (facts.watch, facts.effort) if it is not None]
    return max((it for it in counts if it is not None), default=None)


MEMORY_NEEDED, MEMORY_WISHED = 1 << 30, 2 << 30
"""The workers of a default run hold about 1.2 GB, of which TensorFlow has 0.7."""
DISK_NEEDED, DISK_WISHED = 100_000_000, 1_000_000_000


def memory(facts: Facts) -> Result | None:
    if facts.room is None:
        return None
    level = graded(-facts.room, -MEMORY_WISHED, -MEMORY_NEEDED)
    advice = f"free some: the workers of a default run want {size(MEMORY_WISHED)}"
    return Result(level, f"{size(facts.room)} free", advice)


def governor(facts: Facts) -> Result | None:
    if not facts.governors:
        return None
    text = ", ".join(facts.governors)
    if facts.governors == ("performance",):
        return Result("ok", text)
    advice = "set it to performance: sudo cpupower frequency-set -g performance"
    return Result("warning", f"{text}: the clock follows the load", advice)


def siblings(facts: Facts) -> Result | None:
    if facts.physical is None:
        return None
    if facts.cores <= facts.physical:
        return Result("ok", "one thread on each core")
    return Result(
        "warning",
        f"{facts.cores} hardware threads share {facts.physical} cores",
        f"run with --threads {facts.physical}, so that no two share one",
    )


def compiler(facts: Facts) -> Result:
    if facts.compiler:
        return Result("ok", facts.compiler)
    return Result("note", "none: torch.compile is unavailable", "install g++")


def readable(facts: Facts) -> Result | None:
    if facts.left_out is None:
        return None
    if not facts.left_out:
        return Result("ok", "all folders and plug-ins can be read")
    text = "; ".join(f"left out: {what}: {why}" for what, why in facts.left_out)
    return Result("note", text, "repair or remove them")


def disk(facts: Facts) -> Result | None:
    if facts.disk_free is None:
        return None
    if not facts.disk_writable:
        return Result("unfit", "the results directory cannot be written", "choose another with -o")
    if on_network(facts.filesystem):
        text = f"results on {facts.filesystem}: a store is not safe on a network"
        return Result("unfit", text, "choose a local directory with -o")
    level = graded(-facts.disk_free, -DISK_WISHED, -DISK_NEEDED)
    return Result(
        level, f"{size(facts.disk_free)} free for results", "free some, or choose another with -o"
    )


CHECKS: Mapping[str, Callable[[Facts], Result | None]] = {
    "other work": other_work,
    "steal": steal,
    "swap": swap,
    "memory": memory,
    "disk": disk,
    "heat": heat,
    "CPU quota": quota,
    "CPU governor": governor,
    "SMT": siblings,
    "C++ compiler": compiler,
    "frameworks": readable,
    "A/A": repeatability,
}


class Diagnosis(Frozen):
    """One check: what was found, and what to do about it where anything can be done."""

    name: str
    level: Level
    found: str
    advice: str = ""


class Checkup(Frozen):
    """All findings, worst first; `untold` are the checks for which this system has no facts."""

    findings: tuple[Diagnosis, ...]
    untold: tuple[str, ...]

    @property
    def level(self) -> Level:
        return next((it for it in LEVELS if self.at(it)), "ok")

    @property
    def fit(self) -> bool:
        return self.level != "unfit"

    def at(self, level: Level) -> tuple[Diagnosis, ...]:
        return tuple(it for it in self.findings if it.level == level)


def examine(facts: Facts) -> Checkup:
    results = {name: check(facts) for name, check in CHECKS.items()}
    findings = [
        Diagnosis(name=name, level=it.level, found=it.text, advice=it.advice * (it.level != "ok"))
        for name, it in results.items()
        if it
    ]
    return Checkup(
        findings=tuple(sorted(findings, key=lambda it: LEVELS.index(it.level))),
        untold=tuple(name for name, it in results.items() if it is None),
    )


def collect(output: Path) -> Facts:
    """The facts of this machine, in about four seconds; `output` is the results directory."""
    facts = sensors.read(output)
    cpus = usable()
    before = sensors.count(cpus)
    repeats = sensors.repeats(whole(facts.cores, facts.quota))
    return dataclasses.replace(
        facts,
        effort=watched(before, sensors.count(cpus)),
        repeats=repeats,
        left_out=tuple(faults()),
    )
