"""Many proofs: as many provers side by side as there are cores, grouped so that imports are few."""

from __future__ import annotations

import queue
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from harness.cells import Setup
from harness.frameworks import frameworks
from harness.proof.messages import Prove, Proved
from harness.proof.process import gone
from harness.runs.process import WorkerFailed

Group = tuple[str, str, int]
"""Framework, device and threads: what one prover process can serve."""


class Proving(Protocol):
    def prove(self, request: Prove) -> Proved: ...

    def close(self) -> None: ...


Launch = Callable[[Setup], Proving]
Done = tuple[Prove, Proved]


def prove_all(requests: Sequence[Prove], launch: Launch, provers: int) -> Iterator[Done]:
    """Every request with its outcome, as they come. Closing the iterator ends what is under way.

    What has threads that spin comes first and by itself: beside another prover it takes up to six
    times as long.
    """
    yield from _side_by_side([it for it in requests if spins(it)], launch, 1)
    yield from _side_by_side([it for it in requests if not spins(it)], launch, provers)


def _side_by_side(requests: Sequence[Prove], launch: Launch, provers: int) -> Iterator[Done]:
    jobs = Jobs(requests)
    results: queue.SimpleQueue[Done | BaseException] = queue.SimpleQueue()
    slots = [Slot(jobs, launch, results) for _ in range(min(provers, len(requests)))]
    try:
        for slot in slots:
            slot.start()
        for _ in requests:
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        jobs.clear()
        for slot in slots:
            slot.end()


class Jobs:
    """What is still to be done. Slots take from it, each staying with its group while it can."""

    def __init__(self, requests: Sequence[Prove]) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[Group, deque[Prove]] = defaultdict(deque)
        self._serving: Counter[Group] = Counter()
        # The longest first: what is short fills the end.
        for request in sorted(requests, key=cost, reverse=True):
            self._waiting[group_of(request.setup)].append(request)

    def next(self, group: Group | None) -> Prove | None:
        """A request of the slot's group, else of the group with most work for each of its slots."""
        with self._lock:
            if group is not None and not self._waiting[group]:
                self._serving[group] -= 1
                group = None
            if group is None:
                waiting = {it: jobs for it, jobs in self._waiting.items() if jobs}
                if not waiting:
                    return None
                group = max(waiting, key=lambda it: self._left(it) / (1 + self._serving[it]))
                self._serving[group] += 1
            return self._waiting[group].popleft()

    def _left(self, group: Group) -> float:
        return sum(cost(it) for it in self._waiting[group])

    def clear(self) -> None:
        with self._lock:
            for jobs in self._waiting.values():
                jobs.clear()


class Slot(threading.Thread):
    """One prover at a time, each for the requests of one group."""

    def __init__(
        self, jobs: Jobs, launch: Launch, results: queue.SimpleQueue[Done | BaseException]
    ) -> None:
        super().__init__(daemon=True)
        self._jobs = jobs
        self._launch = launch
        self._results = results
        self._prover: Proving | None = None
        self._ended = False

    def run(self) -> None:
        group: Group | None = None
        try:
            while request := self._jobs.next(group):
                if group != group_of(request.setup):
                    self._close()
                    group = group_of(request.setup)
                self._results.put((request, self._proved(request)))
        except BaseException as error:  # raised again where the results are read
            self._results.put(error)
        finally:
            self._close()

    def _proved(self, request: Prove) -> Proved:
        try:
            if self._prover is None:
                self._prover = self._launch(request.setup)
            if self._ended:
                raise WorkerFailed("interrupted", "nobody waits any more")
            return self._prover.prove(request)
        except WorkerFailed as failure:
            self._close()
            return gone(failure)

    def _close(self) -> None:
        prover, self._prover = self._prover, None
        if prover is not None:
            prover.close()

    def end(self) -> None:
        """End the prover, whatever it does, and the thread with it."""
        self._ended = True
        self._close()
        if self.is_alive():
            self.join()


def group_of(setup: Setup) -> Group:
    return (setup.framework, setup.device, setup.threads)


def spins(request: Prove) -> bool:
    """Whether its threads wait busily for each other, and keep others from their cores."""
    setup, task = request.setup, request.task
    largest = max(task.batch * fan_in * fan_out for fan_in, fan_out in task.layers)
    return setup.threads > 1 and largest > frameworks()[setup.framework].spins_beyond


def cost(request: Prove) -> float:
    """A rough guess, in no unit: what a step computes, what a graph of so many layers costs to
    compile, and the constant rest."""
    task = request.task
    return 1 + len(task.layers) / 5 + request.steps * task.parameters / 1e7
