"""What a study keeps: its design, the machine, and of every run the raw times and log ratios."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pydantic import Field

from harness.adapter import Setting
from harness.analysis.pairs import log_ratios
from harness.cells import Phase, Setup
from harness.tasks.spec import Frozen

Steps = Mapping[str, Mapping[Phase, Mapping[int, tuple[float, ...]]]]
"""Seconds per iteration by setup's label, phase, block and round."""
Logs = Mapping[str, Mapping[Phase, Mapping[int, float]]]
"""By `ours / theirs`, phase and block: log of how many times as fast ours is."""


class Design(Frozen):
    """What a study runs, the same in each of its runs. `pairs` are (ours, theirs) by label."""

    study: str
    task: str
    setups: tuple[Setup, ...]
    pairs: tuple[tuple[str, str], ...]
    phases: tuple[Phase, ...]
    blocks: int
    rounds: int
    sample_seconds: float
    warmup_seconds: float


class Session(Frozen):
    """A start of the study; `doctor` is what was not in order then, as `name (level): found`."""

    began: str
    doctor: tuple[str, ...] = ()


class Run(Frozen):
    """One run. `seconds` is the wall time of each block, `noise` its score: above 1 it is noisy."""

    number: int
    began: str
    seconds: tuple[float, ...]
    steps: Steps
    logs: Logs
    noise: tuple[float | None, ...]
    extra: dict[str, Any]

    def of(self, ours: str, theirs: str, phase: Phase) -> list[float]:
        """The block log ratios of a pair; above 0 ours is faster."""
        return list(self.logs[pair_name(ours, theirs)][phase].values())


class Journal(Frozen):
    """All runs so far. `known` is what was found out before the first of them."""

    design: Design
    machine: dict[str, Setting]
    versions: dict[str, str]
    commit: str | None
    command: str
    sessions: tuple[Session, ...] = ()
    known: dict[str, Any] = Field(default_factory=dict)
    runs: tuple[Run, ...] = ()

    def with_run(self, run: Run) -> Journal:
        return self.model_copy(update={"runs": (*self.runs, run)})

    def write(self, path: Path) -> None:
        """All of it or nothing: an interruption leaves the journal as it was. A line a run."""
        content = self.model_dump(mode="json")
        runs = ",\n".join(json.dumps(_rounded(it)) for it in content.pop("runs"))
        head = json.dumps(content, indent=1, ensure_ascii=False).removesuffix("\n}")
        temporary = path.with_suffix(".part")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(f'{head},\n "runs": [\n{runs}\n ]\n}}\n')
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)


def _rounded(value: Any) -> Any:
    """Floats with seven digits: more than any clock has."""
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, dict):
        return {key: _rounded(it) for key, it in value.items()}
    return [_rounded(it) for it in value] if isinstance(value, list | tuple) else value


def pair_name(ours: str, theirs: str) -> str:
    return f"{ours} / {theirs}"


def logs_of(steps: Steps, pairs: Iterable[tuple[str, str]]) -> Logs:
    """The block log ratios of every pair, as the harness makes them: medians over rounds."""

    def by_round(label: str, phase: Phase) -> dict[int, dict[int, float]]:
        return {block: dict(enumerate(it)) for block, it in steps[label][phase].items()}

    return {
        pair_name(ours, theirs): {
            phase: log_ratios(by_round(ours, phase), by_round(theirs, phase))
            for phase in steps[ours]
        }
        for ours, theirs in pairs
    }


class Found(Protocol):
    """A finding of the doctor's."""

    @property
    def name(self) -> str: ...
    @property
    def level(self) -> str: ...
    @property
    def found(self) -> str: ...


def doctored(findings: Iterable[Found]) -> tuple[str, ...]:
    """What is not in order, in words."""
    bad = [it for it in findings if it.level in ("warning", "unfit")]
    return tuple(f"{it.name} ({it.level}): {it.found}" for it in bad)


def percent(share: float, places: int = 2) -> str:
    return f"{100 * share:.{places}f} %"


def times(log: float) -> str:
    """A log ratio as a multiple."""
    return f"{math.exp(log):.4f}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown, its first column to the left."""
    lines = [head, [":--", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in lines)


def page(title: str, journal: Journal, *parts: str) -> str:
    """A study's summary: what was found, then what it ran on and how to repeat it."""
    return "\n\n".join([f"# {title}", *parts, "\n".join(_facts(journal))]) + "\n"


def _facts(journal: Journal) -> Iterator[str]:
    design, scores = journal.design, [it for run in journal.runs for it in run.noise if it]
    spent = sum(sum(run.seconds) for run in journal.runs)
    threads = design.setups[0].threads
    yield f"- Repeat it: `{journal.command}`"
    yield (
        f"- Each of {len(journal.runs)} runs: {design.blocks} blocks of {len(design.setups)} "
        f"workers, {design.rounds} rounds of {1000 * design.sample_seconds:.0f} ms, "
        f"{' and '.join(design.phases)}, {design.task}, {threads} thread(s); "
        f"{spent / 60:.1f} min of blocks in all"
    )
    if scores:
        noisy = sum(it > 1 for it in scores)
        yield f"- Noisy blocks by the harness's rule: {noisy}; all count, none was added for them"
    for session in journal.sessions:
        yield f"- Doctor, {session.began}: {'; '.join(session.doctor) or 'fit to measure on'}"
    told = ", ".join(f"{name} {it}" for name, it in journal.machine.items() if it is not None)
    yield f"- Machine: {told}"
    yield "- Versions: " + ", ".join(f"{name} {it}" for name, it in journal.versions.items())
    yield f"- Commit: {journal.commit or 'unknown'}"
