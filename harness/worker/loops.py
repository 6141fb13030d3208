"""The loop of each phase: the harness's, a framework's, or step by step; and its batches.

Batches lie on the device: a few to cycle through while timing, or an epoch in portions.
"""

from __future__ import annotations

import functools
import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from harness.adapter import Adapter, Array, Idiom
from harness.cells import Lane, Phase
from harness.tasks.datasets import Arrays
from harness.tasks.spec import Task
from harness.tasks.start import Start

PORTION_BYTES = 16 * 2**20
"""Staged at once: enough to outlast caches, little enough for any device."""
TEST_ROWS = 2000
SINGLE_EXAMPLES = 64
SETS, ROUNDS_OF_A_SET = 4, 4
"""Samples go through other rows every few rounds, the same in every framework: an adapter that
remembers batches, or their contents, has not seen them."""


def batches_at_once(task: Task) -> int:
    """How many batches are staged together; the same in every framework and dtype."""
    row = 4 * task.data.shape.features
    return max(1, min(64, PORTION_BYTES // (task.batch * row), task.steps_per_epoch))


def sample_order(start: Start, number: int = 0) -> NDArray[np.int64]:
    """The rows of a set of batches of samples, (batches, rows): the first ones of an epoch."""
    return start.epoch_order(number)[: batches_at_once(start.task)]


def single_order(start: Start, number: int = 0) -> NDArray[np.int64]:
    """The rows of a set of single examples, (examples, 1): the first ones of an epoch."""
    return start.epoch_order(number).ravel()[:SINGLE_EXAMPLES, None]


def epoch_portions(
    adapter: Adapter, start: Start, arrays: Arrays, epoch: int
) -> Iterator[list[Any]]:
    """All batches of an epoch, a portion at a time."""
    order, size = start.epoch_order(epoch), batches_at_once(start.task)
    for first in range(0, len(order), size):
        yield staged(adapter, arrays, order[first : first + size])


def staged(adapter: Adapter, arrays: Arrays, order: NDArray[np.int64]) -> list[Any]:
    """A batch on the device for each row of `order`."""
    return [adapter.stage(arrays.x_train[rows], arrays.y_train[rows]) for rows in order]


def held_out(adapter: Adapter, arrays: Arrays) -> Array:
    """The outputs for the test rows at the present weights, at most TEST_ROWS rows at once."""
    chunks = (slice(it, it + TEST_ROWS) for it in range(0, len(arrays.x_test), TEST_ROWS))
    batches = (adapter.stage(arrays.x_test[it], arrays.y_test[it]) for it in chunks)
    return np.concatenate([adapter.to_numpy(adapter.predict(batch)) for batch in batches])


FEWEST_OF_IDIOM = 64
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


Stage = Callable[[int], Sequence[Any]]
"""Stages the set of batches of a number."""


@dataclass
class StepLoop:
    """The harness's own loop: one call of the adapter after the other over staged batches.

    `fewest` iterations are worth timing at once, and `most` belong into one sample.
    """

    step: Callable[[Any], Any]
    batches: Sequence[Any]
    stage: Stage | None = None

    fewest: ClassVar[int] = 1
    most: ClassVar[int | None] = None

    @property
    def staged(self) -> int:
        """How many different batches it goes through."""
        return len(self.batches)

    def run(self, iterations: int, offset: int = 0) -> Ran:
        """So many iterations, not waited for, over batches in turn from the one at `offset`."""
        step, number = self.step, random.randrange(iterations)
        batches = self._from(offset, iterations)
        for batch in itertools.islice(batches, number + 1):
            handle = step(batch)
        kept = number, handle
        for batch in batches:
            handle = step(batch)
        return Ran(handle, kept=kept)

    def _from(self, offset: int, iterations: int) -> Iterator[Any]:
        first = offset % self.staged
        return itertools.islice(itertools.cycle(self.batches), first, first + iterations)

    def keeping(self, handles: list[Any], batches: Any = None) -> StepLoop:
        """The same loop, over other batches if there are any, that adds every handle to a list."""
        return replace(self, step=_kept(self.step, handles), batches=batches or self.batches)

    def over_set(self, number: int) -> StepLoop:
        """The same loop over another set of batches, staged anew; itself where it has one only."""
        return replace(self, batches=self.stage(number)) if self.stage else self


@dataclass
class LatencyLoop(StepLoop):
    """One iteration at a time, each synchronised and timed by itself."""

    most: ClassVar[int | None] = MOST_READINGS
    synchronize: Callable[[], None] = field(kw_only=True)

    def run(self, iterations: int, offset: int = 0) -> Ran:
        readings: list[float] = []
        step, synchronize = self.step, self.synchronize
        for batch in self._from(offset, iterations):
            begin = time.perf_counter()
            handle = step(batch)
            synchronize()
            readings.append(time.perf_counter() - begin)
        return Ran(handle, tuple(readings))


class IdiomLoop:
    """The framework's own loop over its own input pipeline; it always begins at the first batch."""

    most = None

    def __init__(self, run: Callable[[Any, int], Any], loader: Any, steps: int) -> None:
        self._run = run
        self._loader = loader
        self.staged = steps
        self.fewest = min(steps, FEWEST_OF_IDIOM)

    def run(self, iterations: int, offset: int = 0) -> Ran:
        return Ran(self._run(self._loader, iterations))

    def keeping(self, handles: list[Any], batches: Any = None) -> IdiomLoop:
        """A call hands out its last handle only."""
        return IdiomLoop(_kept(self._run, handles), batches or self._loader, self.staged)

    def over_set(self, number: int) -> IdiomLoop:
        return self


Loop = StepLoop | IdiomLoop


def _kept(work: Callable[..., Any], handles: list[Any]) -> Callable[..., Any]:
    def keep(*given: Any) -> Any:
        handle = work(*given)
        handles.append(handle)
        return handle

    return keep


def make_loops(
    adapter: Adapter, lane: Lane, phases: Sequence[Phase], start: Start, arrays: Arrays
) -> dict[Phase, Loop]:
    """A loop for every phase, its batches staged; of the idiomatic lane the adapter is an Idiom."""
    idiom = cast(Idiom, adapter)

    @functools.lru_cache(1)  # phases share them
    def batches(number: int) -> list[Any]:
        return staged(adapter, arrays, sample_order(start, number))

    def examples(number: int) -> list[Any]:
        return staged(adapter, arrays, single_order(start, number))

    @functools.cache
    def loader() -> Any:
        return idiom.loader(arrays.x_train, arrays.y_train, start.epoch_order(0))

    def loop(phase: Phase) -> Loop:
        train = phase.startswith("train")
        step = adapter.train_step if train else adapter.predict
        if phase.endswith("latency"):
            stage: Stage = batches if train else examples
            return LatencyLoop(step, stage(0), stage, synchronize=adapter.synchronize)
        if lane == "identical":
            return StepLoop(step, batches(0), batches)
        steps = start.task.steps_per_epoch
        return IdiomLoop(idiom.fit if train else idiom.infer, loader(), steps)

    return {phase: loop(phase) for phase in phases}
