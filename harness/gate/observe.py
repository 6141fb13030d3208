"""`observe.py FD PARENT`: what one setup computes, and what its step consists of. Reads no clock.

It is run as a file and not as a module, so that an older revision is observed by this very
observer: the code that is on the path may know nothing of it. So it speaks plain JSON and imports
nothing but tasks, their start, and the adapter.
"""

from __future__ import annotations

import collections
import hashlib
import importlib
import importlib.util
import itertools
import json
import math
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import harness
from harness.adapter import Options, Unsupported
from harness.tasks.datasets import Arrays, open_staged
from harness.tasks.spec import Task
from harness.tasks.start import Start, make_start

try:
    from harness.frameworks import module_of
except ImportError:  # older code has frameworks in `impls` alone

    def module_of(name: str, part: str = "") -> ModuleType:
        return importlib.import_module(".".join(filter(None, ("impls", name, part))))


try:
    from harness.worker.messages import die_with
except ImportError:  # older code has it there
    from harness.worker.lifeline import die_with  # type: ignore[import-not-found,no-redef]

DIRECTIONS = (math.sqrt(2), math.sqrt(3))
Content = dict[str, Any]


def main() -> None:
    die_with(int(sys.argv[2]))
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    channel = Connection(descriptor)
    request = json.loads(channel.recv_bytes())
    try:
        answer = observe(request)
    except BaseException as error:
        traceback.print_exc()
        status = "unsupported" if isinstance(error, Unsupported) else "failed"
        text = " ".join(f"{type(error).__name__}: {error}".split())
        answer = {"answer": "failed", "status": status, "error": text}
    channel.send_bytes(json.dumps(answer).encode())


def observe(request: Mapping[str, Any]) -> Content:
    """Numbers in float64, where rounding hides little; the program in the setup's own dtype."""
    task, setup = Task.model_validate(request["task"]), request["setup"]
    start, arrays = make_start(task, request["seed"]), open_staged(Path(request["data"]))
    kind = {"identical": "adapter", "idiomatic": "idiom"}[setup["lane"]]
    module = module_of(setup["framework"], kind)
    options = Options(setup["mode"], setup["device"], setup["threads"], "float64")
    adapter = getattr(module, kind.capitalize())(task, start, options)
    declared = module_of(setup["framework"]).FRAMEWORK
    trains = "train" in getattr(declared, "phases", ("train",))  # older code does not say
    some = itertools.islice(batches(start, arrays, request["rows"]), request["steps"])
    computed = _numbers(adapter, start, some) if trains else _predictions(adapter, some)
    captured = adapter.settings().get("compile")
    explained = f"{module_of(setup['framework']).__name__}.explain"
    explains = captured and importlib.util.find_spec(explained) is not None
    return {
        "answer": "observed",
        "code": str(Path(harness.__file__).parents[1]),
        "numbers": {"seed": request["seed"], "rows": request["rows"], **computed},
        "programs": {
            phase: _program(importlib.import_module(explained), task, phase, setup["dtype"])
            for phase in (("train", "predict") if explains else ())
        },
    }


def batches(start: Start, arrays: Arrays, size: int) -> Iterator[tuple[Any, Any]]:
    """The first `size` rows of every batch, epoch after epoch."""
    for epoch in itertools.count():
        for chosen in start.epoch_order(epoch)[:, :size]:
            yield arrays.x_train[chosen], arrays.y_train[chosen]


def _numbers(adapter: Any, start: Start, batches: Iterator[tuple[Any, Any]]) -> Content:
    """Every loss to the bit; sketches of all tensors at the first step and after the last."""
    sketches: dict[str, Any] = {}
    losses = []
    for number, batch in enumerate(batches):
        staged = adapter.stage(*batch)
        if not number:
            sketches["first gradients"] = _sketches(adapter.gradients(staged))
        loss = np.asarray(adapter.to_numpy(adapter.train_step(staged)), np.float64)
        losses.append(float(loss.reshape(())).hex())
        if not number:
            state = adapter.state()
            moved = {name: it - start.weights[name] for name, it in state.weights.items()}
            sketches |= {"first update": _sketches(moved), "first slots": _sketches(state.slots)}
    state = adapter.state()
    sketches |= {
        "last outputs": _sketches({"outputs": adapter.to_numpy(adapter.predict(staged))}),
        "last gradients": _sketches(adapter.gradients(staged)),
        "last weights": _sketches(state.weights),
        "last slots": _sketches(state.slots),
    }
    digest = hashlib.sha256()
    for _, values in sorted(state.weights.items()):
        digest.update(np.ascontiguousarray(values).tobytes())
    return {
        "losses": losses,
        "sketches": {name: it for name, it in sketches.items() if it},
        "digest": digest.hexdigest(),
    }


def _predictions(adapter: Any, batches: Iterator[tuple[Any, Any]]) -> Content:
    """The same of what does not train: its outputs for the last batch."""
    for batch in batches:
        outputs = adapter.to_numpy(adapter.predict(adapter.stage(*batch)))
    sketches = {"last outputs": _sketches({"outputs": outputs})}
    digest = hashlib.sha256(np.ascontiguousarray(outputs).tobytes()).hexdigest()
    return {"losses": [], "sketches": sketches, "digest": digest}


def _sketches(tensors: Mapping[str, Any]) -> dict[str, list[str]]:
    return {name: [it.hex() for it in sketch(values)] for name, values in tensors.items()}


def sketch(values: Any) -> tuple[float, float, float]:
    """A tensor in three numbers: its norm, and its sums in two directions.

    The directions are 1 + frac(k√2) and 1 + frac(k√3) for entry k: exact in any floating-point
    arithmetic, never near zero, and no two entries alike. So whichever entry changes, a sum changes
    by at least as much; and where a whole tensor is scaled, the norm is.
    """
    flat = np.ascontiguousarray(values, np.float64).ravel()
    places = np.arange(1, flat.size + 1, dtype=np.float64)
    sums = (math.fsum(flat * (1 + np.modf(places * root)[0])) for root in DIRECTIONS)
    return (math.sqrt(math.fsum(flat * flat)), *sums)  # type: ignore[return-value]


def _program(explaining: Any, task: Task, phase: str, dtype: str) -> Content:
    program = explaining.explain(task, phase=phase, dtype=dtype)
    operations = collections.Counter(it.operation for it in program.rows)
    return {
        "instructions": len(program.rows),
        "operations": dict(sorted(operations.items())),
        "flops": program.flops,
        "buffers": len({it.buffer for it in program.rows if it.buffer is not None}),
        "arena_bytes": program.arena_bytes,
        "fed_bytes": program.fed_bytes,
        "unshared_bytes": program.unshared_bytes,
    }


if __name__ == "__main__":
    main()
