"""A block: one trial of every setup of an arena, alive side by side, taking turns.

While one worker works the others wait, and so does the runner. The order is drawn anew for the
start of the workers and for every round, so that no setup always follows the same other.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

from harness.cells import Phase, Setup
from harness.records import Epoch, PhaseRecord, Quality, Record, Sample, Status
from harness.runs.process import Worker, WorkerFailed
from harness.tasks.spec import Task
from harness.worker.messages import (
    Finish,
    Finished,
    Prepare,
    Prepared,
    Request,
    Sampled,
    TakeSample,
    Trained,
    TrainEpoch,
)

PREPARE_LIMIT, TURN_LIMIT, FINISH_LIMIT = 300.0, 60.0, 60.0
PATIENCE = 20.0
"""A turn that takes this many times what the warm-up promised is a hang."""


@dataclass(frozen=True)
class Block:
    """What to run: `phases` are sampled for `rounds` rounds; `trains` adds a full training.

    `number` counts from 0 within the arena; `name` is unique in the store. The seed makes the
    shared start and, with the name, the order of turns.
    """

    name: str
    number: int
    attempt: int
    task: Task
    setups: tuple[Setup, ...]
    phases: tuple[Phase, ...]
    rounds: int
    seed: int
    trains: bool
    data: str
    sample_seconds: float
    warmup_seconds: float


Step = Literal["starting", "sampling", "training", "done"]


class Observer(Protocol):
    """Whoever keeps or shows what happens; called between turns, never during one."""

    def started(self, trial: str, block: Block, setup: Setup) -> None: ...

    def ended(self, record: Record) -> None: ...

    def progress(self, block: Block, step: Step, setup: Setup | None, done: float) -> None:
        """`done` is the share of the block's turns taken, 0 to 1."""


R = TypeVar("R", Prepared, Sampled, Trained, Finished)
T = TypeVar("T")

Launch = Callable[[Setup, str], Worker]
"""Starts a worker for a setup and a trial's name; raises WorkerFailed."""


@dataclass
class _Trial:
    """What has been measured of one setup so far."""

    name: str
    setup: Setup
    worker: Worker | None = None
    prepared: Prepared | None = None
    samples: dict[Phase, list[Sample]] = field(default_factory=dict)
    epochs: list[Epoch] = field(default_factory=list)

    def phases(self) -> tuple[PhaseRecord, ...]:
        """The prepared phases with the samples taken so far."""
        return tuple(
            phase.model_copy(update={"samples": tuple(self.samples.get(phase.phase, ()))})
            for phase in (self.prepared.phases if self.prepared else ())
        )


