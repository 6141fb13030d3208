"""What a task says of its data: which set, which columns, how many rows.

Sizes are known without reading a file, so that a task can be validated and planned where its data
are absent. `harness.tasks.datasets` reads the numbers themselves.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from harness.tasks.frozen import Frozen

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


Data = Annotated[Known | Teacher, Field(discriminator="name")]
