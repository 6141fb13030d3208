"""Two adapters in lock step: the same batches, and every tensor of every step compared."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
import threadpoolctl

from harness.adapter import Adapter, Array, Idiom, Options, State
from harness.cells import Lane
from harness.certificates import Divergence, Finding
from harness.differences import Bounds, Difference, compare
from harness.tasks.start import Start

FEWEST_ROWS = 32
"""Rows of a compared batch at the least, where the task has as many."""


class Rows(NamedTuple):
    """A batch as NumPy arrays."""

    inputs: Array
    targets: Array


class Driver:
    """Works through batches in the loop of a lane.

    That is the harness's loop over staged batches, or the framework's over its own pipeline.
    """

    def __init__(self, adapter: Adapter, lane: Lane) -> None:
        self._adapter = adapter
        self._idiom = cast(Idiom, adapter) if lane == "idiomatic" else None

    def staged(self, batches: Sequence[Rows]) -> Any:
        """Batches of one size, ready for `train` and `predict`."""
        if self._idiom is None:
            return [self._adapter.stage(*batch) for batch in batches]
        inputs = np.concatenate([it.inputs for it in batches])
        targets = np.concatenate([it.targets for it in batches])
        order = np.arange(len(inputs), dtype=np.int64).reshape(len(batches), -1)
        return self._idiom.loader(inputs, targets, order)

    def train(self, staged: Any, steps: int) -> Any:
        """So many updates, from the first batch on and round again; a handle to the last loss."""
        if self._idiom is not None:
            return self._idiom.fit(staged, steps)
        return _repeated(self._adapter.train_step, staged, steps)

    def predict(self, staged: Any, steps: int) -> Any:
        """So many inference batches; a handle to the last outputs."""
        if self._idiom is not None:
            return self._idiom.infer(staged, steps)
        return _repeated(self._adapter.predict, staged, steps)


def _repeated(step: Callable[[Any], Any], batches: Sequence[Any], steps: int) -> Any:
    for number in range(steps):
        handle = step(batches[number % len(batches)])
    return handle


class Truth(Adapter, Protocol):
    """The reference's adapter in mode `eager`, which shows all values of a step at once."""

    def full_step(self, batch: Any) -> Mapping[str, Any]:
        """`outputs`, `loss` and `gradient` before the update, `weights` and every slot after it,
        all but the first two as flat vectors."""

    def views(self, flat: Any) -> dict[str, Array]:
        """The tensors in a flat vector, by the names of the weights."""


@dataclass(frozen=True)
class Oracle:
    """The reference in float64, at the shared start, for an adapter with these options.

    For an adapter that does not train, only outputs are compared.
    """

    truth: Truth
    start: Start
    options: Options
    trains: bool = True

    @property
    def dtype(self) -> str:
        """That of the adapter."""
        return self.options.dtype

    def another(self, start: Start, dtype: str = "float64") -> Truth:
        """One more reference with the same formulas."""
        eager = replace(self.options, mode="eager", device="cpu", dtype=dtype)
        return type(self.truth)(start.task, start, eager)


@functools.cache
def _libraries() -> threadpoolctl.ThreadpoolController:
    """The libraries of this process; called when it has loaded all that it uses."""
    return threadpoolctl.ThreadpoolController()


def one_thread() -> AbstractContextManager[Any]:
    """Keep NumPy on one thread: provers run side by side."""
    limited: AbstractContextManager[Any] = _libraries().limit(limits=1, user_api="blas")
    return limited


QUANTITIES = ("logits", "loss", "gradients", "slots", "weights")
"""What is compared at every step, in the order in which a step computes them: an optimizer moves
its slots first, and the weights by them."""
BEFORE_UPDATE = QUANTITIES[:3]

Values = dict[str, dict[str, Array]]
"""The tensors of a step by quantity; only `logits` where nothing is trained."""


