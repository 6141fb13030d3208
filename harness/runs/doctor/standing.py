"""Checks of what the machine is and how it is set up: true until somebody changes it.

Each is a pure function from facts to what it says, None where the fact is not told on this system.
"""

from __future__ import annotations

from harness.runs.doctor.said import Level, Said, graded, size
from harness.runs.doctor.vitals import Facts
from harness.runs.places import on_network

MEMORY_NEEDED, MEMORY_WISHED = 1 << 30, 2 << 30
"""The workers of a default run hold about 1.2 GB, of which TensorFlow has 0.7."""
DISK_NEEDED, DISK_WISHED = 100_000_000, 1_000_000_000
SLOW_CLOCKS = ("hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit")
SLOW_DENORMALS = 2.0


def memory(facts: Facts) -> Said | None:
    if facts.room is None:
        return None
    level: Level = (
        "unfit" if facts.room < MEMORY_NEEDED else "warning" if facts.room < MEMORY_WISHED else "ok"
    )
    advice = f"free some: the workers of a default run want {size(MEMORY_WISHED)}"
    return Said(level, f"{size(facts.room)} free", advice if level != "ok" else "")


def governor(facts: Facts) -> Said | None:
    if not facts.governors:
        return None
    found = ", ".join(facts.governors)
    if facts.governors == ("performance",):
        return Said("ok", found)
    advice = "set it to performance: sudo cpupower frequency-set -g performance"
    return Said("warning", f"{found}: the clock follows the load", advice)


def turbo(facts: Facts) -> Said | None:
    if facts.turbo is None:
        return None
    if not facts.turbo:
        return Said("ok", "off")
    return Said(
        "note",
        "on: the clock depends on heat and on how many cores work",
        "turns even it out; switch it off in the firmware for steadier times",
    )


def siblings(facts: Facts) -> Said | None:
    if facts.physical is None:
        return None
    if facts.cores <= facts.physical:
        return Said("ok", "one thread on each core")
    return Said(
        "warning",
        f"{facts.cores} hardware threads share {facts.physical} cores",
        f"run with --threads {facts.physical}, so that no two share one",
    )


def cores(facts: Facts) -> Said:
    found = f"{facts.cores} of {facts.cores_of_machine} may be used"
    if facts.cores == 1:
        return Said("warning", found, "give it two: the system itself needs one now and then")
    if facts.cores < facts.cores_of_machine:
        return Said("note", f"{found}; the others' work shares caches and memory")
    return Said("ok", found)


def virtual(facts: Facts) -> Said | None:
    if facts.virtual is None:
        return None
    if not facts.virtual:
        return Said("ok", "no")
    return Said("note", "yes: the host decides the clock, and who else works there")


def clock(facts: Facts) -> Said | None:
    if facts.tick is None:
        return None
    source = f"{facts.clock}, " if facts.clock else ""
    found = f"{source}steps of {facts.tick * 1e9:.0f} ns"
    level = graded(facts.tick, 2e-6, 1e-4)
    if level == "ok" and facts.clock in SLOW_CLOCKS:
        level = "warning"
    advice = "choose a faster source in /sys/devices/system/clocksource" if level != "ok" else ""
    return Said(level, found, advice)


def denormals(facts: Facts) -> Said | None:
    if facts.denormal_ratio is None:
        return None
    if facts.denormal_ratio < SLOW_DENORMALS:
        return Said("ok", "as fast as other numbers")
    found = f"{facts.denormal_ratio:.0f} × as slow as other numbers"
    return Said("note", f"{found}; no sample begins with any")


def blas(facts: Facts) -> Said | None:
    if facts.blas is None:
        return None
    if not facts.blas:
        advice = "install a NumPy that has one: the reference would be measured without"
        return Said("warning", "NumPy has none that is known", advice)
    told = ", ".join(f"{name}, {threads} threads" for name, threads in facts.blas)
    return Said("ok", told)


def peaks(facts: Facts) -> Said | None:
    if facts.peaks_reset is None:
        return None
    if facts.peaks_reset:
        return Said("ok", "can be reset")
    found = "/proc/self/clear_refs cannot be written: peaks will be shown as –"
    return Said("note", found, "run where it can be, in a container with fewer restrictions")


def compiler(facts: Facts) -> Said:
    if facts.compiler:
        return Said("ok", facts.compiler)
    return Said("note", "none: torch.compile is unavailable", "install g++")


def disk(facts: Facts) -> Said | None:
    if facts.disk_free is None:
        return None
    if not facts.disk_writable:
        return Said("unfit", "the results directory cannot be written", "choose another with -o")
    if on_network(facts.filesystem):
        found = f"results on {facts.filesystem}: a store is not safe on a network"
        return Said("unfit", found, "choose a local directory with -o")
    level: Level = (
        "unfit"
        if facts.disk_free < DISK_NEEDED
        else "warning"
        if facts.disk_free < DISK_WISHED
        else "ok"
    )
    advice = "free some, or choose another with -o" if level != "ok" else ""
    return Said(level, f"{size(facts.disk_free)} free for results", advice)
