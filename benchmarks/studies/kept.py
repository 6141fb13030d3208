"""What studies of a run that was made before share: its ratios, its times, what it ran on."""

from __future__ import annotations

import argparse
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.studies.lab import RESULTS
from harness.analysis.pairs import baseline_of, entries, log_ratios
from harness.cells import PHASES, Phase
from harness.records import Run
from harness.runs.store import FILE, open_existing

TARGETS = (0.05, 0.03, 0.02)
"""How well a ratio is to be known: half the width of its interval."""


@dataclass(frozen=True)
class Ratio:
    """The log ratios of a setup to the baseline in one phase, by block."""

    phase: Phase
    label: str
    logs: Mapping[int, float]


class Span(NamedTuple):
    """An attempt at a block: when its first trial began and its last one ended, in seconds."""

    block: int
    begun: float
    ended: float


def asked_for(purpose: str | None) -> tuple[Path, Run]:
    """The results directory that the command line names, and the latest run in it."""
    parser = argparse.ArgumentParser(description=purpose)
    parser.add_argument("directory", type=Path)
    directory: Path = parser.parse_args().directory
    with open_existing(directory) as store:
        return directory, store.load(store.runs()[-1])


def measured(run: Run) -> list[Ratio]:
    """Of the first comparison of a run, twins aside."""
    group = run.records[0].setup.group
    good = entries(it for it in run.records if it.setup.group == group and not it.setup.twin)
    of_label = {setup.label: entry for setup, entry in good.items()}
    baseline = of_label[baseline_of(of_label)]
    return [
        Ratio(phase, label, logs)
        for phase in PHASES
        for label, entry in sorted(of_label.items())
        if entry is not baseline and (logs := log_ratios(entry.steps[phase], baseline.steps[phase]))
    ]


def spans(directory: Path, run: Run) -> list[Span]:
    store = sqlite3.connect(f"file:{directory / FILE}?mode=ro", uri=True)
    rows = store.execute(
        "SELECT block, min(s.at), max(e.at) FROM started s JOIN ended e USING (trial) "
        "WHERE run = ? GROUP BY block, attempt ORDER BY block, attempt",
        (run.info.name,),
    ).fetchall()
    store.close()
    return [Span(*it) for it in rows]


def machine(run: Run) -> str:
    return ", ".join(f"{name} {value}" for name, value in run.info.machine.items() if value)


def keep(name: str, text: str) -> None:
    """Write a file of a study's results."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / name).write_text(text, encoding="utf-8")
