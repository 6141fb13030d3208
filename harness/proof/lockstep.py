"""Two adapters in lock step: the same batches, and every tensor of every step compared.

Both lanes are driven in one way: a step, outputs, a burst, whatever loop makes them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
import threadpoolctl

from harness.adapter import Adapter, Array, Idiom, Options, State
from harness.cells import Dtype, Lane
from harness.certificates import Divergence, Finding
from harness.differences import Bounds, Difference, compare
from harness.tasks.start import Start


class Rows(NamedTuple):
    """A batch as the harness holds it, before any framework has seen it."""

    inputs: Array
    targets: Array


class Driver(Protocol):
    """What a proof asks of an adapter, in the loop of its lane."""

    def staged(self, batches: list[Rows]) -> Any:
        """Batches of one size, ready to be worked through."""

    def train(self, staged: Any, steps: int) -> Any:
        """So many updates, from the first batch on and round again; a handle to the last loss."""

    def predict(self, staged: Any, steps: int) -> Any:
        """So many inference batches; a handle to the last outputs."""


class StepDriver:
    """The identical lane: the harness's own loop over staged batches."""

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter

    def staged(self, batches: list[Rows]) -> list[Any]:
        return [self._adapter.stage(*batch) for batch in batches]

    def train(self, staged: list[Any], steps: int) -> Any:
        for step in range(steps):
            handle = self._adapter.train_step(staged[step % len(staged)])
        return handle

    def predict(self, staged: list[Any], steps: int) -> Any:
        for step in range(steps):
            handle = self._adapter.predict(staged[step % len(staged)])
        return handle


class IdiomDriver:
    """The idiomatic lane: the framework's loop over its own pipeline."""

    def __init__(self, adapter: Idiom) -> None:
        self._adapter = adapter

    def staged(self, batches: list[Rows]) -> Any:
        inputs = np.concatenate([it.inputs for it in batches])
        targets = np.concatenate([it.targets for it in batches])
        order = np.arange(len(inputs), dtype=np.int64).reshape(len(batches), -1)
        return self._adapter.loader(inputs, targets, order)

    def train(self, staged: Any, steps: int) -> Any:
        return self._adapter.fit(staged, steps)

    def predict(self, staged: Any, steps: int) -> Any:
        return self._adapter.infer(staged, steps)


def driver(adapter: Adapter, lane: Lane) -> Driver:
    return StepDriver(adapter) if lane == "identical" else IdiomDriver(cast("Idiom", adapter))


class Seen(NamedTuple):
    """Everything that one step shows: three before the update, two after it."""

    logits: dict[str, Array]
    gradients: dict[str, Array]
    loss: dict[str, Array]
    weights: dict[str, Array]
    slots: dict[str, Array]


def watched_step(adapter: Adapter, lane: Lane, batch: Rows) -> Seen:
    """One update on a batch, with everything read back; what is read before it is copied."""
    drive = driver(adapter, lane)
    # Twice: a pipeline that loses its last batch shows where batches are counted, not here.
    staged = drive.staged([batch] if lane == "identical" else [batch, batch])
    outputs = adapter.to_numpy(drive.predict(staged, 1)).copy()
    gradients = copied(adapter.gradients(adapter.stage(*batch)))
    loss = adapter.to_numpy(drive.train(staged, 1))
    state = adapter.state()
    return Seen({"outputs": outputs}, gradients, {"loss": scalar(loss)}, state.weights, state.slots)


def copied(values: Mapping[str, Array]) -> dict[str, Array]:
    return {name: it.copy() for name, it in values.items()}


class Truth(Adapter, Protocol):
    """The reference's adapter in mode `eager`, which tells all of a step that it takes once."""

    def told_step(self, batch: Any) -> Mapping[str, Any]:
        """`outputs`, `loss` and `gradient` before the update, `weights` and every slot after it,
        all but the first two as flat vectors."""

    def views(self, flat: Any) -> dict[str, Array]:
        """The tensors in a flat vector, by the names of the weights."""


def in_float64(options: Options) -> Options:
    """Those of a truth."""
    return replace(options, mode="eager", device="cpu", dtype="float64")


