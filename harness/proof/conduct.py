"""Checks of an adapter's behaviour that right numbers alone do not show.

Each check is a function from a `Bench` to the reason why it fails, empty where it does not. All of
them run, whatever came before, and an exception in one is that one's failure. Bursts of work are
timed to see whether the clock stops when the device does, and how many threads worked meanwhile.
The logical peak of a phase is the most bytes that all tensors of one iteration take at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from harness.adapter import Adapter, Array, PhaseKind, Unsupported, Work
from harness.cells import Lane, Phase
from harness.certificates import Finding
from harness.differences import LIMITS, Bounds, Difference, compare
from harness.errors import in_one_line
from harness.proof import lockstep
from harness.proof.lockstep import Driver, LockStep, Oracle, Place, Rows
from harness.proof.rounding import unexcused
from harness.tasks.costs import ITEM_BYTES, flops
from harness.tasks.datasets import Arrays
from harness.tasks.spec import Task
from harness.tasks.start import Start
from harness.worker import usage
from harness.worker.loops import TEST_ROWS
from harness.worker.measure import settle
from harness.worker.usage import Demand

Result = TypeVar("Result")


def logical_peak(adapter: Adapter, lane: Lane, batch: Rows, phase: Phase) -> int | None:
    """Bytes by the framework's own account, of an adapter that has done nothing yet."""
    kind: PhaseKind = "train" if phase == "train" else "predict"
    if lane == "identical":
        staged = adapter.stage(*batch)
        work = partial(adapter.train_step if kind == "train" else adapter.predict, staged)
    else:
        drive = Driver(adapter, lane)
        staged = drive.staged([batch])
        work = partial(drive.train if kind == "train" else drive.predict, staged, 1)
    return adapter.logical_peak(Work(kind, staged, work))


def impossible_peak(peak: int | None, task: Task, dtype: str) -> str:
    """Why a peak cannot be true; empty where it can: the weights alone take some bytes."""
    weights = task.parameters * ITEM_BYTES[dtype]
    if peak is None or peak >= weights:
        return ""
    if not peak:
        return "the logical peak is 0; where there is no account it must be None"
    return f"a logical peak of {peak:,} bytes; the weights alone have {weights:,}"


BURST_SECONDS = 0.02
MOST_ITERATIONS = 4096
CALIBRATING = 3
BURSTS, LONG_BURSTS, LONG_SECONDS = 5, 3, 0.2
LATE_SHARE = 0.2
"""Of the time of a burst. A device that is done hands over a tensor in the time that a second
handover takes; of one that is not, the first handover waits for the rest."""
HALF_A_THREAD = 0.5
"""CPU time ÷ wall time of n busy threads is n at the most, busy waiting included. One thread more
makes it n + 1; half of one is for the thread that hands the work over."""
POOLS = 2
"""On a busy machine CPU time hides threads, but the time that they ask for shows them. There a
thread that has handed its work over may wait for a core together with the one that has the work.
With a pool of n threads for operations, one inside them and a caller, 2n + 1 may ask at once."""


class Burst(NamedTuple):
    """`late` is the time that only the first reading of the result took, `seconds` that of all.

    `cpu_seconds` is what all threads together got of a core, `asked_seconds` what they asked for.
    """

    seconds: float
    cpu_seconds: float
    asked_seconds: float
    late: float

    @property
    def late_share(self) -> float:
        return self.late / self.seconds

    def excess(self, threads: int) -> float:
        """How many threads more than so many must have worked; negative where none."""
        got = self.cpu_seconds / self.seconds - (threads + HALF_A_THREAD)
        asked = self.asked_seconds / self.seconds - (POOLS * threads + 1 + HALF_A_THREAD)
        return max(got, asked)


def bursts(
    adapter: Adapter, work: Callable[[int], Any], read: Callable[[Any], Any]
) -> tuple[Burst, ...]:
    """Several bursts of `work(iterations)`, long enough to be timed; `read` fetches its result."""

    def burst(iterations: int) -> Burst:
        demand, begin = Demand(), time.perf_counter()
        handle = work(iterations)
        adapter.synchronize()
        done = time.perf_counter()
        read(handle)
        first_read = time.perf_counter()
        spent = demand.since(first_read - begin)
        read(handle)
        again = time.perf_counter()
        return Burst(first_read - begin, *spent, (first_read - done) - (again - first_read))

    work(1), work(1)  # the first calls may build what later ones use
    iterations = 1
    # The shortest counts: one that others delayed would leave all bursts too short to be timed.
    while (
        seconds := min(burst(iterations).seconds for _ in range(CALIBRATING))
    ) < BURST_SECONDS and iterations < MOST_ITERATIONS:
        iterations *= 2
    many = BURSTS if seconds < LONG_SECONDS else LONG_BURSTS
    return tuple(burst(iterations) for _ in range(many))


