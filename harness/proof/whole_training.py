"""The long proof: a training of the task in float64, compared with the reference's.

The losses are compared at every step, weights and slots at the ends of some epochs, and at the end
the outputs for the test rows, in the chunks in which a run asks for them.

How far two correct programs may drift apart over thousands of steps is derived, not guessed. In
float64 both round to 2⁻⁵³. Over the whole trainings of the catalogue (up to 9,375 steps) references
whose first weights differ by that much stay within 1e-11 of each other, so the limit of a short
trajectory holds for most trainings. Where a difference is above that limit, the reference is
trained again together with *shadows*. Their first weights differ by as much as the roundings of all
steps may add up to: √(n·k)·2⁻⁵³ for sums of n products and k steps. An adapter may differ by twice
as much as the shadows do by then. Where shadows differ by more than LOST, the training is chaotic
even in float64: from there on nothing is compared, and the proof says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from harness import differences
from harness.adapter import Adapter, Array, Idiom
from harness.cells import Lane
from harness.certificates import Finding, LongProof
from harness.differences import LIMITS, Difference, compare
from harness.proof.lockstep import FEWEST_ROWS, Truth, Yardstick, one_thread
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
"""The difference of shadows, of a tensor's scale, from which on float64 has no answer."""


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
        whole, of_row = planned_steps(task), train_flops(task) / task.batch
        steps = min(whole, self.steps)
        rows = min(task.batch, max(FEWEST_ROWS, int(self.flops / (steps * of_row))))
        steps = min(steps, int(self.flops / (rows * of_row)))
        return Length(steps, rows) if steps > differences.QUICK_STEPS or steps == whole else None


WHOLE = Reach(10_000, 4e11)
"""Every training of the catalogue to its end; of `mnist-wide` with batches of fewer rows."""
QUICK = Reach(1_000, 2e10)
"""Beyond the steps of a sample, and the whole training of a small task."""


def planned_steps(task: Task) -> int:
    return task.epochs * task.steps_per_epoch


class Drift(NamedTuple):
    """The difference from the reference after a step, in one quantity."""

    step: int
    quantity: str
    size: float
    detail: str = ""


class Portion(NamedTuple):
    """The rows of the batches of some steps, from step `first` (counted from 1) to step `last`.

    With `checked` weights and slots are compared after the last.
    """

    first: int
    last: int
    order: NDArray[np.int64]
    checked: bool


@dataclass
class LongTraining:
    """What is trained: the same for the adapter, the reference and its shadows."""

    yardstick: Yardstick
    arrays: Arrays
    length: Length
    lane: Lane

    @property
    def start(self) -> Start:
        return self.yardstick.start

    @property
    def task(self) -> Task:
        return self.start.task

    def portions(self) -> Iterator[Portion]:
        """The loop of the lane: a few batches at a time are staged, or an epoch is one call."""
        steps, step = self.task.steps_per_epoch, 0
        epochs = math.ceil(self.length.steps / steps)
        every = math.ceil(epochs / MOST_STATES)
        size = loops.batches_at_once(self.task) if self.lane == "identical" else steps
        for epoch in range(epochs):
            order = self.start.epoch_order(epoch)[: self.length.steps - step, : self.length.rows]
            ends = step + len(order)
            checked = epoch + 1 == epochs or (epoch + 1) % every == 0
            for first in range(0, len(order), size):
                rows = order[first : first + size]
                begin, step = step + 1, step + len(rows)
                yield Portion(begin, step, rows, checked and step == ends)

    def reference_losses(self, truth: Truth, portion: Portion) -> list[float]:
        """Train the reference, or a shadow; the losses of its steps."""
        with one_thread():
            return [
                float(truth.to_numpy(truth.train_step(batch)))
                for rows in portion.order
                for batch in loops.staged(truth, self.arrays, rows[None])
            ]

    def losses(self, adapter: Adapter, portion: Portion) -> list[float]:
        """Train the examined adapter; a loop of the framework's own returns no losses, since it
        may report a mean."""
        if self.lane == "idiomatic":
            idiom = cast(Idiom, adapter)
            loader = idiom.loader(self.arrays.x_train, self.arrays.y_train, portion.order)
            idiom.fit(loader, len(portion.order))
            return []
        batches = loops.staged(adapter, self.arrays, portion.order)
        handles = [adapter.train_step(batch) for batch in batches]
        adapter.synchronize()
        return [float(adapter.to_numpy(it)) for it in handles]


def loss_drifts(seen: Sequence[float], true: Sequence[float], first: int) -> list[Drift]:
    """Relative to the loss, or to SMALL_LOSS where it is less: rounding is that of the logits."""
    sizes = [
        abs(one - other) / max(abs(other), SMALL_LOSS)
        for one, other in zip(seen, true, strict=True)
    ]
    return [
        Drift(step, "loss", size if math.isfinite(size) else math.inf)
        for step, size in enumerate(sizes, first)
    ]


def state_drifts(adapter: Adapter, truth: Truth, step: int) -> list[Drift]:
    seen, true = adapter.state(), truth.state()
    drifts = [_drift(step, "weights", compare(seen.weights, true.weights, "float64"))]
    if seen.slots or true.slots:
        drifts.append(_drift(step, "slots", compare(seen.slots, true.slots, "float64")))
    return drifts


