"""Two runs side by side: what became of every cell that both have."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from harness.analysis.blocks import CellBlocks, cell_name
from harness.analysis.comparable import Apart, Basis, Fact, facts, missing, notes, same_machine
from harness.analysis.intervals import Interval, median_interval
from harness.analysis.two_samples import (
    decidable,
    rank_sum_p,
    shift_equivalence_p,
    shift_interval,
    welch_interval,
)
from harness.analysis.verdicts import LEVEL, Verdict, holm, percent
from harness.cells import Phase
from harness.records import RunInfo
from harness.tasks.frozen import Frozen


class Change(Frozen):
    """How many times as fast a setup is in the second run as in the first.

    `before` and `after` are seconds per step, or ratios to the baseline, by the table's basis.
    `speed` is the exact interval of two independent samples, `cross` Welch's; `agrees` is False
    where one of them excludes 1 and the other does not. `relative` is the change of the ratio to
    the baseline, None where there is none. p values are not corrected, the verdict is.
    """

    label: str
    before: Interval
    after: Interval
    speed: Interval
    cross: Interval | None
    agrees: bool
    relative: Interval | None
    p: float
    p_equivalent: float
    family: int
    verdict: Verdict
    reason: str = ""


class ChangeTable(Frozen):
    """The cells of one phase, lane and place; a difference within `margin` (δ) is none."""

    task: str
    digest: str
    phase: Phase
    lane: str
    device: str
    threads: int
    dtype: str
    baseline: str
    margin: float
    changes: tuple[Change, ...]


class Comparison(Frozen):
    """`a` is the run before, `b` the run after; `notes` say what the verdicts do not hold."""

    a: RunInfo
    b: RunInfo
    basis: Basis
    facts: tuple[Fact, ...]
    notes: tuple[str, ...]
    tables: tuple[ChangeTable, ...]
    apart: tuple[Apart, ...]


def compare_runs(
    a: RunInfo, ours: Sequence[CellBlocks], b: RunInfo, theirs: Sequence[CellBlocks]
) -> Comparison:
    """Every cell that both runs have, judged; those that one of them lacks, with the reason.

    On one machine the times of steps are compared, on two only ratios to the same baseline.
    """
    basis: Basis = "time" if same_machine(a.machine, b.machine) else "ratio"
    found = {it.key: it for it in theirs}
    apart = [*missing("a", ours, theirs), *missing("b", theirs, ours)]
    pairs: dict[tuple[object, ...], list[tuple[CellBlocks, CellBlocks]]] = defaultdict(list)
    for mine in ours:
        other = found.get(mine.key)
        if other is None:
            continue
        if basis == "ratio" and mine.baseline != other.baseline:
            why = f"its ratios are to {mine.baseline} in one run, to {other.baseline} in the other"
            apart.append(Apart(side="a", cell=cell_name(mine), reason=why))
        elif basis == "time" or (mine.ratios and other.ratios):
            pairs[mine.table].append((mine, other))
    return Comparison(
        a=a,
        b=b,
        basis=basis,
        facts=tuple(facts(a, b)),
        notes=tuple(notes(a, b, basis, {it.baseline for it in ours})),
        tables=tuple(_table(it, basis) for it in pairs.values()),
        apart=tuple(apart),
    )


def _table(pairs: Sequence[tuple[CellBlocks, CellBlocks]], basis: Basis) -> ChangeTable:
    first = pairs[0][0]
    margin = max(it.margin for pair in pairs for it in pair)
    barred = {
        mine.setup.label: why for mine, other in pairs if (why := mine.unranked or other.unranked)
    }
    changes = [_change(mine, other, basis, margin) for mine, other in pairs]
    ranked = [it for it in changes if it.label not in barred]
    differ = iter(holm([it.p for it in ranked]))
    agree = iter(holm([it.p_equivalent for it in ranked]))
    return ChangeTable(
        task=first.setup.task,
        digest=first.setup.digest,
        phase=first.phase,
        lane=first.setup.lane,
        device=first.setup.device,
        threads=first.setup.threads,
        dtype=first.setup.dtype,
        baseline=first.baseline,
        margin=margin,
        changes=tuple(
            it.model_copy(update={"verdict": "not ranked", "reason": barred[it.label]})
            if it.label in barred
            else _judged(it, next(differ), next(agree), margin, len(ranked))
            for it in changes
        ),
    )


def _change(mine: CellBlocks, other: CellBlocks, basis: Basis, margin: float) -> Change:
    relative = [[math.log(it) for it in cell.ratios] for cell in (mine, other)]
    speeds = (
        relative
        if basis == "ratio"
        else [[-math.log(it) for it in cell.step_seconds] for cell in (mine, other)]
    )
    before, after = speeds
    speed, cross = shift_interval(before, after), welch_interval(before, after)
    shown = [
        median_interval(cell.ratios if basis == "ratio" else cell.step_seconds)
        for cell in (mine, other)
    ]
    return Change(
        label=mine.setup.label,
        before=shown[0],
        after=shown[1],
        speed=speed,
        cross=cross,
        agrees=cross is None or _side(speed) == _side(cross),
        relative=shift_interval(relative[0], relative[1]) if all(relative) else None,
        p=rank_sum_p(before, after),
        p_equivalent=shift_equivalence_p(before, after, margin),
        family=0,
        verdict="cannot tell",
        reason="" if decidable(len(before), len(after)) else "an exact test takes 4 blocks in each",
    )


def _judged(change: Change, differ: float, agree: float, margin: float, family: int) -> Change:
    """Equivalence first, as within a run: a difference below δ is none, however surely there."""
    verdict: Verdict = "cannot tell"
    reason = change.reason
    if agree <= LEVEL:
        verdict = "equivalent"
    elif differ <= LEVEL:
        verdict = "faster" if change.speed.estimate > 1 else "slower"
    elif change.p <= LEVEL:
        reason = f"the interval excludes 1, but over {family} rows that is not enough"
    elif change.p_equivalent <= LEVEL:
        reason = f"within {percent(margin)} by itself, but over {family} rows that is not enough"
    return change.model_copy(update={"verdict": verdict, "reason": reason, "family": family})


def _side(speed: Interval) -> int:
    if speed.low is None or speed.high is None:
        return 0
    return (speed.low > 1) - (speed.high < 1)
