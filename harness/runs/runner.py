"""A run from plan to last record: stages the data, runs the blocks, keeps everything."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

from harness.cells import Setup
from harness.environment import recorded
from harness.errors import UsageError
from harness.privacy import clean
from harness.records import Record, RunInfo, Unavailable
from harness.runs import machine
from harness.runs.block import Block, Step
from harness.runs.config import clean_config
from harness.runs.contention import QuietWait
from harness.runs.engines import LocalEngine
from harness.runs.files import LockHeld, held, refuse_network, temporary_files, within
from harness.runs.plan import Done, Plan
from harness.runs.schedule import Clock, Course, courses, following, verdict
from harness.runs.store import Store
from harness.tasks.datasets import load, write_staged
from harness.tasks.spec import DOWNLOADED, Data

OUT_OF_TIME, INTERRUPTED = "budget spent", "interrupted"
SCRATCH = ".samestep-scratch"
"""A folder in the results directory for what only lives as long as a run."""


class Display(Protocol):
    """What shows a run while it goes on; called between turns only."""

    def block(self, number: int, of: int, block: Block, seconds_left: float) -> None: ...

    def progress(self, block: Block, step: Step, setup: Setup | None, done: float) -> None: ...

    def ended(self, record: Record) -> None: ...

    def note(self, text: str) -> None:
        """Something happened that a reader of the result should know."""


def run_name(plan: Plan, taken: Collection[str], output: Path) -> str:
    """A name that says when and what, e.g. `2026-11-23-1530-quick`, of no run and no folder yet."""
    config = plan.config
    part = f"-{config.shard.replace('/', 'of')}" if config.shard else ""
    return free_name(f"{datetime.now():%Y-%m-%d-%H%M}-{config.preset}{part}", taken, output)


def free_name(base: str, taken: Collection[str], output: Path) -> str:
    """`base`, or with a number behind it: of no run, and of nothing else in the directory."""
    names = itertools.chain([base], (f"{base}-{number}" for number in itertools.count(2)))
    return next(it for it in names if it not in taken and not os.path.lexists(output / it))


def make_info(plan: Plan, name: str) -> RunInfo:
    return RunInfo(
        name=name,
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        command=machine.command_line(),
        config=clean_config(plan.config),
        machine=machine.fingerprint(),
        versions=machine.versions(plan.setups),
        environment=recorded(),
        commit=machine.commit({it.framework for it in plan.setups}),
        unavailable=tuple(
            Unavailable(what=clean(it.what), reason=clean(it.reason)) for it in plan.unavailable
        ),
    )


@contextlib.contextmanager
def measuring(output: Path) -> Iterator[Path]:
    """Hold the results directory for one run, with an empty scratch folder in it for the time.

    Temporary files of the processes that are begun meanwhile go to the folder, too. What a killed
    run left in it is removed first. Raises UsageError if the directory is held or unwritable,
    StoreError if it is on a network.
    """
    scratch = within(Path(os.path.abspath(output)), SCRATCH)
    with contextlib.ExitStack() as stack:
        try:
            refuse_network(output)
            output.mkdir(parents=True, exist_ok=True)
            stack.enter_context(held(output / ".run.lock"))
            shutil.rmtree(scratch, ignore_errors=True)
            stack.callback(shutil.rmtree, scratch, ignore_errors=True)
            stack.enter_context(temporary_files(scratch / "tmp"))
        except LockHeld as holder:
            raise UsageError(
                f"{output}: another run is writing here: {holder}; wait for it to end"
            ) from None
        except OSError as error:
            where = error.filename or output
            raise UsageError(f"{where}: cannot write here: {error.strerror or error}") from None
        yield scratch  # outside of the `try`: errors of the run itself pass unchanged


def check_data(plan: Plan) -> None:
    """Raises DataError for fetched data that are not what they must be (0.5 s for each set)."""
    for data in {task.data for task in plan.tasks if task.data.name in DOWNLOADED}:
        load(data, plan.data_directory)


@contextlib.contextmanager
def staged_data(plan: Plan, folder: Path) -> Iterator[Mapping[Data, Path]]:
    """Every data set of the plan as plain arrays that workers map into memory, while it runs.

    Raises DataError, with nothing left behind, for data that cannot be read.
    """
    try:
        places: dict[Data, Path] = {}
        for task in plan.tasks:
            if task.data not in places:
                places[task.data] = folder / f"data{len(places)}"
                write_staged(load(task.data, plan.data_directory), places[task.data])
        yield places
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(eq=False)
class Runner:
    """Runs the blocks of a plan; also the observer that keeps what they measure.

    No block is made for the sake of `unranked` setups' ratios alone; none is begun once `ending`
    says so. Before each it waits for a `quiet` machine, if that is given.
    """

    plan: Plan
    name: str
    store: Store
    engine: LocalEngine
    data: Mapping[Data, Path]
    display: Display
    unranked: Collection[Setup] = frozenset()
    ending: Callable[[], bool] = lambda: False
    quiet: QuietWait | None = None

    def __post_init__(self) -> None:
        self._clock = Clock()
        self._courses = courses(self.plan, self.unranked)
        self._announced = False  # that it is ending
        self._records: list[Record] = []  # of the block under way

    def run(self, done: Done) -> str:
        """Run what is left, and return (and store) the rule that stopped it.

        A KeyboardInterrupt ends the block under way at once, is noted in the store, and goes on.
        """
        begin, rule = time.monotonic(), INTERRUPTED
        try:
            rule = self._blocks(done, begin)
        finally:
            self.store.stop(self.name, rule, time.monotonic() - begin)
        return rule

    def _blocks(self, done: Done, begin: float) -> str:
        for course in self._courses:
            for number, records in done.of(course.group).items():
                if course.covers(number, records):
                    course.learn(number, records)
        taken, budget = 0, self.plan.config.budget
        end = math.inf if budget is None else begin + budget

        def fits(block: Block) -> bool:
            return not taken or time.monotonic() + self._clock.expected(block) <= end

        while upcoming := following(self._courses, fits):
            if self.ending():
                return INTERRUPTED
            course, block = upcoming
            if self.quiet:
                self.quiet.before(block.setups[0].threads)
            many, seconds = self._left(end)
            attempt = done.attempts.get((*block.group, block.number), 0) + 1
            name = f"{self.name}/b{block.number:03}.{attempt}"
            data = str(self.data[block.task.data])
            block = replace(block, name=name, attempt=attempt, data=data)
            self.display.block(taken + 1, taken + many, block, seconds)
            self._run(course, block)
            taken += 1
        left_out = any(course.left() for course in self._courses)
        return OUT_OF_TIME if left_out else verdict(self._courses)

    def _left(self, end: float) -> tuple[int, float]:
        """How many blocks are still to come, and what they take: as many as end in time."""
        left = [it for course in self._courses for it in course.left()]
        many, seconds, room = 0, 0.0, end - time.monotonic()
        for needed in map(self._clock.expected, sorted(left, key=lambda it: it.number)):
            if not many or seconds + needed <= room:
                many, seconds = many + 1, seconds + needed
        return many, seconds

    def _run(self, course: Course, block: Block) -> None:
        self._records = []
        started = time.monotonic()
        self.engine.run(block, self)
        self._clock.learn(block, time.monotonic() - started)
        added, reached, resting = course.added, course.reached, course.resting
        course.learn(block.number, self._records)
        where = f"{block.task.name}, block {block.number}"
        if why := course.noise(block.number):
            more = course.added > added and not course.reached
            also = "one is added" if more else "no more are added"
            self.display.note(f"{where} was {why}; it counts, and {also}")
        if course.reached and not reached:
            self.display.note(f"{where}: precision reached, no more are timed")
        elif rests := sorted({it.label for it in course.resting - resting if not it.twin}):
            self.display.note(f"{where}: known well enough and resting: {', '.join(rests)}")

    def started(self, trial: str, block: Block, setup: Setup) -> None:
        self.store.start(self.name, trial, block.number, block.attempt, setup)

    def ended(self, record: Record) -> None:
        self.store.end(record)
        self._records.append(record)
        self.display.ended(record)

    def progress(self, block: Block, step: Step, setup: Setup | None, done: float) -> None:
        if self.ending() and not self._announced and step != "done":
            self._announced = True
            self.display.note("ending with this block; interrupt once more to end at once")
        self.display.progress(block, step, setup, done)
