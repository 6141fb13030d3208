"""The reference's replay, which in two modes does more of its own work besides.

A scratch copy, an adapter of its own, goes through the calls of a training step, a few of them at
every step and in PERIODS[mode] steps all. So the share of extra work is known by counting calls,
whatever anybody's clock says, and is the same in every sample however short; results stay those of
the reference, bit for bit. All modes count and all hold a scratch copy, so that nothing else
differs between them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.adapter import Options, Setting
from harness.tasks.spec import Task
from harness.tasks.start import Start
from impls.reference.adapter import Adapter as Reference
from impls.reference.adapter import Batch
from impls.reference.replay import Call

PERIODS = {"plain": 0, "slower-3": 33, "slower-5": 20}
"""In so many steps the scratch copy takes one; 0 is never."""


class Adapter(Reference):
    def __init__(self, task: Task, start: Start, options: Options) -> None:
        self._period = PERIODS[options.mode]
        replaying = replace(options, mode="replay")
        self._scratch = Reference(task, start, replaying)
        self._calls: list[Call] = []
        self._taken = self._besides = 0  # steps, and calls of the scratch copy, until the reset
        self._since = self._made = 0  # and since then
        self._batch: Batch | None = None
        super().__init__(task, start, replaying)

    def train_step(self, batch: Batch) -> Any:
        if not self._calls:
            # Its program is captured here, in the first call of all, in every mode.
            self._warm_up(batch)
        self._batch = batch
        self._since += 1
        if self._period:
            many = len(self._calls)
            due = self._since * many // self._period
            for number in range(self._made, due):
                function, arguments = self._calls[number % many]
                function(*arguments)
            self._made = due
        return super().train_step(batch)

    def _warm_up(self, batch: Batch) -> None:
        self._scratch.train_step(batch)
        self._calls = [*self._scratch._replays["train", len(batch.inputs)]._calls.values()]

    def reset(self) -> None:
        """The scratch copy begins anew as well, be it in the middle of a step.

        The worker takes a step of ours off the clock before each sample, since others have had the
        caches; the scratch copy takes one here, lest its first cost more than what is planted.
        """
        self._taken, self._besides = self._taken + self._since, self._besides + self._made
        self._since = self._made = 0
        self._scratch.reset()
        if self._batch is not None:
            self._warm_up(self._batch)
        super().reset()

    def settings(self) -> dict[str, Setting]:
        counted: dict[str, Setting] = {
            "steps_taken": self._taken + self._since,
            "calls_of_a_step": len(self._calls),
            "calls_besides": self._besides + self._made,
        }
        return super().settings() | counted
