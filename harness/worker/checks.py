"""Whether the timed work of a worker is right, complete, and done anew each time.

All of this is off the clock, after the last sample. The loop of a sample runs once more and keeps
every handle. Their values are compared with the reference in float64: outputs, losses, and weights
and slots at the end. Then the loop runs over batches that were never seen: that takes much longer
if answers were remembered, or if results that are dropped are not computed.

In float32 two correct programs drift apart. What may differ grows with every step, as it does from
sample to sample (`measure.growth`). Above that, a difference is compared with those that rounding
alone makes: of the reference in float32, and of references whose first weights are nudged.
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from harness.adapter import Adapter, Array, Idiom, Options, State
from harness.cells import Phase
from harness.certificates import Finding
from harness.differences import LIMITS, MARGIN, compare, shadows, tolerance_of, truth_of
from harness.tasks.costs import flops
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
"""Of a training, where that is cheap, though a sample may have fewer: what changes later than the
first steps would not show."""
KEPT_BYTES = 64 * 2**20
"""Of outputs that are kept at once."""
SLOWER = 2.0
"""So many times as long may steps take over new batches, with everything kept and read back."""
TRIES = 12
"""Before that is believed: a busy machine delays a stretch now and then."""
INFER_FLOPS, INFER_CALLS = 1e8, 8
"""Of one batch, so large that overhead does not count, and so many such batches."""
INFER_SHARE = 0.8
"""The least time of a framework's own loop over those batches, as a share of that of as many
predictions."""


class Path(NamedTuple):
    """A training: the losses by step, counted from 1, and the state at the end."""

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
        """One finding for each check; last of all, since the reference may exceed a memory limit.

        Unless they are `thorough`, no more steps are compared than a sample has.
        """
        lift_limit()
        self._least_steps = LEAST_STEPS if thorough else 0
        # The threads first: those of the reference may work on too.
        checks: dict[str, Callable[[], str]] = {
            "threads": self._restless,
            "held-out rows": self._held_out,
        }
        for phase, run in self._runs.items():
            checks[phase] = partial(self._phase, phase, run)
        return tuple(self._finding(name, check) for name, check in checks.items())

    def _finding(self, name: str, check: Callable[[], str]) -> Finding:
        try:
            why = check()
        except Exception as error:
            if ran_out(error):  # to keep everything takes more memory than a sample
                return Finding(check=name, ok=True, detail="not checked: out of memory")
            why = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
        return Finding(check=name, ok=not why, detail=why)

    def _restless(self) -> str:
        """Why threads work on when nothing is asked of them."""
        for run in self._runs.values():
            # What works in the background may stop where it ends.
            run.loop.run(run.waking)
            return restless(sure=False)
        return ""

    def _phase(self, phase: Phase, run: PhaseRun) -> str:
        values = self._training_values if phase.startswith("train") else self._output_values
        if why := values(phase, run) or self._timed_values(phase, run):
            return why
        if phase == "predict" and self._setup.lane == "idiomatic":
            return self._skipped_batches()
        # The first call of a loop of its own over new data may build what later ones use.
        return "" if self._is_idiom(phase) else self._skipped_work(phase, run)

    def _is_idiom(self, phase: Phase) -> bool:
        """Whether a phase's samples are calls of the framework's own loop."""
        return self._setup.lane == "idiomatic" and not phase.endswith("latency")

    # Values.

    def _held_out(self) -> str:
        """Outputs for the test rows, by which the quality is judged, at the present weights."""
        arrays = self._arrays
        cost = flops(self._task, "predict") / self._task.batch * len(arrays.x_test)
        if cost > MOST_FLOPS and not self._training.done:
            return ""
        moved = replace(self._start, weights=self._adapter.state().weights)
        expected = loops.held_out(self._reference(moved), arrays)
        rows = np.arange(len(expected))
        outputs = loops.held_out(self._adapter, arrays)
        why = self._output_difference(outputs, expected, moved, arrays.x_test, rows)
        if why or self._setup.lane == "identical":
            return why
        # The last rows once more, as one batch in a loop of its own.
        idiom, last = cast(Idiom, self._adapter), rows[-loops.TEST_ROWS :]
        handle = idiom.infer(idiom.loader(arrays.x_test, arrays.y_test, last[None]), 1)
        outputs = idiom.to_numpy(handle)
        why = self._output_difference(outputs, expected[last], moved, arrays.x_test, last)
        return why and f"in one inference of all, {why}"

    def _output_values(self, phase: Phase, run: PhaseRun) -> str:
        """Every call's outputs, at the shared start; of a loop of its own those of the last."""
        order, handles = self._order(phase, run.set), list[Any]()
        width = 8 * order.shape[1] * self._task.widths[-1]
        most = max(1, min(MOST_STEPS, KEPT_BYTES // width))
        waking, iterations = min(run.waking, most), run.record.iterations
        if self._is_idiom(phase):
            batches = [(iterations - 1) % len(order)]
        else:
            iterations = min(iterations, most)
            batches = [(waking + step) % len(order) for step in range(iterations)]
        take_turn(self._adapter, run.loop, waking, iterations, run.loop.keeping(handles))
        if len(handles) != len(batches):
            return f"{len(handles)} handles of {len(batches)} calls"
        affordable = max(2, int(MOST_FLOPS / flops(self._task, phase)))
        chosen = list(dict.fromkeys(batches))[:affordable]
        start, inputs = self._start, self._arrays.x_train
        truth = self._reference(start)
        expected = {it: self._predicted(truth, order[it]) for it in chosen}
        for call, (batch, handle) in enumerate(zip(batches, handles, strict=True), 1):
            if batch in expected:
                outputs, rows = self._adapter.to_numpy(handle), order[batch]
                why = self._output_difference(outputs, expected[batch], start, inputs, rows)
                if why:
                    return f"call {call} of {len(batches)}, {why}"
        return ""

    def _training_values(self, phase: Phase, run: PhaseRun) -> str:
        """Every loss of a sample's steps, and weights and slots after the last."""
        order, handles = self._order(phase, run.set), list[Any]()
        most = int(min(MOST_STEPS, max(2, MOST_FLOPS / flops(self._task, phase))))
        is_idiom = self._is_idiom(phase)
        wanted = max(run.record.iterations, self._least_steps - run.waking)
        iterations = min(wanted, max(1, most - min(run.waking, most // 2)))
        waking = min(run.waking, max(1, most - iterations))
        take_turn(self._adapter, run.loop.keeping(handles), waking, iterations)
        state = self._adapter.state()
        # A loop of its own begins at its first batch again.
        first = 0 if is_idiom else waking
        steps = (*range(waking), *range(first, first + iterations))
        batches = [step % len(order) for step in steps]
        # A loop of its own may report the mean of its losses.
        if is_idiom:
            handles = []
        elif len(handles) != len(batches):
            return f"{len(handles)} handles of {len(batches)} steps"
        losses = {step: float(self._adapter.to_numpy(it)) for step, it in enumerate(handles, 1)}
        return self._path_difference(Path(losses, state), order, batches)

    def _timed_values(self, phase: Phase, run: PhaseRun) -> str:
        """Values that timed samples left: the last loss, or outputs of a call."""
        cost, steps = flops(self._task, phase), run.waking + run.record.iterations
        start, inputs = self._start, self._arrays.x_train
        truth = self._reference(start)
        kept = run.kept if cost * len(run.kept) <= MOST_FLOPS else {}
        for number, (batch, outputs) in kept.items():
            rows = self._order(phase, number)[batch]
            expected = self._predicted(truth, rows)
            why = self._output_difference(outputs, expected, start, inputs, rows)
            if why:
                return f"a call that was timed, {why}"
        affordable = steps <= MOST_STEPS and cost * steps <= MOST_FLOPS
        if run.losses and affordable and not self._is_idiom(phase):
            number, loss = self._random.choice(sorted(run.losses.items()))
            order = self._order(phase, int(number))
            batches = [step % len(order) for step in range(steps)]
            if why := self._path_difference(Path({steps: float(loss)}), order, batches):
                return f"in a sample that was timed, {why}"
        return ""

    def _predicted(self, truth: Adapter, rows: NDArray[np.int64]) -> Array:
        (batch,) = loops.staged(truth, self._arrays, rows[None])
        return truth.to_numpy(truth.predict(batch))

    def _output_difference(
        self, outputs: Array, expected: Array, start: Start, inputs: Array, rows: Array
    ) -> str:
        """How outputs differ from the reference's at the weights of a start; empty if not."""
        difference = compare({"outputs": outputs}, {"outputs": expected}, self._setup.dtype)
        limit = LIMITS[self._setup.dtype].trajectory
        if limit < difference.size < math.inf and self._setup.dtype == "float32":
            targets = np.zeros((len(rows), *self._arrays.y_train.shape[1:]), np.int64)
            for shadow in shadows(self._reference, start):
                other = shadow.to_numpy(shadow.predict(shadow.stage(inputs[rows], targets)))
                rounding = compare({"outputs": other}, {"outputs": expected}, None)
                limit = max(limit, MARGIN * rounding.size)
                if limit >= difference.size:
                    break
        return "" if difference.size <= limit else f"{difference}, more than {limit:.0e}"

    def _path_difference(self, seen: Path, order: NDArray[np.int64], batches: Sequence[int]) -> str:
        """How a training over these batches differs from the reference's; empty if not."""
        dtype = self._setup.dtype
        true = self._path(self._reference(self._start), order, batches)
        if not all(map(math.isfinite, true.losses.values())):
            return ""  # it diverges, in float64 too
        wide = LIMITS[dtype].trajectory * growth(len(batches))
        sizes = _path_sizes(seen, true, dtype)
        bounds = {
            step: allowed(loss, loss, step, dtype) for step, loss in true.losses.items()
        } | dict.fromkeys(("weights", "slots"), wide)
        excess = {place: it for place, it in sizes.items() if not it <= bounds[place]}
        if excess and dtype == "float32":
            float32 = self._reference(self._start, "float32")
            for other in chain([float32], shadows(self._reference, self._start)):
                made = _path_sizes(self._path(other, order, batches), true, None)
                largest = 0.0
                for place, size in made.items():
                    largest = max(largest, size) if isinstance(place, int) else size
                    bounds[place] = max(bounds[place], MARGIN * largest)
                excess = {place: it for place, it in excess.items() if not it <= bounds[place]}
                if not any(map(math.isfinite, excess.values())):
                    break
        for place, size in excess.items():
            where = f"loss of step {place}" if isinstance(place, int) else f"{place} at the end"
            return (
                f"{where} of {len(batches)} steps differs from the reference by {size:.1e}, "
                f"more than {bounds[place]:.1e}"
            )
        return ""

    def _path(self, adapter: Adapter, order: NDArray[np.int64], batches: Sequence[int]) -> Path:
        staged = {it: loops.staged(adapter, self._arrays, order[[it]])[0] for it in set(batches)}
        losses = {
            step: float(adapter.to_numpy(adapter.train_step(staged[batch])))
            for step, batch in enumerate(batches, 1)
        }
        return Path(losses, adapter.state())

    def _reference(self, start: Start, dtype: str = "float64") -> Adapter:
        truth = truth_of(self._setup, tolerance_of(self._setup))
        options = Options("replay", "cpu", self._setup.threads, dtype)
        return cast(Adapter, importlib.import_module(truth).Adapter(self._task, start, options))

    def _order(self, phase: Phase, number: int = 0) -> NDArray[np.int64]:
        """The rows of the set of batches that a phase's samples go through."""
        if phase == "predict-latency":
            return loops.single_order(self._start, number)
        if self._is_idiom(phase):
            return self._start.epoch_order(0)
        return loops.sample_order(self._start, number)

    # Work.

    def _skipped_work(self, phase: Phase, run: PhaseRun) -> str:
        """Why less was done in the samples than was asked for; empty where it was all done.

        The shortest of several stretches counts, in time and in CPU time: other processes delay
        the one and take cores from the other.
        """
        batch = self._order(phase).shape[1]
        width = 8 * batch * max(self._task.widths[-1], self._task.data.shape.features)
        steps = max(1, min(run.record.iterations, KEPT_BYTES // (2 * width), 256))
        whole, usual = np.full(2, math.inf), np.array([run.fastest * steps, 0.0])
        for attempt in range(TRIES):
            if attempt:
                turn = take_turn(self._adapter, run.loop, run.waking, steps)
                spent = np.array([turn.seconds, turn.spent.cpu_seconds])
                usual = spent if attempt == 1 else np.minimum(usual, spent)
            whole = np.minimum(whole, self._whole_seconds(run, steps, batch))
            if np.any(whole <= SLOWER * usual):
                return ""
        return (
            f"work that was asked for was not done: {steps} steps took {usual[0]:.2g} s, and "
            f"{whole[0]:.2g} s with new batches and everything that they return looked at"
        )

    def _whole_seconds(self, run: PhaseRun, steps: int, batch: int) -> Array:
        """Time and CPU time of steps over batches that were never seen, until all that they return
        is there. The second reading back takes only what handing over takes."""
        adapter, handles = self._adapter, list[Any]()
        order = self._random.integers(0, len(self._arrays.x_train), (steps, batch))
        fresh = run.loop.keeping(handles, loops.staged(adapter, self._arrays, order))
        turn = take_turn(adapter, run.loop, run.waking, steps, fresh)
        first, second = (self._reading_seconds(handles) for _ in range(2))
        whole: Array = np.array([turn.seconds, turn.spent.cpu_seconds])
        whole += np.maximum(0.0, first - second)
        return whole

    def _reading_seconds(self, handles: Sequence[Any]) -> Array:
        begin, cpu = time.perf_counter(), time.process_time()
        for handle in handles:
            self._adapter.to_numpy(handle)
        return np.array([time.perf_counter() - begin, time.process_time() - cpu])

    def _skipped_batches(self) -> str:
        """Why a loop of its own must have left out batches: it hands out the last outputs only.

        Batches are so large that to compute them takes longer than all else. The time that more of
        them add is compared with that of predictions of the same rows, the shortest of each.
        """
        adapter = cast(Idiom, self._adapter)
        per_row = flops(self._task, "predict") / self._task.batch
        rows = max(self._task.batch, int(INFER_FLOPS / per_row))
        calls = int(min(INFER_CALLS, max(2, MOST_FLOPS / (rows * per_row))))
        order = self._random.integers(0, len(self._arrays.x_train), (1 + calls, rows))
        loader = adapter.loader(self._arrays.x_train, self._arrays.y_train, order)
        batches = loops.staged(adapter, self._arrays, order[:2])
        # On the CPU its time counts: other processes delay work but do not lengthen that.
        clock = time.process_time if self._setup.processor == "cpu" else time.perf_counter

        def seconds(work: Callable[..., Any], *given: Any) -> float:
            begin = clock()
            adapter.to_numpy(work(*given))
            adapter.synchronize()
            return clock() - begin

        infer = partial(seconds, adapter.infer, loader)
        predict = partial(seconds, adapter.predict)
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


def _path_sizes(seen: Path, true: Path, dtype: str | None) -> dict[int | str, float]:
    """The differences of two trainings: of the loss of every step, then of the states."""
    sizes: dict[int | str, float] = {
        step: abs(loss - true.losses[step]) if math.isfinite(loss) else math.inf
        for step, loss in seen.losses.items()
    }
    if seen.state is None or true.state is None:
        return sizes
    sizes["weights"] = compare(seen.state.weights, true.state.weights, dtype).size
    if seen.state.slots or true.state.slots:
        sizes["slots"] = compare(seen.state.slots, true.state.slots, dtype).size
    return sizes
