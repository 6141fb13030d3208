"""What starting costs, and after how many steps a faster step has paid for a slower start."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from harness.analysis.pairs import Entry, log_ratios
from harness.analysis.stats import (
    CONFIDENCE,
    Interval,
    interval_of,
    median_interval,
    ratio_interval,
    reach,
)
from harness.cells import Phase
from harness.records import PhaseRecord, Record
from harness.tasks.spec import Frozen

EACH = 1 - (1 - CONFIDENCE) / 2
"""A break-even rests on two intervals; that both hold is as sure as CONFIDENCE (Bonferroni)."""

BreakEvenVerdict = Literal[
    "overtakes", "is overtaken", "from the first step", "never", "cannot tell"
]


class Startup(Frozen):
    """Seconds until one cell is under way, medians over the `n` trials that started alone.

    `cold` trials filled an empty compile cache, the others found it filled or have none; they are
    never mixed. `first_call` includes tracing and compiling, `second_call` what is left of it.
    `step` is a steady step in those same trials. `total` is what starting costs beyond the steps
    that it makes: import, build and both calls, less two steady steps. It is None in a phase whose
    first call was not its process's first (`reason`): what both share is compiled already.
    """

    cold: bool
    n: int
    import_seconds: Interval | None
    build_seconds: Interval | None
    first_call: Interval | None
    second_call: Interval | None
    step: Interval | None
    total: Interval | None
    reason: str = ""


class BreakEven(Frozen):
    """When one setup has done more steps than another, both started at the same moment.

    `overtakes`: `label` has the faster step and the slower start, and is ahead from `steps` on,
    `seconds` after the start; a low of 0 means that it may be ahead all along. `is overtaken`: the
    other way round, `label` is ahead until then. `from the first step`: it starts no later and
    steps faster. `never`: neither. `cannot tell`: the step ratio's interval covers 1. `steps` and
    `seconds` are medians over `n` blocks in which both started alone; their intervals include that
    of the step ratio, from all blocks.
    """

    label: str
    baseline: str
    cold: bool
    n: int
    verdict: BreakEvenVerdict
    steps: Interval | None = None
    seconds: Interval | None = None
    reason: str = ""


def startups(entry: Entry, phase: Phase) -> tuple[Startup, ...]:
    """A cell's start with a warm cache, then with a cold one, as far as there are trials of it."""
    alone = list(_trials(entry, phase).values())
    kinds = [(cold, [it for it in alone if it.record.cold == cold]) for cold in (False, True)]
    return tuple(_startup(cold, trials) for cold, trials in kinds if trials)


def break_evens(ours: Entry, theirs: Entry, phase: Phase) -> tuple[BreakEven, ...]:
    """The pair with warm caches, then with a cold one; empty without starts in this phase."""
    speed, made = _speed(ours, theirs, phase), []
    for cold in (False, True):
        starts = _paired(ours, theirs, phase, cold=cold)
        if not starts or speed is None:
            continue
        side, delay = speed.side(), median_interval([it.delay for it in starts], EACH)
        earliest, latest = delay.ends or (delay.estimate, delay.estimate)
        verdict: BreakEvenVerdict = "overtakes" if side > 0 else "is overtaken"
        reason = delay.reason
        if side == 0:
            verdict = "cannot tell"
            reason = "their steps cannot be told apart" if speed.ends else speed.reason
        elif side > 0 and latest <= 0:
            verdict = "from the first step"
        elif side < 0 and earliest >= 0:
            verdict = "never"
        crossing = verdict in ("overtakes", "is overtaken")
        break_even = BreakEven(
            label=ours.setup.label,
            baseline=theirs.setup.label,
            cold=cold,
            n=len(starts),
            verdict=verdict,
            steps=_over(starts, speed, _steps_until) if crossing else None,
            seconds=_over(starts, speed, _seconds_until) if crossing else None,
            reason=reason,
        )
        made.append(break_even)
    return tuple(made)


def head_start(ours: Entry, theirs: Entry, phase: Phase) -> HeadStart | None:
    """By how much the first starts earlier; None without a block in which both started alone."""
    speed, starts = _speed(ours, theirs, phase), _paired(ours, theirs, phase, cold=False)
    if speed is None or not starts:
        return None
    lead = median_interval([-it.delay for it in starts], EACH)
    ahead: float | None = 0.0
    bounds = lead.ends
    if lead.least is not None and lead.most is not None:
        bounds = reach(lead.least, lead.most, lead.n)
    if bounds and bounds[0] > 0 and speed.low is not None:
        lost = max(it.their_step for it in starts) * (1 / speed.low - 1)
        ahead = bounds[0] / lost if lost > 0 else None
    return HeadStart(
        label=ours.setup.label, other=theirs.setup.label, n=len(starts), seconds=lead, steps=ahead
    )


