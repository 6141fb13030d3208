"""Whether what a worker is timed doing is right, all of it done, and done anew each time.

All of this is off the clock, after the last sample. The very loop of a sample runs once more and
keeps every handle. What is behind them is compared with the reference in float64: outputs, losses,
and weights and slots at the end. Then the loop runs over batches that were never seen: where
answers were remembered, or where nobody computes what is dropped, that takes much longer.

In float32 two correct programs drift apart. What may differ grows with every step, as it does
between samples (`measure.growth`). Above that, a difference is compared with those that rounding
alone makes: of the reference in float32, and of references whose first weights are nudged.
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from harness.adapter import Adapter, Array, Framework, Idiom, Options, State
from harness.cells import Phase
from harness.certificates import Finding, Tolerance
from harness.differences import SHADOWS, compare, limits, nudged, truth_of
from harness.tasks.costs import flops, predict_flops
from harness.tasks.datasets import Arrays
from harness.tasks.start import Start
from harness.worker import loops
from harness.worker.measure import PhaseRun, Training, allowed, growth, take_turn
from harness.worker.messages import Load
from harness.worker.system import lift_limit, ran_out
from harness.worker.usage import restless

MOST_FLOPS = 1e10
"""Of the steps that are compared in one phase, and of held-out rows where nothing was trained."""
MOST_STEPS = 600
"""Beyond as many, differences of rounding have grown to the size of the loss."""
LEAST_STEPS = 300
"""Of a training are compared once where that is cheap, though a sample may have fewer: what changes
later than the first steps would not show."""
KEPT_BYTES = 64 * 2**20
"""Of outputs that are kept at once."""
MARGIN = 2.0
"""Two correct programs round differently: either may differ by more than the other does."""
SLOWER = 2.0
"""So many times as long may steps take over new batches, with everything kept and looked at."""
TRIES = 12
"""Before that is believed: a busy machine delays a stretch now and then."""
INFER_FLOPS, INFER_CALLS = 1e8, 8
"""Of one batch, so large that overhead does not count, and so many such batches."""
INFER_SHARE = 0.8
"""Of the time that as many predictions take must pass in a loop of its own over those batches."""


class Path(NamedTuple):
    """A training: the losses by step, counted from 1, and what it ended with."""

    losses: dict[int, float]
    state: State | None = None


class Checks:
    """The checks of one worker; `runs` have taken their samples."""

    def __init__(
        self,
        adapter: Adapter,
        load: Load,
        start: Start,
        arrays: Arrays,
        runs: Mapping[Phase, PhaseRun],
        training: Training,
    ) -> None:
        self._adapter = adapter
        self._setup, self._task = load.setup, load.task
        self._start, self._arrays, self._runs, self._training = start, arrays, runs, training
        self._random = np.random.default_rng()

    def findings(self, thorough: bool = True) -> tuple[Finding, ...]:
        """One a check. They come after all else: the reference may need memory beyond a limit.

        Unless they are `thorough`, no more steps are compared than a sample has.
        """
        lift_limit()
        self._least_steps = LEAST_STEPS if thorough else 0
        return (
            self._told("threads", self._restless),
            self._told("held-out rows", self._held_out),
            *(self._told(it, partial(self._of_phase, it, run)) for it, run in self._runs.items()),
        )

    def _of_phase(self, phase: Phase, run: PhaseRun) -> str:
        values = self._training_of if phase.startswith("train") else self._outputs_of
        if why := values(phase, run) or self._timed(phase, run):
            return why
        if phase == "predict" and self._setup.lane == "idiomatic":
            return self._infers_less()
        # The first call of a loop of its own over new data may build what later ones use.
        return "" if self._is_own(phase) else self._shirked(phase, run)

    def _is_own(self, phase: Phase) -> bool:
        """Whether a phase's samples are calls of the framework's own loop."""
        return self._setup.lane == "idiomatic" and not phase.endswith("latency")

    def _told(self, name: str, check: Callable[[], str]) -> Finding:
        try:
            why = check()
        except Exception as error:
            if ran_out(error):  # to keep everything takes more memory than a sample
                return Finding(check=name, ok=True, detail="not checked: out of memory")
            why = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
        return Finding(check=name, ok=not why, detail=why)

    # Values.

    def _held_out(self) -> str:
        """Outputs for the test rows, by which the quality is judged, at the weights of now."""
        cost = predict_flops(self._task) / self._task.batch * len(self._arrays.x_test)
        if cost > MOST_FLOPS and not self._training.done:
            return ""
        moved = replace(self._start, weights=self._adapter.state().weights)
        truth, inputs = self._reference(moved), self._arrays.x_test
        expected = np.concatenate(
            [
                truth.to_numpy(truth.predict(batch))
                for batch in loops.held_out_batches(truth, self._arrays)
            ]
        )
        rows = np.arange(len(inputs))
        why = self._apart(self._training.held_out(), expected, moved, inputs, rows)
        if why or self._setup.lane == "identical":
            return why
        # The last rows once more, as one batch in a loop of its own.
        last = rows[-loops.TEST_ROWS :]
        outputs = self._inferred(inputs, self._arrays.y_test, last[None], 1)
        told = self._apart(outputs, expected[last], moved, inputs, last)
        return told and f"in one inference of all, {told}"

    def _inferred(self, inputs: Array, targets: Array, order: NDArray[np.int64], of: int) -> Array:
        idiom = cast(Idiom, self._adapter)
        handle = idiom.infer(idiom.loader(inputs, targets, order), of)
        return idiom.to_numpy(handle)

    def _outputs_of(self, phase: Phase, run: PhaseRun) -> str:
        """Every call's outputs, at the shared start."""
        order, handles = self._order(phase, run.set), list[Any]()
        width = 8 * order.shape[1] * self._task.widths[-1]
        most = max(1, min(MOST_STEPS, KEPT_BYTES // width))
        iterations = min(run.record.iterations, most)
        waking = min(run.waking, most)
        if not self._is_own(phase):
            take_turn(self._adapter, run.loop, waking, iterations, run.loop.keeping(handles))
            asked = [(waking + step) % len(order) for step in range(iterations)]
        else:
            iterations = run.record.iterations
            take_turn(self._adapter, run.loop, waking, iterations, run.loop.keeping(handles))
            asked = [(iterations - 1) % len(order)]
        if len(handles) != len(asked):
            return f"{len(handles)} handles of {len(asked)} calls"
        truth = self._reference(self._start)
        affordable = max(2, int(MOST_FLOPS / flops(self._task, phase)))
        expected: dict[int, Array] = {}
        for call, (which, handle) in enumerate(zip(asked, handles, strict=True), 1):
            if which not in expected:
                if len(expected) == affordable:
                    continue
                inputs, targets = self._rows(order[which])
                expected[which] = truth.to_numpy(truth.predict(truth.stage(inputs, targets)))
            outputs = self._adapter.to_numpy(handle)
            told = self._apart(
                outputs, expected[which], self._start, self._arrays.x_train, order[which]
            )
            if told:
                return f"call {call} of {len(asked)}, {told}"
        return ""

    def _apart(
        self, outputs: Array, expected: Array, start: Start, inputs: Array, rows: Array
    ) -> str:
        """What to say of outputs that are not the reference's at the weights of a start."""
        found = compare({"outputs": outputs}, {"outputs": expected}, self._setup.dtype)
        limit = limits(self._tolerance, self._setup.dtype).trajectory
        if limit < found.size < math.inf and self._setup.dtype == "float32":
            targets = np.zeros((len(rows), *self._arrays.y_train.shape[1:]), np.int64)
            for shadow in self._shadows(start):
                other = shadow.to_numpy(shadow.predict(shadow.stage(inputs[rows], targets)))
                apart = compare({"outputs": other}, {"outputs": expected}, None)
                if (limit := max(limit, MARGIN * apart.size)) >= found.size:
                    break
        return "" if found.size <= limit else f"{found}, more than {limit:.0e}"

    def _training_of(self, phase: Phase, run: PhaseRun) -> str:
        """Every loss of a sample's steps, and weights and slots after the last."""
        order, handles = self._order(phase, run.set), list[Any]()
        most = int(min(MOST_STEPS, max(2, MOST_FLOPS / flops(self._task, phase))))
        own = self._is_own(phase)
        wanted = max(run.record.iterations, self._least_steps - run.waking)
        iterations = min(wanted, max(1, most - min(run.waking, most // 2)))
        waking = min(run.waking, max(1, most - iterations))
        kept = run.loop.keeping(handles)
        take_turn(self._adapter, kept, waking, iterations)
        state = self._adapter.state()
        offsets = (0, 0 if own else waking)
        asked = [
            (offset + step) % len(order)
            for offset, steps in zip(offsets, (waking, iterations), strict=True)
            for step in range(steps)
        ]
        # A loop of its own may report the mean of its losses.
        if own:
            handles = []
        elif len(handles) != len(asked):
            return f"{len(handles)} handles of {len(asked)} steps"
        losses = {step: float(self._adapter.to_numpy(it)) for step, it in enumerate(handles, 1)}
        true = self._path(self._reference(self._start), order, asked)
        return self._off_path(Path(losses, state), true, order, asked)

    def _timed(self, phase: Phase, run: PhaseRun) -> str:
        """What was left of samples while they were timed: the last loss, or outputs of a call."""
        cost, steps = flops(self._task, phase), run.waking + run.record.iterations
        truth = self._reference(self._start)
        for number, kept in run.kept.items() if cost * len(run.kept) <= MOST_FLOPS else ():
            rows = self._order(phase, number)[kept.batch]
            expected = truth.to_numpy(truth.predict(truth.stage(*self._rows(rows))))
            inputs = self._arrays.x_train
            if told := self._apart(kept.outputs, expected, self._start, inputs, rows):
                return f"a call that was timed, {told}"
        if run.losses and not self._is_own(phase) and cost * steps <= MOST_FLOPS:
            number, loss = self._random.choice(sorted(run.losses.items()))
            order = self._order(phase, int(number))
            asked = [step % len(order) for step in range(steps)]
            if steps <= MOST_STEPS:
                true = self._path(truth, order, asked)
                if told := self._off_path(Path({steps: float(loss)}), true, order, asked):
                    return f"in a sample that was timed, {told}"
        return ""

    def _off_path(
        self, seen: Path, true: Path, order: NDArray[np.int64], asked: Sequence[int]
    ) -> str:
        """What to say of a training that is not the reference's."""
        dtype = self._setup.dtype
        if not all(map(math.isfinite, true.losses.values())):
            return ""  # it diverges, in float64 too
        wide = limits(self._tolerance, dtype).trajectory * growth(len(asked))
        apart = _apart(seen, true, dtype)
        bounds = {
            step: allowed(loss, loss, step, dtype) for step, loss in true.losses.items()
        } | dict.fromkeys(("weights", "slots"), wide)
        excess = {it: size for it, size in apart.items() if not size <= bounds[it]}
        if excess and dtype == "float32":
            for other in self._rounded():
                made = _apart(self._path(other, order, asked), true, None)
                largest = 0.0
                for place, size in made.items():
                    largest = max(largest, size) if isinstance(place, int) else size
                    bounds[place] = max(bounds[place], MARGIN * largest)
                excess = {it: size for it, size in excess.items() if not size <= bounds[it]}
                if not any(map(math.isfinite, excess.values())):
                    break
        for place, size in excess.items():
            where = f"loss of step {place}" if isinstance(place, int) else f"{place} at the end"
            return (
                f"{where} of {len(asked)} steps differs from the reference by {size:.1e}, "
                f"more than {bounds[place]:.1e}"
            )
        return ""

    def _path(self, adapter: Adapter, order: NDArray[np.int64], asked: Sequence[int]) -> Path:
        batches: dict[int, Any] = {}
        losses: dict[int, float] = {}
        for step, which in enumerate(asked, 1):
            if which not in batches:
                batches[which] = adapter.stage(*self._rows(order[which]))
            losses[step] = float(adapter.to_numpy(adapter.train_step(batches[which])))
        return Path(losses, adapter.state())

    def _reference(self, start: Start, dtype: str = "float64") -> Adapter:
        truth = truth_of(self._framework, self._setup.mode, self._tolerance)
        kind = importlib.import_module(truth).Adapter
        options = Options("replay", "cpu", self._setup.threads, dtype)
        return cast(Adapter, kind(self._task, start, options))

    def _rounded(self) -> Iterator[Adapter]:
        yield self._reference(self._start, "float32")
        yield from self._shadows(self._start)

    def _shadows(self, start: Start) -> Iterator[Adapter]:
        for seed in np.random.SeedSequence(start.seed).spawn(SHADOWS):
            generator = np.random.default_rng(seed)
            shadow = self._reference(nudged(start, generator))
            if hasattr(shadow, "round_scalars"):  # of a stock formula
                shadow.round_scalars(generator)
            yield shadow

    @property
    def _framework(self) -> Framework:
        declared: Framework = importlib.import_module(f"impls.{self._setup.framework}").FRAMEWORK
        return declared

    @property
    def _tolerance(self) -> Tolerance:
        if self._setup.lane == "identical":
            return "exact"
        return "stock" if self._framework.idioms[self._setup.mode].stock else "exact"

    def _order(self, phase: Phase, number: int = 0) -> NDArray[np.int64]:
        """The rows of the set of batches that a phase's samples go through."""
        if phase == "predict-latency":
            return loops.single_order(self._start, number)
        if self._is_own(phase):
            return self._start.epoch_order(0)
        return loops.sample_order(self._task, self._start, number)

    def _rows(self, rows: NDArray[np.int64]) -> tuple[Array, Array]:
        return self._arrays.x_train[rows], self._arrays.y_train[rows]

    # Work.

    def _restless(self) -> str:
        """Why threads work on; first of all checks, for the reference's own may do so too."""
        for run in self._runs.values():
            # Whatever works besides may stop where it ends.
            run.loop.run(run.waking)
            return restless(sure=False)
        return ""

    def _shirked(self, phase: Phase, run: PhaseRun) -> str:
        """Why less was done in the samples than was asked for; empty where it was all done.

        The shortest of several stretches counts, in time and in CPU time: other processes delay
        the one and take cores from the other.
        """
        batch = self._order(phase).shape[1]
        width = 8 * batch * max(self._task.widths[-1], self._task.data.shape.features)
        steps = max(1, min(run.record.iterations, KEPT_BYTES // (2 * width), 256))
        whole, usual = (math.inf, math.inf), (run.fastest * steps, 0.0)
        for attempt in range(TRIES):
            if attempt:
                turn = take_turn(self._adapter, run.loop, run.waking, steps)
                spent = (turn.seconds, turn.spent.cpu_seconds)
                usual = spent if attempt == 1 else _shorter(usual, spent)
            whole = _shorter(whole, self._all_of(run, steps, batch))
            if any(it <= SLOWER * its for it, its in zip(whole, usual, strict=True)):
                return ""
        return (
            f"work that was asked for was not done: {steps} steps took {usual[0]:.2g} s, and "
            f"{whole[0]:.2g} s with new batches and everything that they return looked at"
        )

    def _infers_less(self) -> str:
        """Why a loop of its own must have left out batches: it hands out the last outputs only.

        Batches are so large that to compute them takes longer than all else. What more of them add
        to its time is compared with what predictions of the same rows take, the shortest of each.
        """
        adapter, per_row = cast(Idiom, self._adapter), predict_flops(self._task) / self._task.batch
        rows = max(self._task.batch, int(INFER_FLOPS / per_row))
        calls = int(min(INFER_CALLS, max(2, MOST_FLOPS / (rows * per_row))))
        order = self._random.integers(0, len(self._arrays.x_train), (1 + calls, rows))
        loader = adapter.loader(self._arrays.x_train, self._arrays.y_train, order)
        batches = loops.staged(adapter, self._arrays, order[:2])

        def infer(steps: int) -> float:
            return self._seconds_of(lambda: adapter.infer(loader, steps))

        def predict(batch: Any) -> float:
            return self._seconds_of(lambda: adapter.predict(batch))

        infer(1), infer(1 + calls), predict(batches[0])  # may build what later calls use
        shortest = few = many = math.inf
        for attempt in range(1, TRIES + 1):
            shortest = min(shortest, *map(predict, batches))
            few, many = min(few, infer(1)), min(many, infer(1 + calls))
            # A delay of the one or the other must not decide.
            if attempt >= 3 and many - few >= INFER_SHARE * calls * shortest:
                return ""
        return (
            f"work that was asked for was not done: {calls} more batches of {rows} rows took its "
            f"loop {many - few:.2g} s, and one prediction of such a batch takes {shortest:.2g} s"
        )

    def _seconds_of(self, work: Callable[[], Any]) -> float:
        """Until the outputs of it are there; on the CPU what it takes of cores, which other
        processes delay but do not lengthen."""
        clock = time.process_time if self._setup.processor == "cpu" else time.perf_counter
        begin = clock()
        self._adapter.to_numpy(work())
        self._adapter.synchronize()
        return clock() - begin

    def _all_of(self, run: PhaseRun, steps: int, batch: int) -> tuple[float, float]:
        """Time and CPU time of steps over batches that were never seen, until all that they return
        is there. A second look takes what handing it over takes."""
        adapter, handles = self._adapter, list[Any]()
        order = self._random.integers(0, len(self._arrays.x_train), (steps, batch))
        fresh = run.loop.keeping(handles, loops.staged(adapter, self._arrays, order))
        turn = take_turn(adapter, run.loop, run.waking, steps, fresh)
        looks = [self._looked(handles) for _ in range(2)]
        late = [max(0.0, first - second) for first, second in zip(*looks, strict=True)]
        return turn.seconds + late[0], turn.spent.cpu_seconds + late[1]

    def _looked(self, handles: Sequence[Any]) -> tuple[float, float]:
        begin, cpu = time.perf_counter(), time.process_time()
        for handle in handles:
            self._adapter.to_numpy(handle)
        return time.perf_counter() - begin, time.process_time() - cpu


def _shorter(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return min(one[0], other[0]), min(one[1], other[1])


def _apart(seen: Path, true: Path, dtype: str | None) -> dict[int | str, float]:
    """How far two trainings are apart: in the loss of every step, then in what they end with."""
    found: dict[int | str, float] = {
        step: abs(loss - true.losses[step]) if math.isfinite(loss) else math.inf
        for step, loss in seen.losses.items()
    }
    if seen.state is None or true.state is None:
        return found
    found["weights"] = compare(seen.state.weights, true.state.weights, dtype).size
    if seen.state.slots or true.state.slots:
        found["slots"] = compare(seen.state.slots, true.state.slots, dtype).size
    return found
