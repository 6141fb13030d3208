"""How an adapter conducts itself where right numbers alone do not show it.

Each check is a function from a `Bench` to the reason why it fails, empty where it does not. All of
them run, whatever came before, and an exception in one is that one's failure. Bursts of work are
timed: does the clock stop when the device does, and who worked meanwhile? The logical peak of a
phase is the most bytes that all tensors of one iteration take at once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from harness.adapter import Adapter, Array, Options, Unsupported
from harness.cells import Dtype, Lane, Phase
from harness.certificates import Finding
from harness.differences import Bounds, Difference, compare
from harness.errors import in_one_line
from harness.proof import lockstep
from harness.proof.lockstep import (
    Driver,
    LockStep,
    Place,
    Rows,
    StepDriver,
    Truth,
    at_the_start,
    copied,
    driver,
    in_float64,
    outputs_of,
    scalar,
)
from harness.proof.rounding import excused_outputs, excuses, nothing_excused
from harness.tasks.costs import predict_flops
from harness.tasks.datasets import Arrays
from harness.tasks.spec import Task
from harness.tasks.start import Start
from harness.worker import usage
from harness.worker.loops import TEST_ROWS
from harness.worker.measure import settle
from harness.worker.usage import Demand

BYTES = {"float32": 4, "float64": 8}


def logical_peak(adapter: Adapter, lane: Lane, batch: Rows, phase: Phase) -> int | None:
    """Bytes by the framework's own account, of an adapter that has done nothing yet."""
    drive = driver(adapter, lane)
    staged = drive.staged([batch])
    work = {"train": drive.train, "predict": drive.predict}[phase]
    return adapter.logical_peak(lambda: work(staged, 1))


def impossible(peak: int | None, task: Task, dtype: Dtype) -> str:
    """Why a peak cannot be true; empty where it can: the weights alone take some bytes."""
    weights = task.parameters * BYTES[dtype]
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
"""Of the time that a burst took in all. A device that has done its work hands over a tensor in the
time that it takes to hand it over again; one that has not makes the first wait for the rest."""
HALF_A_THREAD = 0.5
"""CPU time ÷ wall time of n busy threads is n at the most, waiting with open eyes included. One
thread more makes it n + 1; half of one is for whoever hands the work over."""
POOLS = 2
"""On a busy machine CPU time hides threads, and what they ask for shows them: but there a thread
that has handed its work over may stand in line beside the one that has it. With a pool of n threads
for operations, one for what is inside them and a caller, 2n + 1 may ask at once and be honest."""


