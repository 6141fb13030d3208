"""Workers whose times are given, so that turns, records and statistics are tested in an instant."""

from __future__ import annotations

from collections.abc import Callable

from harness.cells import Phase, Setup
from harness.records import Epoch, Limits, PhaseRecord, Record, Sample
from harness.runs.block import Block, Step
from harness.runs.process import WorkerFailed
from harness.tasks.catalogue import CATALOGUE
from harness.worker.messages import (
    Finish,
    Finished,
    Load,
    Loaded,
    Prepare,
    Prepared,
    Reply,
    Request,
    Sampled,
    TakeSample,
    Trained,
    TrainEpoch,
)

TASK = CATALOGUE["digits-mlp"]
StepSeconds = Callable[[Phase, int], float]
"""(phase, round) → seconds of one iteration."""


FAULTS = [
    ("raise", "failed", "ValueError: two lines"),
    ("unsupported", "unsupported", "not on a Monday"),
    ("crash", "crashed", "killed by SIGSEGV"),
    ("exit", "crashed", "exited with code 3"),
    ("vanish", "no-result", "the worker exited 0 without an answer"),
    ("greedy", "out-of-memory", "MemoryError"),
    ("diverge", "diverged", "the training loss became nan"),
]
"""Modes of the framework `faulty`, and the status and error of their trials."""


def setup(framework: str = "pytorch", mode: str = "eager", **fields: object) -> Setup:
    content = {"task": TASK.name, "digest": TASK.digest, "framework": framework, "mode": mode}
    return Setup.model_validate(content | fields)


def block(*setups: Setup, **fields: object) -> Block:
    content = {
        "name": "a-run/b000.1",
        "number": 0,
        "attempt": 1,
        "task": TASK,
        "setups": setups,
        "phases": ("train", "predict"),
        "rounds": 3,
        "seed": 0,
        "trains": True,
        "alone": True,
        "data": "nowhere",
        "sample_seconds": 0.05,
        "warmup_seconds": 0.3,
    }
    return Block(**(content | fields))


class FakeWorker:
    """Answers from `step_seconds`; `fails` maps a kind of request to how it fails.

    The journal holds what was asked and, under the reply's own name, when it was answered.
    """

    cold = False
    forked = False

    def __init__(
        self,
        setup: Setup,
        journal: list[tuple[str, str]],
        step_seconds: StepSeconds = lambda phase, round_: 1e-3,
        fails: dict[str, WorkerFailed] | None = None,
    ) -> None:
        self._setup = setup
        self._journal = journal
        self._step_seconds = step_seconds
        self._fails = fails or {}
        self._phases: tuple[Phase, ...] = ()
        self._asked: Request | None = None
        self.closed = False

    def ask(self, request: Request, limit: float) -> None:
        assert limit > 0
        assert not self.closed
        assert self._asked is None, "asked again before it had answered"
        self._asked = request
        self._journal.append((request.ask, self._setup.label))

    def answer(self) -> Reply:
        request, self._asked = self._asked, None
        assert request is not None
        if request.ask in self._fails:
            raise self._fails[request.ask]
        reply = self.reply(request)
        self._journal.append((reply.answer, self._setup.label))
        return reply

    def reply(self, request: Request) -> Reply:
        match request:
            case Load(phases=phases):
                self._phases = phases
                loaded = tuple(self._phase(phase, warmup=(), iterations=0) for phase in phases)
                return Loaded(import_seconds=1.0, build_seconds=0.5, phases=loaded)
            case Prepare():
                prepared = tuple(self._phase(phase) for phase in self._phases)
                return Prepared(phases=prepared, settings={"threads": self._setup.threads})
            case TakeSample(phase=phase, round=round_, turn=turn):
                return Sampled(sample=self._sample(phase, round_, turn))
            case TrainEpoch(epoch=epoch):
                quality = 0.9 + 0.005 * min(epoch, 15)
                return Trained(epoch=Epoch(epoch=epoch, seconds=2.0, loss=0.1, quality=quality))
            case Finish(limits=limits):
                return Finished(
                    settings={"threads": self._setup.threads},
                    limits=Limits(peak_flops=1e11) if limits else None,
                )

    def _phase(self, phase: Phase, **fields: object) -> PhaseRecord:
        content: dict[str, object] = {
            "phase": phase,
            "first_call": 0.2,
            "second_call": 0.002,
            "warmup": (0.0012, 0.0011, 0.001),
            "iterations": 50,
            "staged_batches": 8,
        }
        return PhaseRecord.model_validate(content | fields)

    def _sample(self, phase: Phase, round_: int, turn: int) -> Sample:
        seconds = 50 * self._step_seconds(phase, round_)
        return Sample(
            round=round_,
            turn=turn,
            iterations=50,
            seconds=seconds,
            cpu_seconds=seconds,
            voluntary_switches=0,
            involuntary_switches=0,
        )

    def stderr_tail(self) -> str:
        return "its last words"

    def close(self) -> None:
        self.closed = True


class Ledger:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.records: list[Record] = []
        self.shares: list[float] = []

    def started(self, trial: str, block: Block, setup: Setup) -> None:
        self.begun.append(trial)

    def ended(self, record: Record) -> None:
        self.records.append(record)

    def progress(self, block: Block, step: Step, setup: Setup | None, done: float) -> None:
        self.shares.append(done)

    def by_label(self) -> dict[str, Record]:
        return {record.setup.label: record for record in self.records}
