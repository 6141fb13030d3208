"""A block: one trial of every setup of a group, alive side by side, taking turns.

A trial is one execution of a setup in one process. While one worker works, the runner and the
other workers wait; only the starts of a block that is not `alone` overlap, and are not timed. The
order of starts and of every round is random, so that no setup always follows the same other one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

from harness.cells import Phase, Setup
from harness.frameworks import phases_of, trains
from harness.privacy import clean, cleaned
from harness.records import Around, Epoch, PhaseRecord, Quality, Record, Sample, Status
from harness.runs.contention import Watcher
from harness.runs.process import WorkerFailed, WorkerProcess
from harness.tasks.costs import flops
from harness.tasks.spec import Task
from harness.worker import messages
from harness.worker.messages import Finished, Loaded, Prepared, Request, Sampled, Trained, fits


def is_trained(setup: Setup) -> bool:
    """Whether a setup takes part in full trainings: a twin does not."""
    return not setup.twin and trains(setup.framework)


@dataclass
class Trial:
    """The part of one setup in a block: its worker, the last request to it, and what it answered;
    `asked` are the phases of the block that its framework can do."""

    name: str
    setup: Setup
    asked: tuple[Phase, ...]
    worker: WorkerProcess | None = None
    request: Request | None = None
    loaded: Loaded | None = None
    prepared: Prepared | None = None
    samples: dict[Phase, list[Sample]] = field(default_factory=dict)
    epochs: list[Epoch] = field(default_factory=list)
    finished: Finished | None = None

    def phases(self) -> tuple[PhaseRecord, ...]:
        """The phases as far as they came, with the samples taken so far."""
        # What a forked process shares with its parent is resident in both, or in neither until it
        # is read again: such memory is no measure of a framework's.
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

    def record(
        self, block: Block, status: Status, error: str | None, around: Around | None
    ) -> Record:
        """What is kept of it, with nothing private in its texts."""
        worker, loaded, finished = self.worker, self.loaded, self.finished
        checks = finished.checks if finished else ()
        return Record(
            trial=self.name,
            block=block.number,
            attempt=block.attempt,
            setup=self.setup,
            status=status,
            error=error and clean(error),
            stderr_tail=clean(worker.stderr_tail()) if worker and status != "ok" else "",
            alone=block.alone,
            cold=worker is not None and worker.cold,
            forked=worker is not None and worker.forked,
            import_seconds=loaded.import_seconds if loaded else None,
            build_seconds=loaded.build_seconds if loaded else None,
            phases=self.phases(),
            quality=Quality(seed=block.seed, epochs=tuple(self.epochs)) if self.epochs else None,
            settings=cleaned(finished.settings) if finished else {},
            settings_before=cleaned(self.prepared.settings) if self.prepared else {},
            limits=finished.limits if finished else None,
            checks=tuple(it.model_copy(update={"detail": clean(it.detail)}) for it in checks),
            around=around,
            usage=finished.usage if finished else None,
        )


LOAD_LIMIT, PREPARE_LIMIT, TURN_LIMIT, FINISH_LIMIT = 300.0, 300.0, 60.0, 300.0
CHEAP_FLOPS = 1e8
"""Of a training step: to check so many steps in every trial takes little of its time. Of larger
tasks only trials in blocks that are `alone` are checked; the first block of a run is one."""
PATIENCE = 20.0
"""A turn that takes this many times what the warm-up promised is a hang."""


@dataclass(frozen=True)
class Block:
    """What to run: `rounds` samples of each of the `phases` from every setup that can do it, and a
    full training of those that train if the block `trains`.

    `number` counts from 0 within the group. The seed makes the shared start and, with the name, the
    order of turns. Workers of a block that is `alone` start one after the other, and measure the
    limits of the device before they end. A worker has at most `memory_limit` bytes. Blocks of one
    `generation` may fork their workers from the same processes; `more` of it will probably follow.
    Only when it is about to run a block gets its `name`, which is unique in the store, the number
    of the `attempt`, and the folder of its `data`.
    """

    number: int
    task: Task
    setups: tuple[Setup, ...]
    phases: tuple[Phase, ...]
    rounds: int
    seed: int
    trains: bool
    alone: bool
    sample_seconds: float
    warmup_seconds: float
    memory_limit: int | None = None
    generation: int = 0
    more: int = 0
    name: str = ""
    attempt: int = 1
    data: str = ""

    @property
    def group(self) -> tuple[object, ...]:
        """What all its setups share."""
        return self.setups[0].group


Step = Literal["starting", "warming up", "sampling", "training", "finishing", "done"]


class Observer(Protocol):
    """Keeps or shows what happens; called between turns, never during one."""

    def started(self, trial: str, block: Block, setup: Setup) -> None: ...

    def ended(self, record: Record) -> None: ...

    def progress(self, block: Block, step: Step, setup: Setup | None, done: float) -> None:
        """`done` is the share of the block's turns taken, 0 to 1."""


