"""Planted faults: their table, their tasks, and the reference with one part exchanged.

The tasks are small, and none needs a download.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, TypeVar, cast

import numpy as np

from harness.adapter import Array, Idiom, Options
from harness.proof.formulas import Formula, clipped, criterion, forward, task_formula, updated
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.spec import AdamW, Known, Model, RMSprop, Task, Teacher
from harness.tasks.start import Start
from impls.reference.idiom import Idiom as Reference
from impls.reference.network import Network
from impls.reference.tensor import Tensor, gradient, parameter

DIGITS = CATALOGUE["digits-mlp"]
"""Classes, ReLU, Adam; its first two layers are square."""
DIABETES = CATALOGUE["diabetes-regression"]
"""Real targets, tanh, SGD with momentum."""
CANCER = CATALOGUE["cancer-binary"]
"""One logit, sigmoid layers, Adam."""


def small(name: str, **parts: Any) -> Task:
    """Four synthetic classes, 16-16-16-4, unless `parts` say otherwise."""
    usual: dict[str, Any] = {
        "data": Teacher(features=16, classes=4, train=512, test=64),
        "model": Model(hidden=(16, 16)),
        "loss": "cross-entropy",
        "optimizer": AdamW(),
        "batch_size": 16,
        "epochs": 1,
    }
    return Task(name=name, **usual | parts)


ADAMW = small("small-adamw")
RMSPROP = small("small-rmsprop", optimizer=RMSprop())
GELU = small("small-gelu", model=Model(hidden=(16, 16), activation="gelu"))
AUTOENCODER = small("small-autoencoder", data=Known(name="digits", target="inputs"), loss="mse")
LARGE_BATCH = small("small-large-batch", model=Model(hidden=(384, 384)), batch_size=512, epochs=20)
"""So expensive that most steps are compared with fewer rows than are measured."""

SAME = "it is no fault in float32"
"""Why a fault that computes in float32 is unseen there."""
Part = TypeVar("Part", bound=Callable[..., Any])


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: `part` takes the place of the reference's own.

    A part is a subclass of `Planted` or `Faulty`; of a real framework it is a `Faulty` or a
    function from the task that is asked for to the one that is done. `check` is the check that must
    catch it. `unseen` says why a proof in float32, with ten steps and wider tolerances, need not.
    `by` is what must catch it: a proof (`verify`), or the worker that measures (`run`). The fault
    is tried with so many `threads`.
    """

    name: str
    line: str
    check: str
    task: Task
    part: Callable[..., Any]
    unseen: str = ""
    idiomatic: bool = False
    by: Literal["verify", "run"] = "verify"
    threads: int = 1

    def build(self, task: Task, start: Start, options: Options) -> Planted | Faulty:
        """The reference's adapter with the fault."""
        part = cast("type[Planted | Faulty]", self.part)
        if issubclass(part, Faulty):
            return part(Planted(task, start, options))
        return part(task, start, options)


FAULTS: dict[str, Fault] = {}
"""The faults of the reference."""
REAL: dict[str, Fault] = {}
"""The faults of the adapters of real frameworks."""


def fault(
    name: str, line: str, check: str, task: Task = DIGITS, *, real: bool = False, **more: Any
) -> Callable[[Part], Part]:
    """Enter a part into a table: `@fault("labels-shifted", "labels shifted by one", "loss")`."""

    def enter(part: Part) -> Part:
        table = REAL if real else FAULTS
        if name in table:
            raise ValueError(f"two faults are called {name!r}")
        table[name] = Fault(name, line, check, task, part, **more)
        return part

    return enter


def altered(
    name: str, line: str, check: str, task: Task = DIGITS, *, unseen: str = "", **to: Any
) -> None:
    """Enter a fault that computes another formula: `reduction="sum"` changes that field."""
    fault(name, line, check, task, unseen=unseen)(type("Altered", (Planted,), {"altered": to}))


def returning(name: str, line: str, check: str, **to: Callable[[Any], Any]) -> None:
    """Enter a fault that changes what a method returns: `settings=lambda it: {}`."""
    ((method, change),) = to.items()

    def changing(self: Planted, *given: Any) -> Any:
        return change(getattr(Planted, method)(self, *given))

    fault(name, line, check)(type("Returning", (Planted,), {method: changing}))


