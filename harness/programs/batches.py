"""The batches for both programs: rows of a data set, or synthetic rows that fit program A."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from pydantic import ValidationError

from harness.errors import UsageError, first_problem, unknown
from harness.programs.process import OpenProgram
from harness.proof.formulas import Batch
from harness.tasks.data_files import READERS, FileRequest, read_data_file
from harness.tasks.datasets import Arrays, load
from harness.tasks.mnist import data_directory
from harness.tasks.programs import Description
from harness.tasks.spec import KNOWN, Data, Frozen, Kind, Known, Teacher

Model = TypeVar("Model", bound=Frozen)
ROWS = 32
SMALLER = 2
"""The number, from 0, of the batch that has a quarter fewer rows, which shows what depends on them.
"""
MOST_NUMBERS = 50_000_000
"""Numbers that both programs may show in all steps, or see in a training: 400 MB."""


def dense_widths(description: Description) -> tuple[int, int]:
    """Features and outputs of a program, by its dense layers."""
    dense = [it for it in description.layers if it.kind == "dense"]
    if not dense:
        raise UsageError("the program has no dense layer")
    return int(dense[0].number("inputs")), int(dense[-1].number("outputs"))


def kind_of(*programs: Description) -> Kind:
    """The kind of targets of the first known loss; else classes, or binary for one output."""
    for program in programs:
        if program.loss is not None and program.loss.kind is not None:
            return program.loss.kind
    return "classes" if dense_widths(programs[0])[1] > 1 else "binary"


def synthetic(features: int, outputs: int, kind: Kind, rows: int, seed: int) -> Batch:
    """Standard normal inputs with targets that a random linear map of them gives."""
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(rows, features))
    # One map for all rows of any seed, so that there is something to learn.
    scores = inputs @ np.random.default_rng(0).normal(size=(features, outputs))
    if kind == "classes":
        return inputs, scores.argmax(axis=1)
    if kind == "binary":
        return inputs, (scores > 0).astype(np.float64)
    return inputs, scores / np.sqrt(features)


class DataSource(NamedTuple):
    """`--data` and `--target`: a published data set, or a column of the user's file."""

    name: str
    target: str | None = None

    def request(self, kind: Kind) -> FileRequest | None:
        """The request for the user's file; None for other data. Raises UsageError."""
        if not self.name.endswith(tuple(READERS)):
            return None
        target = {"target": self.target} if self.target else {}
        return self._valid(FileRequest, {"file": self.name, "kind": kind} | target)

    def _valid(self, model: type[Model], fields: dict[str, Any]) -> Model:
        try:
            return model.model_validate(fields)
        except ValidationError as error:
            raise UsageError(f"--data {self.name}: {first_problem(error)}") from None

    def declared(self, features: int, outputs: int, kind: Kind) -> Data:
        """The data as a task declares them, for a model of these widths.

        Raises UsageError, and DataError for a bad file.
        """
        data: Data
        if request := self.request(kind):
            data = read_data_file(request, Path())
        elif self.name == "teacher":
            if kind != "classes":
                raise UsageError(f"--data teacher has classes; the program's targets are {kind}")
            data = self._valid(Teacher, {"features": features, "classes": outputs})
        elif self.name in KNOWN:
            shape = KNOWN[self.name]
            target = "inputs" if outputs == shape.features != shape.outputs else "labels"
            data = Known.model_validate({"name": self.name, "target": target})
        else:
            raise unknown("data", self.name, [*KNOWN, "teacher"])
        has = data.shape
        for what, due, width in (
            ("inputs", has.features, features),
            ("outputs", has.outputs, outputs),
        ):
            if width != due:
                raise UsageError(f"the model has {width} {what}; data {self.name} needs {due}")
        return data


def arrays_for(a: OpenProgram, b: OpenProgram, source: DataSource | None, rows: int) -> Arrays:
    """The rows of a data set whose widths fit; without one, so many synthetic ones.

    Raises UsageError, and DataError for a bad file.
    """
    features, outputs = dense_widths(a.description)
    kind = kind_of(a.description, b.description)
    if source is None:
        train, test = (
            synthetic(features, outputs, kind, *it) for it in ((rows, 1), (rows // 4, 2))
        )
        return Arrays(*train, *test)
    return load(source.declared(features, outputs, kind), data_directory(None))


def batches_for(
    a: OpenProgram,
    b: OpenProgram,
    source: DataSource | None,
    steps: int,
    rows: int | None,
    seed: int,
) -> list[Batch]:
    """Batches of `rows` rows, one of them smaller; as many as `steps`, if memory allows."""
    rows = rows or min(a.description.batch_size or ROWS, 256)
    features, outputs = dense_widths(a.description)
    size = 8 * sum(it.size for it in a.weights.values()) + rows * (features + 2 * outputs)
    steps = min(steps, max(3, MOST_NUMBERS // size))
    arrays = arrays_for(a, b, source, rows * steps)
    order = np.random.default_rng(seed).integers(0, len(arrays.x_train), (steps, rows))
    made = []
    for step, chosen in enumerate(order):
        if step == SMALLER:
            chosen = chosen[: rows - rows // 4]
        made.append((arrays.x_train[chosen].astype(np.float64), arrays.y_train[chosen]))
    return made
