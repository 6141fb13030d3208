"""The one interface between the harness and a framework.

A framework is a folder `impls/<name>/`, or a package of a plug-in (see `harness.frameworks`), with
two files:

- `__init__.py` holds `FRAMEWORK`, a `Framework`: plain facts that are read without importing the
  framework;
- `adapter.py` holds `Adapter`, a class with the methods of the Protocol below. It is imported only
  inside a worker process, whose environment already carries the thread counts. A process that is
  forked builds its adapter after that, and one process builds one adapter: `__init__` may set what
  holds for the whole process.

A framework that also takes part in the idiomatic lane adds `idiom.py` with `Idiom`, an adapter that
brings its own input pipeline and its own training loop. One without `modes` has `idiom.py` alone.

Weights and slots travel as NumPy arrays under canonical names and in canonical shape:
`layer0.weight` is (in, out), `layer0.bias` is (out,); a slot is `first_moment/layer0.weight`, its
name as the task's optimizer lists it. All knowledge of the framework (GPU, threads, tracing,
allocators) stays behind this interface.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from harness.tasks.spec import Task
from harness.tasks.start import Start

Array = NDArray[Any]
Setting = str | int | float | bool | None
ADAPTER_API = 1
"""The version of this interface. It is raised when a framework must change to go on working, or can
use what was not there before."""
PhaseKind = Literal["train", "predict"]
"""What a phase is made of: optimizer steps, or inference batches."""


class Unsupported(Exception):
    """This framework cannot do what is asked, here or ever; the reason is shown to the user."""


@dataclass(frozen=True)
class Own:
    """One mode of the idiomatic lane: what its experts write, in one line.

    `stock` says why its update formula is not the task's, where it is not: the truth of such a mode
    is the reference with the stock formula, in the module `truth`.
    """

    line: str
    stock: str = ""
    truth: str = "impls.reference.stock"


@dataclass(frozen=True)
class Tuning:
    """Optional facts of a framework, for measuring it faster or more exactly.

    `ahead` maps a mode to a module that a process imports before it forks others that run on the
    CPU: what each of them would load again. It may start no thread and make no tensor.
    `import_varies`: times of workers that share one import resemble each other more than those of
    others (hash seeds and addresses are drawn once a process), so each block imports it anew.
    `spins_beyond`: in matrix products of more multiplications, its threads keep a core busy while
    they wait for each other, so two processes side by side take longer than one after the other.
    `unaware_of` are modules that the harness needs and that the framework would import only because
    they are installed. They are hidden in its processes, so they count neither in its import time
    nor in its memory; a framework that needs some of them names the others.
    `beneath` are distributions that it computes with where they are installed. `caches` are the
    environment variables that name the folders in which it keeps what it compiles. `accounting` is
    added to the environment of a process that asks for logical peaks.
    """

    ahead: Mapping[str, str] = field(default_factory=dict)
    import_varies: bool = True
    spins_beyond: float = math.inf
    unaware_of: tuple[str, ...] = ("PIL", "matplotlib", "pandas", "sklearn")
    beneath: tuple[str, ...] = ()
    caches: tuple[str, ...] = ()
    accounting: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Framework:
    """What is known of a framework without importing it.

    `distributions` are the names under which pip may have installed it; the first one that is
    installed gives the version. `install` is the pip command that installs it, `least` the oldest
    version that the adapter works with, such as `2.4`. `modes` maps a mode to one line, the first
    mode is the default; `idioms` does so for the idiomatic lane; one of them may be empty. `color`
    is its colour in every figure. `phases` are what it can do. Every framework predicts. Of one
    that does not train, `train_step`, `gradients` and `fit` are never called, and `state` has the
    weights that were given and no slots. `environment` is set before a worker starts; in
    its values `{mode}` and `{threads}` stand for what is asked for. `aliases` maps other words, in
    lower case, that users write for the framework or a mode to their name here; errors suggest
    that name. A `reference` is the yardstick: it is in every table, and no winner or advice names
    it as long as another framework takes part. `adapter_api` is the `ADAPTER_API` that it is
    written for, as a number: a samestep that is older refuses it.
    """

    title: str
    distributions: tuple[str, ...]
    install: str
    modes: Mapping[str, str]
    color: str
    phases: tuple[PhaseKind, ...] = ("train", "predict")
    least: str = ""
    devices: tuple[str, ...] = ("cpu", "gpu")
    environment: Mapping[str, str] = field(default_factory=dict)
    idioms: Mapping[str, Own] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    role: Literal["framework", "reference"] = "framework"
    tuning: Tuning = Tuning()
    adapter_api: int = 1

    @property
    def default_mode(self) -> str:
        """The first mode; of a framework that has only idioms, the first of these."""
        return next(iter(self.modes or self.idioms))

    def variables(self, mode: str, threads: int) -> dict[str, str]:
        """The `environment` of a process in this mode and with so many threads."""
        return {
            name: it.replace("{mode}", mode).replace("{threads}", str(threads))
            for name, it in self.environment.items()
        }

    def process_mode(self, mode: str) -> str:
        """The mode if the environment names it, so that no process can serve two; else empty."""
        return mode if any("{mode}" in it for it in self.environment.values()) else ""


@dataclass(frozen=True)
class FrameworkFacts:
    """What the analysis needs to know of all frameworks, as plain values: it reads no files.

    `defaults` maps a framework to its default mode; `references` maps those that are a yardstick
    to their titles.
    """

    defaults: Mapping[str, str] = field(default_factory=dict)
    references: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Options:
    """How a cell asks its framework to run: `device` is `cpu` or `gpu:<index>`."""

    mode: str
    device: str
    threads: int
    dtype: str


@dataclass(frozen=True)
class State:
    """Everything a training carries from step to step, as copies in canonical names and shapes."""

    weights: dict[str, Array]
    slots: dict[str, Array]


@dataclass(frozen=True)
class DeviceMemory:
    """The framework's own count of device memory, in bytes: what is allocated now, and the peaks
    since the last reset, or of the whole process where none can be reset."""

    allocated: int
    peak_allocated: int
    peak_reserved: int | None


@dataclass(frozen=True)
class Work:
    """One step of a phase, whose memory is asked for: `run` takes it.

    `staged` is what `stage` returned, in the idiomatic lane what `loader` did. A framework that
    compiles its step need not run it, but can ask the compiled one.
    """

    phase: Literal["train", "predict"]
    staged: Any
    run: Callable[[], Any]


def common(values: Iterable[str]) -> str:
    """What several things have in common: their one value, or `mixed: ` and all of them."""
    distinct = sorted(set(values))
    return distinct[0] if len(distinct) == 1 else f"mixed: {', '.join(distinct)}"


class Adapter(Protocol):
    """A task, built in one framework, with its weights at the shared start.

    `Batch` and `Handle` below are whatever the framework likes; the harness only passes them on.
    """

    def __init__(self, task: Task, start: Start, options: Options) -> None:
        """Build model, loss and optimizer. Raises Unsupported with the reason."""

    def stage(self, inputs: Array, targets: Array) -> Any:
        """Put a batch on the device, in the cell's dtype, and return it (off the clock).

        `inputs` is (rows, features) float32; `targets` is (rows,) int64 class indices, or
        (rows, outputs) float32 for binary and real targets.
        """

    def reset(self) -> None:
        """Weights back to the shared start, slots and step count to zero."""

    def train_step(self, batch: Any) -> Any:
        """One optimizer update; returns a handle to the loss before it, without waiting for it."""

    def predict(self, batch: Any) -> Any:
        """The model's outputs for a batch's inputs, (rows, outputs), without waiting for them.

        Logits, or probabilities where the task's model ends in a softmax.
        """

    def gradients(self, batch: Any) -> dict[str, Array]:
        """Gradient of the loss at the present weights, which stay as they are."""

    def state(self) -> State:
        """Copies of weights and optimizer slots; slots are zero before the first step."""

    def to_numpy(self, handle: Any) -> Array:
        """The values behind a handle that `train_step` or `predict` returned; later steps change
        neither them nor the handle."""

    def synchronize(self) -> None:
        """Return when everything asked for is done, on every device."""

    def reset_device_memory(self) -> bool:
        """Start a new peak of device memory; False where the framework cannot, or has no count.

        Where it cannot, a phase's peak is known only if it is the largest so far.
        """

    def device_memory(self) -> DeviceMemory | None:
        """The count of now, or None where the framework keeps none for this device."""

    def logical_peak(self, work: Work) -> int | None:
        """Peak bytes of all tensors that live during a step, by the framework's own account.

        Weights, slots and staged batches count too. None where the framework keeps no account.
        Asked once, of a fresh adapter, in a process that is not timed and that has frozen nothing
        of it (`gc.freeze`). The second run is counted: tracing and compiling are no part of a step.
        """

    def tensor(self, values: Array) -> Any:
        """A matrix on the device, in the cell's dtype (off the clock)."""

    def products(self, pairs: Sequence[tuple[Any, Any]]) -> list[Any]:
        """The matrix product of each pair of tensors, computed as the model's layers do; not
        waited for. They are one program where the mode compiles its step into one: their time
        is to be that of the arithmetic, not of as many calls.
        """

    def settings(self) -> dict[str, Setting]:
        """What the framework really runs with, read back from it: threads, precision, traces, …

        Names that every framework shares are in `harness.records`. Raises Unsupported where
        something else ran than the mode says: a compiler that was switched off from outside.
        """


class AdapterDefaults:
    """The answers of a framework whose calls return when they are done, and that counts no memory.

    An adapter that inherits them defines those that are otherwise; see `Adapter`.
    """

    def synchronize(self) -> None:
        pass

    def reset_device_memory(self) -> bool:
        return False

    def device_memory(self) -> DeviceMemory | None:
        return None

    def logical_peak(self, work: Work) -> int | None:
        return None


class Idiom(Adapter, Protocol):
    """A task as experts of the framework write it: its own pipeline, loop and optimizer.

    The rows, their order, the first weights and the loss stay the task's. `train_step` is one
    update of that same optimizer on a staged batch, as the loop itself makes it.
    """

    def loader(self, inputs: Array, targets: Array, order: Array) -> Any:
        """The framework's own input pipeline (off the clock): batch k holds the rows `order[k]`.

        `inputs` and `targets` are all training rows as in `stage`; `order` is (steps, batch) int64.
        """

    def fit(self, loader: Any, steps: int) -> Any:
        """So many updates in the framework's own loop, from the loader's first batch on, and from
        the first again after the last; returns a handle to the loss it reports."""

    def infer(self, loader: Any, steps: int) -> Any:
        """So many inference batches, in the same order; returns a handle to the last outputs."""
