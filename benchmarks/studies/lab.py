"""What the studies share: a design, blocks with nothing but what it asks for, a journal on disk.

A study is `python -m benchmarks.studies.NAME [--quick] -o DIR`. It writes `DIR/NAME.json` after
every run (a run is some blocks, as a user's run is) and `DIR/NAME.md` from it; started again with
the same design on the same machine it goes on where it was, so that an interruption costs one run.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchmarks.studies.journal import Design, Journal, Run, Session, doctored, logs_of
from harness.analysis.noise import block_noise
from harness.analysis.pairs import entries
from harness.cells import Setup
from harness.doctor.checks import collect, examine
from harness.errors import HarnessError
from harness.records import Record
from harness.runs import machine
from harness.runs.block import Block, Step
from harness.runs.engines import LocalEngine
from harness.runs.files import measuring_alone
from harness.runs.runner import measuring
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.datasets import data_directory, load, write_staged
from harness.tasks.spec import Task

RESULTS = Path("results/studies")


@dataclass(frozen=True)
class Asked:
    """The command line of a study."""

    output: Path
    quick: bool
    runs: int
    threads: int
    flags: frozenset[str]


def asked(name: str, purpose: str, runs: int, threads: int, **flags: str) -> Asked:
    """Parse it; `runs` and `threads` are the defaults, `flags` further switches with their help."""
    parser = argparse.ArgumentParser(f"python -m benchmarks.studies.{name}", description=purpose)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS, metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="two tiny runs: does it work?")
    parser.add_argument("--runs", type=int, help=f"[default: {runs}]")
    parser.add_argument("--threads", type=int, default=threads, help=f"[default: {threads}]")
    for flag, text in flags.items():
        parser.add_argument(f"--{flag}", action="store_true", help=text)
    given = parser.parse_args()
    return Asked(
        output=given.output,
        quick=given.quick,
        runs=given.runs or (2 if given.quick else runs),
        threads=given.threads,
        flags=frozenset(it for it in flags if getattr(given, it)),
    )


def setups_of(labels: Sequence[str], task: str, threads: int) -> tuple[Setup, ...]:
    """Setups by label; the same label again is the twin of the first."""
    digest, made = CATALOGUE[task].digest, list[Setup]()
    for label in labels:
        framework, _, mode = label.partition(":")
        own = Setup(task=task, digest=digest, framework=framework, mode=mode, threads=threads)
        made.append(own.model_copy(update={"twin": own in made}))
    return tuple(made)


class Bench:
    """Runs the blocks of a design. Whatever fails ends the study: its run is made again later."""

    def __init__(self, design: Design, folder: Path, *, fork: bool = False) -> None:
        self.task: Task = CATALOGUE[design.task]
        self.data = folder / "data"
        self._design = design
        self._engine = LocalEngine(folder / "logs", folder / "caches", fork=fork)
        write_staged(load(self.task.data, data_directory(None)), self.data)

    def close(self) -> None:
        self._engine.close()

    def block(self, run: int, number: int) -> list[Record]:
        """One block, its workers started side by side: what a start costs is no part of this."""
        design, keeper = self._design, Keeper()
        block = Block(
            name=f"{design.study}/r{run:03}b{number:03}",
            number=number,
            attempt=1,
            task=self.task,
            setups=design.setups,
            phases=design.phases,
            rounds=design.rounds,
            seed=number,
            trains=False,
            alone=False,
            data=str(self.data),
            sample_seconds=design.sample_seconds,
            warmup_seconds=design.warmup_seconds,
        )
        self._engine.run(block, keeper)
        for record in keeper.records:
            if record.status != "ok":
                raise HarnessError(f"{record.setup.id}: {record.status}: {record.error}")
        return keeper.records

    def run(self, number: int, extra: Mapping[str, Any] | None = None) -> Run:
        """All blocks of one run."""
        began, records, seconds = _now(), list[Record](), list[float]()
        for block in range(self._design.blocks):
            begin = time.perf_counter()
            records += self.block(number, block)
            seconds.append(time.perf_counter() - begin)
        return self.kept(number, began, records, seconds, extra or {})

    def kept(
        self,
        number: int,
        began: str,
        records: Sequence[Record],
        seconds: Sequence[float],
        extra: Mapping[str, Any],
    ) -> Run:
        """What the journal keeps of a run."""
        found, design = entries(records), self._design
        steps = {
            setup.label: {
                phase: {block: tuple(times.values()) for block, times in entry.steps[phase].items()}
                for phase in design.phases
            }
            for setup, entry in found.items()
        }
        blocks = sorted({it.block for it in records})
        noise = [block_noise([it for it in records if it.block == block]) for block in blocks]
        return Run(
            number=number,
            began=began,
            seconds=tuple(seconds),
            steps=steps,
            logs=logs_of(steps, design.pairs),
            noise=tuple(it.score for it in noise),
            extra=dict(extra),
        )


class Keeper:
    """An observer that keeps the records of a block."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def started(self, trial: str, block: Block, setup: Setup) -> None: ...

    def ended(self, record: Record) -> None:
        self.records.append(record)

    def progress(self, block: Block, step: Step, setup: Setup | None, done: float) -> None: ...


