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
from harness.cells import PHASES, THROUGHPUT
from harness.report import format as fmt
from harness.report.columns import Column, Grid, grid
from harness.report.content import Section
from harness.report.format import Value
from harness.report.safe_text import line
from harness.report.style import Scope, label, lane_mark

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
"""Blocks without which there is no way from one to the next."""


USAGE: tuple[Column[SetupUsage], ...] = (
    Column("framework:mode", lambda it: label(it.setup), "name"),
    Column("turns", lambda it: it.turns, "count"),
    Column("without rest", lambda it: it.unsettled, "count"),
    Column("cores between turns", lambda it: it.between),
    Column("processes", lambda it: it.processes, "count"),
    Column("their memory", lambda it: _size(it.memory)),
    *(
        Column(
            f"grows by, {phase}",
            lambda it, phase=phase: _size(it.growth.get(phase) or it.device_growth.get(phase)),  # type: ignore[misc]
        )
        for phase in THROUGHPUT
    ),
)
FLOORS: tuple[Column[Floor], ...] = (
    Column("phase", lambda it: it.phase, "text"),
    Column("framework:mode", lambda it: label(it.setup), "name"),
    Column("× as fast as itself", lambda it: it.speed, "ratio"),
    Column("noise floor", lambda it: it.floor, "half width"),
    Column("blocks", lambda it: it.speed.n, "count"),
)
PRECISION: tuple[Column[Width], ...] = (
    Column("framework:mode", lambda it: f"{line(it.label)}{lane_mark(it.lane)}", "name"),
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
    Column("remark", lambda it: _remark(it), "text"),
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
    floors = [it for noise in noises for it in noise.floors if it.floor is not None]
    floors_of = []
    for phase in PHASES:
        of_phase = [it.floor for it in floors if it.phase == phase and it.floor is not None]
        if of_phase:
            low, high = _floor(min(of_phase)), _floor(max(of_phase))
            floors_of.append(f"{phase} {low}" if low == high else f"{phase} {low} to {high}")
    names = listed(sorted({label(it.setup) for it in floors}))
    return f"{', '.join(floors_of)} ({names} against itself)" if floors_of else ""


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
    """What each setup used beside the steps that were timed."""
    barred = [it for it in noise.usages if it.faults]
    return _section(
        noise,
        f"usage-{number}",
        "beside the turns",
        grid(USAGE, noise.usages),
        lead=f"{fmt.count(len(barred), 'setup')} used more than its turns show: not ranked."
        if barred
        else "No setup used more than its turns show.",
        note="Without rest are turns at whose end threads of the worker still worked when "
        "the limit for that had passed. Processes are those that a worker started, the most at "
        "once. What memory grows by is per step, in the samples, after the warm-up.",
    )


def _size(size: float | None) -> Value:
    return Value(bytes_text(size), raw=size) if size else Value(fmt.NONE)


def _floor(half: float) -> str:
    """A noise floor in a sentence: `1.4 %`, or `not known`."""
    return width(half).removeprefix("±")


def _floors(noise: GroupNoise, number: int) -> Section:
    alarms = [it for it in noise.floors if it.false_alarm]
    lead = (
        f"{len(alarms)} of {len(noise.floors)} comparisons of a setup with itself gave a false "
        "alarm; differences within it count as none."
        if alarms
        else "No setup differs from itself."
    )
    return _section(
        noise,
        f"noise-{number}",
        "A/A",
        grid(FLOORS, noise.floors),
        lead=lead,
        note="The same setup enters every block twice, under two names. Half the width of the "
        "interval of its ratio is the noise floor: the smallest effect that this run could "
        "have shown.",
    )


def _precision(
    noise: GroupNoise, standing: Standing, target: float, rule: str, number: int
) -> Section:
    """Each ratio, and whether it met its target: what stopped its blocks."""
    wanted, met = f"±{percent(target)}", sum(it.known for it in standing.widths)
    many = fmt.count(len(standing.widths), "ratio")
    rest = "" if met == len(standing.widths) else f"; the rest ended with the run: {rule}"
    return _section(
        noise,
        f"precision-{number}",
        "precision",
        grid(PRECISION, standing.widths),
        lead=f"{met} of {many} {'is' if met == 1 else 'are'} known to {wanted}{rest}.",
        note=f"A ratio counts as known when its interval lay within {wanted} after each of its "
        f"last two blocks. From {fmt.count(standing.least_blocks, 'block')} on, a setup whose "
        "ratios are all known rests, and the baseline goes on with the others; so their "
        "numbers of blocks differ.",
    )


def _blocks(noise: GroupNoise, number: int, *, repeats: bool) -> Section:
    states = [it.state for it in noise.blocks]
    noisy, disturbed = len(states) - states.count("calm"), states.count("disturbed")
    worse = f", {disturbed} of them disturbed" if disturbed else ""
    return _section(
        noise,
        f"blocks-{number}",
        "blocks",
        grid(BLOCKS, noise.blocks),
        lead=f"{noisy} of {fmt.count(len(noise.blocks), 'block')} "
        f"{'was' if noisy == 1 else 'were'} noisy{worse}."
        if noisy
        else "No block was noisy.",
        note=f"A score above 1 is a noisy block: {REPEATED if repeats else KEPT}. Stolen is CPU "
        "time that the hypervisor gave to others, in cores; pressure is the share of the time "
        "in which some task waited for a core; scatter is how much the same work varied from "
        "round to round (the middle half of its times, over their median); others are "
        "cores that processes outside of this run used.",
    )


def strips(noise: GroupNoise) -> list[list[Strip]]:
    """The strips of each lane and phase together, as they share a panel and a table."""
    groups: dict[tuple[str, str], list[Strip]] = {}
    for it in noise.strips:
        groups.setdefault((it.lane, it.phase), []).append(it)
    return [
        group for group in groups.values() if any(len(it.points) >= LEAST_DRIFT for it in group)
    ]


def _drift(noise: GroupNoise, group: Sequence[Strip], number: str) -> Section:
    """How far each ratio lay from its median, block by block."""

    def moved(strip: Strip) -> Column[int]:
        points = dict(strip.points)

        def get(block: int) -> float | None:
            return math.expm1(points[block]) if block in points else None

        return Column(f"{line(strip.label)} ÷ {line(strip.baseline)}", get, "change")

    first = group[0]
    columns = (Column("block", lambda block: block, "count"), *map(moved, group))
    blocks = sorted({block for strip in group for block, _ in strip.points})
    return _section(
        noise,
        f"drift-{number}",
        f"drift, {first.phase}{lane_mark(first.lane)}",
        grid(columns, blocks),
        lane=first.lane,
        folded="Every block",
    )


def _remark(block: BlockNoise) -> str:
    if not block.disturbed:
        return block.reason
    also = f"; {block.reason}" if block.reason else ""
    return f"disturbed: {block.disturbed}{also}"


def _section(
    noise: GroupNoise,
    anchor: str,
    phase: str,
    content: Grid,
    *,
    lead: str = "",
    note: str = "",
    lane: str = "",
    folded: str = "",
) -> Section:
    task, threads = line(noise.task), fmt.count(noise.threads, "thread")
    return Section(
        anchor=anchor,
        task=task,
        phase=phase,
        place=f"{noise.device}, {threads}, {noise.dtype}",
        lead=lead,
        grid=content,
        notes=(note,) if note else (),
        scope=Scope(task, noise.device, lane),
        folded=folded,
    )
