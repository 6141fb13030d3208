"""`python -m benchmarks.studies.resting DIR`: what does it save that whoever is known rests?

The blocks of the latest run in DIR are drawn again, with replacement, until every ratio of its
first comparison is known to a target: once with all setups in every block, once without those whose
ratios are known. Every setup takes an equal share of a block's time.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.studies.journal import table
from benchmarks.studies.kept import TARGETS, Ratio, Span, asked_for, keep, machine, measured, spans
from harness.analysis.stats import least_blocks_for
from harness.analysis.stopping import known
from harness.records import Run

REPLAYS, MOST = 25, 2000

Ratios = Mapping[str, Sequence[Mapping[int, float]]]
"""By label the log ratios to the baseline, phase by phase and block by block."""


@dataclass(frozen=True)
class Found:
    """Medians over replays; minutes and blocks until all are known."""

    target: float
    rests: bool
    minutes: float
    blocks: float


def by_label(found: Sequence[Ratio]) -> Ratios:
    ratios: dict[str, list[Mapping[int, float]]] = {}
    for it in found:
        ratios.setdefault(it.label, []).append(it.logs)
    return ratios


def replay(
    ratios: Ratios, share: float, target: float, rests: bool, rng: random.Random
) -> tuple[float, int]:
    """Seconds and blocks until every ratio is known; a setup takes `share` seconds of a block."""
    shared = set.intersection(*(set(it) for phases in ratios.values() for it in phases))
    blocks, least = sorted(shared), least_blocks_for(len(ratios))
    drawn: list[int] = []
    seen = {label: list[int]() for label in ratios}
    waiting, seconds = list(ratios), 0.0
    while waiting and len(drawn) < MOST:
        going_on = waiting if rests else list(ratios)
        drawn.append(rng.choice(blocks))
        seconds += share * (len(going_on) + 2)  # with the baseline and its twin
        for label in going_on:
            seen[label].append(drawn[-1])
        waiting = [
            label
            for label in (waiting if rests else ratios)
            if not all(known([it[b] for b in seen[label]], target, least) for it in ratios[label])
        ]
    return seconds, len(drawn)


def share_of(found: Sequence[Span], run: Run, setups: int) -> float:
    """Median seconds of a block that trained nobody ÷ its setups."""
    trained = {it.block for it in run.records if it.quality}
    taken = [it.ended - it.begun for it in found if it.block not in trained]
    return statistics.median(taken) / setups


def find(ratios: Ratios, share: float) -> list[Found]:
    found = []
    for target in TARGETS:
        for rests in (False, True):
            taken = [
                replay(ratios, share, target, rests, random.Random(number))
                for number in range(REPLAYS)
            ]
            minutes = statistics.median(seconds / 60 for seconds, _ in taken)
            blocks = statistics.median(blocks for _, blocks in taken)
            found.append(Found(target, rests, minutes, blocks))
    return found


def report(run: Run, ratios: Ratios, share: float, found: Sequence[Found]) -> str:
    setup = run.records[0].setup
    many = len({it.block for it in run.records})
    rows = [
        (
            f"±{it.target:.0%}".replace("%", " %"),
            "rests" if it.rests else "goes on",
            f"{it.blocks:.0f}",
            f"{it.minutes:.0f}",
        )
        for it in found
    ]
    head = ("target of every ratio", "whose ratios are known", "blocks", "minutes")
    saved = {it.target: it.minutes for it in found if not it.rests}
    times = [saved[it.target] / it.minutes for it in found if it.rests]
    return (
        "# Whose ratios are known rests\n\n"
        f"To know every ratio of `{setup.task}` takes {min(times):.1f} to {max(times):.1f} times "
        "as long if nobody rests.\n\n"
        f"{table(head, rows)}\n\n"
        f"{many} measured blocks of {len(ratios) + 2} setups in "
        f"{len(next(iter(ratios.values())))} phases, drawn again with replacement in "
        f"{REPLAYS} replays of each row, which has their medians; a setup took {share:.1f} s of a "
        "block. The rule is that of a run: a ratio is known when its interval met the target after "
        "each of its last two blocks, and not before the least number of blocks.\n\n"
        "- Repeat it, on any results directory whose latest run has a dozen blocks: "
        "`python -m benchmarks.studies.resting DIR`\n"
        f"- Machine: {machine(run)}\n"
    )


def main() -> None:
    directory, run = asked_for(__doc__)
    ratios = by_label(measured(run))
    share = share_of(spans(directory, run), run, len(ratios) + 2)
    text = report(run, ratios, share, find(ratios, share))
    keep("resting.md", text)
    print(text)


if __name__ == "__main__":
    main()