class Burst(NamedTuple):
    """`late` is the time that only the first look at the result took, `seconds` all of it;
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
        """How many threads more than so many must have worked; negative where it fits."""
        got = self.cpu_seconds / self.seconds - (threads + HALF_A_THREAD)
        asked = self.asked_seconds / self.seconds - (POOLS * threads + 1 + HALF_A_THREAD)
        return max(got, asked)


def bursts(
    adapter: Adapter, work: Callable[[int], Any], look: Callable[[Any], Any]
) -> tuple[Burst, ...]:
    """Several bursts of `work(iterations)`, long enough to be timed; `look` fetches its result."""
    work(1), work(1)  # the first calls may build what later ones use
    iterations = 1
    # The shortest counts: one that others delayed would leave all bursts too short to be timed.
    while (
        seconds := min(_burst(adapter, work, look, iterations).seconds for _ in range(CALIBRATING))
    ) < BURST_SECONDS and iterations < MOST_ITERATIONS:
        iterations *= 2
    many = BURSTS if seconds < LONG_SECONDS else LONG_BURSTS
    return tuple(_burst(adapter, work, look, iterations) for _ in range(many))


def _burst(
    adapter: Adapter, work: Callable[[int], Any], look: Callable[[Any], Any], iterations: int
) -> Burst:
    demand, begin = Demand(), time.perf_counter()
    handle = work(iterations)
    adapter.synchronize()
    done = time.perf_counter()
    look(handle)
    looked = time.perf_counter()
    spent = demand.since(looked - begin)
    look(handle)
    again = time.perf_counter()
    return Burst(looked - begin, *spent, (looked - done) - (again - looked))


def ends_late(taken: tuple[Burst, ...]) -> str:
    """Why `synchronize` does not wait for the end; empty where it does. The least of several
    counts: a busy machine delays a look now and then, an unfinished device always."""
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
    """An adapter after its lock step with `truth` over `batches`; `lock` kept its states after
    step AGAIN and the last. Of one that does not train nothing but outputs is asked.

    `bounds` are those of the class `exact`: whatever its formula, an adapter repeats itself.
    `excused` says what rounding alone can make at places of excess.
    """

    adapter: Adapter
    truth: Truth
    lane: Lane
    start: Start
    options: Options
    dtype: Dtype
    batches: Sequence[Rows]
    arrays: Arrays
    lock: LockStep
    bounds: Bounds
    excused: Callable[[Mapping[Place, Difference]], Mapping[Place, float]]
    trains: bool = True

    @property
    def drive(self) -> Driver:
        return driver(self.adapter, self.lane)

    def apart(self, found: Mapping[Place, Difference], what: str) -> str:
        """What to say of the first place whose difference is above the limit of a trajectory and
        above what rounding excuses; empty where there is none."""
        excess = {place: it for place, it in found.items() if it.size > self.bounds.trajectory}
        made = self.excused(excess)
        for place, it in excess.items():
            if it.size > made[place]:
                return f"{what}: step {place[0]}, {it}"
        return ""

    def state_apart(self, step: int, what: str) -> str:
        """What to say of weights and slots that are not those which the lock step had by then."""
        state, expected = self.adapter.state(), self.lock.states[step]
        found: dict[Place, Difference] = {}
        if expected.slots or state.slots:
            found[step, "slots"] = compare(state.slots, expected.slots, self.dtype)
        found[step, "weights"] = compare(state.weights, expected.weights, self.dtype)
        return self.apart(found, what)

    def outputs_apart(self, outputs: Array, rows: Rows, start: Start, what: str) -> str:
        """What to say of outputs that are not the truth's at the weights of a start."""
        kind = type(self.truth)
        truth = kind(start.task, start, in_float64(self.options))
        found = compare({"outputs": outputs}, outputs_of(truth, rows), self.dtype)
        allowed = self.bounds.trajectory
        if self.dtype == "float32" and allowed < found.size < math.inf:
            allowed = excused_outputs(kind, start, self.options, rows, found.size)
        return f"{what}: {found}" if found.size > allowed else ""


def reset(bench: Bench) -> str:
    """After a reset all is as at first, and the next steps are the first steps again, looked at
    one by one as those were."""
    bench.adapter.reset()
    bench.truth.reset()
    begun = at_the_start(bench.adapter, bench.truth, bench.start, bench.dtype)
    if begun.size:
        return f"after a reset: {begun}"
    again = min(AGAIN, len(bench.batches))
    for batch in bench.batches[:again]:
        bench.drive.train(bench.drive.staged([batch]), 1)
        bench.adapter.state()
    return bench.state_apart(again, "after a reset")


def unwatched(bench: Bench) -> str:
    """Steps that nobody looks at have the losses, and end where the same steps ended, that were
    looked at."""
    bench.adapter.reset()
    loop = StepDriver(bench.adapter)
    handles = [loop.train([batch], 1) for batch in loop.staged(list(bench.batches))]
    bench.adapter.synchronize()
    state = bench.state_apart(len(handles), "steps without a look")
    losses: dict[Place, Difference] = {}
    for step, (handle, watched) in enumerate(zip(handles, bench.lock.losses, strict=False), 1):
        loss = scalar(bench.adapter.to_numpy(handle))
        losses[step, "loss"] = compare({"loss": loss}, {"loss": watched}, None)
    return bench.apart(losses, "losses read after the last step") or state


def fit(bench: Bench) -> str:
    """All steps in one call of the framework's own loop end where as many calls of one ended."""
    bench.adapter.reset()
    steps = len(bench.batches)
    bench.drive.train(bench.drive.staged(list(bench.batches)), steps)
    return bench.state_apart(steps, "one fit of all steps")


def infer(bench: Bench) -> str:
    """The framework's own inference loop ends with the outputs of its last batch."""
    bench.adapter.reset()
    some = list(bench.batches[:AGAIN])
    outputs = bench.adapter.to_numpy(bench.drive.predict(bench.drive.staged(some), len(some)))
    return bench.outputs_apart(outputs, some[-1], bench.start, f"after {len(some)} batches")


