"""The core of a proof: two adapters in lock step, then how the examined one conducts itself.

`truth` is the reference in float64. Both get the same batches, in the order of the shared start,
epoch after epoch; every tensor of every step is compared while it is there, so that nothing is
written and nothing stale can be read.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.adapter import Adapter, Array, Options, Setting, State
from harness.certificates import Divergence, Finding, Tolerance
from harness.proof.compare import Difference, compare
from harness.proof.tolerances import limits
from harness.tasks.datasets import Arrays
from harness.tasks.spec import Task
from harness.tasks.start import Start

QUANTITIES = ("logits", "loss", "gradients", "weights", "slots")
"""What is compared at every step, in the order in which a fault shows first."""
STEP_FLOPS = 1e9
"""Floating-point operations of one compared step: larger batches are cut to fewer rows."""
FEWEST_ROWS = 32


@dataclass(frozen=True)
class Examination:
    """What was found; `divergence` has one entry a step, `rows` is the compared batches' size."""

    findings: tuple[Finding, ...]
    divergence: tuple[Divergence, ...]
    settings: dict[str, Setting]
    rows: int


def examine(
    adapter: Adapter,
    truth: Adapter,
    task: Task,
    start: Start,
    arrays: Arrays,
    options: Options,
    *,
    steps: int,
    tolerance: Tolerance,
) -> Examination:
    """Compare `adapter`, built with `options`, with `truth` over so many steps."""
    rows = rows_compared(task)
    lock = LockStep(adapter, truth, task, options, tolerance)
    lock.begin(start)
    for inputs, targets in itertools.islice(batches(task, start, arrays, rows), steps):
        if not lock.step(inputs, targets):
            break
    return Examination(lock.findings(), tuple(lock.divergence), adapter.settings(), rows)


def rows_compared(task: Task) -> int:
    """Rows of a compared batch: the task's own unless a step would cost more than STEP_FLOPS."""
    affordable = int(STEP_FLOPS / (6 * task.parameters))
    return min(task.batch, max(FEWEST_ROWS, affordable))


def batches(
    task: Task, start: Start, arrays: Arrays, rows: int
) -> Iterator[tuple[Array, Array]]:
    """Inputs and targets of every step, epoch after epoch without end."""
    for epoch in itertools.count():
        for chosen in start.epoch_order(epoch)[:, :rows]:
            yield arrays.x_train[chosen], arrays.y_train[chosen]


class LockStep:
    """Takes both adapters through the same steps and keeps what was worst and what failed first."""

    def __init__(
        self, adapter: Adapter, truth: Adapter, task: Task, options: Options, tolerance: Tolerance
    ) -> None:
        self._adapter, self._truth = adapter, truth
        self._dtype = options.dtype
        self._limits = limits(tolerance, options.dtype)  # type: ignore[arg-type]
        self._failed: dict[str, str] = {}
        self._worst: dict[str, tuple[Difference, int]] = {}
        self.divergence: list[Divergence] = []
        self._slots = bool(task.optimizer.slots)

    def begin(self, start: Start) -> None:
        """Weights must be the shared start's, in the cell's dtype, and slots zero."""
        state = self._adapter.state()
        expected = {name: it.astype(self._dtype) for name, it in start.weights.items()}
        self._judge("start", compare(state.weights, expected, self._dtype), 0, 0.0)
        if self._slots:
            zeros = {name: np.zeros_like(it) for name, it in self._truth.state().slots.items()}
            self._judge("start", compare(state.slots, zeros, self._dtype), 0, 0.0)

    def step(self, inputs: Array, targets: Array) -> bool:
        """One step of both; False where going on makes no sense."""
        number = len(self.divergence) + 1
        found = self._differences(*self._batch(inputs, targets))
        for quantity, difference in found.items():
            early = number == 1 and quantity in ("logits", "loss", "gradients")
            limit = self._limits.one_step if early else self._limits.trajectory
            self._judge(quantity, difference, number, limit)
        self.divergence.append(
            Divergence(step=number, **{name: _finite(it.size) for name, it in found.items()})
        )
        return not any(it.reason for it in found.values())

    def _batch(self, inputs: Array, targets: Array) -> tuple[Any, Any]:
        return self._adapter.stage(inputs, targets), self._truth.stage(inputs, targets)

    def _differences(self, ours: Any, theirs: Any) -> dict[str, Difference]:
        mine, true = observed(self._adapter, ours), observed(self._truth, theirs)
        return {
            quantity: compare(
                mine[quantity], true[quantity], None if quantity == "loss" else self._dtype
            )
            for quantity in QUANTITIES
            if quantity != "slots" or self._slots
        }

    def _judge(self, check: str, difference: Difference, step: int, limit: float) -> None:
        if check not in self._worst or difference.size > self._worst[check][0].size:
            self._worst[check] = (difference, step)
        if difference.size > limit and check not in self._failed:
            self._failed[check] = f"step {step}, {difference}, more than {limit:.0e}"

    def findings(self) -> tuple[Finding, ...]:
        return tuple(
            Finding(
                check=check,
                ok=check not in self._failed,
                detail=self._failed.get(check, f"at most {worst.size:.1e} ({worst.tensor}, step {step})"),
            )
            for check, (worst, step) in self._worst.items()
        )


def observed(adapter: Adapter, batch: Any) -> dict[str, dict[str, Array]]:
    """One step with everything that it shows."""
    before = {
        "logits": {"outputs": adapter.to_numpy(adapter.predict(batch))},
        "gradients": adapter.gradients(batch),
    }
    loss = adapter.to_numpy(adapter.train_step(batch))
    state = adapter.state()
    return before | {
        "loss": {"loss": loss.reshape(()) if loss.size == 1 else loss},
        "weights": state.weights,
        "slots": state.slots,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


__all__ = ["Examination", "State", "examine", "replace"]
