"""The noise of a run: what its A/A pair shows, what was counted while turns were timed."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from harness.analysis import contention
from harness.analysis.contention import Disturbance
from harness.analysis.pairs import Entry, baseline_of, log_ratios, pair_of
from harness.analysis.stats import Interval, half_width, median_of
from harness.analysis.usage import SetupUsage, setup_usage
from harness.analysis.verdicts import LEAST_MARGIN
from harness.cells import LANES, PHASES, Lane, Phase, Setup
from harness.records import Record
from harness.tasks.spec import Frozen

STEAL_LIMIT = 0.05
"""Seconds of CPU time that the hypervisor gave to others, per second on the clock. A twentieth of
one core: spread over a turn it costs at most 5 %, and turns leave a fraction of that in a ratio."""
PRESSURE_LIMIT = 0.25
"""Share of the time in which some task waited for a core. A ratio is a median over rounds, which
stands what hits a minority of them; a neighbour that is there a quarter of the time hits more."""

SCATTER_LIMIT = 0.10
"""Interquartile range of the times of the same work, over their median. A virtual machine may share
its cores with others, and no counter shows it, neither stolen time nor pressure; it shows here.
In 154 blocks below this limit a setup and its A/A copy differed by 1.9 % (root mean square), in 26
above it by 7.4 % (the journal results/studies/planted.json)."""
FEWEST_ROUNDS = 4
"""For quartiles."""


State = Literal["calm", "noisy", "disturbed"]
"""Of a block. What makes it noisy hits all setups alike, what disturbs it does not."""


class Floor(Frozen):
    """One setup against itself, in one phase: whatever differs from 1 is noise.

    `floor` is half the width of the ratio's interval on the logarithmic scale: the smallest effect
    that this run could have shown. `bound` is how far the farther end lies from 1: no smaller
    difference counts. Both are None without an interval. `false_alarm` says that the interval
    excludes 1.
    """

    setup: Setup
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

    The median, because a framework may crowd itself; what comes from outside hits every worker.
    `scatter` is how much the same work varied from round to round, see SCATTER_LIMIT. `score` is
    the largest of them over its limit, None where nothing was counted; above 1 the block is noisy,
    for the `reason`. `around` is what was counted of others; if it disturbed the block, ratios are
    biased.
    """

    block: int
    score: float | None
    steal_share: float | None
    pressure_share: float | None
    switches_per_second: float | None
    load: float | None
    scatter: float | None = None
    reason: str = ""
    around: Disturbance | None = None

    @property
    def disturbed(self) -> str:
        return contention.why(self.around) if self.around else ""

    @property
    def state(self) -> State:
        return "disturbed" if self.disturbed else "noisy" if self.reason else "calm"


class Strip(Frozen):
    """How a pair's ratio drifted: by block, its logarithm minus the median over blocks."""

    lane: Lane
    phase: Phase
    label: str
    baseline: str
    points: tuple[tuple[int, float], ...]


class SetupNoise(Frozen):
    """One worker's turns, all blocks and phases together."""

    setup: Setup
    turns: TurnNoise


class GroupNoise(Frozen):
    """Everything that a run knows of its noise while one group was measured."""

    task: str
    digest: str
    device: str
    threads: int
    dtype: str
    floors: tuple[Floor, ...]
    blocks: tuple[BlockNoise, ...]
    setups: tuple[SetupNoise, ...]
    strips: tuple[Strip, ...]
    usages: tuple[SetupUsage, ...] = ()


def group_noise(records: Sequence[Record], entries: Mapping[Setup, Entry]) -> GroupNoise:
    """The noise of one group, all its records and all its good ones given."""
    blocks: dict[int, list[Record]] = defaultdict(list)
    for record in records:
        blocks[record.block].append(record)
    setup, around = records[0].setup, contention.by_block(records)
    turns = {entry.setup: turn_noise(entry.records) for entry in entries.values()}
    usages = [setup_usage(entry.records) for entry in entries.values()]
    return GroupNoise(
        task=setup.task,
        digest=setup.digest,
        device=setup.device,
        threads=setup.threads,
        dtype=setup.dtype,
        floors=tuple(_floors(entries)),
        blocks=tuple(block_noise(blocks[it], around.get(it)) for it in sorted(blocks)),
        setups=tuple(SetupNoise(setup=setup, turns=it) for setup, it in turns.items() if it),
        strips=tuple(_strips(entries)),
        usages=tuple(usage for usage in usages if usage),
    )