@dataclass(frozen=True)
class FormulaNetwork(Network):
    """The network and the loss of a formula."""

    formula: Formula

    def forward(self, x: Tensor, weights: list[Tensor]) -> Tensor:
        return forward(self.formula, x.array, dict(zip(self.shapes, weights, strict=True)), {})

    def gradients(self, xp: Any, weights: Any, inputs: Any, targets: Any) -> dict[str, Any]:
        tensors = [parameter(view, xp) for view in self.split(weights).values()]
        loss = criterion(self.formula, self.forward(Tensor(inputs), tensors), targets, len(inputs))
        return {"loss": loss.array, "gradient": xp.pack(*gradient(loss, tensors))}


class Planted(Reference):
    """The reference in mode `eager`, as the formula of its task; by itself it has no fault.

    Subclasses have other methods, or `altered` fields of the formula.
    """

    altered: ClassVar[Mapping[str, Any]] = {}
    _network: FormulaNetwork

    def __init__(self, task: Task, start: Start, options: Options) -> None:
        super().__init__(task, start, replace(options, mode="eager"))
        self._formula = replace(task_formula(task), **self.altered)
        model = task.model
        self._network = FormulaNetwork(
            task.widths, model.activation, model.output, task.loss, self._formula
        )

    def at(self, step: int) -> tuple[Formula, int]:
        """The formula of a step, and the number that its optimizer has for it."""
        return self._formula, step

    def doctored(self, gradient: Array) -> Array:
        """The gradient that a training step uses, from the one that it computed."""
        return gradient

    def full_step(self, batch: Any) -> Mapping[str, Any]:
        self._steps += 1
        formula, step = self.at(self._steps)
        state = dict(self._state)
        weights = state.pop("weights")
        result = self._network.gradients(self._xp, weights, *batch)
        used = clipped(formula, {"": self.doctored(result["gradient"])})[""]
        weights, slots = updated(formula, "", weights, used, state, step)
        for name, values in {"weights": weights, **slots}.items():
            self._state[name][...] = values
        return {**result, **self._state}

    @contextmanager
    def other(self, **to: Any) -> Iterator[None]:
        """Compute with other fields of the formula for a while."""
        before = self._network
        self._network = replace(before, formula=replace(before.formula, **to))
        try:
            yield
        finally:
            self._network = before

    def loss(self, batch: Any) -> Any:
        """The loss at the present weights, without a step."""
        network, weights = self._network, self._state["weights"]
        return network.gradients(self._xp, weights, batch.inputs, batch.targets)["loss"]

    def part(self, name: str) -> Array:
        """The memory of a weight."""
        view: Array = self._network.split(self._state["weights"])[name]
        return view


def within(*methods: str, rows: int = 0, **to: Any) -> type[Planted]:
    """Some methods compute another formula, for batches of so many rows at the least."""

    def method_of(name: str) -> Callable[[Planted, Any], Any]:
        def method(self: Planted, batch: Any) -> Any:
            with self.other(**(to if len(batch.inputs) >= rows else {})):
                return getattr(Planted, name)(self, batch)

        return method

    return type("Within", (Planted,), {it: method_of(it) for it in methods})


class Faulty:
    """An adapter around an honest one of any framework; by itself it has no fault.

    `seams` reach inside the honest one: `write(adapter, state)` sets weights and the slots that are
    given, `set_count(adapter, steps)` sets the optimizer's count of steps. `steps` counts those
    since the last reset.
    """

    def __init__(self, inner: Idiom, seams: Any = None) -> None:
        self.inner, self.seams = inner, seams

        self.steps = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def train_step(self, batch: Any) -> Any:
        self.steps += 1
        return self.inner.train_step(batch)

    def reset(self) -> None:
        self.steps = 0
        self.inner.reset()

    def to_numpy(self, handle: Any) -> Array:
        return handle.copy() if isinstance(handle, np.ndarray) else self.inner.to_numpy(handle)

    @classmethod
    def options(cls, options: Options) -> Options:
        """The options that take effect where others are asked for."""
        return options
