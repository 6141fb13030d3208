"""How an adapter conducts itself where right numbers alone do not show it.

Each check is a function from a `Bench` to the reason why it fails, empty where it does not. All of
them run, whatever came before, and an exception in one is that one's failure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.adapter import Adapter, Array, Options, State, Unsupported
from harness.cells import Dtype, Lane
from harness.certificates import Finding
from harness.errors import in_one_line
from harness.proof import bursts
from harness.proof.compare import Difference, compare
from harness.proof.drive import Driver, Loop, Rows, Truth, driver, scalar
from harness.proof.lockstep import LockStep, at_the_start
from harness.proof.tolerances import Limits
from harness.tasks.start import Start
from harness.worker.measure import settle

AGAIN = 3
"""Steps that are repeated after a reset: enough for slots and step count to show."""
TRAIN_BATCHES = 64


@dataclass(frozen=True)
class Bench:
    """An adapter after its lock step with `truth` over `batches`; `lock` kept its states after
    step AGAIN and the last.

    `bounds` are those of the class `exact`: whatever its formula, an adapter repeats itself.
    """

    adapter: Adapter
    truth: Truth
    lane: Lane
    start: Start
    options: Options
    dtype: Dtype
    batches: Sequence[Rows]
    lock: LockStep
    bounds: Limits

    @property
    def drive(self) -> Driver:
        return driver(self.adapter, self.lane)

    def apart(self, difference: Difference, what: str, limit: float | None = None) -> str:
        """What to say of a difference, if it is above the limit of a trajectory (or the given)."""
        limit = self.bounds.trajectory if limit is None else limit
        return f"{what}: {difference}" if difference.size > limit else ""

    def state_apart(self, expected: State, what: str) -> str:
        """What to say of weights and slots that are not as expected."""
        state = self.adapter.state()
        found = compare(state.weights, expected.weights, self.dtype)
        if expected.slots or state.slots:
            slots = compare(state.slots, expected.slots, self.dtype)
            found = max(found, slots, key=lambda it: it.size)
        return self.apart(found, what)


def reset(bench: Bench) -> str:
    """After a reset all is as at first, and the next steps are the first steps again."""
    bench.adapter.reset()
    bench.truth.reset()
    begun = at_the_start(bench.adapter, bench.truth, bench.start, bench.dtype)
    if begun.size:
        return bench.apart(begun, "after a reset", 0.0)
    again = min(AGAIN, len(bench.batches))
    for batch in bench.batches[:again]:
        bench.drive.train(bench.drive.staged([batch]), 1)
    return bench.state_apart(bench.lock.states[again], f"step {again} after a reset")


def unwatched(bench: Bench) -> str:
    """Steps that nobody looks at end where the same steps ended that were looked at."""
    bench.adapter.reset()
    loop = Loop(bench.adapter)
    handles = [loop.train([batch], 1) for batch in loop.staged(list(bench.batches))]
    bench.adapter.synchronize()
    steps = len(handles)
    told = bench.state_apart(bench.lock.states[steps], f"after {steps} steps without a look")
    if told:
        return told
    losses = {f"loss {n}": scalar(bench.adapter.to_numpy(it)) for n, it in enumerate(handles, 1)}
    watched = {f"loss {n}": it for n, it in enumerate(bench.lock.losses, 1)}
    return bench.apart(compare(losses, watched, None), "losses read after the last step")


def fit(bench: Bench) -> str:
    """All steps in one call of the framework's own loop end where as many calls of one ended."""
    bench.adapter.reset()
    steps = len(bench.batches)
    bench.drive.train(bench.drive.staged(list(bench.batches)), steps)
    return bench.state_apart(bench.lock.states[steps], f"one fit of {steps} steps")


def infer(bench: Bench) -> str:
    """The framework's own inference loop ends with the outputs of its last batch."""
    bench.adapter.reset()
    bench.truth.reset()
    some = list(bench.batches[:AGAIN])
    outputs = bench.adapter.to_numpy(bench.drive.predict(bench.drive.staged(some), len(some)))
    apart = _outputs_apart(bench.truth, outputs, some[-1], bench.dtype)
    return bench.apart(apart, f"after {len(some)} batches")


