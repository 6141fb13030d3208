"""A multilayer perceptron and its training step, as pure functions of arrays.

All weights lie in one flat vector: layer by layer, the weight matrix (in, out), then the bias.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from impls.reference.instructions import Array, Xp
from impls.reference.losses import LOSSES
from impls.reference.optim import UpdateRule
from impls.reference.primitives import linear
from impls.reference.tensor import PRIMITIVES, Tensor, gradient, parameter


@dataclass(frozen=True)
class Network:
    """Dense layers of these widths, inputs to outputs; names as in `PRIMITIVES` and `LOSSES`.

    `output` is the activation after the last layer, or "identity".
    """

    widths: tuple[int, ...]
    activation: str
    output: str
    loss: str

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        for index, (fan_in, fan_out) in enumerate(zip(self.widths, self.widths[1:], strict=False)):
            shapes[f"layer{index}.weight"] = (fan_in, fan_out)
            shapes[f"layer{index}.bias"] = (fan_out,)
        return shapes

    def split(self, flat: Array) -> dict[str, Array]:
        """Views of a flat vector under the names and in the shapes of the weights."""
        views, start = {}, 0
        for name, shape in self.shapes.items():
            views[name] = flat[start : start + math.prod(shape)].reshape(shape)
            start += math.prod(shape)
        return views

    def forward(self, x: Tensor, weights: list[Tensor]) -> Tensor:
        """The outputs (rows, out) for inputs (rows, in) and the weights in their order."""
        last = len(weights) - 2
        for index in range(0, len(weights), 2):
            x = linear(x, weights[index], weights[index + 1])
            activation = self.activation if index < last else self.output
            if activation != "identity":
                x = PRIMITIVES[activation](x)
        return x

    def predict(self, xp: Xp, weights: Array, inputs: Array) -> dict[str, Array]:
        tensors = [Tensor(view, xp) for view in self.split(weights).values()]
        return {"outputs": self.forward(Tensor(inputs, xp), tensors).array}

    def gradients(self, xp: Xp, weights: Array, inputs: Array, targets: Array) -> dict[str, Array]:
        """The loss, its gradient as a flat vector, and the outputs that it is a loss of."""
        tensors = [parameter(view, xp) for view in self.split(weights).values()]
        outputs = self.forward(Tensor(inputs, xp), tensors)
        loss = LOSSES[self.loss](outputs, Tensor(targets, xp))
        packed = xp.pack(*gradient(loss, tensors))
        return {"loss": loss.array, "gradient": packed, "outputs": outputs.array}

    def train(
        self, rule: UpdateRule, xp: Xp, inputs: Array, targets: Array, **state: Array
    ) -> dict[str, Array]:
        """One whole step; `state` as `update` takes it. The loss is that before the step."""
        result = self.gradients(xp, state["weights"], inputs, targets)
        return {"loss": result["loss"], **update(rule, xp, result["gradient"], **state)}


def update(rule: UpdateRule, xp: Xp, gradient: Array, **state: Array) -> dict[str, Array]:
    """The next `weights` and slots; `state` holds the present ones, and the rule's scalars."""
    names = ("weights", *rule.slots)
    values = [state.pop(name) for name in names]
    updated = rule.update(xp, gradient, *values, **state)
    return dict(zip(names, updated, strict=True))
