"""Faults in the loop: what is fed, what is forgotten between steps, what is skipped."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from harness.adapter import Array, Options, State
from harness.proof.faults.fault import CANCER, Planted, fault
from harness.tasks.spec import Task
from harness.tasks.start import Start, make_start
from impls.reference import optim

# What is fed.


@fault("labels-shifted", "labels shifted by one", "loss")
class LabelsShifted(Planted):
    def stage(self, inputs: Array, targets: Array) -> Any:
        return super().stage(inputs, (targets + 1) % 10)


@fault("rows-apart", "each row with its neighbour's label", "loss")
class RowsApart(Planted):
    def stage(self, inputs: Array, targets: Array) -> Any:
        return super().stage(inputs, np.roll(targets, 1, axis=0))


@fault("inputs-rescaled", "inputs scaled once more", "logits")
class InputsRescaled(Planted):
    def stage(self, inputs: Array, targets: Array) -> Any:
        return super().stage(inputs / 16, targets)


@fault("last-row-dropped", "a batch without its last row", "loss", CANCER)
class RowDropped(Planted):
    def train_step(self, batch: Any) -> Any:
        return super().train_step(type(batch)(*(values[:-1] for values in batch)))


# Where it begins.


@fault("weights-anew", "weights initialised anew", "start")
class WeightsAnew(Planted):
    def __init__(self, task: Task, start: Start, options: Options) -> None:
        super().__init__(task, make_start(task, start.seed + 1), options)


@fault("weights-transposed", "square weights loaded and read back transposed", "logits")
class Transposed(Planted):
    def __init__(self, task: Task, start: Start, options: Options) -> None:
        super().__init__(task, replace(start, weights=turned(start.weights)), options)

    def gradients(self, batch: Any) -> dict[str, Array]:
        return turned(super().gradients(batch))

    def state(self) -> State:
        state = super().state()
        return State(turned(state.weights), turned(state.slots))


def turned(values: dict[str, Array]) -> dict[str, Array]:
    return {
        name: np.ascontiguousarray(it.T) if it.ndim == 2 and len(set(it.shape)) == 1 else it
        for name, it in values.items()
    }


# What happens between steps.


@fault("gradients-kept", "gradients not cleared between steps", "slots")
class GradientsKept(Planted):
    _sum: Any = 0.0

    def doctored(self, gradient: Array) -> Array:
        self._sum = self._sum + gradient
        return np.array(self._sum)

    def reset(self) -> None:
        super().reset()
        self._sum = 0.0


@fault("gradient-late", "every update uses the gradient of the step before", "slots")
class GradientLate(Planted):
    _late: Any = None

    def doctored(self, gradient: Array) -> Array:
        late, self._late = self._late, gradient
        return gradient if late is None else np.array(late)

    def reset(self) -> None:
        super().reset()
        self._late = None


@fault("gradient-clipped", "gradients clipped to ±0.01", "slots")
class GradientClipped(Planted):
    def doctored(self, gradient: Array) -> Array:
        return gradient.clip(-0.01, 0.01)


@fault("bias-frozen", "one bias never updated", "weights")
class BiasFrozen(Planted):
    def train_step(self, batch: Any) -> Any:
        bias = self.part("layer1.bias").copy()
        loss = super().train_step(batch)
        self.part("layer1.bias")[...] = bias
        return loss


@fault(
    "step-skipped",
    "every 50th step skipped",
    "slots",
    unseen="its first skip is the 50th step",
)
class StepSkipped(Planted):
    def train_step(self, batch: Any) -> Any:
        if self._steps % 50 == 49:
            self._steps += 1
            return self.loss(batch)
        return super().train_step(batch)


# What comes late.


class LateStep(optim.Adam):
    """Adam that changes after so many steps."""

    HONEST_STEPS = 150

    def scalars(self, step: int) -> dict[str, float]:
        scalars = super().scalars(step)
        if step > self.HONEST_STEPS:
            scalars |= self.late(step, scalars)
        return scalars

    def late(self, step: int, scalars: dict[str, float]) -> dict[str, float]:
        """What changes then; nothing of its own."""
        return {}


@fault("rate-late", "the learning rate halves after 150 steps", "whole training")
class RateLate(LateStep):
    def late(self, step: int, scalars: dict[str, float]) -> dict[str, float]:
        return {"rate": scalars["rate"] / 2}


@fault("count-saturates", "the step count ends at 100", "whole training")
class CountSaturates(LateStep):
    HONEST_STEPS = 100

    def late(self, step: int, scalars: dict[str, float]) -> dict[str, float]:
        return optim.Adam.scalars(self, self.HONEST_STEPS)
