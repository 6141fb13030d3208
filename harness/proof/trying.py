"""Trying what the self-test asks for: provers and workers, as a run has them."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.analysis.settings import own_faults
from harness.analysis.usage import usage_faults
from harness.cells import THROUGHPUT, Setup
from harness.certificates import SUPPORTED, Finding
from harness.proof.certify import claim
from harness.proof.planted.real import MODES
from harness.proof.process import Prover
from harness.proof.proving import proved_claims
from harness.proof.selftest import Case, Judgement, judge
from harness.proof.whole_training import CHECK, QUICK, Reach
from harness.records import Record
from harness.runs.block import Block, Step
from harness.runs.engines import LocalEngine
from harness.runs.places import temporary_files
from harness.tasks.data import Data
from harness.tasks.datasets import load, write_staged

LIMIT = 400.0
"""Seconds for one proof: a mode that compiles may take minutes on a busy machine."""
ROUNDS = 6
SAMPLE_SECONDS = 0.01


def tried(cases: Sequence[Case], provers: int) -> Iterator[Judgement]:
    """What came of every case, as they come; `provers` work side by side."""
    with (
        tempfile.TemporaryDirectory(prefix="samestep-") as name,
        temporary_files((folder := Path(name)) / "tmp"),
    ):
        data = _staged(cases, folder)
        yield from _proved([it for it in cases if not it.measured], data, folder, provers)
        with LocalEngine(folder / "logs", folder / "caches", fork=True) as engine:
            for case in (it for it in cases if it.measured):
                yield judge(case, _measured(case, data[case.task.data], engine))


def _staged(cases: Sequence[Case], folder: Path) -> Mapping[Data, Path]:
    places: dict[Data, Path] = {}
    for case in cases:
        if case.task.data not in places:
            places[case.task.data] = place = folder / f"data{len(places)}"
            write_staged(load(case.task.data, folder), place)
    return places


def _proved(
    cases: Sequence[Case], data: Mapping[Data, Path], folder: Path, provers: int
) -> Iterator[Judgement]:
    logs = itertools.count()

    def launch(setup: Setup) -> Prover:
        return Prover(setup, folder / f"prover{next(logs)}.log", folder / "caches")

    claims = {
        number: claim(it.task, it.setup, quick=False, seed=it.seed, reach=_reach(it))
        for number, it in enumerate(cases)
    }
    for number, proved in proved_claims(claims, data, LIMIT, launch, provers):
        yield judge(cases[number], proved.findings)


def _reach(case: Case) -> Reach | None:
    """Of faults only those that a long proof must catch are followed so far."""
    return QUICK if case.fault is None or case.fault.check == CHECK else None


def _measured(case: Case, data: Path, engine: LocalEngine) -> list[Finding]:
    """What is noticed of a worker in a block of its own."""
    real = {f"planted_{it}" for it in MODES} | MODES.keys()
    block = Block(
        name="selftest/b0",
        number=0,
        attempt=1,
        task=case.task,
        setups=(case.setup,),
        phases=THROUGHPUT,
        rounds=ROUNDS,
        seed=case.seed,
        trains=False,
        # A worker that starts alone measures limits of the device; to import a real framework
        # once for all its faults takes less time.
        alone=case.setup.framework not in real,
        data=str(data),
        sample_seconds=SAMPLE_SECONDS,
        warmup_seconds=SAMPLE_SECONDS,
    )
    keeper = Keeper()
    engine.run(block, keeper)
    (record,) = keeper.records
    bare = record.model_copy(update={"checks": (), "usage": None})
    # The worker's own check has no status of its own.
    other_work = record.status == "failed" and "did other work" in (record.error or "")
    at_fault = "sample" if other_work or record.status == "ok" else record.status
    return [
        Finding(
            check=SUPPORTED if record.status == "unsupported" else at_fault,
            ok=record.status == "ok",
            detail=record.error or "",
        ),
        # What was set wrong comes before what is wrong because of it.
        *(Finding(check="settings", ok=False, detail=why) for why in own_faults([bare])),
        *record.checks,
        *(Finding(check="usage", ok=False, detail=why) for why in usage_faults([record])),
    ]


class Keeper:
    """Keeps the records of a block."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def started(self, trial: str, block: Block, setup: Setup) -> None:
        pass

    def ended(self, record: Record) -> None:
        self.records.append(record)

    def progress(self, block: Block, step: Step, setup: Setup | None, done: float) -> None:
        pass