def output_drift(seen: Array, true: Array, step: int) -> Drift:
    return _drift(step, "outputs", compare({"outputs": seen}, {"outputs": true}, "float64"))


def _drift(step: int, quantity: str, difference: Difference) -> Drift:
    return Drift(step, quantity, difference.size, str(difference))


@dataclass
class Band:
    """How far shadows are from the reference; they are trained only as far as it is asked for."""

    course: LongTraining
    truth: Truth
    sizes: dict[str, float] = field(default_factory=dict)
    _shadows: list[Truth] = field(default_factory=list)
    _portions: Iterator[Portion] = field(default_factory=lambda: iter(()))
    _step: int = 0

    def up_to(self, step: int) -> None:
        """Train on, and keep the largest difference so far of every quantity in `sizes`."""
        if not self._shadows:
            rounding = math.sqrt(self.course.length.steps) * differences.FLOAT64_ROUNDING
            another = self.course.yardstick.another
            drawn = differences.shadows(another, self.course.start, rounding)
            self._shadows = list(islice(drawn, SHADOWS))
            self._portions = self.course.portions()
        while self._step < step:
            portion = next(self._portions)
            true = self.course.reference_losses(self.truth, portion)
            for shadow in self._shadows:
                seen = self.course.reference_losses(shadow, portion)
                keep_largest(self.sizes, loss_drifts(seen, true, portion.first))
                keep_largest(self.sizes, state_drifts(shadow, self.truth, portion.last))
            self._step = portion.last

    def with_outputs(self) -> None:
        with one_thread():
            true, *others = (
                loops.held_out(it, self.course.arrays) for it in (self.truth, *self._shadows)
            )
        keep_largest(self.sizes, [output_drift(it, true, self._step) for it in others])


def keep_largest(sizes: dict[str, float], drifts: Sequence[Drift]) -> None:
    for drift in drifts:
        sizes[drift.quantity] = max(sizes.get(drift.quantity, 0.0), drift.size)


@dataclass
class Judged:
    """Differences held to the limit, and above it to the band."""

    band: Band
    worst: dict[str, float] = field(default_factory=dict)
    failed: Drift | None = None
    bound: float = 0.0

    def lost(self, drifts: Sequence[Drift], step: int) -> str:
        """Judge the differences up to a step; why float64 has no answer there, if it has none."""
        limit = LIMITS["float64"].trajectory
        excess = [it for it in drifts if it.size > limit]
        if excess:
            self.band.up_to(step)
            if excess[0].quantity == "outputs":
                self.band.with_outputs()
            if max(self.band.sizes.values()) > LOST:
                return f"float64 itself has no answer: roundings grow above {LOST:g} by step {step}"
        for drift in excess:
            bound = max(limit, differences.MARGIN * self.band.sizes.get(drift.quantity, 0.0))
            if drift.size > bound:
                self.failed, self.bound = drift, bound
                break
        keep_largest(self.worst, drifts)
        return ""


def compare_trainings(adapter: Adapter, course: LongTraining) -> tuple[Finding, LongProof]:
    """Train both, and stop at the first difference that is more than two correct programs have."""
    truth = course.yardstick.truth
    judged = Judged(Band(course, course.yardstick.another(course.start)))
    why, step = "", 0
    adapter.reset()
    for portion in course.portions():
        true = course.reference_losses(truth, portion)
        if not all(map(math.isfinite, true)):
            why = f"the loss diverges in the reference too, before step {portion.last}"
            break
        seen = course.losses(adapter, portion)
        drifts = loss_drifts(seen, true, portion.first) if seen else []
        if portion.checked:
            drifts += state_drifts(adapter, truth, portion.last)
        why = judged.lost(drifts, portion.last)
        if why or judged.failed:
            break
        step = portion.last
    quality: dict[str, float] = {}
    if not (why or judged.failed):
        outputs = loops.held_out(adapter, course.arrays)
        with one_thread():
            expected = loops.held_out(truth, course.arrays)
        why = judged.lost([output_drift(outputs, expected, step)], step)
        if not (why or judged.failed):
            metric = METRICS[course.task.metric].function
            quality["quality"] = metric(outputs, course.arrays.y_test)
            quality["expected"] = metric(expected, course.arrays.y_test)
    proof = LongProof(
        steps=step,
        planned=planned_steps(course.task),
        rows=course.length.rows,
        worst=_finite(judged.worst),
        why=why,
        **_finite(quality),
    )
    return _finding(proof, judged), proof


def _finite(values: dict[str, float]) -> dict[str, float]:
    return {name: it for name, it in values.items() if math.isfinite(it)}


def _finding(proof: LongProof, judged: Judged) -> Finding:
    if drift := judged.failed:
        where = f"{drift.quantity} at step {drift.step} of {proof.planned}"
        by = f"{drift.size:.1e}" + (f" ({drift.detail})" if drift.detail else "")
        detail = f"in float64 the {where} differs by {by}, more than {judged.bound:.0e}"
        return Finding(check=CHECK, ok=False, detail=detail)
    sizes = ", ".join(f"{name} {size:.1e}" for name, size in proof.worst.items())
    detail = f"{proof.described}: {sizes or 'nothing compared'}"
    return Finding(check=CHECK, ok=True, detail=detail)