class _BlockRun:
    def __init__(self, block: Block, launch: Launch, observer: Observer) -> None:
        self._block = block
        self._launch = launch
        self._observer = observer
        self._random = random.Random(f"{block.name}/{block.seed}")
        self._alive: list[_Trial] = []
        self._taken = 0
        epochs = block.task.epochs if block.trains else 0
        self._turns = len(block.setups) * (1 + block.rounds * len(block.phases) + epochs)

    def run(self) -> None:
        try:
            for setup in self._shuffled(self._block.setups):
                self._start(setup)
            for round_ in range(self._block.rounds):
                for phase in self._block.phases:
                    for turn, trial in enumerate(self._shuffled(self._alive)):
                        self._sample(trial, phase, round_, turn)
            for epoch in range(self._block.task.epochs if self._block.trains else 0):
                for trial in self._shuffled(self._alive):
                    self._train(trial, epoch)
            for trial in list(self._alive):
                self._finish(trial)
        except BaseException:
            for trial in list(self._alive):
                self._end(trial, "interrupted", "the run ended before the trial did")
            raise
        self._observer.progress(self._block, "done", None, 1.0)

    def _start(self, setup: Setup) -> None:
        block = self._block
        trial = _Trial(f"{block.name}/{setup.id}", setup)
        self._alive.append(trial)
        self._observer.started(trial.name, block, setup)
        self._tell("starting", setup)
        try:
            trial.worker = self._launch(setup, trial.name)
        except WorkerFailed as failure:
            self._end(trial, failure.status, failure.error)
            return
        request = Prepare(
            task=block.task,
            setup=setup,
            seed=block.seed,
            phases=block.phases,
            data=block.data,
            sample_seconds=block.sample_seconds,
            warmup_seconds=block.warmup_seconds,
        )
        trial.prepared = self._ask(trial, request, Prepared, PREPARE_LIMIT)

    def _sample(self, trial: _Trial, phase: Phase, round_: int, turn: int) -> None:
        self._tell("sampling", trial.setup)
        request = TakeSample(phase=phase, round=round_, turn=turn)
        prepared = next(it for it in trial.phases() if it.phase == phase)
        # One iteration more than is timed: the first wakes the worker.
        expected = (prepared.iterations + 1) * max(prepared.warmup)
        limit = TURN_LIMIT + PATIENCE * expected
        reply = self._ask(trial, request, Sampled, limit)
        if reply is not None:
            trial.samples.setdefault(phase, []).append(reply.sample)

    def _train(self, trial: _Trial, epoch: int) -> None:
        self._tell("training", trial.setup)
        reply = self._ask(trial, TrainEpoch(epoch=epoch), Trained, self._epoch_limit(trial))
        if reply is not None:
            trial.epochs.append(reply.epoch)

    def _epoch_limit(self, trial: _Trial) -> float:
        if trial.epochs:
            expected = trial.epochs[-1].seconds
        elif trial.prepared and trial.prepared.phases:
            slowest = max(max(phase.warmup) for phase in trial.prepared.phases)
            expected = self._block.task.steps_per_epoch * slowest
        else:
            expected = PREPARE_LIMIT
        return TURN_LIMIT + PATIENCE * expected

    def _finish(self, trial: _Trial) -> None:
        reply = self._ask(trial, Finish(), Finished, FINISH_LIMIT)
        if reply is not None:
            self._end(trial, "ok", None, reply)

    def _ask(self, trial: _Trial, request: Request, expected: type[R], limit: float) -> R | None:
        """The reply, or None if the worker failed: then its trial is over."""
        assert trial.worker is not None
        try:
            reply = trial.worker.request(request, limit)
            if not isinstance(reply, expected):
                raise WorkerFailed("failed", f"answered {reply.answer!r} to {request.ask!r}")
        except WorkerFailed as failure:
            self._end(trial, failure.status, failure.error)
            return None
        self._taken += 1
        return reply

    def _end(
        self, trial: _Trial, status: Status, error: str | None, finished: Finished | None = None
    ) -> None:
        self._alive.remove(trial)
        tail = ""
        if trial.worker is not None:
            trial.worker.close()
            tail = trial.worker.stderr_tail() if status != "ok" else ""
        prepared, epochs = trial.prepared, tuple(trial.epochs)
        self._observer.ended(
            Record(
                trial=trial.name,
                block=self._block.number,
                attempt=self._block.attempt,
                setup=trial.setup,
                status=status,
                error=error,
                stderr_tail=tail,
                import_seconds=prepared.import_seconds if prepared else None,
                build_seconds=prepared.build_seconds if prepared else None,
                phases=trial.phases(),
                quality=Quality(seed=self._block.seed, epochs=epochs) if epochs else None,
                settings=finished.settings if finished else {},
            )
        )

    def _tell(self, step: Step, setup: Setup) -> None:
        self._observer.progress(self._block, step, setup, self._taken / self._turns)

    def _shuffled(self, things: Iterable[T]) -> list[T]:
        shuffled = list(things)
        self._random.shuffle(shuffled)
        return shuffled


def run_block(block: Block, launch: Launch, observer: Observer) -> None:
    """Run a block to its end; every trial of it ends in exactly one record.

    A worker that fails leaves the others to go on. If the runner itself is stopped, the workers
    are ended, their trials recorded as `interrupted`, and the exception goes on.
    """
    _BlockRun(block, launch, observer).run()
