"""Commands that a report suggests: only such as `run` accepts, for this run and its machine."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence

from harness.analysis.advice import LARGE_BATCH, Evidence, Finding, ScenarioName
from harness.analysis.deciding import MOST_BLOCKS, blocks_for, starts_for
from harness.analysis.summary import Summary, Table
from harness.records import Run
from harness.runs.schedule import REACHED, blocks_with
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.vary import origin

LARGER_BATCH = 2 * LARGE_BATCH
LARGE_TASK = "digits-mlp"
"""Comes with what is installed, and has rows for a large batch."""
QUIETER = "more blocks would not; a quieter machine may"
REPLACED = ("--blocks", "--precision", "--budget")
"""Options of a run's own command that a suggestion gives anew."""


def unmeasured(scenario: ScenarioName, run: Run) -> str:
    """Why there is no advice for a scenario, and what would measure it here."""
    if scenario == "short":
        return "No start was timed by itself."
    if scenario == "memory":
        return "No peak of a whole process was counted."
    if scenario == "long":
        return "No training steps were timed; --phase train does that."
    if scenario == "single":
        return "No prediction of one example at a time was timed; --phase latency does that."
    if scenario == "large":
        task, batch = _large(run)
        way = f"-t {task} --set batch_size={batch}"
        return f"No batch here has {LARGE_BATCH:,} examples or more; {way} does."
    if any(facts.get("gpus") for facts in run.info.machines.values()):
        return "All of it ran on the CPU; --device gpu measures on the GPU."
    return "All of it ran on the CPU, and no GPU was found."


def _large(run: Run) -> tuple[str, int]:
    """A task with training rows for a large batch, of this run if it has one; and the batch."""
    names = [origin(it.name)[0] for it in run.tasks]
    known = [CATALOGUE[it] for it in (*names, LARGE_TASK) if it in CATALOGUE]
    task = next(it for it in known if it.data.shape.train >= LARGE_BATCH)
    return task.name, LARGER_BATCH if task.data.shape.train >= LARGER_BATCH else LARGE_BATCH


def blocks_to_decide(evidence: Evidence, finding: Finding, table: Table) -> int | None:
    """Blocks of a run that would probably decide a finding; None where more would not."""
    if evidence == "speed":
        return blocks_for(finding.pair, table) if finding.pair else None
    starts = starts_for(finding, table, evidence)
    return None if starts is None else blocks_with(starts)


def way(blocks: int | None, evidence: Evidence) -> str:
    """What may decide something, in a few words."""
    if blocks is None:
        return "more blocks would not tell" if evidence == "memory" else QUIETER
    return f"--blocks {blocks} may decide it"


def to_decide(run: Run, summary: Summary) -> str:
    """A command for all that this run could not tell; empty where nothing is open."""
    found = list(_open(summary))
    wanted = [it for it in found if it is not None]
    if not wanted:
        return f"{QUIETER} ({MOST_BLOCKS} blocks and more)" if found else ""
    options = _options(run, max(wanted), summary)
    words = list(run.info.command)
    if run.info.merged or "run" not in words or any(it.startswith("--resume") for it in words):
        return f"a run like this one with {shlex.join(options)}"
    return shlex.join([*_without(words, REPLACED), *options])


def _open(summary: Summary) -> Iterator[int | None]:
    """Blocks for each thing that could not be told."""
    for table in summary.tables:
        for pair in table.pairs:
            if pair.verdict == "cannot tell" and not pair.denied_by:
                yield blocks_for(pair, table)
    for advice in summary.advice:
        for finding in advice.findings:
            denied = finding.pair and finding.pair.denied_by
            if finding.kind == "cannot tell" and not denied:
                yield blocks_to_decide(advice.evidence, finding, summary.tables[finding.table])


def _options(run: Run, blocks: int, summary: Summary) -> list[str]:
    """With a precision a run may end before its blocks do, and with a budget it may too."""
    config = run.info.config
    precision, budget = config.get("precision"), config.get("budget")
    done = max((it.blocks for it in summary.standings), default=0) or 1
    options = ["--blocks", str(blocks)]
    if precision:
        options[1] = str(max(blocks, config.get("blocks", 0)))
        sharper = precision / 2 if run.stopped_by and REACHED in run.stopped_by else precision
        options += ["--precision", f"{100 * sharper:g}%"]
    if budget:
        options += ["--budget", f"{math.ceil(budget * max(2, blocks / done))}s"]
    return options


def _without(words: Sequence[str], options: Sequence[str]) -> Iterator[str]:
    """A command without some options and their values."""
    skip = False
    for word in words:
        if not skip and not any(word.startswith(f"{it}=") for it in options):
            skip = word in options
            if not skip:
                yield word
        else:
            skip = False
