"""A user's program as plain values: its layers, loss and optimizer, and what one step shows.

`impls/<framework>/program.py` reads a user's objects into these. Weights have canonical names and
shapes: `layer0.weight` (in, out), `layer0.bias`, and `layer1.scale`, `layer1.offset` of a
normalisation; layers are counted from 0, only those that hold weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray
from pydantic import Field

from harness.errors import HarnessError
from harness.tasks.data_files import MAX_BYTES
from harness.tasks.spec import Frozen, Kind

Option = str | int | float | bool | None
Options = dict[str, Option]
Array = NDArray[Any]


class Unreadable(HarnessError):
    """A user's program that cannot be read; the line says which part, and why."""


def refuse_large(size: int) -> None:
    """Raise Unreadable for a file that holds or unpacks to too many bytes."""
    if size > MAX_BYTES:
        raise Unreadable(f"it holds {size:,} bytes; at most {MAX_BYTES:,}")


class LayerFacts(Frozen):
    """One layer. `kind` is `dense` (inputs, outputs, bias), an activation, `dropout` (rate),
    `layer-norm` (epsilon), `batch-norm` (epsilon, momentum: the share of the new batch), `scale`
    (factor, offset), `flatten`, or `other`. `shown` is what the user wrote, such as `Dropout(0.5)`.
    """

    kind: str
    shown: str
    options: Mapping[str, Option] = Field(default_factory=dict)

    def number(self, option: str) -> float:
        """The value of an option; 0 where it has none that is a number."""
        value = self.options.get(option)
        return value if isinstance(value, int | float) else 0.0


class LossFacts(Frozen):
    """`name` is one of `harness.tasks.spec.Loss`, `nll` (of log-probabilities),
    `binary-cross-entropy-of-probabilities`, or `other`."""

    name: str
    shown: str
    reduction: str = "mean"
    smoothing: float = 0.0

    @property
    def kind(self) -> Kind | None:
        """What its targets are; None if the loss does not show it."""
        if self.name in ("cross-entropy", "nll", "cross-entropy-of-probabilities"):
            return "classes"
        if self.name.startswith("binary"):
            return "binary"
        return "real" if self.name == "mse" else None


class OptimizerFacts(Frozen):
    """`name` is that of a task's optimizer, or `other`. Options have a task's names, and those that
    no task has: `epsilon_place`, `decay`, `dampening`, `amsgrad`, `centered`, `clip_norm`,
    `clip_value`, `constants`. `strange` says in words what else is set."""

    name: str
    shown: str
    options: Mapping[str, Option] = Field(default_factory=dict)
    strange: str = ""


class Description(Frozen):
    """What was read of a program. `ordered` is False for layers of a module whose code decides how
    they are used. `initializers` are those of dense layers, empty texts where unknown; `frozen` are
    the weights that the optimizer does not update."""

    framework: str
    layers: tuple[LayerFacts, ...]
    ordered: bool = True
    loss: LossFacts | None = None
    optimizer: OptimizerFacts | None = None
    initializers: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    batch_size: int | None = None
    epochs: int | None = None
    shuffle: bool | None = None


@dataclass(frozen=True)
class Parts:
    """A user's objects. `train_step(model, loss, optimizer, inputs, targets)` is their own update,
    where they have one; `prepare(inputs, targets)` their own preparation of NumPy arrays."""

    model: Any
    loss: Any = None
    optimizer: Any = None
    train_step: Callable[..., Any] | None = None
    prepare: Callable[..., Any] | None = None
    schedule: Mapping[str, Any] = field(default_factory=dict)


class ShownStep(NamedTuple):
    """What one update shows: three before it, two after it. `logits` are the model's outputs in
    training; `slots` are those that belong to one tensor each."""

    logits: Array
    loss: float
    gradients: dict[str, Array]
    weights: dict[str, Array]
    slots: dict[str, Array]


class UserProgram(Protocol):
    """A user's program in one framework, in float64. Raises Unreadable where it cannot be read."""

    def __init__(self, parts: Parts) -> None: ...

    def description(self) -> Description: ...

    def weights(self) -> dict[str, Array]: ...

    def load(self, weights: Mapping[str, Array]) -> None:
        """Take over weights by name, and set every slot and step count to zero."""

    def step(self, inputs: Array, targets: Array) -> ShownStep:
        """One update, with everything read back. Targets are as `Adapter.stage` has them."""

    def update(self, inputs: Array, targets: Array) -> None:
        """One update, unseen."""

    def predict(self, inputs: Array) -> Array:
        """The model's outputs as in inference."""

    def without_dropout(self) -> None:
        """From now on, nothing is dropped."""


Attributes = Mapping[type, Mapping[str, str]]
"""By type of layer, the attributes that hold its weights, with their canonical names."""


def holding(layers: Iterable[Any], attributes: Attributes) -> list[Any]:
    """The layers that hold weights; their places are the numbers of layers."""
    return [
        layer
        for layer in layers
        if any(getattr(layer, it, None) is not None for it in attributes.get(type(layer), {}))
    ]


def canonical_names(layers: Iterable[Any], attributes: Attributes) -> dict[str, Any]:
    """The weights of such layers by name: `layer0.weight`, `layer0.bias`, …"""
    return {
        f"layer{index}.{part}": weight
        for index, layer in enumerate(layers)
        for attribute, part in attributes[type(layer)].items()
        if (weight := getattr(layer, attribute, None)) is not None
    }


class Described:
    """A model that is known by its description and weights alone."""

    def __init__(self, description: Description, weights: Mapping[str, Array]) -> None:
        self._description, self._weights = description, dict(weights)

    def description(self) -> Description:
        return self._description

    def weights(self) -> dict[str, Array]:
        return self._weights

    def _never(self, *_: Any) -> Any:
        raise Unreadable("this file holds a model without a loss and an optimizer; import it only")

    load = step = update = predict = without_dropout = _never
