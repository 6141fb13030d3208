"""The doctor's way: read the facts, make every check on them, say which is the worst."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.runs.cgroups import usable, whole
from harness.runs.doctor import moment, probes, sensors, standing
from harness.runs.doctor.said import LEVELS, Level, Said
from harness.runs.doctor.vitals import Facts, watched
from harness.tasks.frozen import Frozen

CHECKS: Mapping[str, Callable[[Facts], Said | None]] = {
    "other work": moment.other_work,
    "load": moment.load,
    "steal": moment.steal,
    "pressure": moment.pressure,
    "swap": moment.swap,
    "memory": standing.memory,
    "disk": standing.disk,
    "heat": moment.heat,
    "CPU quota": moment.quota,
    "CPU governor": standing.governor,
    "SMT": standing.siblings,
    "turbo": standing.turbo,
    "cores": standing.cores,
    "virtual": standing.virtual,
    "clock": standing.clock,
    "denormals": standing.denormals,
    "BLAS": standing.blas,
    "memory peaks": standing.peaks,
    "C++ compiler": standing.compiler,
    "A/A": moment.repeatability,
}


class Finding(Frozen):
    """One check: what was found, and what to do about it where anything can be done."""

    name: str
    level: Level
    found: str
    advice: str = ""


class Checkup(Frozen):
    """All findings, worst first; `untold` are the checks for which this system has no facts."""

    findings: tuple[Finding, ...]
    untold: tuple[str, ...]

    @property
    def level(self) -> Level:
        """The worst of all."""
        return next((it for it in LEVELS if self.at(it)), "ok")

    @property
    def fit(self) -> bool:
        return self.level != "unfit"

    def at(self, level: Level) -> tuple[Finding, ...]:
        return tuple(it for it in self.findings if it.level == level)


def examine(facts: Facts) -> Checkup:
    """Every check on these facts."""
    said = {name: check(facts) for name, check in CHECKS.items()}
    findings = [Finding(name=name, **it._asdict()) for name, it in said.items() if it]
    return Checkup(
        findings=tuple(sorted(findings, key=lambda it: LEVELS.index(it.level))),
        untold=tuple(name for name, it in said.items() if it is None),
    )


def collect(output: Path) -> Facts:
    """The facts of this machine, in about four seconds; `output` is the results directory."""
    facts = sensors.read(output)
    cpus = usable()
    before = sensors.count(cpus)
    repeats = probes.repeats(whole(facts.cores, facts.quota))
    return dataclasses.replace(
        facts,
        effort=watched(before, sensors.count(cpus)),
        repeats=repeats,
        blas=probes.blas(),
        tick=probes.tick(),
        denormal_ratio=probes.denormal_ratio(),
    )
