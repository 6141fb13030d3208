"""A block: one trial of every setup of a group, alive side by side, taking turns.

A trial is one execution of a setup in one process. While one worker works the others wait, and so
does the runner. Only the starts of blocks that are not `alone` overlap: nothing is timed there that
counts. The order is drawn anew for the start of the workers and for every round, so that no setup
always follows the same other.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

from harness.cells import Phase, Setup
from harness.certificates import Finding
from harness.frameworks import phases_of, trains
from harness.privacy import clean, cleaned
from harness.records import Around, Epoch, PhaseRecord, Quality, Record, Sample, Status
from harness.runs.contention import Watcher
from harness.runs.process import Worker, WorkerFailed
from harness.tasks.costs import train_flops
from harness.tasks.spec import Task
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
    fits,
)


def is_trained(setup: Setup) -> bool:
    """Whether a setup takes part in full trainings: a twin does not, nor who only predicts."""
    return not setup.twin and trains(setup.framework)


@dataclass
class Trial:
    """`asked` are the phases of its block that its framework can do."""

    name: str
    setup: Setup
    asked: tuple[Phase, ...] = ()
    worker: Worker | None = None
    loaded: Loaded | None = None
    prepared: Prepared | None = None
    samples: dict[Phase, list[Sample]] = field(default_factory=dict)
    epochs: list[Epoch] = field(default_factory=list)
    finished: Finished | None = None

    def phases(self) -> tuple[PhaseRecord, ...]:
        """The phases as far as they came, with the samples taken so far.

        What a forked process shares with its parent is resident in both, or in neither until it is
        read again: such memory is no measure of a framework's.
        """
        known, forked = self.prepared or self.loaded, self.worker is not None and self.worker.forked
        return tuple(
            phase.model_copy(
                update={
                    "samples": tuple(self.samples.get(phase.phase, ())),
                    "memory": None if forked else phase.memory,
                }
            )
            for phase in (known.phases if known else ())
        )

    def phase(self, phase: Phase) -> PhaseRecord:
        """A prepared phase."""
        assert self.prepared is not None
        return next(it for it in self.prepared.phases if it.phase == phase)

    def slowest_step(self) -> float | None:
        """The longest reading of any warm-up in seconds; None without a phase."""
        phases = self.prepared.phases if self.prepared else ()
        return max((max(phase.warmup) for phase in phases), default=None)

    def record(
        self,
        status: Status,
        error: str | None,
        *,
        block: int,
        attempt: int,
        alone: bool,
        seed: int,
        around: Around | None = None,
    ) -> Record:
        """What is kept of it, with nothing private in its texts."""
        failed = status != "ok" and self.worker is not None
        return Record(
            trial=self.name,
            block=block,
            attempt=attempt,
            setup=self.setup,
            status=status,
            error=error and clean(error),
            stderr_tail=clean(self.worker.stderr_tail()) if self.worker and failed else "",
            alone=alone,
            cold=self.worker is not None and self.worker.cold,
            forked=self.worker is not None and self.worker.forked,
            import_seconds=self.loaded.import_seconds if self.loaded else None,
            build_seconds=self.loaded.build_seconds if self.loaded else None,
            phases=self.phases(),
            quality=Quality(seed=seed, epochs=tuple(self.epochs)) if self.epochs else None,
            settings=cleaned(self.finished.settings) if self.finished else {},
            settings_before=cleaned(self.prepared.settings) if self.prepared else {},
            limits=self.finished.limits if self.finished else None,
            checks=self._checks(),
            around=around,
            usage=self.finished.usage if self.finished else None,
        )

    def _checks(self) -> tuple[Finding, ...]:
        found = self.finished.checks if self.finished else ()
        return tuple(it.model_copy(update={"detail": clean(it.detail)}) for it in found)


LOAD_LIMIT, PREPARE_LIMIT, TURN_LIMIT, FINISH_LIMIT = 300.0, 300.0, 60.0, 300.0
CHEAP_FLOPS = 1e8
"""Of a training step: to check so many steps in every trial takes little of its time. Of larger
tasks only trials in blocks that are `alone` are checked; the first block of a run is one."""
PATIENCE = 20.0
"""A turn that takes this many times what the warm-up promised is a hang."""


@dataclass(frozen=True)
class Block:
    """What to run: `phases` are sampled for `rounds` rounds, each of the setups that can do it;
    `trains` adds a full training of those that train.

    `number` counts from 0 within the group; `name` is unique in the store. The seed makes the
    shared start and, with the name, the order of turns. Of a block that is `alone` the workers
    start one after the other, and measure the limits of the device before they end; a twin is
    never trained. A worker may have no more than `memory_limit` bytes. Blocks of one `generation`
    may fork their workers from the same processes; `more` of it will probably follow.
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
    alone: bool
    data: str
    sample_seconds: float
    warmup_seconds: float
    memory_limit: int | None = None
    generation: int = 0
    more: int = 0