def ends_late(taken: tuple[Burst, ...]) -> str:
    """Why `synchronize` does not wait for the end; empty where it does. The least of several
    counts: a busy machine delays a reading now and then, an unfinished device always."""
    least = min(burst.late_share for burst in taken)
    if least <= LATE_SHARE:
        return ""
    return f"{100 * least:.0f} % of the time of a burst passed after it had ended"


def too_many_threads(taken: tuple[Burst, ...], asked: int) -> str:
    """Why more threads than asked for must have worked; empty where not. The second largest
    counts: once may be chance."""
    worst = sorted(taken, key=lambda it: it.excess(asked))[-2]
    if worst.excess(asked) <= 0:
        return ""
    got, wanted = worst.cpu_seconds / worst.seconds, worst.asked_seconds / worst.seconds
    return f"{got:.1f} threads at work on the average, {wanted:.1f} in line; {asked} asked for"


AGAIN = 3
"""Steps that are repeated after a reset: enough for slots and step count to show."""
TRAIN_BATCHES = 64
TEST_FLOPS = 5e10
"""Of a forward pass over test rows: of large models fewer rows are predicted at once."""


@dataclass(frozen=True)
class Bench:
    """An adapter after its lock step with the reference over `batches`.

    `lock` kept its states after step AGAIN and the last. Of an adapter that does not train only
    outputs are checked.
    """

    adapter: Adapter
    oracle: Oracle
    lane: Lane
    batches: Sequence[Rows]
    arrays: Arrays
    lock: LockStep

    @property
    def drive(self) -> Driver:
        return Driver(self.adapter, self.lane)

    @property
    def bounds(self) -> Bounds:
        """Whatever its formula, an adapter repeats itself to within these."""
        return LIMITS[self.oracle.dtype]

    def outputs(self, rows: Rows) -> Array:
        return self.adapter.to_numpy(self.adapter.predict(self.adapter.stage(*rows)))

    def deviation(self, places: Mapping[Place, Difference], what: str) -> str:
        """The first place that is above its limit and above what rounding makes, in words."""
        limit = self.bounds.trajectory
        excess = {place: it for place, it in places.items() if it.size > limit}
        first = unexcused(self.oracle, self.batches, excess)
        return f"{what}: step {first[0][0]}, {first[1]}" if first else ""

    def state_deviation(self, step: int, what: str) -> str:
        """How weights and slots differ from those that the lock step had after a step."""
        state, expected = self.adapter.state(), self.lock.states[step]
        dtype = self.oracle.dtype
        return self.deviation(lockstep.state_differences(state, expected, step, dtype), what)

    def output_deviation(
        self, outputs: Array, rows: Rows, what: str, start: Start | None = None
    ) -> str:
        """How outputs differ from the truth's, at the shared start unless another one is given."""
        start = start or self.oracle.start
        truth = self.oracle.another(start)
        expected = lockstep.true_step(truth, rows, trains=False)["logits"]
        difference = compare({"outputs": outputs}, expected, self.oracle.dtype)
        above = difference.size > self.bounds.trajectory
        excess = {(1, "logits"): difference} if above else {}
        there = replace(self.oracle, truth=truth, start=start, trains=False)
        return f"{what}: {difference}" if unexcused(there, [rows], excess) else ""


def reset(bench: Bench) -> str:
    """After a reset all is as at first, and the next steps are the first steps again.

    As in the lock step, values are read back after every step.
    """
    bench.adapter.reset()
    bench.oracle.truth.reset()
    begun = lockstep.at_the_start(bench.adapter, bench.oracle)
    if begun.size:
        return f"after a reset: {begun}"
    again = min(AGAIN, len(bench.batches))
    for batch in bench.batches[:again]:
        bench.drive.train(bench.drive.staged([batch]), 1)
        bench.adapter.state()
    return bench.state_deviation(again, "after a reset")


def unwatched(bench: Bench) -> str:
    """Steps without any reading back have the losses and the last state of the lock step."""
    bench.adapter.reset()
    loop = Driver(bench.adapter, "identical")
    handles = [loop.train([batch], 1) for batch in loop.staged(bench.batches)]
    bench.adapter.synchronize()
    state = bench.state_deviation(len(handles), "unwatched steps")
    losses: dict[Place, Difference] = {}
    for step, (handle, watched) in enumerate(zip(handles, bench.lock.losses, strict=False), 1):
        loss = lockstep.scalar(bench.adapter.to_numpy(handle))
        losses[step, "loss"] = compare({"loss": loss}, {"loss": watched}, None)
    return bench.deviation(losses, "losses read after the last step") or state


def fit(bench: Bench) -> str:
    """All steps in one call of the framework's own loop end where as many calls of one ended."""
    bench.adapter.reset()
    steps = len(bench.batches)
    bench.drive.train(bench.drive.staged(bench.batches), steps)
    return bench.state_deviation(steps, "one fit of all steps")


