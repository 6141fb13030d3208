"""The noise of a run: what its A/A pair shows, what was counted while turns were timed."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from harness.analysis.compare import compare
from harness.analysis.intervals import Interval, half_width
from harness.cells import PHASES, Phase, Setup
from harness.records import Record, Sample
from harness.tasks.frozen import Frozen

STEAL_LIMIT = 0.05
"""Seconds of CPU time that the hypervisor gave to others, per second on the clock. A twentieth of
one core: spread over a turn it costs at most 5 %, and turns leave a fraction of that in a ratio."""
PRESSURE_LIMIT = 0.25
"""Share of the time in which some task waited for a core. A ratio is a median over rounds, which
stands what hits a minority of them; a neighbour that is there a quarter of the time hits more."""


class Floor(Frozen):
    """One setup against itself, in one phase: whatever differs from 1 is noise.

    `floor` is half the width of the ratio's interval on the logarithmic scale: the smallest effect
    that this run could have shown. `bound` is how far the farther end lies from 1: equivalence
    within less cannot be claimed. Both are None without an interval. `false_alarm` says that the
    interval excludes 1.
    """

    task: str
    digest: str
    device: str
    threads: int
    dtype: str
    lane: str
    label: str
    phase: Phase
    speed: Interval
    floor: float | None
    bound: float | None
    false_alarm: bool


class TurnNoise(Frozen):
    """What was counted in all timed turns of some samples; None where nothing was counted.

    Shares are per second on the clock: `steal_share` in cores, `pressure_share` of the time,
    `cpu_share` in cores that the worker kept busy; `load` is the median one-minute load average.
    """

    seconds: float
    steal_share: float | None
    pressure_share: float | None
    switches_per_second: float
    cpu_share: float
    load: float | None


class BlockNoise(Frozen):
    """The noise of one block: of each counter, the median over its workers.

    A framework may crowd itself (TensorFlow's threads displace each other 300 to 800 times a second
    on an idle machine); what comes from outside hits every worker's turns alike. `score` is the
    largest share over its limit, None where nothing was counted; above 1 the block is noisy, and
    `reason` says by what.
    """

    block: int
    score: float | None
    steal_share: float | None
    pressure_share: float | None
    switches_per_second: float | None
    load: float | None
    reason: str = ""


class Strip(Frozen):
    """How a pair's ratio drifted: by block, its logarithm minus the median over blocks."""

    label: str
    baseline: str
    phase: Phase
    points: tuple[tuple[int, float], ...]


def floors(records: Iterable[Record]) -> tuple[Floor, ...]:
    """The A/A pair of every arena that has one, in every phase that both of them measured."""
    blocks: dict[Setup, dict[int, Record]] = defaultdict(dict)
    for record in records:
        if record.status == "ok":
            blocks[record.setup][record.block] = record
    found = []
    for twin in (it for it in blocks if it.twin):
        original = twin.model_copy(update={"twin": False})
        for phase in PHASES:
            pair = compare(
                twin.label, blocks[twin], original.label, blocks.get(original, {}), phase
            )
            if pair is None:
                continue
            found.append(
                Floor(
                    task=twin.task,
                    digest=twin.digest,
                    device=twin.device,
                    threads=twin.threads,
                    dtype=twin.dtype,
                    lane=twin.lane,
                    label=original.label,
                    phase=phase,
                    speed=pair.speed,
                    floor=half_width(pair.speed),
                    bound=pair.hidden,
                    false_alarm=pair.excludes_one,
                )
            )
    return tuple(found)


def turn_noise(samples: Sequence[Sample]) -> TurnNoise | None:
    """Sums over the turns of some samples; None for no sample."""
    if not samples:
        return None
    seconds = sum(it.seconds for it in samples)
    loads = [it.load for it in samples if it.load is not None]
    return TurnNoise(
        seconds=seconds,
        steal_share=_share(samples, seconds, lambda it: it.steal_seconds),
        pressure_share=_share(samples, seconds, lambda it: it.pressure_seconds),
        switches_per_second=sum(it.involuntary_switches for it in samples) / seconds,
        cpu_share=sum(it.cpu_seconds for it in samples) / seconds,
        load=statistics.median(loads) if loads else None,
    )


def block_noise(records: Sequence[Record]) -> BlockNoise:
    """The noise of one block, all its trials given; raises ValueError for any other number."""
    if len({it.block for it in records}) != 1:
        raise ValueError("the records of one block, please")
    turns = [
        it
        for record in records
        if (it := turn_noise([sample for phase in record.phases for sample in phase.samples]))
    ]

    def median(count: Callable[[TurnNoise], float | None]) -> float | None:
        counted = [value for it in turns if (value := count(it)) is not None]
        return statistics.median(counted) if counted else None

    steal, pressure = median(lambda it: it.steal_share), median(lambda it: it.pressure_share)
    scores = [
        share / limit
        for share, limit in ((steal, STEAL_LIMIT), (pressure, PRESSURE_LIMIT))
        if share is not None
    ]
    noise = BlockNoise(
        block=records[0].block,
        score=max(scores, default=None),
        steal_share=steal,
        pressure_share=pressure,
        switches_per_second=median(lambda it: it.switches_per_second),
        load=median(lambda it: it.load),
    )
    return noise.model_copy(update={"reason": noisy(noise)})


def noisy(block: BlockNoise) -> str:
    """Why one more block is to be made, by the rule declared above; empty where it is quiet."""
    said = []
    if block.steal_share is not None and block.steal_share > STEAL_LIMIT:
        said.append(f"the hypervisor took {block.steal_share:.2f} of a core")
    if block.pressure_share is not None and block.pressure_share > PRESSURE_LIMIT:
        said.append(f"{block.pressure_share:.0%} of the time some task waited for a core")
    return " and ".join(said)


def strip(label: str, baseline: str, phase: Phase, logs: dict[int, float]) -> Strip | None:
    """The drift of a pair with these logarithms of block ratios; None for no block."""
    if not logs:
        return None
    middle = statistics.median(logs.values())
    return Strip(
        label=label,
        baseline=baseline,
        phase=phase,
        points=tuple((block, logs[block] - middle) for block in sorted(logs)),
    )


def _share(
    samples: Sequence[Sample], seconds: float, count: Callable[[Sample], float | None]
) -> float | None:
    """The sum of a counter over the sum of the time, of the samples in which it counted."""
    counted = [(value, it.seconds) for it in samples if (value := count(it)) is not None]
    if not counted:
        return None
    return math.fsum(it[0] for it in counted) / math.fsum(it[1] for it in counted)
