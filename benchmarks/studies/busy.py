"""`python -m benchmarks.studies.busy`: is a verdict wrong that is made beside busy processes?

Runs take turns in beginning with 0, 1 and 2 processes beside them that keep a core busy each, in
this order. What the runs with none find is the truth. A verdict of another run is wrong where its
interval excludes that ratio. Once more with `--threads 1`, for setups that leave a core free.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from benchmarks.studies.journal import Design, Journal, Run, page, table
from benchmarks.studies.lab import Bench, asked, default_threads, setups_of, study
from harness.analysis.contention import DISTURBED_SHARE
from harness.analysis.pairs import BASELINE, entries, pair_of
from harness.analysis.verdicts import Pair, judged
from harness.cells import Phase
from harness.runs import engines
from harness.runs.config import SAMPLE_SECONDS
from harness.runs.process import ROOT

LABELS = ("pytorch:eager", "tensorflow:graph", "reference:replay")
BESIDE = (0, 1, 2)
# Blocks as of a default run; one phase and fewer rounds, so that 60 runs end within an hour.
RUNS, BLOCKS, ROUNDS = 20 * len(BESIDE), 9, 2
PHASES: tuple[Phase, ...] = ("train",)
DECIDED = ("faster", "slower", "equivalent")
LOOK_SECONDS = 0.1


class Row(NamedTuple):
    """All comparisons beside so many processes. `hidden` are wrong intervals without a verdict."""

    beside: int
    runs: int
    disturbed: int
    blocks: int
    comparisons: int
    decided: int
    wrong: int
    hidden: int


@contextmanager
def strangers(count: int) -> Iterator[None]:
    """So many busy processes that are not this one's children, and end when it does."""
    words = [sys.executable, "-m", "benchmarks.studies.busy", "--beside", str(os.getpid())]
    begun: list[int] = []
    try:
        for _ in range(count):
            told = subprocess.check_output(words, cwd=ROOT, text=True)
            begun.append(int(told))
        yield
    finally:
        for pid in begun:
            os.kill(pid, 9)


def begin_beside(parent: int) -> None:
    """Print the process that keeps a core busy while `parent` lives; nobody waits for its end."""
    if pid := os.fork():
        print(pid)
        return
    os.setsid()
    os.close(1)
    while os.path.exists(f"/proc/{parent}"):
        end = time.perf_counter() + LOOK_SECONDS
        while time.perf_counter() < end:
            pass


def run(bench: Bench, number: int, blocks: int) -> Run:
    began, records, seconds = time.strftime("%FT%T%z"), [], []
    beside = BESIDE[number % len(BESIDE)]
    with strangers(beside):
        for block in range(blocks):
            begin = time.perf_counter()
            records += bench.block(number, block)
            seconds.append(time.perf_counter() - begin)
    found = {setup.label: it for setup, it in entries(records).items()}
    told = []
    for phase in PHASES:
        pairs = [pair_of(found[it], found[BASELINE], phase) for it in LABELS if it != BASELINE]
        told += [_told(phase, it) for it in judged([it for it in pairs if it])]
    disturbed = len(next(iter(found.values())).disturbed)
    extra = {"beside": beside, "disturbed": disturbed, "pairs": told}
    return bench.kept(number, began, records, seconds, extra)


def _told(phase: str, pair: Pair) -> dict[str, Any]:
    return {
        "phase": phase,
        "label": pair.label,
        "verdict": pair.verdict,
        "reason": pair.reason,
        "ratio": pair.speed.estimate,
        "low": pair.speed.low,
        "high": pair.speed.high,
    }


def truths(runs: Sequence[Run]) -> dict[tuple[str, str], float]:
    """The median ratio of every pair by phase and label, in the runs with nothing beside them that
    nobody else disturbed either."""
    found: dict[tuple[str, str], list[float]] = {}
    for it in runs:
        calm = it.extra["disturbed"] <= DISTURBED_SHARE * len(it.seconds)
        for pair in it.extra["pairs"] if calm and not it.extra["beside"] else ():
            found.setdefault((pair["phase"], pair["label"]), []).append(pair["ratio"])
    return {key: statistics.median(own) for key, own in found.items()}


def rows(runs: Sequence[Run]) -> list[Row]:
    truth, made = truths(runs), []
    for beside in BESIDE:
        own = [it for it in runs if it.extra["beside"] == beside]
        pairs = [pair for it in own for pair in it.extra["pairs"]]
        decided = [it for it in pairs if it["verdict"] in DECIDED]
        wrong = [it for it in pairs if _excludes(it, truth.get((it["phase"], it["label"])))]
        made.append(
            Row(
                beside=beside,
                runs=len(own),
                disturbed=sum(it.extra["disturbed"] for it in own),
                blocks=sum(len(it.seconds) for it in own),
                comparisons=len(pairs),
                decided=len(decided),
                wrong=sum(it in decided for it in wrong),
                hidden=sum(it not in decided for it in wrong),
            )
        )
    return made


def _excludes(pair: dict[str, Any], truth: float | None) -> bool:
    low, high = pair["low"], pair["high"]
    return None not in (low, high, truth) and not low <= truth <= high


def summary(journal: Journal) -> str:
    found, truth = rows(journal.runs), truths(journal.runs)
    wrong = sum(it.wrong for it in found if it.beside)
    return page(
        "Beside busy processes",
        journal,
        f"Decided beside busy processes, with an interval that excludes the calm ratio: "
        f"**{wrong} of {sum(it.decided for it in found if it.beside)}**.",
        table(
            (
                "busy processes",
                "runs",
                "disturbed blocks",
                "comparisons",
                "decided",
                "decided and wrong",
                "not decided, and wrong if they had been",
            ),
            [
                (
                    it.beside,
                    it.runs,
                    f"{it.disturbed} of {it.blocks}",
                    it.comparisons,
                    it.decided,
                    it.wrong,
                    it.hidden,
                )
                for it in found
            ],
        ),
        "With none beside it an interval excludes the median of all runs by chance, in at most one "
        "of 20 comparisons. The calm ratio is that of undisturbed runs with none beside them"
        + ("." if truth else ": there was no such run."),
        table(
            ("phase", "setup", f"calm ratio to {BASELINE}"),
            [(*key, f"{ratio:.3f}") for key, ratio in truth.items()],
        ),
    )


def main() -> None:
    if sys.argv[1:2] == ["--beside"]:
        begin_beside(int(sys.argv[2]))
        return
    given = asked("busy", "Verdicts beside busy processes.", RUNS, default_threads())
    task, blocks = "digits-mlp", 2 if given.quick else BLOCKS
    alone = "-1-thread" if given.threads == 1 else ""
    design = Design(
        study=f"busy{alone}",
        task=task,
        setups=setups_of(LABELS, task, given.threads),
        pairs=tuple((it, BASELINE) for it in LABELS if it != BASELINE),
        phases=PHASES,
        blocks=blocks,
        rounds=2 if given.quick else ROUNDS,
        sample_seconds=SAMPLE_SECONDS,
        warmup_seconds=0.15,
    )
    # One import serves all runs: what it adds to a framework's times is the same in each.
    engines.varies = lambda setup: False
    study(design, given, lambda bench, number: run(bench, number, blocks), summary, fork=True)


if __name__ == "__main__":
    main()
