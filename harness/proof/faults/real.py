"""Faults of real frameworks' adapters: one definition serves every framework.

Each fault is a mode of the frameworks `planted_<name>`, whose folders lie beside this file. What a
fault must reach inside an adapter (weights, slots, the step count) is in those packages. Some of
the faults are planted in the reference too.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cache, partial
from typing import Any, cast

import numpy as np

from harness.adapter import Array, Framework, Options, State
from harness.cells import LANES, Lane
from harness.frameworks import declaration, module_of
from harness.proof.faults.fault import REAL, Fault, Faulty, fault
from harness.tasks.spec import Task
from harness.tasks.start import Start

MODES: dict[str, dict[Lane, str]] = {
    "keras": {"idiomatic": "tensorflow"},
    "pytorch": {"identical": "eager", "idiomatic": "eager"},
    "tensorflow": {"identical": "graph"},
}
"""Frameworks that have a folder with faults, each with the mode that gets those of a lane."""
real = partial(fault, real=True)


def planted_in(name: str) -> list[Fault]:
    """The faults of a framework's adapters: those of the lanes in which it has a mode for them."""
    return [it for it in REAL.values() if LANES[it.idiomatic] in MODES[name]]


def declared(name: str) -> Framework:
    """The framework `planted_<name>`: every fault is a mode."""
    honest = declaration(name)
    modes, faults = MODES[name], planted_in(name)
    first = next(iter(modes.values()))
    ahead = honest.tuning.ahead.get(first)
    return replace(
        honest,
        title=f"{honest.title} with planted faults",
        modes={it.name: it.line for it in faults if not it.idiomatic},
        idioms={
            it.name: replace(honest.idioms[modes["idiomatic"]], line=it.line)
            for it in faults
            if it.idiomatic
        },
        environment={it: text.replace("{mode}", first) for it, text in honest.environment.items()},
        aliases={},
        tuning=replace(
            honest.tuning,
            ahead={it.name: ahead for it in faults} if ahead else {},
            import_varies=False,  # no time of theirs counts
        ),
    )


def adapters(name: str, kind: str) -> Callable[[Task, Start, Options], Any]:
    """A function that builds the faulty adapters of a framework; `kind` is `Adapter` or `Idiom`."""

    def build(task: Task, start: Start, options: Options) -> Any:
        honest_kind = getattr(module_of(name, kind.lower()), kind)
        honest = replace(options, mode=MODES[name][LANES[kind == "Idiom"]])
        part = REAL[options.mode].part
        if not isinstance(part, type):
            return honest_kind(part(task), start, honest)
        faulty, seams = cast("type[Faulty]", part), module_of(f"planted_{name}")
        return faulty(honest_kind(task, start, faulty.options(honest)), seams)

    return build


# Another task, or other options.


def changed(name: str, line: str, check: str, part: str, **to: Any) -> None:
    """Enter a fault that does another task, with other fields in a part of it."""

    def change(asked: Task) -> Task:
        content = asked.model_dump()
        return Task.model_validate(content | {part: content[part] | to})

    real(name, line, check)(change)


changed("epsilon", "Adam's ε is 1e-7", "weights", "optimizer", epsilon=1e-7)
changed(
    "double-softmax", "softmax before a loss that takes logits", "logits", "model", output="softmax"
)


