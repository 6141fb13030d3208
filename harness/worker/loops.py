"""What a sample of each phase runs: the harness's loop, a framework's loop, or step by step.

Batches lie on the device: a few to cycle through while timing, or an epoch in portions.
"""

from __future__ import annotations

import functools
import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from harness.adapter import Adapter, Idiom
from harness.cells import Lane, Phase
from harness.tasks.datasets import Arrays
from harness.tasks.spec import Task
from harness.tasks.start import Start

PORTION_BYTES = 16 * 2**20
"""Staged at once: enough to outlast caches, little enough for any device."""
TEST_ROWS = 2000
SINGLE_EXAMPLES = 64
SETS, ROUNDS_OF_A_SET = 4, 4
"""Samples go through other rows every few rounds, in every framework alike: what remembers batches,
or their contents, has not seen them."""


def batches_at_once(task: Task) -> int:
    """How many batches are staged together; the same in every framework and dtype."""
    row = 4 * task.data.shape.features
    return max(1, min(64, PORTION_BYTES // (task.batch * row), task.steps_per_epoch))


def set_of(round_: int) -> int:
    """The number of the set of batches that the samples of a round go through."""
    return round_ // ROUNDS_OF_A_SET % SETS


def sample_order(task: Task, start: Start, number: int = 0) -> NDArray[np.int64]:
    """The rows of a set of batches that a sample cycles through, (batches, rows): the first ones of
    an epoch."""
    return start.epoch_order(number)[: batches_at_once(task)]


def single_order(start: Start, number: int = 0) -> NDArray[np.int64]:
    """The rows of a set of single examples, (examples, 1): the first ones of an epoch."""
    return start.epoch_order(number).ravel()[:SINGLE_EXAMPLES, None]


def epoch_portions(
    adapter: Adapter, task: Task, start: Start, arrays: Arrays, epoch: int
) -> Iterator[list[Any]]:
    """All batches of an epoch, a portion at a time."""
    order, size = start.epoch_order(epoch), batches_at_once(task)
    for first in range(0, len(order), size):
        yield staged(adapter, arrays, order[first : first + size])


def staged(adapter: Adapter, arrays: Arrays, order: NDArray[np.int64]) -> list[Any]:
    """A batch on the device for each row of `order`."""
    return [adapter.stage(arrays.x_train[rows], arrays.y_train[rows]) for rows in order]


def held_out_batches(adapter: Adapter, arrays: Arrays) -> Iterator[Any]:
    """The test rows, in order, at most TEST_ROWS at once."""
    for first in range(0, len(arrays.x_test), TEST_ROWS):
        chunk = slice(first, first + TEST_ROWS)
        yield adapter.stage(arrays.x_test[chunk], arrays.y_test[chunk])


FEWEST_OF_OWN = 64
"""Updates in one call of a framework's own loop: an epoch if it is shorter. Its callbacks and
iterators begin anew with every call, as they do with every epoch of its users."""
MOST_READINGS = 1000
"""Of one sample of a latency phase."""


class Ran(NamedTuple):
    """A handle to the last loss or outputs, and the times of single iterations if taken.

    `kept` is the number of an iteration drawn at random, with its handle.
    """

    handle: Any
    readings: tuple[float, ...] = ()
    kept: tuple[int, Any] | None = None


class Loop(Protocol):
    """`fewest` iterations are worth timing at once, and `most` belong into one sample."""

    @property
    def staged(self) -> int:
        """How many different batches it goes through."""

    @property
    def fewest(self) -> int: ...

    @property
    def most(self) -> int | None: ...

    def run(self, iterations: int, offset: int = 0) -> Ran:
        """So many iterations, not waited for, over batches in turn from the one at `offset`."""

    def keeping(self, handles: list[Any], batches: Any = None) -> Loop:
        """The same loop, over other batches if there are any, that adds every handle to a list."""

    def over_set(self, number: int) -> Loop:
        """The same loop over another set of batches, staged anew; itself where it has one only."""


Stage = Callable[[int], Sequence[Any]]
"""Stages the set of batches of a number."""


class StepLoop:
    """The harness's own loop: one call of the adapter after the other over staged batches."""

    fewest, most = 1, None

    def __init__(
        self, step: Callable[[Any], Any], batches: Sequence[Any], stage: Stage | None = None
    ) -> None:
        self._step = step
        self._batches = batches
        self._stage = stage
        self.staged = len(batches)

    def run(self, iterations: int, offset: int = 0) -> Ran:
        step, first, number = self._step, offset % self.staged, random.randrange(iterations)
        batches = itertools.islice(itertools.cycle(self._batches), first, first + iterations)
        for batch in itertools.islice(batches, number + 1):
            handle = step(batch)
        kept = number, handle
        for batch in batches:
            handle = step(batch)
        return Ran(handle, kept=kept)

    def keeping(self, handles: list[Any], batches: Any = None) -> StepLoop:
        return StepLoop(_kept(self._step, handles), batches or self._batches)

    def over_set(self, number: int) -> StepLoop:
        return StepLoop(self._step, self._stage(number), self._stage) if self._stage else self


class LatencyLoop:
    """One iteration at a time, each synchronised and timed by itself."""

    fewest, most = 1, MOST_READINGS

    def __init__(
        self,
        step: Callable[[Any], Any],
        batches: Sequence[Any],
        synchronize: Callable[[], None],
        stage: Stage | None = None,
    ) -> None:
        self._step = step
        self._batches = batches
        self._synchronize = synchronize
        self._stage = stage
        self.staged = len(batches)

    def run(self, iterations: int, offset: int = 0) -> Ran:
        readings: list[float] = []
        step, synchronize, first = self._step, self._synchronize, offset % self.staged
        for batch in itertools.islice(itertools.cycle(self._batches), first, first + iterations):
            begin = time.perf_counter()
            handle = step(batch)
            synchronize()
            readings.append(time.perf_counter() - begin)
        return Ran(handle, tuple(readings))

    def keeping(self, handles: list[Any], batches: Any = None) -> LatencyLoop:
        step = _kept(self._step, handles)
        return LatencyLoop(step, batches or self._batches, self._synchronize)

    def over_set(self, number: int) -> LatencyLoop:
        if self._stage is None:
            return self
        return LatencyLoop(self._step, self._stage(number), self._synchronize, self._stage)


class IdiomLoop:
    """The framework's own loop over its own input pipeline; it always begins at the first batch."""

    most = None

    def __init__(self, run: Callable[[Any, int], Any], loader: Any, steps: int) -> None:
        self._run = run
        self._loader = loader
        self.staged = steps
        self.fewest = min(steps, FEWEST_OF_OWN)

    def run(self, iterations: int, offset: int = 0) -> Ran:
        return Ran(self._run(self._loader, iterations))

    def keeping(self, handles: list[Any], batches: Any = None) -> IdiomLoop:
        """A call hands out its last handle only."""
        return IdiomLoop(_kept(self._run, handles), batches or self._loader, self.staged)

    def over_set(self, number: int) -> IdiomLoop:
        return self


def _kept(work: Callable[..., Any], handles: list[Any]) -> Callable[..., Any]:
    def keep(*given: Any) -> Any:
        handle = work(*given)
        handles.append(handle)
        return handle

    return keep


def make_loops(
    adapter: Adapter | Idiom,
    lane: Lane,
    phases: Sequence[Phase],
    task: Task,
    start: Start,
    arrays: Arrays,
) -> dict[Phase, Loop]:
    """A loop for every phase, its batches staged; of the idiomatic lane the adapter is an Idiom."""

    @functools.lru_cache(1)  # phases share them
    def batches(number: int) -> list[Any]:
        return staged(adapter, arrays, sample_order(task, start, number))

    def examples(number: int) -> list[Any]:
        return staged(adapter, arrays, single_order(start, number))

    @functools.cache
    def loader() -> Any:
        order = start.epoch_order(0)
        return cast(Idiom, adapter).loader(arrays.x_train, arrays.y_train, order)

    def loop(phase: Phase) -> Loop:
        step = adapter.train_step if phase.startswith("train") else adapter.predict
        if phase == "predict-latency":
            return LatencyLoop(step, examples(0), adapter.synchronize, examples)
        if phase == "train-latency":
            return LatencyLoop(step, batches(0), adapter.synchronize, batches)
        if lane == "identical":
            return StepLoop(step, batches(0), batches)
        own = cast(Idiom, adapter)
        return IdiomLoop(own.fit if phase == "train" else own.infer, loader(), task.steps_per_epoch)

    return {phase: loop(phase) for phase in phases}
