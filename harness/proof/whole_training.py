"""The long proof: a training of the task in float64, beside the reference, as a run trains.

The losses are compared at every step, weights and slots at the ends of some epochs, and at the end
the outputs for the test rows, in the chunks in which a run asks for them.

How far two correct programs may drift apart over thousands of steps is derived, not guessed. In
float64 both round to 2⁻⁵³. Over the whole trainings of the catalogue (up to 9,375 steps) references
whose first weights differ by that much stay within 1e-11 of each other, so the limit of a short
trajectory holds for most trainings. Where a difference is above that limit, the reference is
trained again beside *shadows*. Their first weights differ by as much as the roundings of all steps
may add up to: √(n·k)·2⁻⁵³ for sums of n products and k steps. An adapter may differ by twice as
much as the shadows do by then. Where shadows differ by more than LOST, the training is chaotic even
in float64: from there on nothing is compared, and the proof says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from harness.adapter import Adapter, Array, Idiom, Options
from harness.cells import Lane
from harness.certificates import Finding, LongProof, Tolerance
from harness.differences import FLOAT64_ROUNDING, QUICK_STEPS, compare, limits
from harness.proof.lockstep import FEWEST_ROWS, Truth, in_float64, one_thread
from harness.proof.rounding import MARGIN, shadows
from harness.tasks.costs import train_flops
from harness.tasks.datasets import Arrays
from harness.tasks.metrics import METRICS
from harness.tasks.spec import Task
from harness.tasks.start import Start
from harness.worker import loops
from harness.worker.measure import SMALL_LOSS

CHECK = "whole training"
MOST_STATES = 20
"""Ends of epochs at which weights and slots are compared; the last one is always among them."""
SHADOWS = 4
"""A unit at its kink takes the other side in half of them; in float64 hardly any ever is."""
LOST = 1e-3
"""Of a tensor's scale: what shadows differ by where float64 has no answer any more."""


class Length(NamedTuple):
    """So many steps of a training, with so many rows a batch."""

    steps: int
    rows: int


@dataclass(frozen=True)
class Reach:
    """What a long proof may cost at the most, in steps and in floating-point operations."""

    steps: int
    flops: float

    def of(self, task: Task) -> Length | None:
        """How far the training of a task is compared: batches lose rows before steps are left out.

        None where that is no further than every proof goes.
        """
        whole, of_row = task.epochs * task.steps_per_epoch, train_flops(task) / task.batch
        steps = min(whole, self.steps)
        rows = min(task.batch, max(FEWEST_ROWS, int(self.flops / (steps * of_row))))
        steps = min(steps, int(self.flops / (rows * of_row)))
        return Length(steps, rows) if steps > QUICK_STEPS or steps == whole else None


WHOLE = Reach(10_000, 4e11)
"""Every training of the catalogue to its end; of `mnist-wide` with batches of fewer rows."""
QUICK = Reach(1_000, 2e10)
"""Beyond the steps of a sample, and the whole training of a small task."""


class Drift(NamedTuple):
    """From the reference after a step, in one quantity."""

    step: int
    quantity: str
    size: float
    detail: str = ""


class Portion(NamedTuple):
    """Rows of the batches of some steps, `first` counted from 1. `checked` says whether weights
    and slots are compared after the last."""

    first: int
    order: NDArray[np.int64]
    checked: bool

    @property
    def last(self) -> int:
        return self.first + len(self.order) - 1