def predict_fresh(bench: Bench) -> str:
    """Outputs are those of the batch that was given, at the weights of that moment."""
    bench.adapter.reset()
    bench.truth.reset()
    first = bench.batches[0]
    other = _other_rows(bench, first)
    staged = {id(rows): bench.adapter.stage(*rows) for rows in (first, other)}

    def predicted(rows: Rows, what: str, truth: Truth = bench.truth) -> str:
        outputs = bench.adapter.to_numpy(bench.adapter.predict(staged[id(rows)]))
        return bench.apart(_outputs_apart(truth, outputs, rows, bench.dtype), what)

    told = (
        predicted(first, "a batch")
        or predicted(other, "another batch")
        or predicted(first, "the first batch again")
    )
    if told:
        return told
    bench.adapter.train_step(staged[id(first)])
    # At the weights that the adapter's own formula and rounding came to, whatever they are.
    moved = replace(bench.start, weights=bench.adapter.state().weights)
    options = replace(bench.options, mode="eager", device="cpu", dtype="float64")
    at_weights = type(bench.truth)(bench.start.task, moved, options)
    return predicted(first, "the first batch after a step", at_weights)


def _other_rows(bench: Bench, first: Rows) -> Rows:
    """Rows that differ from the first batch's: the next batch, or the same in another order."""
    for rows in bench.batches[1:2]:
        if not np.array_equal(rows.inputs, first.inputs):
            return rows
    return Rows(np.roll(first.inputs, 1, axis=0), np.roll(first.targets, 1, axis=0))


def _outputs_apart(truth: Truth, outputs: Array, rows: Rows, dtype: Dtype) -> Difference:
    true = truth.to_numpy(truth.predict(truth.stage(*rows)))
    return compare({"outputs": outputs}, {"outputs": true}, dtype)


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
    bench.drive.train(bench.drive.staged([bench.batches[0]]), 1)
    bench.adapter.synchronize()
    count = bench.adapter.device_memory()
    if count is not None and (count.peak_allocated <= 0 or count.peak_reserved == 0):
        return "the count of device memory is 0; where there is none it must be None"
    return ""


def timing(bench: Bench) -> dict[str, str]:
    """`synchronize` waits for the end, and no more threads work than were asked for."""
    adapter, drive = bench.adapter, bench.drive
    staged = drive.staged(list(bench.batches[:TRAIN_BATCHES]))
    adapter.reset()
    settle()  # the truth's threads may still be spinning

    single = adapter.stage(*bench.batches[0])

    def look(handle: Any) -> None:
        # What comes out of the weights waits for the last update, and is less to fetch than they.
        adapter.to_numpy(handle)
        adapter.to_numpy(adapter.predict(single))

    train = bursts.bursts(adapter, lambda steps: drive.train(staged, steps), look)
    predict = bursts.bursts(adapter, lambda steps: drive.predict(staged, steps), adapter.to_numpy)
    late = {"train": bursts.ends_late(train), "predict": bursts.ends_late(predict)}
    return {
        "synchronize": next((f"{name}: {why}" for name, why in late.items() if why), ""),
        "threads": bursts.too_many_threads(train, bench.options.threads)
        or bursts.too_many_threads(predict, bench.options.threads),
    }


CHECKS: dict[str, Callable[[Bench], str]] = {
    "reset": reset,
    "unwatched": unwatched,
    "predict-fresh": predict_fresh,
    "settings": settings,
    "memory": memory,
}
OWN_LOOP_CHECKS: dict[str, Callable[[Bench], str]] = {"fit": fit, "infer": infer}


def conduct(bench: Bench) -> tuple[Finding, ...]:
    """One finding a check; raises only Unsupported."""
    checks = CHECKS | (OWN_LOOP_CHECKS if bench.lane == "idiomatic" else {})
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