def infer(bench: Bench) -> str:
    """The framework's own inference loop ends with the outputs of its last batch."""
    bench.adapter.reset()
    batches = bench.batches[:AGAIN]
    handle = bench.drive.predict(bench.drive.staged(batches), len(batches))
    outputs = bench.adapter.to_numpy(handle)
    return bench.output_deviation(outputs, batches[-1], f"after {len(batches)} batches")


def predict_fresh(bench: Bench) -> str:
    """Outputs are those of the batch that was given, at the weights of that moment."""
    bench.adapter.reset()
    first, other = bench.batches[0], _other_rows(bench)
    staged = {id(rows): bench.adapter.stage(*rows) for rows in (first, other)}

    def predicted(rows: Rows, what: str, start: Start | None = None) -> str:
        outputs = bench.adapter.to_numpy(bench.adapter.predict(staged[id(rows)]))
        return bench.output_deviation(outputs, rows, what, start)

    reason = (
        predicted(first, "a batch")
        or predicted(other, "another batch")
        or predicted(first, "the first batch again")
    )
    if reason or not bench.oracle.trains:
        return reason
    bench.adapter.train_step(staged[id(first)])
    # At the weights that the adapter's own formula and rounding came to, whatever they are.
    moved = replace(bench.oracle.start, weights=bench.adapter.state().weights)
    return predicted(first, "the first batch after a step", moved)


def full_batch(bench: Bench) -> str:
    """Where steps are compared with fewer rows than are measured: one step with all of them."""
    chosen = bench.oracle.start.epoch_order(0)[0]
    if len(chosen) == len(bench.batches[0].inputs):
        return ""
    rows = Rows(bench.arrays.x_train[chosen], bench.arrays.y_train[chosen])
    bench.adapter.reset()
    if not bench.oracle.trains:
        return bench.output_deviation(bench.outputs(rows), rows, f"{len(chosen)} rows")
    bench.oracle.truth.reset()
    lock = lockstep.run(bench.adapter, bench.oracle, bench.lane, [rows])
    first = unexcused(bench.oracle, [rows], lock.excess(bench.bounds))
    if first is None:
        return ""
    (_, quantity), difference = first
    return f"{len(chosen)} rows: {quantity}, {difference}, more than {bench.bounds.one_step:.0e}"


def last_chunk(bench: Bench) -> str:
    """Outputs are right for any number of rows: one, fewer than a batch, the test rows at once."""
    bench.adapter.reset()
    task, arrays = bench.oracle.start.task, bench.arrays
    affordable = max(task.batch, int(TEST_FLOPS * task.batch / flops(task, "predict")))
    first = min(len(arrays.x_test), TEST_ROWS, affordable)
    last = len(arrays.x_test) % first or first
    for number in sorted({1, min(max(1, task.batch - 1), first), last, first}):
        rows = Rows(arrays.x_test[-number:], arrays.y_test[-number:])
        if reason := bench.output_deviation(bench.outputs(rows), rows, f"{number} rows"):
            return reason
    return ""


def copies(bench: Bench) -> str:
    """What was handed over does not change when the adapter goes on."""
    adapter, drive = bench.adapter, bench.drive
    rows, other_rows = bench.batches[0], _other_rows(bench)
    first, other = drive.staged([rows]), drive.staged([other_rows])
    single = adapter.stage(*rows)
    adapter.reset()
    handles = {"loss": drive.train(first, 1)} if bench.oracle.trains else {}
    handles["outputs"] = drive.predict(first, 1)
    state = adapter.state()
    given: dict[str, Mapping[str, Array]] = {
        "weights": state.weights,
        "slots": state.slots,
        "gradients": adapter.gradients(single) if bench.oracle.trains else {},
        **{name: {name: adapter.to_numpy(it)} for name, it in handles.items()},
    }
    before = {name: lockstep.copied(values) for name, values in given.items()}
    if bench.oracle.trains:
        drive.train(other, 1)
    adapter.to_numpy(drive.predict(other, 1))
    if bench.oracle.trains:
        adapter.gradients(adapter.stage(*other_rows))
    adapter.reset()
    adapter.state()
    again = given | {f"{name} handle": {name: adapter.to_numpy(it)} for name, it in handles.items()}
    for name, values in again.items():
        for tensor, after in values.items():
            kept = before[name.removesuffix(" handle")][tensor]
            if not np.array_equal(after, kept, equal_nan=True):
                return f"{name}: {tensor} changed when the adapter went on; hand over copies"
    return ""


def _other_rows(bench: Bench) -> Rows:
    """Rows that differ from the first batch's: the next batch, or the same in another order."""
    first, *others = bench.batches[:2]
    for rows in others:
        if not np.array_equal(rows.inputs, first.inputs):
            return rows
    return Rows(np.roll(first.inputs, 1, axis=0), np.roll(first.targets, 1, axis=0))