@dataclass
class LongTraining:
    """What is trained: the same for the adapter, the reference and its shadows."""

    task: Task
    start: Start
    arrays: Arrays
    length: Length
    lane: Lane

    def portions(self) -> Iterator[Portion]:
        """The loop of the lane: a few batches at a time are staged, or an epoch is one call."""
        steps, step = self.task.steps_per_epoch, 0
        epochs = math.ceil(self.length.steps / steps)
        every = math.ceil(epochs / MOST_STATES)
        size = loops.batches_at_once(self.task) if self.lane == "identical" else steps
        for epoch in range(epochs):
            order = self.start.epoch_order(epoch)[: self.length.steps - step, : self.length.rows]
            for first in range(0, len(order), size):
                some = order[first : first + size]
                ends = first + len(some) == len(order)
                checked = ends and (epoch + 1 == epochs or (epoch + 1) % every == 0)
                yield Portion(step + first + 1, some, checked)
            step += len(order)

    def losses(self, truth: Truth, portion: Portion) -> list[float]:
        """Those of the reference's steps."""
        with one_thread():
            return [
                float(truth.to_numpy(truth.train_step(batch)))
                for rows in portion.order
                for batch in loops.staged(truth, self.arrays, rows[None])
            ]

    def trained(self, adapter: Adapter, portion: Portion) -> list[float]:
        """The same of the examined adapter; none of a loop of its own, which may report a mean."""
        if self.lane == "idiomatic":
            idiom = cast(Idiom, adapter)
            loader = idiom.loader(self.arrays.x_train, self.arrays.y_train, portion.order)
            idiom.fit(loader, len(portion.order))
            return []
        handles = [
            adapter.train_step(batch) for batch in loops.staged(adapter, self.arrays, portion.order)
        ]
        adapter.synchronize()
        return [float(adapter.to_numpy(it)) for it in handles]

    def outputs(self, adapter: Adapter) -> Array:
        """For all test rows, as a run asks for them."""
        return np.concatenate(
            [
                adapter.to_numpy(adapter.predict(batch))
                for batch in loops.held_out_batches(adapter, self.arrays)
            ]
        )

    def quality(self, outputs: Array) -> float:
        return METRICS[self.task.metric].function(outputs, self.arrays.y_test)


@dataclass
class Shadows:
    """How far shadows of the reference are from it; trained only as far as it is asked for."""

    course: LongTraining
    truth: Truth
    options: Options
    made: dict[str, float] = field(default_factory=dict)
    _shadows: list[Truth] = field(default_factory=list)
    _portions: Iterator[Portion] = field(default_factory=lambda: iter(()))
    _step: int = 0

    def up_to(self, step: int) -> None:
        """Train on, and keep in `made` the largest difference so far of every quantity."""
        if not self._shadows:
            roundings = math.sqrt(self.course.length.steps) * FLOAT64_ROUNDING
            kind = type(self.truth)
            drawn = shadows(kind, self.course.start, self.options, roundings)
            self._shadows = list(islice(drawn, SHADOWS))
            self.truth.reset()
            self._portions = self.course.portions()
        while self._step < step:
            portion = next(self._portions)
            true = self.course.losses(self.truth, portion)
            for shadow in self._shadows:
                seen = self.course.losses(shadow, portion)
                self._keep(of_losses(seen, true, portion))
                self._keep(of_state(shadow, self.truth, portion.last))
            self._step = portion.last

    def with_outputs(self) -> None:
        with one_thread():
            true = self.course.outputs(self.truth)
            for shadow in self._shadows:
                self._keep([of_outputs(self.course.outputs(shadow), true, self._step)])

    def _keep(self, found: Sequence[Drift]) -> None:
        for it in found:
            self.made[it.quantity] = max(self.made.get(it.quantity, 0.0), it.size)


def of_losses(seen: Sequence[float], true: Sequence[float], portion: Portion) -> list[Drift]:
    """Relative to the loss, or to SMALL_LOSS where it is less: rounding is that of the logits."""
    return [
        Drift(step, "loss", size if math.isfinite(size := _relative(*pair)) else math.inf)
        for step, pair in enumerate(zip(seen, true, strict=True), portion.first)
    ]


def _relative(seen: float, true: float) -> float:
    return abs(seen - true) / max(abs(true), SMALL_LOSS)


def of_state(adapter: Adapter, truth: Truth, step: int) -> list[Drift]:
    mine, theirs = adapter.state(), truth.state()
    found = {"weights": compare(mine.weights, theirs.weights, "float64")}
    if mine.slots or theirs.slots:
        found["slots"] = compare(mine.slots, theirs.slots, "float64")
    return [Drift(step, name, it.size, str(it)) for name, it in found.items()]


