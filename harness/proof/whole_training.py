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
from collections.abc import Iterator, Mapping, Sequence
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
from harness.proof import lockstep
from harness.proof.lockstep import FEWEST_ROWS, Oracle, Place, Truth, one_thread
from harness.tasks.costs import flops
from harness.tasks.datasets import Arrays
from harness.tasks.metrics import METRICS
from harness.tasks.spec import Task
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
        whole, of_row = planned_steps(task), flops(task, "train") / task.batch
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

    oracle: Oracle
    arrays: Arrays
    length: Length
    lane: Lane

    @property
    def task(self) -> Task:
        return self.oracle.start.task

    def portions(self) -> Iterator[Portion]:
        """The loop of the lane: a few batches at a time are staged, or an epoch is one call."""
        steps, step = self.task.steps_per_epoch, 0
        epochs = math.ceil(self.length.steps / steps)
        every = math.ceil(epochs / MOST_STATES)
        size = loops.batches_at_once(self.task) if self.lane == "identical" else steps
        for epoch in range(epochs):
            order = self.oracle.start.epoch_order(epoch)[
                : self.length.steps - step, : self.length.rows
            ]
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


def loss_differences(
    seen: Sequence[float], true: Sequence[float], first: int
) -> dict[Place, Difference]:
    """Relative to the loss, or to SMALL_LOSS where it is less: rounding is that of the logits."""
    places: dict[Place, Difference] = {}
    for step, (one, other) in enumerate(zip(seen, true, strict=True), first):
        size = abs(one - other) / max(abs(other), SMALL_LOSS)
        places[step, "loss"] = Difference(size if math.isfinite(size) else math.inf, "loss")
    return places


def output_differences(seen: Array, true: Array, step: int) -> dict[Place, Difference]:
    return {(step, "outputs"): compare({"outputs": seen}, {"outputs": true}, "float64")}


@dataclass
class Drift:
    """The differences of a training from the reference's.

    They are held to the limit, and above it to the differences of shadows, which are trained only
    as far as that is needed. `truth` is a reference of their own.
    """

    course: LongTraining
    truth: Truth
    worst: dict[str, float] = field(default_factory=dict)
    failed: str = ""
    _of_shadows: dict[str, float] = field(default_factory=dict)
    _shadows: list[Truth] = field(default_factory=list)
    _portions: Iterator[Portion] = field(default_factory=lambda: iter(()))
    _step: int = 0

    def lost(self, places: Mapping[Place, Difference], step: int) -> str:
        """Judge the differences up to a step; why float64 has no answer there, if it has none."""
        limit, sizes = LIMITS["float64"].trajectory, self._of_shadows
        excess = {place: it for place, it in places.items() if it.size > limit}
        if excess:
            self._train_shadows(step)
            if (step, "outputs") in excess:
                self._predict_with_shadows()
            if max(sizes.values()) > LOST:
                return f"float64 itself has no answer: roundings grow above {LOST:g} by step {step}"
        for (at, quantity), difference in excess.items():
            bound = max(limit, differences.MARGIN * sizes.get(quantity, 0.0))
            if difference.size > bound:
                where = f"{quantity} at step {at} of {planned_steps(self.course.task)}"
                by = f"{difference.size:.1e} ({difference}), more than {bound:.0e}"
                self.failed = f"in float64 the {where} differs by {by}"
                break
        keep_largest(self.worst, places)
        return ""

    def _train_shadows(self, step: int) -> None:
        """Up to a step; keep their largest difference so far of every quantity."""
        course, truth = self.course, self.truth
        if not self._shadows:
            rounding = math.sqrt(course.length.steps) * differences.FLOAT64_ROUNDING
            drawn = differences.shadows(course.oracle.another, course.oracle.start, rounding)
            self._shadows = list(islice(drawn, SHADOWS))
            self._portions = course.portions()
        while self._step < step:
            portion = next(self._portions)
            true = course.reference_losses(truth, portion)
            for shadow in self._shadows:
                seen = course.reference_losses(shadow, portion)
                keep_largest(self._of_shadows, loss_differences(seen, true, portion.first))
                states = lockstep.state_differences(
                    shadow.state(), truth.state(), portion.last, "float64"
                )
                keep_largest(self._of_shadows, states)
            self._step = portion.last

    def _predict_with_shadows(self) -> None:
        with one_thread():
            true = loops.held_out(self.truth, self.course.arrays)
            for shadow in self._shadows:
                outputs = loops.held_out(shadow, self.course.arrays)
                keep_largest(self._of_shadows, output_differences(outputs, true, self._step))


def keep_largest(sizes: dict[str, float], places: Mapping[Place, Difference]) -> None:
    """By quantity."""
    for (_, quantity), difference in places.items():
        sizes[quantity] = max(sizes.get(quantity, 0.0), difference.size)


def compare_trainings(adapter: Adapter, course: LongTraining) -> tuple[Finding, LongProof]:
    """Train both, and stop at the first difference that is more than two correct programs have."""
    truth = course.oracle.truth
    drift = Drift(course, course.oracle.another(course.oracle.start))
    why, step = "", 0
    adapter.reset()
    for portion in course.portions():
        true = course.reference_losses(truth, portion)
        if not all(map(math.isfinite, true)):
            why = f"the loss diverges in the reference too, before step {portion.last}"
            break
        seen = course.losses(adapter, portion)
        places = loss_differences(seen, true, portion.first) if seen else {}
        if portion.checked:
            state, expected = adapter.state(), truth.state()
            places |= lockstep.state_differences(state, expected, portion.last, "float64")
        why = drift.lost(places, portion.last)
        if why or drift.failed:
            break
        step = portion.last
    quality: dict[str, float] = {}
    if not (why or drift.failed):
        outputs = loops.held_out(adapter, course.arrays)
        with one_thread():
            true_outputs = loops.held_out(truth, course.arrays)
        why = drift.lost(output_differences(outputs, true_outputs, step), step)
        if not (why or drift.failed):
            metric = METRICS[course.task.metric].function
            quality["quality"] = metric(outputs, course.arrays.y_test)
            quality["expected"] = metric(true_outputs, course.arrays.y_test)
    proof = LongProof(
        steps=step,
        planned=planned_steps(course.task),
        rows=course.length.rows,
        worst=_finite(drift.worst),
        why=why,
        **_finite(quality),
    )
    sizes = ", ".join(f"{name} {size:.1e}" for name, size in proof.worst.items())
    passed = f"{proof.described}: {sizes or 'nothing compared'}"
    finding = Finding(check=CHECK, ok=not drift.failed, detail=drift.failed or passed)
    return finding, proof


def _finite(values: dict[str, float]) -> dict[str, float]:
    return {name: it for name, it in values.items() if math.isfinite(it)}