def predict_fresh(bench: Bench) -> str:
    """Outputs are those of the batch that was given, at the weights of that moment."""
    bench.adapter.reset()
    first = bench.batches[0]
    other = _other_rows(bench, first)
    staged = {id(rows): bench.adapter.stage(*rows) for rows in (first, other)}

    def predicted(rows: Rows, what: str, start: Start = bench.start) -> str:
        outputs = bench.adapter.to_numpy(bench.adapter.predict(staged[id(rows)]))
        return bench.outputs_apart(outputs, rows, start, what)

    told = (
        predicted(first, "a batch")
        or predicted(other, "another batch")
        or predicted(first, "the first batch again")
    )
    if told or not bench.trains:
        return told
    bench.adapter.train_step(staged[id(first)])
    # At the weights that the adapter's own formula and rounding came to, whatever they are.
    moved = replace(bench.start, weights=bench.adapter.state().weights)
    return predicted(first, "the first batch after a step", moved)


def full_batch(bench: Bench) -> str:
    """Where steps are compared with fewer rows than are measured: one step with all of them."""
    chosen = bench.start.epoch_order(0)[0]
    if len(chosen) == len(bench.batches[0].inputs):
        return ""
    rows = Rows(bench.arrays.x_train[chosen], bench.arrays.y_train[chosen])
    bench.adapter.reset()
    if not bench.trains:
        outputs = bench.adapter.to_numpy(bench.adapter.predict(bench.adapter.stage(*rows)))
        return bench.outputs_apart(outputs, rows, bench.start, f"{len(chosen)} rows")
    bench.truth.reset()
    lock = lockstep.run(bench.adapter, bench.truth, bench.lane, bench.dtype, [rows])
    excess = lock.excess(bench.bounds)
    made = nothing_excused(excess)
    if bench.dtype == "float32":
        made = excuses(bench.truth, bench.start, bench.options, [rows], excess)
    for place, it in excess.items():
        if it.size > made[place]:
            return f"{len(chosen)} rows: {place[1]}, {it}, more than {bench.bounds.one_step:.0e}"
    return ""


def last_chunk(bench: Bench) -> str:
    """Outputs are right for any number of rows: one, fewer than a batch, the test rows at once."""
    bench.adapter.reset()
    task, test = bench.start.task, bench.arrays
    affordable = max(task.batch, int(TEST_FLOPS * task.batch / predict_flops(task)))
    first = min(len(test.x_test), TEST_ROWS, affordable)
    last = len(test.x_test) % first or first
    numbers = {1, min(max(1, task.batch - 1), first), last, first}
    for number in sorted(numbers):
        rows = Rows(test.x_test[-number:], test.y_test[-number:])
        outputs = bench.adapter.to_numpy(bench.adapter.predict(bench.adapter.stage(*rows)))
        if told := bench.outputs_apart(outputs, rows, bench.start, f"{number} rows"):
            return told
    return ""


def copies(bench: Bench) -> str:
    """What was handed over does not change when the adapter goes on."""
    adapter, drive = bench.adapter, bench.drive
    first, other = (drive.staged([it]) for it in _two(bench))
    single = adapter.stage(*bench.batches[0])
    adapter.reset()
    handles = {"loss": drive.train(first, 1)} if bench.trains else {}
    handles["outputs"] = drive.predict(first, 1)
    state = adapter.state()
    given: dict[str, Mapping[str, Array]] = {
        "weights": state.weights,
        "slots": state.slots,
        "gradients": adapter.gradients(single) if bench.trains else {},
        **{name: {name: adapter.to_numpy(it)} for name, it in handles.items()},
    }
    kept = {name: copied(values) for name, values in given.items()}
    if bench.trains:
        drive.train(other, 1)
    adapter.to_numpy(drive.predict(other, 1))
    if bench.trains:
        adapter.gradients(adapter.stage(*_two(bench)[1]))
    adapter.reset()
    adapter.state()
    again = given | {f"{name} handle": {name: adapter.to_numpy(it)} for name, it in handles.items()}
    for name, values in again.items():
        before = kept[name.removesuffix(" handle")]
        for tensor, it in values.items():
            if not np.array_equal(it, before[tensor], equal_nan=True):
                return f"{name}: {tensor} changed when the adapter went on; hand over copies"
    return ""


