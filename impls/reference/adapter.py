"""A task in the reference engine, `eager` or as a `replay` of one captured step."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import threadpoolctl

from harness.adapter import AdapterDefaults, Array, Options, Setting, State, Work, common
from harness.tasks.spec import SGD, Adam, AdamW, RMSprop, Task
from harness.tasks.start import Start
from impls.reference import on_gpu, optim
from impls.reference.capture import capture
from impls.reference.instructions import NUMPY, Namespace
from impls.reference.memory import traced_peak
from impls.reference.network import Network, update
from impls.reference.program import Program
from impls.reference.replay import Replay

Step = Callable[..., Mapping[str, Any]]


class Batch(NamedTuple):
    inputs: Any
    targets: Any


class Adapter(AdapterDefaults):
    """See `harness.adapter.Adapter`; a `Batch` is a pair of arrays, a handle is an array.

    Device memory is not counted: CuPy's memory pool keeps no peak, and to hook into it would slow
    down what is timed.
    """

    def __init__(self, task: Task, start: Start, options: Options) -> None:
        self._xp = NUMPY if options.device == "cpu" else on_gpu.namespace(options.device)
        self._options = options
        self._classes = task.layers[-1][1] if task.data.shape.kind == "classes" else None
        self._network = network_of(task)
        self._rule = self._rule_of(task)
        self._start = {
            name: start.weights[name].astype(options.dtype) for name in self._network.shapes
        }
        # Weights and slots, each as one flat vector, in the memory of the program that steps them.
        size = sum(values.size for values in self._start.values())
        self._state: Mapping[str, Any] = {
            name: self._xp.library.zeros(size, options.dtype)
            for name in ("weights", *self._rule.slots)
        }
        self._train = partial(self._network.train, self._rule)
        self._update = partial(update, self._rule)
        self._replays: dict[tuple[str, int], Replay] = {}
        self.reset()

    def _rule_of(self, task: Task) -> optim.UpdateRule:
        return rule_of(task.optimizer)

    def stage(self, inputs: Array, targets: Array) -> Batch:
        """Raises ValueError for a class index that the model has no output for."""
        if self._classes is None:
            targets = targets.astype(self._options.dtype)
        elif targets.size and not 0 <= targets.min() <= targets.max() < self._classes:
            raise ValueError(f"class indices must be from 0 to {self._classes - 1}")
        inputs = inputs.astype(self._options.dtype, order="C")
        return Batch(self._array(inputs), self._array(np.ascontiguousarray(targets)))

    def reset(self) -> None:
        self._steps = 0
        for name, values in self._state.items():
            values.fill(0)
            if name == "weights":
                for view, start in zip(
                    self._network.split(values).values(), self._start.values(), strict=True
                ):
                    view[...] = self._array(start)

    def train_step(self, batch: Batch) -> Any:
        if self._options.mode == "eager":
            return self.full_step(batch)["loss"]
        self._steps += 1
        fed = {**batch._asdict(), **self._rule.scalars(self._steps)}
        loss = self._advance("train", self._train, len(batch.inputs), fed)["loss"]
        return loss.copy()  # the next step writes over the original

    def full_step(self, batch: Batch) -> Mapping[str, Any]:
        """One eager step: its outputs, loss and gradient, then the weights and slots that it made.

        The last three are flat vectors, and the next step writes over them.
        """
        self._steps += 1
        told = self._network.gradients(self._xp, self._state["weights"], *batch)
        # The tape ends at the gradient; the update has nothing dynamic, so it is always replayed.
        fed = {"gradient": told["gradient"], **self._rule.scalars(self._steps)}
        self._advance("update", self._update, 0, fed)
        return {**told, **self._state}

    def views(self, flat: Any) -> dict[str, Any]:
        """The tensors in a flat vector, by the names of the weights."""
        return self._network.split(flat)

    def predict(self, batch: Batch) -> Any:
        return self._compute("predict", self._network.predict, inputs=batch.inputs)["outputs"]

    def gradients(self, batch: Batch) -> dict[str, Array]:
        flat = self._compute("gradients", self._network.gradients, **batch._asdict())["gradient"]
        return self._canonical(flat)

    def _advance(
        self, name: str, step: Step, rows: int, inputs: dict[str, Any]
    ) -> Mapping[str, Any]:
        """Replay a step that replaces the state, captured when first met with so many rows."""
        replay = self._replays.get((name, rows))
        if replay is None or replay.state is not self._state:
            replay = replay or self._capture(name, step, rows, {**self._state, **inputs})
            for key, values in replay.state.items():
                values[...] = self._state[key]
            self._state = replay.state
        return replay.run(**inputs)

    def _compute(self, name: str, function: Step, **inputs: Any) -> Mapping[str, Any]:
        """The results of a function that leaves the state alone, as arrays of their own."""
        inputs["weights"] = self._state["weights"]
        if self._options.mode == "eager":
            return function(self._xp, **inputs)
        rows = len(inputs["inputs"])
        replay = self._replays.get((name, rows)) or self._capture(name, function, rows, inputs)
        return {key: values.copy() for key, values in replay.run(**inputs).items()}

    def _capture(self, name: str, function: Step, rows: int, inputs: dict[str, Any]) -> Replay:
        program = capture(function, as_arrays(self._xp, self._options.dtype, inputs), self._xp)
        self._replays[name, rows] = Replay(program, self._xp)
        return self._replays[name, rows]

    def state(self) -> State:
        slots = {
            f"{slot}/{name}": values
            for slot in self._rule.slots
            for name, values in self._canonical(self._state[slot]).items()
        }
        return State(self._canonical(self._state["weights"]), slots)

    def _canonical(self, flat: Any) -> dict[str, Array]:
        return {name: self.to_numpy(view) for name, view in self.views(flat).items()}

    def to_numpy(self, handle: Any) -> Array:
        return np.array(handle if self._options.device == "cpu" else handle.get())

    def _array(self, values: Array) -> Any:
        return self._xp.library.asarray(values)

    def synchronize(self) -> None:
        if self._options.device != "cpu":
            self._xp.library.cuda.get_current_stream().synchronize()

    def logical_peak(self, work: Work) -> int | None:
        """The second of two runs is counted, when everything is captured."""
        work.run()
        if self._options.device != "cpu":
            return on_gpu.allocation_peak(self._xp.library, work.run)
        held = [*self._state.values(), *(it.memory for it in self._replays.values())]
        return traced_peak(work.run, held)

    def tensor(self, values: Array) -> Any:
        return self._array(np.array(values, self._options.dtype))

    def products(self, pairs: Sequence[tuple[Any, Any]]) -> list[Any]:
        return [self._xp.library.matmul(left, right) for left, right in pairs]

    def settings(self) -> dict[str, Setting]:
        pools = threadpoolctl.threadpool_info()
        blas = [pool["num_threads"] for pool in pools if pool["user_api"] == "blas"]
        settings: dict[str, Setting] = {
            "threads": max(blas, default=1),
            "dtype": common(str(it.dtype) for it in self._state.values()),
            "device": _name(self.tensor(np.zeros((1, 1)))),
            "devices_of_weights": common(_name(it) for it in self._state.values()),
            "compile": "replay" if self._options.mode == "replay" else None,
            "train_traces": sum(name != "predict" for name, _ in self._replays),
            "predict_traces": sum(name == "predict" for name, _ in self._replays),
        }
        if self._options.device != "cpu":
            settings["gpu"] = on_gpu.name(self._xp.library)
            settings["tf32"] = os.environ.get("CUPY_TF32") == "1"
        for (name, rows), replay in self._replays.items():
            of_rows = f"_{rows}" if rows else ""
            settings[f"{name}{of_rows}_instructions"] = len(replay.program.instructions)
            settings[f"{name}{of_rows}_arena_bytes"] = replay.plan.arena_bytes
        return settings


def network_of(task: Task) -> Network:
    return Network(task.widths, task.model.activation, task.model.output, task.loss)


def rule_of(spec: SGD | Adam | AdamW | RMSprop) -> optim.UpdateRule:
    """The update rule of a task's optimizer; field for field the same parameters."""
    fields = spec.model_dump(exclude={"name"})
    if isinstance(spec, SGD):
        return optim.SGD(**fields)
    return optim.RMSprop(**fields) if isinstance(spec, RMSprop) else optim.Adam(**fields)


def capture_task(task: Task, phase: str, rows: int, dtype: str) -> Program:
    """The program of one `train` or `predict` iteration of a task over so many rows."""
    network, rule = network_of(task), rule_of(task.optimizer)
    inputs: dict[str, Any] = {
        "weights": np.zeros(task.parameters, dtype),
        "inputs": np.zeros((rows, task.widths[0]), dtype),
    }
    if phase == "predict":
        return capture(network.predict, inputs)
    labels = task.data.shape.kind == "classes"
    inputs["targets"] = (
        np.zeros(rows, np.int64) if labels else np.zeros((rows, task.widths[-1]), dtype)
    )
    inputs |= {slot: np.zeros(task.parameters, dtype) for slot in rule.slots}
    inputs |= rule.scalars(1)
    return capture(partial(network.train, rule), as_arrays(NUMPY, dtype, inputs))


def as_arrays(xp: Namespace, dtype: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs with numbers as arrays without axes, as `capture` takes them."""
    return {
        name: xp.library.asarray(value, dtype) if isinstance(value, float) else value
        for name, value in inputs.items()
    }


def _name(array: Any) -> str:
    """What the harness calls the device where an array lies."""
    return "cpu" if isinstance(array, np.ndarray) else f"gpu:{array.device.id}"