def other_weights(bench: Bench) -> str:
    """Built from other weights it has their outputs.

    Biases of a shared start may be zero, and where nothing is trained they stay so.
    """
    generator = np.random.default_rng(bench.oracle.start.seed)
    weights = {name: np.flip(it) for name, it in bench.oracle.start.weights.items()}
    reach = max(float(np.abs(it).max()) for it in weights.values())
    weights |= {
        name: generator.uniform(-reach, reach, it.shape)
        for name, it in weights.items()
        if name.endswith(".bias")
    }
    other = replace(bench.oracle.start, weights=weights)
    adapter = type(bench.adapter)(other.task, other, bench.oracle.options)
    rows = bench.batches[0]
    outputs = replace(bench, adapter=adapter).outputs(rows)
    return bench.output_deviation(outputs, rows, "built from other weights", other)


def settings(bench: Bench) -> str:
    """The adapter reads back what it was asked for."""
    effective = bench.adapter.settings()
    for name in ("dtype", "device", "threads"):
        asked = getattr(bench.oracle.options, name)
        if name not in effective:
            return f"{name} is not read back"
        if effective[name] != asked:
            return f"{name} {effective[name]!r}, not {asked!r}"
    return ""


def memory(bench: Bench) -> str:
    """A count of device memory that counts nothing is none."""
    bench.adapter.reset_device_memory()
    work = bench.drive.train if bench.oracle.trains else bench.drive.predict
    work(bench.drive.staged([bench.batches[0]]), 1)
    bench.adapter.synchronize()
    count = bench.adapter.device_memory()
    if count is not None and (count.peak_allocated <= 0 or count.peak_reserved == 0):
        return "the count of device memory is 0; where there is none it must be None"
    return ""


def timing(bench: Bench) -> dict[str, str]:
    """`synchronize` waits for the end; no more threads work than were asked for, and none where
    nothing is asked."""
    adapter, drive = bench.adapter, bench.drive
    staged = drive.staged(bench.batches[:TRAIN_BATCHES])
    adapter.reset()
    settle()  # the truth's threads may still be spinning
    single = adapter.stage(*bench.batches[0])

    def read(handle: Any) -> None:
        # Outputs wait for the last update too, and are less to fetch than the weights.
        adapter.to_numpy(handle)
        adapter.to_numpy(adapter.predict(single))

    taken: dict[str, tuple[Burst, ...]] = {}
    if bench.oracle.trains:
        taken["train"] = bursts(adapter, lambda steps: drive.train(staged, steps), read)
    taken["predict"] = bursts(adapter, lambda steps: drive.predict(staged, steps), adapter.to_numpy)
    # What works in the background may stop where it ends.
    (drive.train if bench.oracle.trains else drive.predict)(staged, 1)
    restless = usage.restless(sure=True)
    late = (f"{name}: {why}" for name, it in taken.items() if (why := ends_late(it)))
    many = (too_many_threads(it, bench.oracle.options.threads) for it in taken.values())
    return {
        "synchronize": next(late, ""),
        "threads": restless or next(filter(None, many), ""),
    }


CHECKS: dict[str, Callable[[Bench], str]] = {
    "reset": reset,
    "unwatched": unwatched,
    "predict-fresh": predict_fresh,
    "full-batch": full_batch,
    "last-chunk": last_chunk,
    "copies": copies,
    "settings": settings,
    "memory": memory,
}
OWN_LOOP_CHECKS: dict[str, Callable[[Bench], str]] = {"fit": fit, "infer": infer}
PREDICTING_CHECKS: dict[str, Callable[[Bench], str]] = {"other-weights": other_weights}
TRAINING = ("reset", "unwatched", "fit")
"""Checks of nothing but training."""


def conduct(bench: Bench) -> list[Finding]:
    """One finding for each check; raises only Unsupported."""
    checks = CHECKS | (OWN_LOOP_CHECKS if bench.lane == "idiomatic" else {})
    if not bench.oracle.trains:
        checks = {it: checks[it] for it in checks if it not in TRAINING} | PREDICTING_CHECKS
    reasons = {name: _attempt(check, bench) for name, check in checks.items()}
    timed = _attempt(timing, bench)
    if isinstance(timed, str):
        timed = dict.fromkeys(("synchronize", "threads"), timed)
    return [Finding(check=name, ok=not why, detail=why) for name, why in (reasons | timed).items()]


def _attempt(check: Callable[[Bench], Result], bench: Bench) -> Result | str:
    """What a check returns; if it raises, the text of the exception."""
    try:
        return check(bench)
    except Unsupported:
        raise
    except Exception as error:
        return in_one_line(error, 300)