R = TypeVar("R", Loaded, Prepared, Sampled, Trained, Finished)
T = TypeVar("T")

Launch = Callable[[Setup, str], WorkerProcess]
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
            trial.loaded = self._answer(trial, Loaded)

    def _start(self, setup: Setup) -> Trial | None:
        block = self._block
        trial = Trial(f"{block.name}/{setup.id}", setup, self._asked(setup))
        self._alive.append(trial)
        self._observer.started(trial.name, block, setup)
        self._show("starting", setup)
        try:
            trial.worker = self._launch(setup, trial.name)
        except WorkerFailed as failure:
            self._end(trial, failure.status, failure.error)
            return None
        request = messages.Load(
            task=block.task,
            setup=setup,
            seed=block.seed,
            phases=trial.asked,
            data=block.data,
            memory_limit=block.memory_limit,
        )
        self._ask(trial, request, LOAD_LIMIT)
        return trial

    def _prepare(self, trial: Trial) -> None:
        self._show("warming up", trial.setup)
        block = self._block
        request = messages.Prepare(
            sample_seconds=block.sample_seconds, warmup_seconds=block.warmup_seconds
        )
        self._ask(trial, request, PREPARE_LIMIT)
        trial.prepared = self._answer(trial, Prepared)

    def _sample(self, trial: Trial, phase: Phase, round_: int, turn: int) -> None:
        self._show("sampling", trial.setup)
        assert trial.prepared is not None
        prepared = next(it for it in trial.prepared.phases if it.phase == phase)
        # As many again, at most, wake the worker before the first is timed.
        expected = 2 * prepared.iterations * max(prepared.warmup)
        request = messages.TakeSample(phase=phase, round=round_, turn=turn)
        self._ask(trial, request, TURN_LIMIT + PATIENCE * expected)
        if reply := self._answer(trial, Sampled):
            trial.samples.setdefault(phase, []).append(reply.sample)

    def _train(self, trial: Trial, epoch: int) -> None:
        self._show("training", trial.setup)
        self._ask(trial, messages.TrainEpoch(epoch=epoch), self._epoch_limit(trial))
        if reply := self._answer(trial, Trained):
            trial.epochs.append(reply.epoch)

    def _epoch_limit(self, trial: Trial) -> float:
        assert trial.prepared is not None
        if trial.epochs:
            expected = trial.epochs[-1].seconds
        elif warmups := [max(it.warmup) for it in trial.prepared.phases]:
            expected = self._block.task.steps_per_epoch * max(warmups)
        else:
            expected = PREPARE_LIMIT
        return TURN_LIMIT + PATIENCE * expected

    def _finish(self, trial: Trial) -> None:
        self._show("finishing", trial.setup)
        block, twin = self._block, trial.setup.twin
        # The device's limits are the same in every block and for both of two twins.
        limits = block.alone and bool(trial.asked) and not twin
        checks = not twin and (block.alone or flops(block.task, "train") <= CHEAP_FLOPS)
        request = messages.Finish(
            limits=limits, checks=checks, thorough=checks and not block.number
        )
        self._ask(trial, request, FINISH_LIMIT)
        trial.finished = self._answer(trial, Finished)
        if trial.finished is not None:
            self._end(trial, "ok", None)

    def _ask(self, trial: Trial, request: Request, limit: float) -> None:
        assert trial.worker is not None
        trial.request = request
        trial.worker.ask(request, limit)

    def _answer(self, trial: Trial, expected: type[R]) -> R | None:
        """The reply to the last request; None if the worker failed: then its trial is over."""
        request = trial.request
        assert trial.worker is not None
        assert request is not None
        try:
            reply = trial.worker.answer()
            if not isinstance(reply, expected) or not fits(request, reply, trial.asked):
                what = f"answered {reply.answer!r} to {request.ask!r}, and not as it was asked"
                raise WorkerFailed("failed", what)
        except WorkerFailed as failure:
            self._end(trial, failure.status, failure.error)
            return None
        self._taken += 1
        return reply

    def _end(self, trial: Trial, status: Status, error: str | None) -> None:
        self._alive.remove(trial)
        if trial.worker is not None:
            trial.worker.close()
        self._observer.ended(trial.record(self._block, status, error, self._around))

    def _show(self, step: Step, setup: Setup) -> None:
        self._observer.progress(self._block, step, setup, self._taken / self._turns)

    def _shuffled(self, things: Iterable[T]) -> list[T]:
        shuffled = list(things)
        self._random.shuffle(shuffled)
        return shuffled


def run_block(
    block: Block, launch: Launch, observer: Observer, watcher: Watcher | None = None
) -> None:
    """Run a block to its end; every trial of it ends in exactly one record.

    If a worker fails the others go on. If the runner itself is stopped, workers are ended, their
    trials recorded as `interrupted`, and the exception is raised again.
    """
    _BlockRun(block, launch, observer, watcher).run()
