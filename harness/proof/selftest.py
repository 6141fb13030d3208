"""The self-test: the proof must catch every planted fault, and pass what has none.

Each case is tried by provers and workers, as in a run.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import impls
from harness.analysis.settings import setup_faults
from harness.analysis.usage import usage_faults
from harness.cells import DTYPES, LANES, THROUGHPUT, Dtype, Lane, Setup
from harness.certificates import SUPPORTED, Finding
from harness.frameworks import absence, frameworks, modes_of
from harness.proof.certificates import claim, proved_claims
from harness.proof.faults import FAULTS, REAL
from harness.proof.faults import fault as tasks
from harness.proof.faults.fault import Fault
from harness.proof.faults.real import MODES, planted_in
from harness.proof.pool import launcher
from harness.proof.whole_training import CHECK, QUICK
from harness.records import Record
from harness.runs.block import Block, Step
from harness.runs.engines import LocalEngine
from harness.runs.files import temporary_files
from harness.tasks.datasets import load, write_staged
from harness.tasks.spec import Data, Task

LIMIT = 400.0
"""Seconds for one proof: a mode that compiles may take minutes on a busy machine."""
ROUNDS = 6
SAMPLE_SECONDS = 0.01


def tried(cases: Sequence[Case], provers: int) -> Iterator[Judgement]:
    """The judgement of every case, as they come; `provers` work side by side."""
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
    claims = {}
    for number, case in enumerate(cases):
        # Of the faults only those that a long proof must catch have one.
        reach = QUICK if case.fault is None or case.fault.check == CHECK else None
        claims[number] = claim(case.task, case.setup, quick=False, seed=case.seed, reach=reach)
    launch = launcher(folder, folder / "caches")
    for number, proved in proved_claims(claims, data, LIMIT, launch, provers):
        yield judge(cases[number], proved.findings)


def _measured(case: Case, data: Path, engine: LocalEngine) -> list[Finding]:
    """The findings about a worker in a block of its own."""
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
        # A worker that starts alone measures limits of the device. Those of a real framework are
        # forked instead: one import for all its faults takes less time.
        alone=case.setup.framework not in real,
        data=str(data),
        sample_seconds=SAMPLE_SECONDS,
        warmup_seconds=SAMPLE_SECONDS,
    )
    keeper = RecordKeeper()
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
        # A wrong setting comes before its consequences.
        *(Finding(check="settings", ok=False, detail=why) for why in setup_faults([bare])),
        *record.checks,
        *(Finding(check="usage", ok=False, detail=why) for why in usage_faults([record])),
    ]


class RecordKeeper:
    def __init__(self) -> None:
        self.records: list[Record] = []

    def started(self, trial: str, block: Block, setup: Setup) -> None: ...

    def progress(self, block: Block, step: Step, setup: Setup | None, done: float) -> None: ...

    def ended(self, record: Record) -> None:
        self.records.append(record)


PLANTED = Path(__file__).parent / "faults"
"""A folder like `impls`, with the faulty frameworks in it."""
VARIABLE = "SAMESTEP_IMPLS"
TASKS = (
    tasks.DIGITS,
    tasks.DIABETES,
    tasks.ADAMW,
    tasks.CANCER,
    tasks.GELU,
    tasks.RMSPROP,
    tasks.AUTOENCODER,
)
"""On which the unmodified adapters are proved: one for each seed, in turn."""

Outcome = Literal[
    "caught", "unseen", "passed", "unsupported", "escaped", "by another", "false alarm"
]
GOOD: tuple[Outcome, ...] = ("caught", "unseen", "passed", "unsupported")


@dataclass(frozen=True)
class Case:
    """One trial of the self-test; without a fault it must pass.

    A `measured` case is not proved but sampled, by a worker as in a run.
    """

    task: Task
    setup: Setup
    seed: int = 0
    fault: Fault | None = None
    measured: bool = False


@dataclass(frozen=True)
class Judgement:
    """The outcome of a case; `failed` are the checks that did not pass.

    - caught: the check that must catch the fault did
    - unseen: nothing failed in float32, and the table says why nothing need
    - passed: there is no fault, and no check failed
    - unsupported: the framework says that it cannot do this
    - escaped, by another, false alarm: the proof itself is at fault; `by another` means that a
      check failed, but not the one for this fault
    """

    case: Case
    outcome: Outcome
    failed: tuple[Finding, ...]

    @property
    def good(self) -> bool:
        return self.outcome in GOOD


def judge(case: Case, findings: Iterable[Finding]) -> Judgement:
    """Raises ValueError for a trial in which nothing was checked."""
    findings = tuple(findings)
    if not findings:
        raise ValueError(f"{case.setup.id}: nothing was checked")
    failed = tuple(it for it in findings if not it.ok)
    return Judgement(case, _outcome(case, [it.check for it in failed]), failed)


def _outcome(case: Case, failed: Sequence[str]) -> Outcome:
    fault = case.fault
    if fault is None:
        if SUPPORTED in failed:
            return "unsupported"
        return "false alarm" if failed else "passed"
    if failed:
        return "caught" if fault.check in failed else "by another"
    return "unseen" if fault.unseen and case.setup.dtype == "float32" else "escaped"


@contextlib.contextmanager
def planted() -> Iterator[None]:
    """With the framework `planted` among the others, here and in processes started meanwhile."""
    before, folder = os.environ.get(VARIABLE), str(PLANTED)
    os.environ[VARIABLE] = os.pathsep.join(filter(None, (before, folder)))
    impls.__path__.append(folder)
    try:
        yield
    finally:
        impls.__path__.remove(folder)
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def faulty(faults: Iterable[Fault] = FAULTS.values()) -> list[Case]:
    """Every planted fault in both dtypes; those that only a worker can notice in float32."""
    return [
        _faulty_case(it, "planted", dtype)
        for it in faults
        for dtype in (("float32",) if it.by == "run" else DTYPES)
    ]


def really_faulty() -> list[Case]:
    """Every planted fault of the adapters of installed frameworks, and each of these adapters
    without a fault, measured by a worker."""
    cases: list[Case] = []
    for name, modes in MODES.items():
        if absence(frameworks()[name]) is None:
            cases += [_faulty_case(it, f"planted_{name}", "float32") for it in planted_in(name)]
            for lane, mode in modes.items():
                setup = _setup(tasks.DIGITS, name, mode, lane, "float32")
                cases.append(Case(tasks.DIGITS, setup, measured=True))
    return cases


def _faulty_case(fault: Fault, framework: str, dtype: Dtype) -> Case:
    lane = LANES[fault.idiomatic]
    setup = _setup(fault.task, framework, fault.name, lane, dtype, fault.threads)
    return Case(fault.task, setup, 0, fault, fault.by == "run")


def unmodified(seeds: int) -> list[Case]:
    """Every mode of every framework that is installed, each seed on the task whose turn it is.

    Where `planted` is among them, its adapter without a fault is one more framework.
    """
    cases: list[Case] = []
    for seed in range(seeds):
        task = TASKS[seed % len(TASKS)]
        for name, mode, lane in _modes():
            cases += [Case(task, _setup(task, name, mode, lane, it), seed) for it in DTYPES]
    return cases


def sampled() -> Case:
    """The adapter of `planted` without a fault, measured by a worker."""
    task = tasks.DIGITS
    return Case(task, _setup(task, "planted", "nothing", "identical", "float32"), measured=True)


def _modes() -> Iterator[tuple[str, str, Lane]]:
    faulty_modes = FAULTS.keys() | REAL.keys()
    for name, framework in frameworks().items():
        if absence(framework) is None:
            for lane in LANES:
                for mode in modes_of(framework, lane):
                    if mode not in faulty_modes:
                        yield name, mode, lane


def _setup(
    task: Task, framework: str, mode: str, lane: Lane, dtype: Dtype, threads: int = 1
) -> Setup:
    return Setup(
        task=task.name,
        digest=task.digest,
        framework=framework,
        mode=mode,
        lane=lane,
        dtype=dtype,
        threads=threads,
    )
