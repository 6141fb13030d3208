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
    told,
)
from harness.analysis.noise import ArenaNoise, BlockNoise, Floor, Strip
from harness.analysis.sentences import listed, width
from harness.analysis.stats import percent
from harness.analysis.stopping import Standing, Width
from harness.analysis.summary import Summary
from harness.analysis.usage import SetupUsage, bytes_text
from harness.cells import PHASES, THROUGHPUT
from harness.report import format as fmt
from harness.report import values
from harness.report.content import Column, Grid, Scope, Section, Value
from harness.report.safe_text import line
from harness.report.style import label, lane_mark
from harness.report.values import NOTHING

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


def sections(summary: Summary, rule: str, *, repeats: bool = True) -> tuple[Section, ...]:
    """For every arena its noise floor, how well each ratio is known, then its blocks.

    `rule` is what ended the run; `repeats` says whether it makes a block for each noisy one.
    """
    found, pairs = [], zip(summary.noise, summary.standings, strict=True)
    for number, (noise, standing) in enumerate(pairs, start=1):
        if noise.floors:
            found.append(_floors(noise, number))
        if standing.precision is not None and standing.widths:
            found.append(_precision(noise, standing, standing.precision, rule, number))
        if any(it.score is not None for it in noise.blocks):
            found.append(_blocks(noise, number, repeats=repeats))
        if any(it.remarkable for it in noise.usages):
            found.append(_usage(noise, number))
        found += [_drift(noise, own, f"{number}-{n}") for n, own in enumerate(strips(noise), 1)]
    return tuple(found)


def fact(noises: Sequence[ArenaNoise]) -> str:
    """The noise floors of a run by phase, in one line; empty where nothing ran twice."""
    floors = [it for noise in noises for it in noise.floors if it.floor is not None]
    said = []
    for phase in PHASES:
        of_phase = [it.floor for it in floors if it.phase == phase and it.floor is not None]
        if of_phase:
            low, high = _floor(min(of_phase)), _floor(max(of_phase))
            said.append(f"{phase} {low}" if low == high else f"{phase} {low} to {high}")
    names = listed(sorted({label(it.setup) for it in floors}))
    return f"{', '.join(said)} ({names} against itself)" if said else ""


def disturbed(noises: Sequence[ArenaNoise]) -> tuple[str, ...]:
    """What others did in some blocks of a run, a line for each thing said."""
    found = []
    for noise in noises:
        blocks = {it.block: it.around for it in noise.blocks if it.around and it.disturbed}
        found.append(told((it.block for it in noise.blocks), blocks))
    return tuple(dict.fromkeys(filter(None, found)))


def restless(noises: Sequence[ArenaNoise]) -> tuple[str, ...]:
    """Setups whose threads did not always rest at the end of a turn, and yet are ranked."""
    return tuple(
        f"{label(it.setup)}: threads still worked after {it.unsettled} of {it.turns} turns"
        for noise in noises
        for it in noise.usages
        if it.unsettled and not it.faults
    )


def _usage(noise: ArenaNoise, number: int) -> Section:
    """What each setup used beside the steps that were timed."""
    columns = (
        Column("framework:mode", "name"),
        Column("turns"),
        Column("without rest"),
        Column("cores between turns"),
        Column("processes"),
        Column("their memory"),
        Column("grows by, train"),
        Column("grows by, predict"),
    )
    barred = [it for it in noise.usages if it.faults]
    return Section(
        anchor=f"usage-{number}",
        task=line(noise.task),
        phase="beside the turns",
        place=_place(noise),
        scope=Scope(line(noise.task), noise.device),
        lead=f"{fmt.count(len(barred), 'setup')} used more than its turns show: not ranked."
        if barred
        else "No setup used more than its turns show.",
        grid=Grid(columns, tuple(map(_usage_row, noise.usages))),
        notes=(
            "Without rest are turns at whose end threads of the worker still worked when "
            "the limit for that had passed. Processes are those that a worker started, the most at "
            "once. What memory grows by is per step, in the samples, after the warm-up.",
        ),
    )


def _usage_row(it: SetupUsage) -> tuple[Value, ...]:
    return (
        Value(label(it.setup)),
        values.count(it.turns),
        values.count(it.unsettled),
        values.number(it.between),
        values.count(it.processes),
        _size(it.memory),
        *(_size(it.growth.get(phase) or it.device_growth.get(phase)) for phase in THROUGHPUT),
    )


def _size(size: float | None) -> Value:
    return Value(bytes_text(size), raw=size) if size else NOTHING


def _floor(half: float) -> str:
    """A noise floor in a sentence: `1.4 %`, or `not known`."""
    return width(half).removeprefix("±")


def _floors(noise: ArenaNoise, number: int) -> Section:
    columns = (
        Column("phase", "text"),
        Column("framework:mode", "name"),
        Column("× as fast as itself"),
        Column("noise floor"),
        Column("blocks"),
    )
    alarms = [it for it in noise.floors if it.false_alarm]
    lead = (
        f"{len(alarms)} of {len(noise.floors)} comparisons of a setup with itself gave a false "
        "alarm; differences within it count as none."
        if alarms
        else "No setup differs from itself."
    )
    return Section(
        anchor=f"noise-{number}",
        task=line(noise.task),
        phase="A/A",
        place=_place(noise),
        scope=Scope(line(noise.task), noise.device),
        lead=lead,
        grid=Grid(columns, tuple(_floor_row(it) for it in noise.floors)),
        notes=(
            "The same setup enters every block twice, under two names. Half the width of the "
            "interval of its ratio is the noise floor: the smallest effect that this run could "
            "have shown.",
        ),
    )