def _two(bench: Bench) -> tuple[Rows, Rows]:
    """The first batch and other rows."""
    return bench.batches[0], _other_rows(bench, bench.batches[0])


def _other_rows(bench: Bench, first: Rows) -> Rows:
    """Rows that differ from the first batch's: the next batch, or the same in another order."""
    for rows in bench.batches[1:2]:
        if not np.array_equal(rows.inputs, first.inputs):
            return rows
    return Rows(np.roll(first.inputs, 1, axis=0), np.roll(first.targets, 1, axis=0))


def other_weights(bench: Bench) -> str:
    """Built from other weights it has their outputs. Those of a shared start may have biases of
    zero, and where nothing is trained no others are ever seen."""
    generator = np.random.default_rng(bench.start.seed)
    weights = {name: np.flip(it) for name, it in bench.start.weights.items()}
    reach = max(float(np.abs(it).max()) for it in weights.values())
    weights |= {
        name: generator.uniform(-reach, reach, it.shape)
        for name, it in weights.items()
        if name.endswith(".bias")
    }
    other = replace(bench.start, weights=weights)
    adapter = type(bench.adapter)(other.task, other, bench.options)
    rows = bench.batches[0]
    outputs = adapter.to_numpy(adapter.predict(adapter.stage(*rows)))
    return bench.outputs_apart(outputs, rows, other, "built from other weights")


def settings(bench: Bench) -> str:
    """The adapter reads back what it was asked for."""
    found = bench.adapter.settings()
    for name, asked in (
        ("dtype", bench.options.dtype),
        ("device", bench.options.device),
        ("threads", bench.options.threads),
    ):
        if name not in found:
            return f"{name} is not read back"
        if found[name] != asked:
            return f"{name} {found[name]!r}, not {asked!r}"
    return ""


def memory(bench: Bench) -> str:
    """A count of device memory that counts nothing is none."""
    bench.adapter.reset_device_memory()
    work = bench.drive.train if bench.trains else bench.drive.predict
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
    staged = drive.staged(list(bench.batches[:TRAIN_BATCHES]))
    adapter.reset()
    settle()  # the truth's threads may still be spinning

    single = adapter.stage(*bench.batches[0])

    def look(handle: Any) -> None:
        # What comes out of the weights waits for the last update, and is less to fetch than they.
        adapter.to_numpy(handle)
        adapter.to_numpy(adapter.predict(single))

    taken: dict[str, tuple[Burst, ...]] = {}
    if bench.trains:
        taken["train"] = bursts(adapter, lambda steps: drive.train(staged, steps), look)
    taken["predict"] = bursts(adapter, lambda steps: drive.predict(staged, steps), adapter.to_numpy)
    # Whatever works besides may stop where it ends.
    (drive.train if bench.trains else drive.predict)(staged, 1)
    restless = usage.restless(sure=True)
    late = {name: ends_late(it) for name, it in taken.items()}
    many = (too_many_threads(it, bench.options.threads) for it in taken.values())
    return {
        "synchronize": next((f"{name}: {why}" for name, why in late.items() if why), ""),
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


def conduct(bench: Bench) -> tuple[Finding, ...]:
    """One finding a check; raises only Unsupported."""
    checks = CHECKS | (OWN_LOOP_CHECKS if bench.lane == "idiomatic" else {})
    if not bench.trains:
        checks = {it: checks[it] for it in checks if it not in TRAINING} | PREDICTING_CHECKS
    told = {name: _told(check, bench) for name, check in checks.items()}
    try:
        told |= timing(bench)
    except Unsupported:
        raise
    except Exception as error:
        told |= dict.fromkeys(("synchronize", "threads"), _exception(error))
    return tuple(Finding(check=name, ok=not why, detail=why) for name, why in told.items())


def _told(check: Callable[[Bench], str], bench: Bench) -> str:
    try:
        return check(bench)
    except Unsupported:
        raise
    except Exception as error:
        return _exception(error)


def _exception(error: Exception) -> str:
    return in_one_line(error, 300)