def watched_step(adapter: Adapter, lane: Lane, batch: Rows, trains: bool = True) -> Values:
    """One update on a batch, with everything read back; values before the update are copies."""
    drive = Driver(adapter, lane)
    # Twice: a pipeline that loses its last batch shows where batches are counted, not here.
    staged = drive.staged([batch] if lane == "identical" else [batch, batch])
    outputs = adapter.to_numpy(drive.predict(staged, 1)).copy()
    if not trains:
        return {"logits": {"outputs": outputs}}
    gradients = copied(adapter.gradients(adapter.stage(*batch)))
    loss = scalar(adapter.to_numpy(drive.train(staged, 1)))
    state = adapter.state()
    return {
        "logits": {"outputs": outputs},
        "loss": {"loss": loss},
        "gradients": gradients,
        "slots": state.slots,
        "weights": state.weights,
    }


def true_step(truth: Truth, batch: Rows, trains: bool = True) -> Values:
    """What `watched_step` shows, in a third of the time, and valid until the next step.

    The proof of the reference's own modes shows that outputs, gradients and step belong together.
    """
    staged = truth.stage(*batch)
    if not trains:
        return {"logits": {"outputs": truth.to_numpy(truth.predict(staged))}}
    values = dict(truth.full_step(staged))
    outputs, loss = values.pop("outputs"), scalar(values.pop("loss"))
    tensors = {name: truth.views(flat) for name, flat in values.items()}
    gradients, weights = tensors.pop("gradient"), tensors.pop("weights")
    slots = {f"{slot}/{name}": it for slot, its in tensors.items() for name, it in its.items()}
    return {
        "logits": {"outputs": outputs},
        "loss": {"loss": loss},
        "gradients": gradients,
        "slots": slots,
        "weights": weights,
    }


def copied(values: Mapping[str, Array]) -> dict[str, Array]:
    return {name: it.copy() for name, it in values.items()}


def scalar(values: Array) -> Array:
    """A single number in any shape as a tensor of no dimension; anything else as it is."""
    return values.reshape(()) if values.size == 1 else values


def differences(seen: Values, true: Values, dtype: str) -> dict[str, Difference]:
    """By quantity; of slots only where the task's optimizer or the framework's has any.

    A loop of the framework may report its loss as a plain number, of any dtype.
    """
    return {
        quantity: compare(seen[quantity], true[quantity], None if quantity == "loss" else dtype)
        for quantity in QUANTITIES
        if quantity in true and (quantity != "slots" or true["slots"] or seen["slots"])
    }


Place = tuple[int, str]
"""A step, counted from 1, and a quantity."""


def state_differences(
    state: State, expected: State, step: int, dtype: str
) -> dict[Place, Difference]:
    """Of weights and slots after a step."""
    places: dict[Place, Difference] = {}
    if expected.slots or state.slots:
        places[step, "slots"] = compare(state.slots, expected.slots, dtype)
    places[step, "weights"] = compare(state.weights, expected.weights, dtype)
    return places


@dataclass
class LockStep:
    """The differences at every place; of the examined adapter the losses, and its `states` after
    the steps that were asked for.

    `rounded` are the differences of the reference itself where it computes in float32 too.
    """

    divergence: list[Divergence] = field(default_factory=list)
    differences: dict[Place, Difference] = field(default_factory=dict)
    rounded: dict[Place, Difference] = field(default_factory=dict)
    states: dict[int, State] = field(default_factory=dict)
    losses: list[Array] = field(default_factory=list)

    def excess(self, bounds: Bounds) -> dict[Place, Difference]:
        """Every place where the difference is more than its limit, the earliest first."""
        return above(self.differences, bounds)

    def up_to(self, step: int) -> LockStep:
        """Without the differences after a step."""
        kept = {place: it for place, it in self.differences.items() if place[0] <= step}
        return replace(self, divergence=self.divergence[:step], differences=kept)


def above(places: Mapping[Place, Difference], bounds: Bounds) -> dict[Place, Difference]:
    return {place: it for place, it in places.items() if it.size > limit_at(place, bounds)}