def outputs_of(truth: Truth, rows: Rows) -> dict[str, Array]:
    return {"outputs": truth.to_numpy(truth.predict(truth.stage(*rows)))}


def true_step(truth: Truth, batch: Rows) -> Seen:
    """What `watched_step` shows, in a third of the time, and good until the next step.

    That outputs, gradients and step belong together is proven of the reference's modes like of any
    other, and need not be shown of the truth again.
    """
    told = dict(truth.told_step(truth.stage(*batch)))
    outputs, loss = {"outputs": told.pop("outputs")}, {"loss": scalar(told.pop("loss"))}
    gradients, weights = truth.views(told.pop("gradient")), truth.views(told.pop("weights"))
    slots = {f"{slot}/{it}": view for slot in told for it, view in truth.views(told[slot]).items()}
    return Seen(outputs, gradients, loss, weights, slots)


@functools.cache
def _libraries() -> threadpoolctl.ThreadpoolController:
    """Those of this process; looked for when it has loaded all that it uses."""
    return threadpoolctl.ThreadpoolController()


def one_thread() -> AbstractContextManager[Any]:
    """With NumPy on one thread: provers stand side by side, and the truth is not in a hurry."""
    limited: AbstractContextManager[Any] = _libraries().limit(limits=1, user_api="blas")
    return limited


def scalar(values: Array) -> Array:
    """A single number in any shape as a tensor of no dimension; anything else as it is."""
    return values.reshape(()) if values.size == 1 else values


QUANTITIES = ("logits", "loss", "gradients", "slots", "weights")
"""What is compared at every step, in the order in which a step computes them: an optimizer moves
its slots first, and the weights by them."""
BEFORE_UPDATE = QUANTITIES[:3]

Place = tuple[int, str]
"""A step, counted from 1, and a quantity."""

FEWEST_ROWS = 32
"""Rows of a compared batch at the least, where the task has as many."""


@dataclass
class LockStep:
    """What was found along the way; of the examined adapter itself the losses, and its `states`
    after the steps that were asked for. `rounded` is what the reference itself differs by where it
    computes in the adapter's dtype."""

    divergence: list[Divergence] = field(default_factory=list)
    found: dict[Place, Difference] = field(default_factory=dict)
    rounded: dict[Place, Difference] = field(default_factory=dict)
    states: dict[int, State] = field(default_factory=dict)
    losses: list[Array] = field(default_factory=list)

    def excess(self, bounds: Bounds) -> dict[Place, Difference]:
        """Every place where the difference is more than its limit, the earliest first."""
        return above(self.found, bounds)

    def up_to(self, step: int) -> LockStep:
        """Without what was compared after a step."""
        found = {it: diff for it, diff in self.found.items() if it[0] <= step}
        return replace(self, divergence=self.divergence[:step], found=found)


def above(found: Mapping[Place, Difference], bounds: Bounds) -> dict[Place, Difference]:
    return {it: diff for it, diff in found.items() if diff.size > limit_at(it, bounds)}


def limit_at(place: Place, bounds: Bounds) -> float:
    step, quantity = place
    early = step == 1 and quantity in BEFORE_UPDATE
    return bounds.one_step if early else bounds.trajectory


def run(
    adapter: Adapter,
    truth: Truth,
    lane: Lane,
    dtype: Dtype,
    batches: Sequence[Rows],
    keep: Collection[int] = (),
    rounded: Truth | None = None,
) -> LockStep:
    """Take both through the batches, and stop early only where nothing can be compared any more.

    `keep` names the steps after which the examined adapter's state is kept; `rounded` is the
    reference in its dtype, taken along.
    """
    lock = LockStep()
    for step, batch in enumerate(batches, 1):
        seen = watched_step(adapter, lane, batch)
        with one_thread():
            true = true_step(truth, batch)
            if rounded:
                own = differences(true_step(rounded, batch), true, dtype)
                lock.rounded |= {(step, quantity): it for quantity, it in own.items()}
        found = differences(seen, true, dtype)
        lock.found |= {(step, quantity): it for quantity, it in found.items()}
        sizes = {name: it.size if math.isfinite(it.size) else None for name, it in found.items()}
        lock.divergence.append(Divergence(step=step, **sizes))
        lock.losses.append(seen.loss["loss"].copy())
        if step in keep:
            lock.states[step] = State(copied(seen.weights), copied(seen.slots))
        if any(it.reason for it in found.values()):
            break
    return lock