def _floors(entries: Mapping[Setup, Entry]) -> Iterator[Floor]:
    """Every A/A copy and its original, in every phase that they measured together."""
    for copy in entries.values():
        original = entries.get(copy.setup.original)
        if original is None or not copy.setup.twin:
            continue
        for phase in PHASES:
            if pair := pair_of(copy, original, phase):
                yield Floor(
                    setup=original.setup,
                    phase=phase,
                    speed=pair.speed,
                    floor=half_width(pair.speed),
                    bound=pair.hidden,
                    false_alarm=pair.excludes_one,
                )


def margin(floors: Iterable[Floor]) -> float:
    """δ, below which a difference counts as none: 1 %, or more if the A/A pairs reach more."""
    return max([LEAST_MARGIN, *(it.bound for it in floors if it.bound is not None)])


def turn_noise(records: Iterable[Record]) -> TurnNoise | None:
    """Sums over all turns of some trials; None without any."""
    samples = [sample for record in records for it in record.phases for sample in it.samples]
    if not samples:
        return None
    seconds = sum(times := [it.seconds for it in samples])
    pressure = _share([it.pressure_seconds for it in samples], times)
    return TurnNoise(
        seconds=seconds,
        steal_share=_share([it.steal_seconds for it in samples], times),
        # Its counter and the clock are read one after the other.
        pressure_share=None if pressure is None else min(1.0, pressure),
        switches_per_second=sum(it.involuntary_switches for it in samples) / seconds,
        cpu_share=sum(it.cpu_seconds for it in samples) / seconds,
        load=median_of(it.load for it in samples),
    )


def block_noise(records: Sequence[Record], around: Disturbance | None = None) -> BlockNoise:
    """The noise of one block, all its trials given; raises ValueError for any other number."""
    if len({it.block for it in records}) != 1:
        raise ValueError("not the records of one block")
    turns = [counted for record in records if (counted := turn_noise([record]))]
    noise = BlockNoise(
        block=records[0].block,
        score=None,
        steal_share=median_of(it.steal_share for it in turns),
        pressure_share=median_of(it.pressure_share for it in turns),
        switches_per_second=median_of(it.switches_per_second for it in turns),
        load=median_of(it.load for it in turns),
        scatter=median_of(map(_scatter, records)),
        around=around,
    )
    counters = list(_counters(noise))
    score = max((value / limit for value, limit, _ in counters), default=None)
    reason = " and ".join(why for value, limit, why in counters if value > limit)
    return noise.model_copy(update={"score": score, "reason": reason})


def _counters(block: BlockNoise) -> Iterator[tuple[float, float, str]]:
    """What was counted, its limit, and what to say of it above that."""
    if (share := block.steal_share) is not None:
        yield share, STEAL_LIMIT, f"the hypervisor took {share:.2f} of a core"
    if (share := block.pressure_share) is not None:
        waited = f"{100 * share:.0f} % of the time some task waited for a core"
        yield share, PRESSURE_LIMIT, waited
    if (share := block.scatter) is not None:
        varied = f"the same work varied by {100 * share:.0f} % from round to round"
        yield share, SCATTER_LIMIT, varied


def _strips(entries: Mapping[Setup, Entry]) -> Iterator[Strip]:
    for lane, phase in itertools.product(LANES, PHASES):
        timed = {
            entry.setup.label: entry
            for entry in entries.values()
            if entry.setup.lane == lane and entry.steps[phase]
        }
        names = [label for label, entry in timed.items() if not entry.setup.twin]
        for label, ours in sorted(timed.items()):
            baseline = ours.setup.original.label if ours.setup.twin else baseline_of(names)
            if baseline != label and baseline in timed:
                logs = log_ratios(ours.steps[phase], timed[baseline].steps[phase])
                middle = statistics.median(logs.values()) if logs else 0.0
                points = tuple((block, log - middle) for block, log in logs.items())
                if points:
                    yield Strip(
                        lane=lane, phase=phase, label=label, baseline=baseline, points=points
                    )


def _scatter(record: Record) -> float | None:
    """Of one worker, the median over its phases; None with too few rounds."""
    scatters = []
    for phase in record.phases:
        times = [sample.step_seconds for sample in phase.samples]
        if len(times) >= FEWEST_ROUNDS:
            low, middle, high = statistics.quantiles(times, n=4, method="inclusive")
            scatters.append((high - low) / middle)
    return median_of(scatters)


def _share(counts: Sequence[float | None], times: Sequence[float]) -> float | None:
    """The sum of a counter over the sum of the time, of the samples in which it counted."""
    counted = [(it, time) for it, time in zip(counts, times, strict=True) if it is not None]
    if not counted:
        return None
    return math.fsum(it for it, _ in counted) / math.fsum(time for _, time in counted)
