"""Trying what the self-test asks for: provers and workers, as a run has them."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.cells import Setup
from harness.certificates import Finding
from harness.proof.certify import claim
from harness.proof.pool import prove_all
from harness.proof.process import Prover
from harness.proof.selftest import Case, Judgement, judge
from harness.runs.process import WorkerFailed, WorkerProcess
from harness.tasks.data import Data
from harness.tasks.datasets import load, write_staged
from harness.worker.messages import Finish, Load, Prepare, TakeSample

LIMIT = 120.0
"""Seconds for one proof: a mode that compiles may take a minute on a busy machine."""
ROUNDS = 6
SAMPLE_SECONDS = 0.01
SAMPLE_LIMIT = 5.0
"""Such a sample hangs if it takes this long."""


def tried(cases: Sequence[Case], provers: int) -> Iterator[Judgement]:
    """What came of every case, as they come; `provers` work side by side."""
    with tempfile.TemporaryDirectory(prefix="samestep-") as name:
        folder = Path(name)
        data = _staged(cases, folder)
        yield from _proved([it for it in cases if not _is_measured(it)], data, folder, provers)
        for case in filter(_is_measured, cases):
            yield judge(case, _measured(case, data[case.task.data], folder / "worker.log"))


def _is_measured(case: Case) -> bool:
    return case.fault is not None and case.fault.measured


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

    asked = {
        claim(it.task, it.setup, quick=False, seed=it.seed).request(data[it.task.data], LIMIT): it
        for it in cases
    }
    for request, proved in prove_all(list(asked), launch, provers):
        yield judge(asked[request], proved.findings)


def _measured(case: Case, data: Path, log: Path) -> tuple[Finding, ...]:
    """What a worker notices in some samples of a training."""
    worker = WorkerProcess(case.setup, log)
    try:
        worker.request(
            Load(
                task=case.task, setup=case.setup, seed=case.seed, phases=("train",), data=str(data)
            ),
            LIMIT,
        )
        worker.request(Prepare(sample_seconds=SAMPLE_SECONDS, warmup_seconds=SAMPLE_SECONDS), LIMIT)
        for round_ in range(ROUNDS):
            worker.request(TakeSample(phase="train", round=round_, turn=0), SAMPLE_LIMIT)
        worker.request(Finish(), LIMIT)
    except WorkerFailed as failure:
        # The worker's own check has no status of its own.
        check = "sample" if failure.error.startswith("a sample did other work") else failure.status
        return (Finding(check=check, ok=False, detail=failure.error),)
    finally:
        worker.close()
    return (Finding(check="sample", ok=True),)