@real("half-the-threads", "half of the threads that are asked for", "settings", threads=2)
class HalfTheThreads(Faulty):
    @classmethod
    def options(cls, options: Options) -> Options:
        return replace(options, threads=max(1, options.threads // 2))


# Steps.


@fault("batches-reordered", "every step takes the batch of the step before", "loss")
@real("gradients-stale", "every step uses the batch before", "loss")
class StaleBatch(Faulty):
    _last: Any = None

    def train_step(self, batch: Any) -> Any:
        last, self._last = self._last if self.steps else batch, batch
        return super().train_step(last)


@fault("loss-stale", "train_step returns the loss of the step before", "loss")
@real("loss-stale", "train_step returns the loss of the step before", "loss")
class StaleLoss(Faulty):
    _last: Any = None

    def train_step(self, batch: Any) -> Any:
        loss = self.inner.train_step(batch)
        self._last, shown = loss, loss if self._last is None else self._last
        return shown


@fault("iterations-fewer", "runs fewer iterations than claimed", "unwatched")
@real("unwatched-skipped", "only the first step between two looks is taken", "unwatched")
class UnwatchedSkipped(Faulty):
    _watched = False
    _loss: Any = None

    def train_step(self, batch: Any) -> Any:
        if self._watched or not self.steps:
            self._watched, self._loss = False, super().train_step(batch)
        return self._loss

    def state(self) -> State:
        self._watched = True
        return self.inner.state()


@real("rate-later", "the learning rate is 20 % higher after step 150", "train", by="run")
class RateLater(Faulty):
    FIRST, MORE = 150, 0.2

    def train_step(self, batch: Any) -> Any:
        if self.steps < self.FIRST:
            return super().train_step(batch)
        before = self.inner.state().weights
        loss = super().train_step(batch)
        after = self.inner.state().weights
        moved = {name: it + self.MORE * (it - before[name]) for name, it in after.items()}
        self.seams.write(self.inner, State(moved, {}))
        return loss


@real("count-saturates", "the step count of Adam ends at 100", "train", by="run")
class StepCountSaturates(Faulty):
    LAST = 100

    def train_step(self, batch: Any) -> Any:
        if self.steps >= self.LAST:
            self.seams.set_count(self.inner, self.LAST - 1)
        return super().train_step(batch)


# Resets and states.


@real("reset-slots", "reset forgets the slots", "reset")
class KeptSlots(Faulty):
    def reset(self) -> None:
        slots = self.inner.state().slots
        self.inner.reset()
        self.seams.write(self.inner, State(self.inner.state().weights, slots))


@real("state-live", "state returns views that later steps write to", "copies")
class StateLive(Faulty):
    _shown: State | None = None

    def state(self) -> State:
        self._shown = self._shown or self.inner.state()
        return State(dict(self._shown.weights), dict(self._shown.slots))

    def train_step(self, batch: Any) -> Any:
        loss = self.inner.train_step(batch)
        self._follow()
        return loss

    def reset(self) -> None:
        self.inner.reset()
        self._follow()

    def _follow(self) -> None:
        if self._shown is None:
            return
        now = self.inner.state()
        for shown, new in ((self._shown.weights, now.weights), (self._shown.slots, now.slots)):
            for name, values in new.items():
                shown[name][...] = values


# Predictions that are not made.


@real("lazy", "predictions that are dropped are never computed", "predict", by="run")
class Lazy(Faulty):
    _last: Callable[[], Any] | None = None

    def predict(self, batch: Any) -> Any:
        self._last = cache(partial(self.inner.predict, batch))
        return self._last

    def to_numpy(self, handle: Any) -> Array:
        return super().to_numpy(handle() if callable(handle) else handle)

    def synchronize(self) -> None:
        if self._last is not None:
            self._last()
        self.inner.synchronize()


@fault("predict-cached", "predict remembers what it answered for a batch", "predict-fresh")
@real("predict-stale", "predict remembers what it answered for a batch", "predict-fresh")
class PredictStale(Faulty):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._known: dict[Any, tuple[Any, Any]] = {}

    def key(self, batch: Any) -> Any:
        return id(batch)

    def predict(self, batch: Any) -> Any:
        key = self.key(batch)
        if key not in self._known:
            # The batch is kept with its answer, so that no other one gets its identity.
            self._known[key] = batch, self.inner.predict(batch)
        return self._known[key][1]


@real("cached-identity", "predict knows a batch again at the same weights", "predict", by="run")
class CachedIdentity(PredictStale):
    """At the shared start only: samples of predictions begin there."""

    def predict(self, batch: Any) -> Any:
        return self.inner.predict(batch) if self.steps else super().predict(batch)


@real("cached-content", "predict knows rows again at the same weights", "predict", by="run")
class CachedContent(CachedIdentity):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._contents: dict[int, tuple[Any, int]] = {}

    def stage(self, inputs: Array, targets: Array) -> Any:
        batch = self.inner.stage(inputs, targets)
        self._contents[id(batch)] = batch, hash(np.asarray(inputs).tobytes())
        return batch

    def key(self, batch: Any) -> Any:
        return self._contents[id(batch)][1]


@real("infer-last", "infer computes its last batch only", "predict", by="run", idiomatic=True)
class InferLast(Faulty):
    def loader(self, inputs: Array, targets: Array, order: Array) -> Any:
        whole = self.inner.loader(inputs, targets, order)
        return whole, [self.inner.loader(inputs, targets, rows[None]) for rows in order]

    def fit(self, loader: Any, steps: int) -> Any:
        return self.inner.fit(loader[0], steps)

    def infer(self, loader: Any, steps: int) -> Any:
        single = loader[1]
        return self.inner.infer(single[(steps - 1) % len(single)], 1)


# Predictions that are right for few rows only.


@real("rows-left-over", "rows after the last 256 are not computed", "held-out rows", by="run")
class RowsLeftOver(Faulty):
    CHUNK = 256

    def predict(self, batch: Any) -> Any:
        outputs = self.inner.to_numpy(self.inner.predict(batch))
        if len(outputs) > self.CHUNK:
            outputs[len(outputs) // self.CHUNK * self.CHUNK :] = 0
        return outputs


@real("float16-rows", "float16 outputs from 256 rows on", "held-out rows", by="run")
class Float16Rows(Faulty):
    FROM = 256

    def predict(self, batch: Any) -> Any:
        outputs = self.inner.to_numpy(self.inner.predict(batch))
        if len(outputs) >= self.FROM:
            outputs = outputs.astype(np.float16).astype(outputs.dtype)
        return outputs


# The clock, threads, processes, memory.


@fault("synchronize", "synchronize returns before the device is done", "synchronize")
@real("synchronize", "synchronize returns before the work is done", "synchronize")
class WorksUnwaited(Faulty):
    """A device with a queue. Every result is waited for, but not when the device is."""

    SECONDS = 0.005

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._queue = ThreadPoolExecutor(1)

    def _submit(self, function: Callable[[Any], Any], batch: Any) -> Future[Any]:
        def work() -> Any:
            time.sleep(self.SECONDS)
            return function(batch)

        return self._queue.submit(work)

    def _finish(self) -> None:
        self._queue.submit(int).result()

    def train_step(self, batch: Any) -> Any:
        return self._submit(self.inner.train_step, batch)

    def predict(self, batch: Any) -> Any:
        return self._submit(self.inner.predict, batch)

    def to_numpy(self, handle: Any) -> Array:
        return super().to_numpy(handle.result() if isinstance(handle, Future) else handle)

    def state(self) -> State:
        self._finish()
        return self.inner.state()

    def gradients(self, batch: Any) -> dict[str, Array]:
        self._finish()
        return self.inner.gradients(batch)

    def reset(self) -> None:
        self._finish()
        self.inner.reset()


@real("burning-thread", "a thread of its own keeps a core busy", "threads", by="run")
class BurningThread(Faulty):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        threading.Thread(target=self._burn, daemon=True).start()

    def _burn(self) -> None:
        numbers = np.ones(2**17)
        while True:
            np.cos(numbers, out=numbers)  # without the interpreter's lock


@real("burning-child", "a process of its own keeps a core busy", "usage", by="run")
class BurningChild(Faulty):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        # It ends when its parent does.
        code = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"
        self._child = subprocess.Popen([sys.executable, "-c", code])


@real("memory-grows", "every step keeps 200 kB", "usage", by="run")
class MemoryGrows(Faulty):
    STEP_BYTES, MOST_STEPS = 200_000, 3000

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._kept: list[bytes] = []

    def train_step(self, batch: Any) -> Any:
        if len(self._kept) < self.MOST_STEPS:
            self._kept.append(b"1" * self.STEP_BYTES)
        return self.inner.train_step(batch)
