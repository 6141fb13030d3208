"""The noise of a run as sections: every setup against itself, and every block's disturbances."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.analysis.contention import (
    DISTURBED_SHARE,
    FIXED_LIMIT,
    OTHERS_LIMIT,
    OTHERS_WARNING,
    STOLEN_LIMIT,
    WAIT_LIMIT,
    description,
)
from harness.analysis.noise import BlockNoise, Floor, GroupNoise, Strip
from harness.analysis.sentences import listed, width
from harness.analysis.stats import percent
from harness.analysis.stopping import Standing, Width
from harness.analysis.summary import Summary
from harness.analysis.usage import SetupUsage, bytes_text
from harness.cells import PHASES, THROUGHPUT, Phase
from harness.report import format as fmt
from harness.report.columns import Column, Section, grid, grouped, section
from harness.report.format import Value
from harness.report.safe_text import line
from harness.report.style import label, lane_mark

REPEATED = (
    "one more block is made for it, up to a third more in all, by a rule declared before the run; "
    "both are kept and both count"
)
KEPT = "it is kept and counts, and this run makes no other for it"
DISTURBED = (
    "A block is disturbed where others held cores that a setup's threads needed: they took "
    f"{percent(OTHERS_LIMIT)} of all cores from these threads, or {percent(OTHERS_WARNING)} of all "
    f"cores while threads waited {percent(WAIT_LIMIT)} of their time; the hypervisor took "
    f"{STOLEN_LIMIT:g} of a core; or a fixed computation took {FIXED_LIMIT:g} times its shortest "
    "time. This slows setups unequally, so it does not cancel in ratios. A table with more than "
    f"{percent(DISTURBED_SHARE)} of its blocks disturbed is not ranked."
)
LEAST_DRIFT = 2
"""Blocks from which on a ratio can change from one to the next."""


def _size(size: float | None) -> Value:
    return Value(bytes_text(size), raw=size) if size else Value(fmt.NONE)


def _growth(phase: Phase) -> Column[SetupUsage]:
    return Column(
        f"grows by, {phase}",
        lambda it: _size(it.growth.get(phase) or it.device_growth.get(phase)),
    )


def _remark(block: BlockNoise) -> str:
    disturbed = f"disturbed: {block.disturbed}" if block.disturbed else ""
    return "; ".join(filter(None, (disturbed, block.reason)))


USAGE: tuple[Column[SetupUsage], ...] = (
    Column("framework:mode", lambda it: it.setup.label, "name"),
    Column("turns", lambda it: it.turns, "count"),
    Column("without rest", lambda it: it.unsettled, "count"),
    Column("cores between turns", lambda it: it.between),
    Column("processes", lambda it: it.processes, "count"),
    Column("their memory", lambda it: _size(it.memory)),
    *map(_growth, THROUGHPUT),
)
FLOORS: tuple[Column[Floor], ...] = (
    Column("phase", lambda it: it.phase, "text"),
    Column("framework:mode", lambda it: it.setup.label, "name"),
    Column("× as fast as itself", lambda it: it.speed, "ratio"),
    Column("noise floor", lambda it: it.floor, "half width"),
    Column("blocks", lambda it: it.speed.n, "count"),
)
PRECISION: tuple[Column[Width], ...] = (
    Column("framework:mode", lambda it: f"{it.label}{lane_mark(it.lane)}", "name"),
    Column("against", lambda it: it.baseline, "text"),
    Column("phase", lambda it: it.phase, "text"),
    Column("blocks", lambda it: it.n, "count"),
    Column("known to", lambda it: it.half_width, "half width"),
    Column("target", lambda it: "met" if it.known else "not met", "text"),
)
BLOCKS: tuple[Column[BlockNoise], ...] = (
    Column("block", lambda it: it.block, "count"),
    Column("noise score", lambda it: it.score),
    Column("stolen", lambda it: it.steal_share),
    Column("pressure", lambda it: it.pressure_share, "share"),
    Column("others", lambda it: it.around.others if it.around else None),
    Column("scatter", lambda it: it.scatter, "share"),
    Column("switches/s", lambda it: it.switches_per_second),
    Column("load", lambda it: it.load),
    Column("remark", _remark, "text"),
)


def sections(summary: Summary, rule: str, *, repeats: bool = True) -> tuple[Section, ...]:
    """For every group its noise floor, how well each ratio is known, then its blocks.

    `rule` is what ended the run; `repeats` says whether it makes a block for each noisy one.
    """
    made, pairs = [], zip(summary.noise, summary.standings, strict=True)
    for number, (noise, standing) in enumerate(pairs, start=1):
        if noise.floors:
            made.append(_floors(noise, number))
        if standing.precision is not None and standing.widths:
            made.append(_precision(noise, standing, standing.precision, rule, number))
        if any(it.score is not None for it in noise.blocks):
            made.append(_blocks(noise, number, repeats=repeats))
        if any(it.remarkable for it in noise.usages):
            made.append(_usage(noise, number))
        made += [_drift(noise, group, f"{number}-{n}") for n, group in enumerate(strips(noise), 1)]
    return tuple(made)


def fact(noises: Sequence[GroupNoise]) -> str:
    """The noise floors of a run by phase, in one line; empty where nothing ran twice."""
    floors: dict[str, list[float]] = {}
    names = set()
    for it in (it for noise in noises for it in noise.floors):
        if it.floor is not None:
            floors.setdefault(it.phase, []).append(it.floor)
            names.add(label(it.setup))
    ranges = []
    for phase in sorted(floors, key=PHASES.index):
        low, high = (width(end(floors[phase])).removeprefix("±") for end in (min, max))
        ranges.append(f"{phase} {low}" if low == high else f"{phase} {low} to {high}")
    return f"{', '.join(ranges)} ({listed(sorted(names))} against itself)" if ranges else ""


def disturbed(noises: Sequence[GroupNoise]) -> tuple[str, ...]:
    """What others did in some blocks of a run, a line each."""
    lines = []
    for noise in noises:
        blocks = {it.block: it.around for it in noise.blocks if it.around and it.disturbed}
        lines.append(description([it.block for it in noise.blocks], blocks))
    return tuple(dict.fromkeys(filter(None, lines)))


def restless(noises: Sequence[GroupNoise]) -> tuple[str, ...]:
    """Setups whose threads did not always rest at the end of a turn, and yet are ranked."""
    return tuple(
        f"{label(it.setup)}: threads still worked after {it.unsettled} of {it.turns} turns"
        for noise in noises
        for it in noise.usages
        if it.unsettled and not it.faults
    )


def _usage(noise: GroupNoise, number: int) -> Section:
    excluded = sum(bool(it.faults) for it in noise.usages)
    lead = "No setup used more than its turns show."
    if excluded:
        lead = f"{fmt.count(excluded, 'setup')} used more than its turns show: not ranked."
    note = (
        "Without rest are turns at whose end threads of the worker still worked when the limit for "
        "that had passed. Processes are those that a worker started, the most at once. What memory "
        "grows by is per step, in the samples, after the warm-up."
    )
    content = grid(USAGE, noise.usages)
    return section(f"usage-{number}", noise, "beside the turns", content, [note], lead=lead)


def _floors(noise: GroupNoise, number: int) -> Section:
    alarms = sum(it.false_alarm for it in noise.floors)
    lead = "No setup differs from itself."
    if alarms:
        lead = (
            f"{alarms} of {len(noise.floors)} comparisons of a setup with itself gave a false "
            "alarm; differences within it count as none."
        )
    note = (
        "The same setup enters every block twice, under two names. Half the width of the interval "
        "of its ratio is the noise floor: the smallest effect that this run could have shown."
    )
    return section(f"noise-{number}", noise, "A/A", grid(FLOORS, noise.floors), [note], lead=lead)


def _precision(
    noise: GroupNoise, standing: Standing, target: float, rule: str, number: int
) -> Section:
    """Each ratio, and whether it met its target: what stopped its blocks."""
    wanted, met = f"±{percent(target)}", sum(it.known for it in standing.widths)
    many = fmt.count(len(standing.widths), "ratio")
    rest = "" if met == len(standing.widths) else f"; the rest ended with the run: {rule}"
    note = (
        f"A ratio counts as known when its interval lay within {wanted} after each of its last two "
        f"blocks. From {fmt.count(standing.least_blocks, 'block')} on, a setup whose ratios are "
        "all known rests, and the baseline goes on with the others; so their numbers of blocks "
        "differ."
    )
    return section(
        f"precision-{number}",
        noise,
        "precision",
        grid(PRECISION, standing.widths),
        [note],
        lead=f"{met} of {many} {'is' if met == 1 else 'are'} known to {wanted}{rest}.",
    )


def _blocks(noise: GroupNoise, number: int, *, repeats: bool) -> Section:
    states = [it.state for it in noise.blocks]
    noisy, disturbed = len(states) - states.count("calm"), states.count("disturbed")
    lead = "No block was noisy."
    if noisy:
        worse = f", {disturbed} of them disturbed" if disturbed else ""
        many = fmt.count(len(states), "block")
        lead = f"{noisy} of {many} {'was' if noisy == 1 else 'were'} noisy{worse}."
    note = (
        f"A score above 1 is a noisy block: {REPEATED if repeats else KEPT}. Stolen is CPU time "
        "that the hypervisor gave to others, in cores; pressure is the share of the time in which "
        "some task waited for a core; scatter is how much the same work varied from round to round "
        "(the middle half of its times, over their median); others are cores that processes "
        "outside of this run used."
    )
    return section(
        f"blocks-{number}", noise, "blocks", grid(BLOCKS, noise.blocks), [note], lead=lead
    )


def strips(noise: GroupNoise) -> list[list[Strip]]:
    """The strips of each lane and phase together, as they share a panel and a table."""
    groups = grouped(noise.strips, lambda it: (it.lane, it.phase))
    return [group for group in groups if any(len(it.points) >= LEAST_DRIFT for it in group)]


def _drift(noise: GroupNoise, group: Sequence[Strip], number: str) -> Section:
    """How far each ratio lay from its median, block by block."""

    def moved(strip: Strip) -> Column[int]:
        changes = {block: math.expm1(log) for block, log in strip.points}
        return Column(f"{line(strip.label)} ÷ {line(strip.baseline)}", changes.get, "change")

    columns = (Column("block", lambda block: block, "count"), *map(moved, group))
    blocks = sorted({block for strip in group for block, _ in strip.points})
    phase, lane = f"drift, {group[0].phase}", group[0].lane
    content = grid(columns, blocks)
    return section(f"drift-{number}", noise, phase, content, lane=lane, folded="Every block")
