"""`python -m benchmarks.studies.widths DIR`: how long until the ratios of a real run are known?

Nothing is drawn again or assumed: the first comparison of the latest run in DIR is gone through
block by block, as the run itself did. Beside the text stand the log ratios and when each block
ended.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.studies.journal import table
from harness.analysis.compare import baseline_of, entries, log_ratios
from harness.analysis.intervals import log_half_width
from harness.analysis.stopping import known
from harness.analysis.verdicts import least_blocks_for, percent
from harness.cells import PHASES, Phase
from harness.records import Run
from harness.runs.store import FILE, open_existing

TARGETS = (0.05, 0.03, 0.02)
RESULTS = Path("results/studies")


@dataclass(frozen=True)
class Ratio:
    """The log ratios of a setup to the baseline by block, in one phase."""

    phase: Phase
    label: str
    logs: Mapping[int, float]

    def known_after(self, target: float, least: int) -> int | None:
        """The block with which the ratio was known to the target, by the rule of a run."""
        blocks = list(self.logs)
        values = list(self.logs.values())
        return next(
            (blocks[n - 1] for n in range(2, len(blocks) + 1) if known(values[:n], target, least)),
            None,
        )


def measured(run: Run) -> list[Ratio]:
    """Of the first comparison of a run, twins aside."""
    arena = run.records[0].setup.arena
    good = entries(it for it in run.records if it.setup.arena == arena and not it.setup.twin)
    of_label = {setup.label: entry for setup, entry in good.items()}
    baseline = of_label[baseline_of(of_label)]
    return [
        Ratio(phase, label, logs)
        for phase in PHASES
        for label, entry in sorted(of_label.items())
        if entry is not baseline and (logs := log_ratios(entry.steps[phase], baseline.steps[phase]))
    ]


def ends(directory: Path, run: Run) -> dict[int, float]:
    """When each block ended, in minutes since the first trial began."""
    store = sqlite3.connect(f"file:{directory / FILE}?mode=ro", uri=True)
    rows = store.execute(
        "SELECT block, min(s.at), max(e.at) FROM started s JOIN ended e USING (trial) "
        "WHERE run = ? GROUP BY block ORDER BY block",
        (run.info.name,),
    ).fetchall()
    store.close()
    begun = min(first for _, first, _ in rows)
    return {block: (last - begun) / 60 for block, _, last in rows}


def asked(run: Run) -> str:
    """What the run was asked for, as a configuration file says it."""
    names = ("preset", "tasks", "modes", "phases", "seeds", "budget")
    config = {it: run.info.config[it] for it in names}
    return ", ".join(f"`{name} = {json.dumps(value)}`" for name, value in config.items())


def report(run: Run, ratios: Sequence[Ratio], ended: Mapping[int, float]) -> str:
    least = max(
        least_blocks_for(sum(it.phase == phase for it in ratios))
        for phase in {it.phase for it in ratios}
    )
    rows = []
    for it in ratios:
        width = log_half_width(list(it.logs.values()))
        rows.append(
            (
                it.phase,
                it.label,
                *(
                    "–" if (at := it.known_after(target, least)) is None else f"{ended[at]:.1f}"
                    for target in TARGETS
                ),
                "–" if width is None else f"±{percent(width)}",
                str(len(it.logs)),
            )
        )
    head = ("phase", "setup", *(f"±{percent(it)}" for it in TARGETS), "in the end", "blocks")
    facts = ", ".join(f"{name} {value}" for name, value in run.info.machine.items() if value)
    return (
        "# How long until ratios are known\n\n"
        f"Minutes of the run {run.info.name} until each ratio was known to a target, by the rule "
        "with which a run stops: its interval met the target after each of the last two blocks, "
        f"and not before {least} blocks. Who was known to the run's own target rested from then "
        "on.\n\n"
        f"{table(head, rows)}\n\n"
        f"- It ended: {run.stopped_by or 'not yet'}, after {max(ended.values()):.0f} minutes\n"
        f"- The run: {asked(run)}\n"
        "- This table, of the latest run in a results directory: "
        "`python -m benchmarks.studies.widths DIR`\n"
        f"- Machine: {facts}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    directory: Path = parser.parse_args().directory
    with open_existing(directory) as store:
        run = store.load(store.runs()[-1])
    ratios, ended = measured(run), ends(directory, run)
    text = report(run, ratios, ended)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "widths.md").write_text(text, encoding="utf-8")
    raw = {
        "run": run.info.name,
        "minutes": {block: round(it, 3) for block, it in ended.items()},
        "log_ratios": {
            f"{it.phase} {it.label}": {block: round(log, 5) for block, log in it.logs.items()}
            for it in ratios
        },
    }
    (RESULTS / "widths.json").write_text(json.dumps(raw, indent=0) + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
