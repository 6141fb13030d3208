"""Disturbed blocks: those in which others held cores that the threads of a framework needed.

Turns cancel what slows all setups alike. Waiting for a core does not: of threads that wait for each
other one is late in every step, of threads that share out their work none. So ratios of a disturbed
block are biased. The rule looks at counters, never at ratios.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Mapping

from harness.records import Around, Record
from harness.tasks.spec import Frozen

OTHERS_LIMIT = 0.125
"""Share of the usable cores that others take from the threads of a setup: a quarter of a core of
two. Cores that the threads leave free may be taken."""
OTHERS_WARNING = 0.05
"""From here on others are there, and a thread that waits may wait for them."""
WAIT_LIMIT = 0.20
"""Share of their time that the run's threads stood in line for a core, where others are there. On a
machine of their own the threads of some frameworks also displace each other."""
STOLEN_LIMIT = 0.25
"""Cores that the hypervisor gave to others: as much as OTHERS_LIMIT of two."""
FIXED_LIMIT = 1.5
"""How many times its shortest time of the run a fixed computation takes, the median of a block."""
DISTURBED_SHARE = 0.25
"""A comparison with a larger share of disturbed blocks is not judged. With two such blocks of nine,
both off to one side, its 95 % interval still holds the ratio in 94 % of runs; with four of nine in
81 %."""


class Disturbance(Frozen):
    """What disturbed one block, by the largest of its counters over their limits.

    `others` are cores of `cores` that other processes used; `waited` is a share of the threads'
    time, `stolen` cores, `slowed` how many times its shortest time the fixed computation took.
    """

    cores: int
    others: float | None = None
    waited: float | None = None
    stolen: float | None = None
    slowed: float | None = None
    cause: str = ""
    """`others`, `waited`, `stolen` or `slowed`; empty where the block is not disturbed."""


def crowding(others: float, cores: int, threads: int) -> float:
    """The share of all cores that others take from so many threads."""
    return max(0.0, others - max(0, cores - threads)) / cores


def used_by_others(others: float, cores: int, *, past: bool = True) -> str:
    """The sentence of runs, reports and the doctor."""
    return f"other processes {'used' if past else 'use'} {others:.1f} of {cores} cores"


def by_block(records: Iterable[Record]) -> dict[int, Disturbance]:
    """Every block of one group in which others were counted, all its records given."""
    around: dict[int, Around] = {}
    threads: dict[int, int] = {}
    for record in records:
        if record.around and record.block not in around:
            around[record.block], threads[record.block] = record.around, record.setup.threads
    shortest = min((time for it in around.values() for time in it.fixed), default=None)
    return {block: _disturbance(it, threads[block], shortest) for block, it in around.items()}


def _disturbance(around: Around, threads: int, shortest: float | None) -> Disturbance:
    """What a block's counters show; `shortest` is the run's of the fixed computation."""
    others = waited = stolen = slowed = None
    if around.others_seconds is not None:
        others = min(float(around.cores), around.others_seconds / around.seconds)
    if around.waited_seconds is not None and around.ran_seconds + around.waited_seconds > 0:
        waited = around.waited_seconds / (around.ran_seconds + around.waited_seconds)
    if around.stolen_seconds is not None:
        stolen = around.stolen_seconds / around.seconds
    if shortest and around.fixed:
        slowed = statistics.median(around.fixed) / shortest
    there = (others or 0.0) / around.cores >= OTHERS_WARNING
    over = {
        "others": crowding(others or 0.0, around.cores, threads) / OTHERS_LIMIT,
        "waited": (waited or 0.0) / WAIT_LIMIT if there else 0.0,
        "stolen": (stolen or 0.0) / STOLEN_LIMIT,
        "slowed": (slowed or 0.0) / FIXED_LIMIT,
    }
    return Disturbance(
        cores=around.cores,
        others=others,
        waited=waited,
        stolen=stolen,
        slowed=slowed,
        # What is seen at work is named before what follows from it.
        cause=next((cause for cause, score in over.items() if score >= 1), ""),
    )


def reason(blocks: Collection[int], disturbed: Mapping[int, Disturbance]) -> str:
    """Why a comparison over these blocks is not judged; empty where it may be."""
    bad = sum(block in disturbed for block in blocks)
    return description(blocks, disturbed) if bad > DISTURBED_SHARE * len(blocks) else ""


def description(blocks: Collection[int], disturbed: Mapping[int, Disturbance]) -> str:
    """What disturbed some of these blocks, e.g. `other processes used … in 8 of 9 blocks`."""
    bad = [disturbed[block] for block in blocks if block in disturbed]
    if not bad:
        return ""
    causes = [it.cause for it in bad]
    most = max(dict.fromkeys(causes), key=causes.count)
    alike = sorted((it for it in bad if it.cause == most), key=lambda it: getattr(it, most))
    many = f"{len(bad)} of {len(blocks)} block{'' if len(blocks) == 1 else 's'}"
    return f"{why(alike[len(alike) // 2])} in {many}"


def why(it: Disturbance) -> str:
    """What disturbed a block; empty where nothing did."""
    causes = {
        "others": used_by_others(it.others or 0.0, it.cores),
        "waited": f"{100 * (it.waited or 0):.0f} % of their time threads waited for a core",
        "stolen": f"the hypervisor took {it.stolen or 0:.2f} of a core",
        "slowed": f"a fixed computation took {it.slowed or 0:.1f} × its shortest time",
    }
    return causes.get(it.cause, "")