def of_outputs(seen: Array, true: Array, step: int) -> Drift:
    found = compare({"outputs": seen}, {"outputs": true}, "float64")
    return Drift(step, "outputs", found.size, str(found))


def train_beside(
    adapter: Adapter,
    truth: Truth,
    course: LongTraining,
    options: Options,
    tolerance: Tolerance,
) -> tuple[Finding, LongProof]:
    """Train both, and stop at the first difference that is more than two correct programs have."""
    judged = Judged(Shadows(course, _again(truth, course.start, options), options), tolerance)
    planned = course.task.epochs * course.task.steps_per_epoch
    why, step = "", 0
    adapter.reset()
    for portion in course.portions():
        true = course.losses(truth, portion)
        if not all(map(math.isfinite, true)):
            why = f"the loss diverges in the reference too, before step {portion.last}"
            break
        # A loop of its own tells no losses.
        found = of_losses(seen, true, portion) if (seen := course.trained(adapter, portion)) else []
        if portion.checked:
            found += of_state(adapter, truth, portion.last)
        if why := judged.lost(found, portion.last):
            break
        if judged.failed:
            break
        step = portion.last
    proof = LongProof(steps=step, planned=planned, rows=course.length.rows, why=why)
    if not (why or judged.failed):
        proof = _with_outputs(proof, judged, adapter, truth, course)
    proof = proof.model_copy(update={"worst": judged.finite})
    return _finding(proof, judged), proof


def _again(truth: Truth, start: Start, options: Options) -> Truth:
    return type(truth)(start.task, start, in_float64(options))


@dataclass
class Judged:
    """Differences held to the limit, and above it to the band."""

    band: Shadows
    tolerance: Tolerance
    worst: dict[str, float] = field(default_factory=dict)
    failed: Drift | None = None
    bound: float = 0.0

    def lost(self, found: Sequence[Drift], step: int) -> str:
        """Judge what was found up to a step; why float64 has no answer there, if it has none."""
        limit = limits(self.tolerance, "float64").trajectory
        excess = [it for it in found if it.size > limit]
        if excess:
            self.band.up_to(step)
            if excess[0].quantity == "outputs":
                self.band.with_outputs()
            if max(self.band.made.values()) > LOST:
                return f"float64 itself has no answer: roundings grow above {LOST:g} by step {step}"
        for it in excess:
            bound = max(limit, MARGIN * self.band.made.get(it.quantity, 0.0))
            if it.size > bound:
                self.failed, self.bound = it, bound
                break
        for it in found:
            self.worst[it.quantity] = max(self.worst.get(it.quantity, 0.0), it.size)
        return ""

    @property
    def finite(self) -> dict[str, float]:
        return {name: it for name, it in self.worst.items() if math.isfinite(it)}


def _with_outputs(
    proof: LongProof, judged: Judged, adapter: Adapter, truth: Truth, course: LongTraining
) -> LongProof:
    """With the outputs for the test rows compared, and the quality that they have."""
    outputs = course.outputs(adapter)
    with one_thread():
        true = course.outputs(truth)
    why = judged.lost([of_outputs(outputs, true, proof.steps)], proof.steps)
    if why or judged.failed:
        return proof.model_copy(update={"why": why})
    quality = {"quality": course.quality(outputs), "expected": course.quality(true)}
    finite = {name: it for name, it in quality.items() if math.isfinite(it)}
    return proof.model_copy(update=finite)


def _finding(proof: LongProof, judged: Judged) -> Finding:
    if it := judged.failed:
        where = f"{it.quantity} at step {it.step} of {proof.planned}"
        by = f"{it.size:.1e}" + (f" ({it.detail})" if it.detail else "")
        detail = f"in float64 the {where} differs by {by}, more than {judged.bound:.0e}"
        return Finding(check=CHECK, ok=False, detail=detail)
    sizes = ", ".join(f"{name} {size:.1e}" for name, size in proof.worst.items())
    detail = f"{proof.described}: {sizes or 'nothing compared'}"
    return Finding(check=CHECK, ok=True, detail=detail)