def _floor_row(floor: Floor) -> tuple[Value, ...]:
    return (
        Value(floor.phase),
        Value(label(floor.setup)),
        values.ratio(floor.speed),
        _half_width(floor.floor),
        values.count(floor.speed.n),
    )


def _precision(
    noise: ArenaNoise, standing: Standing, target: float, rule: str, number: int
) -> Section:
    """Each ratio, and whether it met its target: what stopped its blocks."""
    columns = (
        Column("framework:mode", "name"),
        Column("against", "text"),
        Column("phase", "text"),
        Column("blocks"),
        Column("known to"),
        Column("target", "text"),
    )
    wanted, met = f"±{percent(target)}", sum(it.known for it in standing.widths)
    many = fmt.count(len(standing.widths), "ratio")
    rest = "" if met == len(standing.widths) else f"; the rest ended with the run: {rule}"
    return Section(
        anchor=f"precision-{number}",
        task=line(noise.task),
        phase="precision",
        place=_place(noise),
        scope=Scope(line(noise.task), noise.device),
        lead=f"{met} of {many} {'is' if met == 1 else 'are'} known to {wanted}{rest}.",
        grid=Grid(columns, tuple(map(_precision_row, standing.widths))),
        notes=(
            f"A ratio counts as known when its interval lay within {wanted} after each of its last "
            f"two blocks. From {fmt.count(standing.least_blocks, 'block')} on, a setup whose "
            "ratios are all known rests, and the baseline goes on with the others; so their "
            "numbers of blocks differ.",
        ),
    )


def _precision_row(width: Width) -> tuple[Value, ...]:
    mark, known = lane_mark(width.lane), width.half_width
    return (
        Value(f"{line(width.label)}{mark}"),
        Value(line(width.baseline)),
        Value(width.phase),
        values.count(width.n),
        _half_width(known),
        Value("met" if width.known else "not met"),
    )


def _half_width(half: float | None) -> Value:
    text = fmt.NONE if half is None else width(half).replace("±", "± ")
    return Value(text, raw=half)


def _blocks(noise: ArenaNoise, number: int, *, repeats: bool) -> Section:
    columns = (
        Column("block"),
        Column("noise score"),
        Column("stolen"),
        Column("pressure"),
        Column("others"),
        Column("scatter"),
        Column("switches/s"),
        Column("load"),
        Column("remark", "text"),
    )
    states = [it.state for it in noise.blocks]
    noisy, disturbed = len(states) - states.count("calm"), states.count("disturbed")
    worse = f", {disturbed} of them disturbed" if disturbed else ""
    return Section(
        anchor=f"blocks-{number}",
        task=line(noise.task),
        phase="blocks",
        place=_place(noise),
        scope=Scope(line(noise.task), noise.device),
        lead=f"{noisy} of {fmt.count(len(noise.blocks), 'block')} "
        f"{'was' if noisy == 1 else 'were'} noisy{worse}."
        if noisy
        else "No block was noisy.",
        grid=Grid(columns, tuple(_block_row(it) for it in noise.blocks)),
        notes=(
            f"A score above 1 is a noisy block: {REPEATED if repeats else KEPT}. Stolen is CPU "
            "time that the hypervisor gave to others, in cores; pressure is the share of the time "
            "in which some task waited for a core; scatter is how much the same work varied from "
            "round to round (the middle half of its times, over their median); others are "
            "cores that processes outside of this run used.",
        ),
    )


def strips(noise: ArenaNoise) -> list[list[Strip]]:
    """The strips of each lane and phase together, as they share a panel and a table."""
    found: dict[tuple[str, str], list[Strip]] = {}
    for it in noise.strips:
        found.setdefault((it.lane, it.phase), []).append(it)
    return [own for own in found.values() if any(len(it.points) >= LEAST_DRIFT for it in own)]


def _drift(noise: ArenaNoise, own: Sequence[Strip], number: str) -> Section:
    """How far each ratio lay from its median, block by block."""
    first, points = own[0], [dict(it.points) for it in own]
    rows = [
        (
            values.count(block),
            *(
                NOTHING if block not in it else values.change(math.expm1(it[block]))
                for it in points
            ),
        )
        for block in sorted({block for it in points for block in it})
    ]
    return Section(
        anchor=f"drift-{number}",
        task=line(noise.task),
        phase=f"drift, {first.phase}{lane_mark(first.lane)}",
        place=_place(noise),
        scope=Scope(line(noise.task), noise.device, first.lane),
        lead="",
        grid=Grid((Column("block"), *(Column(_pair(it)) for it in own)), tuple(rows)),
    )


def _pair(strip: Strip) -> str:
    return f"{line(strip.label)} ÷ {line(strip.baseline)}"


def _block_row(block: BlockNoise) -> tuple[Value, ...]:
    return (
        values.count(block.block),
        values.number(block.score),
        values.number(block.steal_share),
        values.share(block.pressure_share),
        values.number(block.around.others if block.around else None),
        values.share(block.scatter),
        values.number(block.switches_per_second),
        values.number(block.load),
        Value(line(_remark(block))),
    )


def _remark(block: BlockNoise) -> str:
    if not block.disturbed:
        return block.reason
    also = f"; {block.reason}" if block.reason else ""
    return f"disturbed: {block.disturbed}{also}"


def _place(noise: ArenaNoise) -> str:
    threads = f"{noise.threads} thread" + ("s" if noise.threads != 1 else "")
    return f"{noise.device}, {threads}, {noise.dtype}"