def study(
    design: Design,
    given: Asked,
    run: Callable[[Bench, int], Run],
    summary: Callable[[Journal], str],
    known: Callable[[Bench], dict[str, Any]] = lambda bench: {},
    fork: bool = False,
) -> None:
    """Make the runs that are still to be made, writing the journal after each; then say so.

    `known` is what the study has to know before its first run; it is kept with them. With `fork`,
    all workers are forked from one import of their framework.
    """
    name = f"{design.study}-quick" if given.quick else design.study
    path = given.output / f"{name}.json"
    with (
        _failing_in_one_line(),
        measuring(given.output),
        measuring_alone(),
        tempfile.TemporaryDirectory() as folder,
    ):
        journal = _opened(path, design, given)
        left = range(len(journal.runs), given.runs)
        bench = Bench(design, Path(folder), fork=fork) if left else None
        if bench and not journal.runs:
            journal = journal.model_copy(update={"known": known(bench)})
        for number in left:
            assert bench is not None
            begin = time.perf_counter()
            journal = journal.with_run(run(bench, number))
            journal.write(path)
            path.with_suffix(".md").write_text(summary(journal), encoding="utf-8")
            took = time.perf_counter() - begin
            minutes = took * (given.runs - number - 1) / 60
            said = f"run {number + 1} of {given.runs}: {took:.0f} s, {minutes:.0f} min left"
            print(said, flush=True)
        if bench:
            bench.close()
        path.with_suffix(".md").write_text(summary(journal), encoding="utf-8")
    print(path.with_suffix(".md").read_text(encoding="utf-8"))


def _opened(path: Path, design: Design, given: Asked) -> Journal:
    """The journal so far, or a new one. Raises HarnessError for somebody else's."""
    fingerprint, session = machine.fingerprint(), Session(began=_now())
    words = ["python", *sys.orig_argv[1:]]
    if path.exists():
        try:
            journal = Journal.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise HarnessError(f"{path}: not a journal of a study: {error}") from None
        if (journal.design, journal.machine) != (design, fingerprint):
            raise HarnessError(
                f"{path}: made by another design or on another machine; move it away, or choose "
                "another --output"
            )
        if len(journal.runs) >= given.runs:
            return journal
    else:
        journal = Journal(
            design=design,
            machine=fingerprint,
            versions=machine.versions(),
            commit=machine.commit({it.framework for it in design.setups}),
            command=shlex.join(words),
        )
    findings = examine(collect(path.parent)).findings
    session = session.model_copy(update={"doctor": doctored(findings)})
    return journal.model_copy(update={"sessions": (*journal.sessions, session)})


@contextmanager
def _failing_in_one_line() -> Iterator[None]:
    try:
        yield
    except HarnessError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted; whole runs are kept, and the same command goes on", file=sys.stderr)
        sys.exit(130)


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def default_threads() -> int:
    """As many as a run takes that is not told otherwise."""
    return machine.cores()


def add_frameworks(folder: Path) -> None:
    """Let the frameworks in a folder take part, here and in every process started from now on."""
    import impls

    variable = "SAMESTEP_IMPLS"
    if str(folder) not in impls.__path__:
        impls.__path__.append(str(folder))
        there = os.environ.get(variable)
        os.environ[variable] = os.pathsep.join(filter(None, (there, str(folder))))
