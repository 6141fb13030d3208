"""`python -m harness.programs.worker FD`: run a user's program, in a process of its own.

User code runs here and nowhere else. Standard output and standard error are the user's.
"""

from __future__ import annotations

import importlib
import os
import resource
import sys
import traceback
from collections.abc import Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import impls
from harness.errors import HarnessError, in_one_line
from harness.programs.messages import (
    PROGRAM_REQUEST,
    WEIGHT,
    Answered,
    Follow,
    Open,
    ProgramRequest,
    TrainWhole,
    flattened,
    read_arrays,
    write_arrays,
)
from harness.tasks.programs import (
    Array,
    Described,
    Description,
    LayerFacts,
    Parts,
    ShownStep,
    Unreadable,
    UserProgram,
    refuse_large,
)
from harness.worker.messages import MAX_BYTES, Failed, connected
from harness.worker.system import adopt_orphans, end_descendants, limit_memory

FILES = {".keras": "keras", ".h5": "keras", ".json": "keras", ".onnx": "onnxruntime"}
"""The folder in `impls` whose `program.opened` reads a file of this kind."""
FUNCTIONS = ("weights", "forward", "step")
"""The form of a program for NumPy, JAX and all else that has arrays: docs/own-task.md."""
PARTS = ("model", "loss", "optimizer", "train_step", "prepare")
MOST_BYTES = 2**32
"""Of a file, printed lines among them: a program that prints without end fills no disk."""
SCHEDULE: dict[str, type] = {"batch_size": int, "epochs": int, "shuffle": bool}


