"""`python -m benchmarks.studies.same`: does the harness cry wolf where there is none?

PyTorch eager and TensorFlow graph each take part twice in every block. A comparison is one run of
one of them against itself, training and prediction together. A false alarm is what its reader
would be told: *faster* or *slower* of either phase, corrected for the two of them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.studies.journal import Design, Journal, Run, page, percent, table
from benchmarks.studies.lab import asked, default_threads, setups_of, study
from harness.analysis.stats import log_half_width, tail
from harness.analysis.verdicts import Pair, compare_blocks, judged
from harness.cells import THROUGHPUT, Phase
from harness.runs.config import PRESETS, SAMPLE_SECONDS

LABELS = ("pytorch:eager", "tensorflow:graph")
RUNS, BLOCKS = 20, 9
ALARMS = ("faster", "slower")
BAR = 1 / 20


class Row(NamedTuple):
    """One setup against itself, all runs. Widths and deviations are of block log ratios."""

    label: str
    phase: str
    comparisons: int
    alarms: int
    deviation: float
    half_width: float
    worst: float


def again(label: str) -> str:
    return f"{label} again"


def pairs_of(run: Run, label: str) -> dict[Phase, Pair]:
    """The pair of each phase, judged by itself."""
    return {
        phase: compare_blocks(again(label), label, run.of(again(label), label, phase))
        for phase in run.steps[label]
    }


def alarm(run: Run, label: str) -> bool:
    """Whether the run as a whole says that the setup differs from itself."""
    pairs = pairs_of(run, label)
    named = [it.model_copy(update={"label": phase}) for phase, it in pairs.items()]
    return any(it.verdict in ALARMS for it in judged(named))


def rows(runs: Sequence[Run], labels: Sequence[str] = LABELS) -> list[Row]:
    """For each setup the comparisons as they are judged, then each phase by itself."""
    found = []
    for label in labels:
        phases = list(runs[0].steps[label])
        logs = {it: [run.of(again(label), label, it) for run in runs] for it in phases}
        every = [it for phase in phases for it in logs[phase]]
        alarms = sum(alarm(run, label) for run in runs)
        found.append(_row(label, "both, corrected", len(runs), alarms, every))
        for phase in phases:
            single = [pairs_of(run, label)[phase] for run in runs]
            excluded = sum(it.excludes_one for it in single)
            found.append(_row(label, f"{phase} alone", len(runs), excluded, logs[phase]))
    return found


def _row(
    label: str, phase: str, comparisons: int, alarms: int, logs: Sequence[Sequence[float]]
) -> Row:
    widths = [it for one in logs if (it := log_half_width(one)) is not None]
    return Row(
        label=label,
        phase=phase,
        comparisons=comparisons,
        alarms=alarms,
        deviation=math.sqrt(statistics.fmean(statistics.variance(it) for it in logs)),
        half_width=statistics.median(widths),
        worst=max(abs(statistics.median(it)) for it in logs),
    )


def level(blocks: int) -> float:
    """How often the exact interval of so many blocks excludes 1 by chance alone, at most 5 %."""
    against = max((k for k in range(blocks) if 2 * tail(blocks, k) <= 0.05), default=None)
    return 0.0 if against is None else 2 * tail(blocks, against)


def summary(journal: Journal) -> str:
    found = rows(journal.runs)
    judged_rows = [it for it in found if it.phase.startswith("both")]
    met = all(it.alarms <= max(1, BAR * it.comparisons) for it in judged_rows)
    enough = len(journal.runs) >= RUNS
    said = "met" if met and enough else "not met" if not met else "too few runs to say"
    expected = level(journal.design.blocks)
    return page(
        "The same against itself",
        journal,
        f"At least {RUNS} comparisons of each, at most one false alarm in {RUNS}: **{said}**.",
        table(
            (
                "setup, twice",
                "phase",
                "comparisons",
                "false alarms",
                "s of block log ratios",
                "median half-width",
                "largest |median|",
            ),
            [
                (
                    it.label,
                    it.phase,
                    it.comparisons,
                    it.alarms,
                    percent(it.deviation),
                    percent(it.half_width),
                    percent(it.worst),
                )
                for it in found
            ],
        ),
        "A comparison is a run; an alarm is a verdict *faster* or *slower* in either phase, "
        "corrected for the two. `alone` counts the intervals of one phase that exclude 1: of "
        f"{journal.design.blocks} blocks each does so by chance in {percent(expected, 1)} of "
        f"runs, {expected * len(journal.runs):.1f} of {len(journal.runs)}.",
    )


def main() -> None:
    given = asked("same", "A/A comparisons on this machine.", RUNS, default_threads())
    task = "digits-mlp"
    design = Design(
        study="same",
        task=task,
        setups=setups_of([it for it in LABELS for _ in range(2)], task, given.threads),
        pairs=tuple((again(it), it) for it in LABELS),
        phases=THROUGHPUT,
        blocks=3 if given.quick else BLOCKS,
        rounds=2 if given.quick else PRESETS["quick"]["rounds"],
        sample_seconds=SAMPLE_SECONDS,
        warmup_seconds=0.15,
    )
    study(design, given, lambda bench, number: bench.run(number), summary)


if __name__ == "__main__":
    main()