def outputs_only(
    adapter: Adapter, truth: Truth, lane: Lane, dtype: Dtype, batches: Sequence[Rows]
) -> LockStep:
    """The same where nothing is trained: the outputs for every batch, at the weights given."""
    lock, drive = LockStep(), driver(adapter, lane)
    for step, batch in enumerate(batches, 1):
        staged = drive.staged([batch] if lane == "identical" else [batch, batch])
        outputs = adapter.to_numpy(drive.predict(staged, 1))
        with one_thread():
            found = compare({"outputs": outputs}, outputs_of(truth, batch), dtype)
        lock.found[step, "logits"] = found
        size = found.size if math.isfinite(found.size) else None
        lock.divergence.append(Divergence(step=step, logits=size))
        if found.reason:
            break
    return lock


def differences(seen: Seen, true: Seen, dtype: Dtype) -> dict[str, Difference]:
    """By quantity; of slots only where the task's optimizer or the framework's has any."""
    mine, theirs = seen._asdict(), true._asdict()
    return {
        quantity: compare(
            mine[quantity],
            theirs[quantity],
            # A loop of its own may report its loss as a plain number.
            None if quantity == "loss" else dtype,
        )
        for quantity in QUANTITIES
        if quantity != "slots" or theirs["slots"] or mine["slots"]
    }


def at_the_start(adapter: Adapter, truth: Adapter, start: Start, dtype: Dtype) -> Difference:
    """Weights must be the shared start's, rounded to the dtype, and slots zero: to the bit."""
    state = adapter.state()
    expected = {name: it.astype(dtype) for name, it in start.weights.items()}
    worst = compare(state.weights, expected, dtype)
    zeros: Mapping[str, Array] = {
        name: np.zeros_like(it) for name, it in truth.state().slots.items()
    }
    if zeros or state.slots:
        worst = max(worst, compare(state.slots, zeros, dtype), key=lambda it: it.size)
    return worst


def findings(lock: LockStep, bounds: Bounds, excused: Mapping[Place, float]) -> tuple[Finding, ...]:
    """One a quantity: first those that failed, the earliest place of failure first.

    `excused` says what rounding alone can make at a place of excess.
    """
    excess = lock.excess(bounds)
    failed: dict[str, Place] = {}
    for (step, quantity), diff in excess.items():
        if diff.size > excused.get((step, quantity), 0.0):
            failed.setdefault(quantity, (step, quantity))
    passed = [it for it in dict.fromkeys(it for _, it in lock.found) if it not in failed]
    return (
        *(_failed(place, lock, bounds) for place in failed.values()),
        *(_passed(it, lock, excess, excused) for it in sorted(passed, key=QUANTITIES.index)),
    )


def _failed(place: Place, lock: LockStep, bounds: Bounds) -> Finding:
    """With all that was compared at that step: what is still right tells where to look."""
    step, quantity = place
    sizes = {name: it.size for (at, name), it in lock.found.items() if at == step}
    whole = ", ".join(f"{name} {_short(size)}" for name, size in sizes.items())
    limit = f"more than {limit_at(place, bounds):.0e}"
    return Finding(
        check=quantity, ok=False, detail=f"step {step}, {lock.found[place]}, {limit} ({whole})"
    )


def _short(size: float) -> str:
    return f"{size:.1e}" if size else "0"


def _passed(
    quantity: str,
    lock: LockStep,
    excess: Mapping[Place, Difference],
    excused: Mapping[Place, float],
) -> Finding:
    own = {it: diff for it, diff in lock.found.items() if it[1] == quantity}
    place, worst = max(own.items(), key=lambda it: it[1].size)
    detail = f"at most {worst.size:.1e} ({worst.tensor}, step {place[0]})"
    if place in excess:
        detail += f", where rounding alone makes up to {excused[place]:.1e}"
    return Finding(check=quantity, ok=True, detail=detail, by_rounding=place in excess)
