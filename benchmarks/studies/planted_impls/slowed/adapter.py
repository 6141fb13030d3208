"""The reference's replay, which in two modes does some of its training steps twice.

The second time is on a scratch copy, an adapter of its own on the same batch: results stay those
of the reference, bit for bit, while one step in PERIODS[mode] costs a step more. So the share of
extra work is known by counting, whatever anybody's clock says. All modes count and all hold a
scratch copy, so that nothing else differs between them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.adapter import Options, Setting
from harness.tasks.spec import Task
from harness.tasks.start import Start
from impls.reference.adapter import Adapter as Reference
from impls.reference.adapter import Batch

PERIODS = {"plain": 0, "slower-3": 33, "slower-5": 20}
"""One step in so many is taken twice; 0 is never."""


class Adapter(Reference):
    def __init__(self, task: Task, start: Start, options: Options) -> None:
        self._period = PERIODS[options.mode]
        replaying = replace(options, mode="replay")
        self._scratch = Reference(task, start, replaying)
        self._taken = self._twice = 0
        self._count = 0
        self._batch: Batch | None = None
        super().__init__(task, start, replaying)

    def train_step(self, batch: Batch) -> Any:
        if not self._taken:
            # Its program is captured here, in the first call of all, in every mode.
            self._scratch.train_step(batch)
        self._batch = batch
        self._taken += 1
        self._count += 1
        if self._count == self._period:
            self._count = 0
            self._twice += 1
            self._scratch.train_step(batch)
        return super().train_step(batch)

    def reset(self) -> None:
        """The count of steps goes on: over many samples the share is exact.

        The worker takes a step of ours off the clock before each sample, since others have had the
        caches; the scratch copy takes one here, lest its first cost more than what is planted.
        """
        if self._batch is not None:
            self._scratch.train_step(self._batch)
        self._scratch.reset()
        super().reset()

    def settings(self) -> dict[str, Setting]:
        counted: dict[str, Setting] = {"steps_taken": self._taken, "steps_twice": self._twice}
        return super().settings() | counted