def limit_at(place: Place, bounds: Bounds) -> float:
    step, quantity = place
    early = step == 1 and quantity in BEFORE_UPDATE
    return bounds.one_step if early else bounds.trajectory


def run(
    adapter: Adapter,
    oracle: Oracle,
    lane: Lane,
    batches: Sequence[Rows],
    keep: Collection[int] = (),
) -> LockStep:
    """Take both through the batches; stop early only where nothing can be compared any more.

    `keep` names the steps after which the examined adapter's state is kept.
    """
    lock, dtype, trains = LockStep(), oracle.dtype, oracle.trains
    rounded = None
    if trains and dtype == "float32":
        rounded = oracle.another(oracle.start, dtype)
    for step, batch in enumerate(batches, 1):
        seen = watched_step(adapter, lane, batch, trains)
        with one_thread():
            true = true_step(oracle.truth, batch, trains)
            if rounded:
                of_reference = differences(true_step(rounded, batch), true, dtype)
                lock.rounded |= {(step, quantity): it for quantity, it in of_reference.items()}
        here = differences(seen, true, dtype)
        lock.differences |= {(step, quantity): it for quantity, it in here.items()}
        sizes = {name: it.size if math.isfinite(it.size) else None for name, it in here.items()}
        lock.divergence.append(Divergence(step=step, **sizes))
        if trains:
            lock.losses.append(seen["loss"]["loss"].copy())
            if step in keep:
                lock.states[step] = State(copied(seen["weights"]), copied(seen["slots"]))
        if any(it.reason for it in here.values()):
            break
    return lock


def at_the_start(adapter: Adapter, oracle: Oracle) -> Difference:
    """Weights must be the shared start's, rounded to the dtype, and slots zero: to the bit."""
    state, dtype = adapter.state(), oracle.dtype
    expected = {name: it.astype(dtype) for name, it in oracle.start.weights.items()}
    worst = compare(state.weights, expected, dtype)
    zeros = {name: np.zeros_like(it) for name, it in oracle.truth.state().slots.items()}
    if zeros or state.slots:
        worst = max(worst, compare(state.slots, zeros, dtype), key=lambda it: it.size)
    return worst


def findings(lock: LockStep, bounds: Bounds, excused: Mapping[Place, float]) -> list[Finding]:
    """One finding for each quantity: first those that failed, in the order of their first place.

    `excused` is the largest difference that rounding alone makes at a place of excess.
    """
    excess = lock.excess(bounds)
    failed: dict[str, Place] = {}
    for place, difference in excess.items():
        if difference.size > excused.get(place, 0.0):
            failed.setdefault(place[1], place)
    compared = {quantity for _, quantity in lock.differences} - failed.keys()
    return [
        *(_failed(place, lock, bounds) for place in failed.values()),
        *(_passed(it, lock, excess, excused) for it in sorted(compared, key=QUANTITIES.index)),
    ]


def _failed(place: Place, lock: LockStep, bounds: Bounds) -> Finding:
    """With all that was compared at that step: what is still right tells where to look."""
    step, quantity = place
    sizes = ", ".join(
        f"{name} {it.size:.1e}" if it.size else f"{name} 0"
        for (at, name), it in lock.differences.items()
        if at == step
    )
    limit = f"more than {limit_at(place, bounds):.0e}"
    detail = f"step {step}, {lock.differences[place]}, {limit} ({sizes})"
    return Finding(check=quantity, ok=False, detail=detail)


def _passed(
    quantity: str,
    lock: LockStep,
    excess: Mapping[Place, Difference],
    excused: Mapping[Place, float],
) -> Finding:
    places = [it for it in lock.differences if it[1] == quantity]
    place = max(places, key=lambda it: lock.differences[it].size)
    worst = lock.differences[place]
    detail = f"at most {worst.size:.1e} ({worst.tensor}, step {place[0]})"
    if place in excess:
        detail += f", where rounding alone makes up to {excused[place]:.1e}"
    return Finding(check=quantity, ok=True, detail=detail, by_rounding=place in excess)