def main() -> None:
    channel = connected()
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_BYTES, resource.RLIM_INFINITY))
    limit_memory(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    adopt_orphans()
    session = ProgramSession()
    try:
        while True:
            request = PROGRAM_REQUEST.validate_json(channel.recv_bytes(MAX_BYTES))
            channel.send_bytes(session.answer(request).model_dump_json().encode())
    except EOFError:
        pass
    finally:
        end_descendants(escaped=True)


class ProgramSession:
    """Answers requests about one program."""

    _program: UserProgram
    _parts: Parts
    _file: str

    def answer(self, request: ProgramRequest) -> Answered | Failed:
        """The answer, or the error: no error of user code ends the process."""
        try:
            match request:
                case Open():
                    return self._open(request)
                case Follow():
                    return self._follow(request)
                case TrainWhole():
                    return self._train(request)
        except HarnessError as error:
            return Failed(status="unsupported", error=str(error))
        except (Exception, SystemExit) as error:
            return Failed(status="failed", error=self._place(error))

    def _open(self, request: Open) -> Answered:
        self._file = request.file
        self._parts = _opened(Path(request.file), request.name)
        self._program = _program_of(self._parts)
        read = self._program.description()
        described = Description.model_validate({**read.model_dump(), **self._parts.schedule})
        weights = self._program.weights()
        for name, values in weights.items():
            if not values.size or not np.isfinite(values).all():
                raise Unreadable(f"{name} is empty, or holds what is no finite number")
        write_arrays(request.out, weights)
        return Answered(description=described)

    def _follow(self, request: Follow) -> Answered:
        program, given = self._program, read_arrays(request.given)
        if not request.dropout:
            program.without_dropout()
        batches = [self._prepared(given[f"x{it}"], given[f"y{it}"]) for it in range(request.steps)]
        program.load(_weights(given))
        once = program.step(*batches[0])
        program.load(_weights(given))
        shown = [program.step(*it) for it in batches]
        write_arrays(request.out, flattened(shown))
        pairs = ((shown[0].loss, once.loss), (shown[0].logits, once.logits))
        same = all(np.array_equal(one, other, equal_nan=True) for one, other in pairs)
        return Answered(random=not same)

    def _train(self, request: TrainWhole) -> Answered:
        program, given = self._program, read_arrays(request.given)
        x, y = self._prepared(given["x_train"], given["y_train"])
        x_test, _ = self._prepared(given["x_test"], given["y_test"])
        program.load(_weights(given))
        for rows in given["order"]:
            rows = rows[rows >= 0]  # the last batch may be a smaller one
            program.update(x[rows], y[rows])
        write_arrays(request.out, {"outputs": program.predict(x_test)})
        return Answered()

    def _prepared(self, inputs: Array, targets: Array) -> tuple[Array, Array]:
        if self._parts.prepare is None:
            return inputs, targets
        both = self._parts.prepare(inputs.copy(), targets.copy())
        if not isinstance(both, tuple) or len(both) != 2:
            raise Unreadable("prepare(inputs, targets) must return both")
        return np.asarray(both[0]), np.asarray(both[1])

    def _place(self, error: BaseException) -> str:
        """The error of user code, with the line of the user's file that led to it."""
        frames = traceback.extract_tb(error.__traceback__)
        lines = [it.lineno for it in frames if it.filename == self._file]
        if isinstance(error, SyntaxError) and error.filename == self._file:
            lines = [error.lineno]
        where = f"line {lines[-1]}: " if lines else ""
        return f"{where}{in_one_line(error)}"


def _weights(given: Mapping[str, Array]) -> dict[str, Array]:
    return {k.removeprefix(WEIGHT): it for k, it in given.items() if k.startswith(WEIGHT)}


def _opened(file: Path, name: str) -> Parts:
    if not file.is_file():
        raise Unreadable(f"there is no such file in {file.parent}")
    if file.suffix in FILES:
        if name:
            raise Unreadable(f"{file.name} holds one model; leave out :{name}")
        return _read(file)
    if file.suffix != ".py":
        raise Unreadable("not a .py, .keras, .h5, .json or .onnx file")
    return _parts_of(_run(file), name)


def _read(file: Path) -> Parts:
    """A model in a format of its framework."""
    reader = _reader(FILES[file.suffix])
    refuse_large(file.stat().st_size)
    try:
        parts: Parts = reader.opened(file)
        return parts
    except HarnessError:
        raise
    except Exception as error:  # whatever its framework makes of a broken file
        reason = in_one_line(error, 300)
        raise Unreadable(f"not a readable {file.suffix} file ({reason})") from None


def _run(file: Path) -> ModuleType:
    """The user's module. Its folder is the last one of the path, so that it shadows no package."""
    sys.path.append(str(file.parent))
    sys.argv = [str(file)]
    module = sys.modules["user_program"] = ModuleType("user_program")
    module.__file__ = str(file)
    SourceFileLoader("user_program", str(file)).exec_module(module)
    return module


def _parts_of(module: ModuleType, name: str) -> Parts:
    held = vars(module)
    if name and name not in held:
        raise Unreadable(f"the file has no {name!r}")
    parts = {it: held.get(it) for it in PARTS}
    if not name and all(callable(held.get(it)) for it in FUNCTIONS):
        parts["model"] = {it: held[it] for it in FUNCTIONS}
    elif name or callable(held.get("build")):
        made = held[name or "build"]
        if callable(made) and not _is_model(made):
            made = made()
        parts |= _named_parts(made, name or "build()")
    if parts["model"] is None:
        raise Unreadable(
            "the file gives no model: define model, loss and optimizer, a build() that returns "
            f"them, or the functions {', '.join(FUNCTIONS)}"
        )
    for part in ("train_step", "prepare"):
        if parts[part] is not None and not callable(parts[part]):
            raise Unreadable(f"{part} is no function")
    schedule = {k: held[k] for k, kind in SCHEDULE.items() if type(held.get(k)) is kind}
    for field in ("batch_size", "epochs"):
        if schedule.get(field, 1) < 1:
            raise Unreadable(f"{field} is {schedule[field]}; at least 1 is due")
    return Parts(**parts, schedule=schedule)


def _named_parts(made: Any, what: str) -> dict[str, Any]:
    """What a function returned, or an object: a model, a tuple of PARTS, or a dictionary."""
    if isinstance(made, Mapping):
        if strange := sorted(set(made) - set(PARTS)):
            raise Unreadable(f"{what} gives {strange[0]!r}; known are {', '.join(PARTS)}")
        return dict(made)
    if isinstance(made, tuple):
        if not 1 <= len(made) <= 3:
            raise Unreadable(f"{what} returns {len(made)} things; model, loss, optimizer are due")
        return dict(zip(PARTS, made, strict=False))
    return {"model": made}


def _is_model(made: Any) -> bool:
    """Whether it is an object of a framework and no function or class."""
    return not isinstance(made, type) and not hasattr(made, "__code__") and _folder(made) != ""


def _folder(model: Any) -> str:
    """The folder in `impls` that reads an object: named as the module of its class, or installed
    under that name. The most derived class counts; empty where there is none."""
    for kind in type(model).__mro__:
        top = kind.__module__.partition(".")[0]
        for folder in impls.__path__:
            for place in sorted(Path(folder).glob("*/program.py")):
                if top in (place.parent.name, *_distributions(place.parent.name)):
                    return place.parent.name
    return ""


def _distributions(name: str) -> tuple[str, ...]:
    module = importlib.import_module(f"impls.{name}")
    framework = getattr(module, "FRAMEWORK", None)
    return framework.distributions if framework else ()


def _reader(folder: str) -> Any:
    try:
        return importlib.import_module(f"impls.{folder}.program")
    except ModuleNotFoundError as error:
        raise Unreadable(f"reading it needs {error.name}, which is not installed") from None


def _program_of(parts: Parts) -> UserProgram:
    if isinstance(parts.model, Mapping) and parts.model.keys() == set(FUNCTIONS):
        return Functions(parts)
    if isinstance(parts.model, Described):
        return parts.model
    folder = _folder(parts.model)
    program = getattr(_reader(folder), "UserProgram", None) if folder else None
    if program is None:
        kind = type(parts.model)
        raise Unreadable(
            f"model is a {kind.__module__}.{kind.__qualname__}; nothing reads such: give an object "
            f"of PyTorch or Keras, or the functions {', '.join(FUNCTIONS)}"
        )
    made: UserProgram = program(parts)
    return made


class Functions:
    """The three functions as a `UserProgram`; `parts.model` maps their names to them."""

    def __init__(self, parts: Parts) -> None:
        weights, self._forward, self._step = (parts.model[it] for it in FUNCTIONS)
        self._now = _arrays(weights(), "weights()")
        self._slots: dict[str, Any] = {}
        self._t = 0
        self._layers = tuple(_layers(self._now))

    def description(self) -> Description:
        return Description(framework="functions", layers=self._layers, ordered=False)

    def weights(self) -> dict[str, Array]:
        return dict(self._now)

    def load(self, weights: Mapping[str, Array]) -> None:
        self._now, self._slots, self._t = dict(weights), {}, 0

    def step(self, inputs: Array, targets: Array) -> ShownStep:
        logits = self.predict(inputs)
        answer = self._updated(inputs, targets)
        gradients = _arrays(answer.get("gradients") or {}, "step: gradients")
        slots = _arrays(self._slots, "step: slots")
        return ShownStep(logits, float(answer["loss"]), gradients, self.weights(), slots)

    def update(self, inputs: Array, targets: Array) -> None:
        self._updated(inputs, targets)

    def _updated(self, inputs: Array, targets: Array) -> Mapping[str, Any]:
        self._t += 1
        answer = self._step(dict(self._now), self._slots, inputs, targets, self._t)
        if not isinstance(answer, Mapping) or not {"loss", "weights"} <= set(answer):
            raise Unreadable("step must return a dictionary with loss and weights at least")
        moved = _arrays(answer["weights"], "step: weights")
        if {k: it.shape for k, it in moved.items()} != {k: it.shape for k, it in self._now.items()}:
            raise Unreadable("step returned weights of other names or shapes than it was given")
        self._now, self._slots = moved, dict(answer.get("slots") or {})
        return answer

    def predict(self, inputs: Array) -> Array:
        return np.array(self._forward(dict(self._now), inputs), np.float64)

    def without_dropout(self) -> None:
        """Their own code decides."""


def _arrays(values: Any, what: str) -> dict[str, Array]:
    if not isinstance(values, Mapping):
        raise Unreadable(f"{what} is a {type(values).__name__}, not a dictionary of arrays")
    return {str(name): np.array(it, np.float64) for name, it in values.items()}


def _layers(weights: Mapping[str, Array]) -> list[LayerFacts]:
    """Dense layers by their weights; raises Unreadable for other names."""
    layers = []
    for index in range(len(weights)):
        if (weight := weights.get(f"layer{index}.weight")) is None:
            break
        if weight.ndim != 2:
            raise Unreadable(f"layer{index}.weight has shape {weight.shape}; (in, out) is due")
        bias = f"layer{index}.bias" in weights
        options = {"inputs": weight.shape[0], "outputs": weight.shape[1], "bias": bias}
        shown = f"layer{index} {weight.shape}"
        layers.append(LayerFacts(kind="dense", shown=shown, options=options))
    known = {f"layer{it}.{part}" for it in range(len(layers)) for part in ("weight", "bias")}
    if strange := sorted(set(weights) - known):
        raise Unreadable(f"weights() has {strange[0]!r}; names are layer0.weight, layer0.bias, …")
    if not layers:
        raise Unreadable("weights() has no layer0.weight")
    return layers


if __name__ == "__main__":
    main()
