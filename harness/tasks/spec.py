"""`Task`: what is run, defined so exactly that every framework computes the same thing.

Notation of the optimizers: w weights, g gradient of the loss, lr learning rate, t the step counted
from 1; every slot starts at zero. A framework whose stock optimizer differs from these formulas
must be made to match. Sizes of data sets are known without reading a file, so that a task can be
validated and planned where its data are absent.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness.tasks.metrics import METRICS, metric_of


class Frozen(BaseModel):
    """A validated, immutable value; unknown fields, NaN and infinities are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


LearningRate = Annotated[float, Field(gt=0, le=1000)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Epsilon = Annotated[float, Field(gt=0, le=1)]


class SGD(Frozen):
    """Stochastic gradient descent, with Polyak's (1964) or Nesterov's (1983) momentum μ.

    Plain:     w ← w − lr·g
    Momentum:  v ← μ·v + g,  w ← w − lr·v
    Nesterov:  v ← μ·v + g,  w ← w − lr·(g + μ·v)   (Sutskever et al. 2013, in Bengio's form)

    Slot: `velocity`, only where μ > 0.
    """

    name: Literal["sgd"] = "sgd"
    learning_rate: LearningRate = 0.01
    momentum: Decay = 0.0
    nesterov: bool = False

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> SGD:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self

    @property
    def slots(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()


class Adam(Frozen):
    """Adam, Kingma & Ba (2015), Algorithm 1: ε stands outside the bias-corrected root.

    m ← β₁·m + (1 − β₁)·g
    v ← β₂·v + (1 − β₂)·g²
    w ← w − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)

    Slots: `first_moment` (m), `second_moment` (v).
    """

    name: Literal["adam"] = "adam"
    learning_rate: LearningRate = 1e-3
    beta1: Decay = 0.9
    beta2: Decay = 0.999
    epsilon: Epsilon = 1e-8
    slots: ClassVar[tuple[str, ...]] = ("first_moment", "second_moment")


class AdamW(Frozen):
    """AdamW, Loshchilov & Hutter (2019), Algorithm 2: weight decay λ decoupled from the gradient.

    w ← w − lr·λ·w, then Adam's step; the decay applies to weights and biases alike.

    Slots: `first_moment` (m), `second_moment` (v).
    """

    name: Literal["adamw"] = "adamw"
    learning_rate: LearningRate = 1e-3
    beta1: Decay = 0.9
    beta2: Decay = 0.999
    epsilon: Epsilon = 1e-8
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    slots: ClassVar[tuple[str, ...]] = ("first_moment", "second_moment")


class RMSprop(Frozen):
    """RMSprop, Hinton (2012), Coursera lecture 6e; ε outside the root, as in Adam.

    s ← ρ·s + (1 − ρ)·g²
    w ← w − lr · g / (√s + ε)

    Slot: `mean_square` (s).
    """

    name: Literal["rmsprop"] = "rmsprop"
    learning_rate: LearningRate = 1e-3
    rho: Decay = 0.9
    epsilon: Epsilon = 1e-8
    slots: ClassVar[tuple[str, ...]] = ("mean_square",)


Optimizer = Annotated[SGD | Adam | AdamW | RMSprop, Field(discriminator="name")]


Kind = Literal["classes", "binary", "real"]
"""What a target is: a class index, 0 or 1, or a vector of real numbers."""


class Shape(NamedTuple):
    features: int
    outputs: int
    train: int
    test: int
    kind: Kind


KNOWN = {
    "digits": Shape(64, 10, 1437, 360, "classes"),
    "cancer": Shape(30, 1, 455, 114, "binary"),
    "diabetes": Shape(10, 1, 353, 89, "real"),
    "mnist": Shape(784, 10, 60_000, 10_000, "classes"),
    "fashion-mnist": Shape(784, 10, 60_000, 10_000, "classes"),
}
DOWNLOADED = ("mnist", "fashion-mnist")
MAX_NUMBERS = 2**31
"""Of synthetic inputs, 8 GiB; sixteen times less of their teacher's weights."""
MAX_COLUMNS = 65_536


class Known(Frozen):
    """A published data set.

    Images are pixel ÷ 255, `digits` is pixel ÷ 16. The columns of `cancer` and `diabetes`, and the
    target of `diabetes`, are standardised by the mean and deviation of the training rows.
    With `target = "inputs"` the task is to reproduce the inputs (an autoencoder).
    """

    name: Literal["digits", "cancer", "diabetes", "mnist", "fashion-mnist"]
    target: Literal["labels", "inputs"] = "labels"

    @property
    def shape(self) -> Shape:
        shape = KNOWN[self.name]
        if self.target == "inputs":
            return shape._replace(outputs=shape.features, kind="real")
        return shape


class Teacher(Frozen):
    """Synthetic classes: standard normal inputs, labelled by a random tanh network."""

    name: Literal["teacher"] = "teacher"
    features: Annotated[int, Field(ge=1, le=65_536)] = 64
    classes: Annotated[int, Field(ge=2, le=65_536)] = 10
    train: Annotated[int, Field(ge=1, le=10_000_000)] = 8192
    test: Annotated[int, Field(ge=1, le=10_000_000)] = 2048
    teacher_width: Annotated[int, Field(ge=1, le=65_536)] = 64
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    @model_validator(mode="after")
    def _fits_in_memory(self) -> Teacher:
        if (rows := self.train + self.test) * self.features > MAX_NUMBERS:
            raise ValueError(
                f"{rows:,} rows of {self.features:,} features; at most {MAX_NUMBERS:,} numbers"
            )
        if self.teacher_width * (self.features + self.classes) > MAX_NUMBERS // 16:
            raise ValueError(f"teacher_width: {self.teacher_width:,} is too wide for such data")
        return self

    @property
    def shape(self) -> Shape:
        return Shape(self.features, self.classes, self.train, self.test, "classes")


class FileData(Frozen):
    """A user's own file, by what defines its arrays; `harness.tasks.data_files` reads it.

    `content` is a digest of all its numbers, of their split and of their scaling. `file` is the
    file's name, for people: it is no part of a task's digest. `seed` draws the test rows; it is
    None where the file itself says which they are.
    """

    name: Literal["file"] = "file"
    file: Annotated[str, Field(min_length=1, max_length=255)]
    content: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    kind: Kind
    features: Annotated[int, Field(ge=1, le=MAX_COLUMNS)]
    outputs: Annotated[int, Field(ge=1, le=MAX_COLUMNS)]
    train: Annotated[int, Field(ge=1)]
    test: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None
    standardise: bool

    @property
    def shape(self) -> Shape:
        return Shape(self.features, self.outputs, self.train, self.test, self.kind)


Data = Annotated[Known | Teacher | FileData, Field(discriminator="name")]


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

Metric = Annotated[str, Field(json_schema_extra=lambda schema: schema.update(enum=[*METRICS]))]
"""A name in `METRICS`."""
Width = Annotated[int, Field(ge=1, le=65_536)]
MAX_PARAMETERS = 2_000_000_000


class Model(Frozen):
    """A multilayer perceptron: dense layers x·W + b, an activation after each hidden one.

    `weights` is the digest of a user's own first weights, which then stand in the initializer's
    place (`harness.tasks.start`).
    """

    hidden: Annotated[tuple[Width, ...], Field(max_length=1000)]
    activation: Activation = "relu"
    output: Literal["identity", "softmax"] = "identity"
    initializer: Initializer = "glorot-uniform"
    weights: Annotated[str, Field(pattern="^[0-9a-f]{16}$")] | None = Field(
        default=None, exclude_if=lambda it: it is None
    )


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
            source = f" of {self.data.file}" if isinstance(self.data, FileData) else ""
            raise ValueError(
                f"batch_size: {self.batch} is more than the {rows} training examples{source}"
            )
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
        return metric_of(self.loss)

    @property
    def digest(self) -> str:
        """16 hex digits over everything that defines the mathematics; names do not count."""
        content = self.model_dump(
            mode="json", exclude={"name": True, "probes": True, "data": {"file"}}
        )
        text = json.dumps([DIGEST_VERSION, content], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def reached(self, value: float) -> bool:
        """Whether a metric's value meets the task's target; False where there is no target."""
        if self.target is None:
            return False
        higher = METRICS[self.metric].higher_is_better
        return value >= self.target if higher else value <= self.target
