"""One way to drive both lanes: a step, outputs, a burst, whatever loop makes them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
import threadpoolctl

from harness.adapter import Adapter, Array, Idiom, Options
from harness.cells import Lane


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


class Loop:
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


class OwnLoop:
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
    return Loop(adapter) if lane == "identical" else OwnLoop(cast("Idiom", adapter))


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
