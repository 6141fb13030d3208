"""What the idiomatic lane gains or costs over the identical one, framework by framework.

Both lanes take turns in the same blocks, so this is a ratio like any other; but it compares two
ways of using one framework, never two frameworks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.analysis.compare import Entry, pair_of
from harness.analysis.ranking import Eligibility
from harness.analysis.verdicts import LEAST_MARGIN, Pair, judged
from harness.cells import Phase, Setup
from harness.tasks.frozen import Frozen


class Gain(Frozen):
    """An idiomatic mode against the default mode of its framework's identical lane.

    `pair` holds the two labels, which may be the same word in both lanes; its verdict is corrected
    over the gains of the same phase and arena.
    """

    phase: Phase
    idiom: Setup
    plain: Setup
    pair: Pair


def gains(
    phase: Phase,
    entries: Iterable[Entry],
    eligibility: Eligibility,
    defaults: Mapping[str, str],
    margin: float = LEAST_MARGIN,
) -> tuple[Gain, ...]:
    """Every idiomatic mode of an arena that shares a block with a plain one of its framework.

    `defaults` maps a framework to its default mode; where that was not measured, it is compared
    with the first mode by name that was.
    """
    timed = [it for it in entries if it.steps[phase]]
    found: list[tuple[Entry, Entry, Pair]] = []
    for ours in (it for it in timed if it.setup.lane == "idiomatic"):
        framework = ours.setup.framework
        theirs = _plain(
            [it for it in timed if it.setup.lane != "idiomatic"], framework, defaults.get(framework)
        )
        pair = pair_of(ours, theirs, phase, margin) if theirs else None
        if theirs and pair:
            found.append((ours, theirs, pair))
    barred = {
        ours.setup.label: reason
        for ours, theirs, _ in found
        if (reason := eligibility.of_pair(ours, theirs))
    }
    pairs = judged([pair for *_, pair in found], barred)
    return tuple(
        Gain(phase=phase, idiom=ours.setup, plain=theirs.setup, pair=pair)
        for (ours, theirs, _), pair in zip(found, pairs, strict=True)
    )


def _plain(entries: Sequence[Entry], framework: str, default: str | None) -> Entry | None:
    modes = {it.setup.mode: it for it in entries if it.setup.framework == framework}
    if not modes:
        return None
    return modes.get(default or "", modes[min(modes)])