def _speed(ours: Entry, theirs: Entry, phase: Phase) -> Interval | None:
    logs = log_ratios(ours.steps[phase], theirs.steps[phase])
    return ratio_interval(list(logs.values()), EACH) if logs else None


def _paired(ours: Entry, theirs: Entry, phase: Phase, *, cold: bool) -> list[_Start]:
    """The starts of the blocks that both share; a block is cold if either of the two was."""
    our, their, starts = _trials(ours, phase), _trials(theirs, phase), []
    for block in sorted(our.keys() & their.keys()):
        mine, other = our[block], their[block]
        total, their_total = mine.total, other.total
        same = (mine.record.cold or other.record.cold) == cold
        if same and total is not None and their_total is not None:
            starts.append(_Start(total - their_total, their_total, other.step))
    return starts


class HeadStart(Frozen):
    """How much earlier one setup is under way than another, both with warm caches.

    `seconds` is by how much `label` starts earlier, below 0 later: the median over `n` blocks in
    which both started alone. It is surely ahead for `steps`, by the worse ends of that and of the
    step ratio: None where nothing ever takes its lead, 0 where it is not sure to have one.
    """

    label: str
    other: str
    n: int
    seconds: Interval
    steps: float | None


class _TimedStart(NamedTuple):
    """One trial's calls, its steady step, and what its start costs beyond two such steps."""

    record: Record
    calls: PhaseRecord
    step: float

    @property
    def total(self) -> float | None:
        record, calls = self.record, self.calls
        if record.phases[0].phase != calls.phase:
            return None
        if record.import_seconds is None or record.build_seconds is None:
            return None
        before = record.import_seconds + record.build_seconds
        return before + calls.first_call + calls.second_call - 2 * self.step


class _Start(NamedTuple):
    """Two trials of one block: by how much ours starts later, and theirs."""

    delay: float
    their_total: float
    their_step: float


def _trials(entry: Entry, phase: Phase) -> dict[int, _TimedStart]:
    """By block those that started alone and whose steps were timed."""
    return {
        block: _TimedStart(record, calls, step)
        for block, step in entry.steady[phase].items()
        if (record := entry.blocks[block]).alone and (calls := record.phase(phase))
    }


def _startup(cold: bool, trials: Sequence[_TimedStart]) -> Startup:
    totals = [it.total for it in trials]
    reasons = []
    if len(trials) == 1:
        reasons.append("one trial started alone: no interval")
    if all(it is None for it in totals):
        later = any(it.record.phases[0].phase != it.calls.phase for it in trials)
        reasons.append(
            "another phase was called first in the same process"
            if later
            else "import or build was not timed"
        )
    return Startup(
        cold=cold,
        n=len(trials),
        import_seconds=interval_of((it.record.import_seconds for it in trials), "trials"),
        build_seconds=interval_of((it.record.build_seconds for it in trials), "trials"),
        first_call=interval_of((it.calls.first_call for it in trials), "trials"),
        second_call=interval_of((it.calls.second_call for it in trials), "trials"),
        step=interval_of((it.step for it in trials), "trials"),
        total=interval_of(totals, "trials"),
        reason="; ".join(reasons),
    )


def _steps_until(start: _Start, speed: float) -> float:
    """Steps until the delay is caught up with: a step gains (1 − 1/speed) of theirs."""
    return max(0.0, start.delay / (start.their_step * (1 - 1 / speed)))


def _seconds_until(start: _Start, speed: float) -> float:
    return start.their_total + _steps_until(start, speed) * start.their_step


def _over(
    starts: Sequence[_Start], speed: Interval, value: Callable[[_Start, float], float]
) -> Interval:
    """The median over blocks, and all that the two intervals together allow.

    Either value falls, or rises, with the speed throughout, so its ends are at those of the speed.
    """
    middle = statistics.median([value(it, speed.estimate) for it in starts])
    ends = [
        median_interval([value(it, bound) for it in starts], EACH) for bound in speed.ends or ()
    ]
    bounds = [it.ends for it in ends if it.ends]
    if not bounds:
        return ends[0].model_copy(update={"estimate": middle})
    return Interval(
        estimate=middle,
        low=max(0.0, min(low for low, _ in bounds)),
        high=max(high for _, high in bounds),
        n=len(starts),
        method="combined",
        reason="from the intervals of the starts and of the step ratio",
    )
