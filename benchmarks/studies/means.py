"""How much wider the interval of a ratio of mean times is than that of medians.

`python -m benchmarks.studies.means`, from the raw times of studies that were made before.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from typing import Any

from benchmarks.studies.journal import table
from benchmarks.studies.lab import RESULTS
from harness.analysis.pairs import log_ratios
from harness.analysis.stats import half_width, ratio_interval
from harness.analysis.verdicts import compare_blocks, mean_ratio

STUDIES = ("same", "planted", "planted-neighbour")


def rows() -> Iterator[tuple[str, ...]]:
    for study in STUDIES:
        journal = json.loads((RESULTS / f"{study}.json").read_text(encoding="utf-8"))
        design = journal["design"]
        for ours, theirs in design["pairs"]:
            for phase in design["phases"]:
                yield (
                    study,
                    f"{ours} ÷ {theirs}",
                    phase,
                    *_row(journal["runs"], ours, theirs, phase),
                )


def _row(runs: list[Any], ours: str, theirs: str, phase: str) -> tuple[str, ...]:
    widths, decided, denied = [], {"median": 0, "mean": 0}, 0
    for run in runs:
        one, other = (
            {block: dict(enumerate(times)) for block, times in run["steps"][it][phase].items()}
            for it in (ours, theirs)
        )
        logs = list(log_ratios(one, other).values())
        median, mean = ratio_interval(logs), mean_ratio(one, other)
        assert mean
        narrow, wide = half_width(median), half_width(mean)
        assert narrow
        assert wide
        widths.append((narrow, wide))
        pair = compare_blocks(ours, theirs, logs, mean=mean)
        decided["median"] += pair.excludes_one
        decided["mean"] += bool(mean.low and mean.high) and not mean.low <= 1 <= mean.high
        denied += bool(pair.denied_by)
    return (
        str(len(runs)),
        *(f"±{100 * statistics.median(it):.1f} %" for it in zip(*widths, strict=True)),
        f"{statistics.median(wide / narrow for narrow, wide in widths):.2f}",
        str(decided["median"]),
        str(decided["mean"]),
        str(denied),
    )


def main() -> None:
    print("# What it costs to count pauses\n\n`python -m benchmarks.studies.means`\n")
    print(
        "The interval of nine blocks, of the median over rounds and of mean times over the same "
        "rounds. A pause of the machine in one round of 16 is in the mean and not in the median. "
        "So the median keeps the test, and the mean denies a verdict only where the two contradict "
        "each other beyond their intervals: in none of these runs.\n"
    )
    head = ("study", "ratio", "phase", "runs", "median", "mean", "times as wide")
    counts = ("not 1 by the median", "not 1 by the mean", "denied")
    print(table((*head, *counts), rows()))


if __name__ == "__main__":
    main()
