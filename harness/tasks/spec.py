"""`Task`: what is run, defined so exactly that every framework computes the same thing."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import Field, model_validator

from harness.tasks.data import Data
from harness.tasks.frozen import Frozen
from harness.tasks.optimizers import Optimizer

DIGEST_VERSION = 1
"""Raised when the meaning of a field changes, so that old digests no longer match."""

Activation = Literal["relu", "tanh", "sigmoid", "gelu"]
"""`gelu` is the exact one, x·Φ(x) (Hendrycks & Gimpel 2016), not its tanh approximation."""

Initializer = Literal["glorot-uniform", "he-uniform", "fan-in-uniform"]
"""Weights are drawn from U(−a, a):

`glorot-uniform`  a = √(6 / (in + out)), biases 0   (Glorot & Bengio 2010)
`he-uniform`      a = √(6 / in), biases 0           (He et al. 2015)
`fan-in-uniform`  a = 1 / √in, biases from the same interval  (PyTorch's stock start)
"""

Loss = Literal["cross-entropy", "cross-entropy-of-probabilities", "mse", "binary-cross-entropy"]
"""The scalar that is minimised; always a mean over the batch.

`cross-entropy`                   −log softmax(z)[y], from logits z
`cross-entropy-of-probabilities`  −log clip(p, 1e-7, 1 − 1e-7)[y], from probabilities p
`mse`                             mean over the batch and the outputs of (z − y)²
`binary-cross-entropy`            softplus(z) − y·z, from one logit z and y in {0, 1}
"""

PROBABILITY_FLOOR = 1e-7
"""Where `cross-entropy-of-probabilities` clips; its gradient is zero outside."""

Metric = Literal["accuracy", "mse"]
Width = Annotated[int, Field(ge=1, le=65_536)]
MAX_PARAMETERS = 2_000_000_000


class Model(Frozen):
    """A multilayer perceptron: dense layers x·W + b, an activation after each hidden one."""

    hidden: Annotated[tuple[Width, ...], Field(max_length=1000)]
    activation: Activation = "relu"
    output: Literal["identity", "softmax"] = "identity"
    initializer: Initializer = "glorot-uniform"


class Task(Frozen):
    """Data set + model + loss + optimizer + batch size + budget + quality target."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._\-\[\]=,]*$", max_length=120)]
    probes: Annotated[str, Field(max_length=300)] = ""
    data: Data
    model: Model
    loss: Loss
    optimizer: Optimizer
    batch_size: Annotated[int, Field(ge=1, le=10_000_000)] | Literal["full"]
    shuffle: bool = True
    epochs: Annotated[int, Field(ge=1, le=100_000)]
    target: float | None = None

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Task:
        kind = self.data.shape.kind
        fitting = {
            "classes": ("cross-entropy", "cross-entropy-of-probabilities"),
            "binary": ("binary-cross-entropy",),
            "real": ("mse",),
        }[kind]
        if self.loss not in fitting:
            raise ValueError(
                f"loss: {self.loss!r} does not fit targets of kind {kind!r}; "
                f"use {' or '.join(fitting)}"
            )
        if self.loss == "cross-entropy-of-probabilities" and self.model.output != "softmax":
            raise ValueError(f"loss: {self.loss!r} needs model.output = 'softmax'")
        rows = self.data.shape.train
        if self.batch > rows:
            raise ValueError(f"batch_size: {self.batch} is more than the {rows} training examples")
        if self.parameters > MAX_PARAMETERS:
            raise ValueError(f"model: {self.parameters:,} parameters; at most {MAX_PARAMETERS:,}")
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Layer widths from inputs to outputs, e.g. (784, 64, 64, 10)."""
        shape = self.data.shape
        return (shape.features, *self.model.hidden, shape.outputs)

    @property
    def layers(self) -> tuple[tuple[int, int], ...]:
        """(in, out) of every dense layer."""
        return tuple(zip(self.widths[:-1], self.widths[1:], strict=True))

    @property
    def parameters(self) -> int:
        return sum((fan_in + 1) * fan_out for fan_in, fan_out in self.layers)

    @property
    def batch(self) -> int:
        """Examples per step."""
        return self.data.shape.train if self.batch_size == "full" else self.batch_size

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches only: what is left over sits out the epoch, other rows each time."""
        return self.data.shape.train // self.batch

    @property
    def metric(self) -> Metric:
        return "mse" if self.loss == "mse" else "accuracy"

    @property
    def digest(self) -> str:
        """16 hex digits over everything that defines the mathematics; names do not count."""
        content = self.model_dump(mode="json", exclude={"name", "probes"})
        text = json.dumps([DIGEST_VERSION, content], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def reached(self, value: float) -> bool:
        """Whether a metric's value meets the task's target; False where there is no target."""
        if self.target is None:
            return False
        return value <= self.target if self.metric == "mse" else value >= self.target