Step = Literal["starting", "warming up", "sampling", "training", "finishing", "done"]


class Observer(Protocol):
    """Whoever keeps or shows what happens; called between turns, never during one."""

    def started(self, trial: str, block: Block, setup: Setup) -> None: ...

    def ended(self, record: Record) -> None: ...

    def progress(self, block: Block, step: Step, setup: Setup | None, done: float) -> None:
        """`done` is the share of the block's turns taken, 0 to 1."""


R = TypeVar("R", Loaded, Prepared, Sampled, Trained, Finished)
T = TypeVar("T")

Launch = Callable[[Setup, str], Worker]
"""Starts a worker for a setup and a trial's name; raises WorkerFailed."""


class _BlockRun:
    def __init__(
        self, block: Block, launch: Launch, observer: Observer, watcher: Watcher | None
    ) -> None:
        self._block = block
        self._launch = launch
        self._observer = observer
        self._watcher = watcher
        self._around: Around | None = None
        self._random = random.Random(f"{block.name}/{block.seed}")
        self._alive: list[Trial] = []
        self._taken = 0
        epochs = block.task.epochs if block.trains else 0
        self._turns = 3 * len(block.setups) + epochs * sum(map(is_trained, block.setups))
        self._turns += block.rounds * sum(len(self._asked(it)) for it in block.setups)

    def _asked(self, setup: Setup) -> tuple[Phase, ...]:
        return phases_of(setup.framework, self._block.phases)

    def run(self) -> None:
        try:
            self._go_through()
        except BaseException:
            # Workers first: keeping their records may fail as well, where a disk is full.
            for trial in self._alive:
                if trial.worker is not None:
                    trial.worker.close()
            for trial in list(self._alive):
                self._end(trial, "interrupted", "the run ended before the trial did")
            raise
        self._observer.progress(self._block, "done", None, 1.0)

    def _go_through(self) -> None:
        """Start, prepare, take turns, train, finish."""
        block = self._block
        order = self._shuffled(block.setups)
        for together in [[it] for it in order] if block.alone else [order]:
            self._load(together)
        for trial in self._shuffled(self._alive):
            self._prepare(trial)
        if block.phases:
            self._take_turns()
        for epoch in range(block.task.epochs if block.trains else 0):
            for trial in self._shuffled(it for it in self._alive if is_trained(it.setup)):
                self._train(trial, epoch)
        for trial in list(self._alive):
            self._finish(trial)

    def _take_turns(self) -> None:
        watcher = self._watcher
        if watcher:
            watcher.begin()
        for round_ in range(self._block.rounds):
            if watcher:
                watcher.round(round_)
            for phase in self._block.phases:
                able = [it for it in self._alive if phase in it.asked]
                for turn, trial in enumerate(self._shuffled(able)):
                    self._sample(trial, phase, round_, turn)
        self._around = watcher.end() if watcher else None

    def _load(self, setups: Iterable[Setup]) -> None:
        """Start workers, all of them before the first is waited for."""
        started = [trial for setup in setups if (trial := self._start(setup))]
        for trial in started:
            trial.loaded = self._answer(trial, self._load_request(trial.setup), Loaded)

    def _start(self, setup: Setup) -> Trial | None:
        block = self._block
        trial = Trial(f"{block.name}/{setup.id}", setup, self._asked(setup))
        self._alive.append(trial)
        self._observer.started(trial.name, block, setup)
        self._tell("starting", setup)
        try:
            trial.worker = self._launch(setup, trial.name)
        except WorkerFailed as failure:
            self._end(trial, failure.status, failure.error)
            return None
        trial.worker.ask(self._load_request(setup), LOAD_LIMIT)
        return trial

    def _load_request(self, setup: Setup) -> Load:
        block = self._block
        return Load(
            task=block.task,
            setup=setup,
            seed=block.seed,
            phases=self._asked(setup),
            data=block.data,
            memory_limit=block.memory_limit,
        )

    def _prepare(self, trial: Trial) -> None:
        self._tell("warming up", trial.setup)
        block = self._block
        request = Prepare(sample_seconds=block.sample_seconds, warmup_seconds=block.warmup_seconds)
        trial.prepared = self._ask(trial, request, Prepared, PREPARE_LIMIT)

    def _sample(self, trial: Trial, phase: Phase, round_: int, turn: int) -> None:
        self._tell("sampling", trial.setup)
        request = TakeSample(phase=phase, round=round_, turn=turn)
        prepared = trial.phase(phase)
        # As many again, at most, wake the worker before the first is timed.
        expected = 2 * prepared.iterations * max(prepared.warmup)
        limit = TURN_LIMIT + PATIENCE * expected
        reply = self._ask(trial, request, Sampled, limit)
        if reply is not None:
            trial.samples.setdefault(phase, []).append(reply.sample)

    def _train(self, trial: Trial, epoch: int) -> None:
        self._tell("training", trial.setup)
        reply = self._ask(trial, TrainEpoch(epoch=epoch), Trained, self._epoch_limit(trial))
        if reply is not None:
            trial.epochs.append(reply.epoch)

    def _epoch_limit(self, trial: Trial) -> float:
        if trial.epochs:
            expected = trial.epochs[-1].seconds
        else:
            slowest = trial.slowest_step()
            steps = self._block.task.steps_per_epoch
            expected = PREPARE_LIMIT if slowest is None else steps * slowest
        return TURN_LIMIT + PATIENCE * expected

    def _finish(self, trial: Trial) -> None:
        self._tell("finishing", trial.setup)
        # The device's limits are the same in every block and for both of two twins.
        limits = self._block.alone and bool(trial.asked) and not trial.setup.twin
        checks = self._checks(trial.setup)
        request = Finish(limits=limits, checks=checks, thorough=checks and not self._block.number)
        trial.finished = self._ask(trial, request, Finished, FINISH_LIMIT)
        if trial.finished is not None:
            self._end(trial, "ok", None)

    def _checks(self, setup: Setup) -> bool:
        """Whether a trial's work is checked: every one's where that is cheap."""
        cheap = train_flops(self._block.task) <= CHEAP_FLOPS
        return not setup.twin and (cheap or self._block.alone)

    def _ask(self, trial: Trial, request: Request, expected: type[R], limit: float) -> R | None:
        """The reply, or None if the worker failed: then its trial is over."""
        assert trial.worker is not None
        trial.worker.ask(request, limit)
        return self._answer(trial, request, expected)

    def _answer(self, trial: Trial, request: Request, expected: type[R]) -> R | None:
        assert trial.worker is not None
        try:
            reply = trial.worker.answer()
            if not isinstance(reply, expected) or not fits(request, reply, trial.asked):
                raise WorkerFailed("failed", _misfit(request, reply))
        except WorkerFailed as failure:
            self._end(trial, failure.status, failure.error)
            return None
        self._taken += 1
        return reply

    def _end(self, trial: Trial, status: Status, error: str | None) -> None:
        block = self._block
        self._alive.remove(trial)
        if trial.worker is not None:
            trial.worker.close()
        self._observer.ended(
            trial.record(
                status,
                error,
                block=block.number,
                attempt=block.attempt,
                alone=block.alone,
                seed=block.seed,
                around=self._around,
            )
        )

    def _tell(self, step: Step, setup: Setup) -> None:
        self._observer.progress(self._block, step, setup, self._taken / self._turns)

    def _shuffled(self, things: Iterable[T]) -> list[T]:
        shuffled = list(things)
        self._random.shuffle(shuffled)
        return shuffled


def _misfit(request: Request, reply: Reply) -> str:
    return f"answered {reply.answer!r} to {request.ask!r}, and not as it was asked"


def run_block(
    block: Block, launch: Launch, observer: Observer, watcher: Watcher | None = None
) -> None:
    """Run a block to its end; every trial of it ends in exactly one record.

    A worker that fails leaves the others to go on. If the runner itself is stopped, the workers
    are ended, their trials recorded as `interrupted`, and the exception goes on. The watcher counts
    what others do while turns are taken.
    """
    _BlockRun(block, launch, observer, watcher).run()
