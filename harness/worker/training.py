"""A full training, an epoch at a time: time on the clock, then quality off it."""

from __future__ import annotations

import math
import time
from typing import cast

import numpy as np

from harness.adapter import Adapter, Array, Idiom
from harness.cells import Lane
from harness.records import Epoch
from harness.tasks.datasets import Arrays
from harness.tasks.metrics import METRICS
from harness.tasks.spec import Task
from harness.tasks.start import Start
from harness.worker import feed
from harness.worker.measure import Diverged, finite_loss


class Training:
    """Trains from the shared start of `start`'s seed; epoch 0 begins there anew.

    `done` says whether any epoch was.
    """

    def __init__(
        self, adapter: Adapter | Idiom, lane: Lane, task: Task, start: Start, arrays: Arrays
    ) -> None:
        self._adapter = adapter
        self._lane = lane
        self._task = task
        self._start = start
        self._arrays = arrays
        self.done = False

    def epoch(self, number: int) -> Epoch:
        """The next epoch; raises Diverged."""
        if number == 0:
            self._adapter.reset()
        self.done = True
        train = self._in_portions if self._lane == "identical" else self._at_once
        seconds, loss = train(number)
        return Epoch(epoch=number, seconds=seconds, loss=loss, quality=self._quality())

    def _in_portions(self, epoch: int) -> tuple[float, float]:
        """The harness's own loop; every portion of the data is staged off the clock."""
        adapter = self._adapter
        seconds, loss = 0.0, math.nan
        portions = feed.epoch_portions(adapter, self._task, self._start, self._arrays, epoch)
        for portion in portions:
            adapter.synchronize()
            begin = time.perf_counter()
            for batch in portion:
                handle = adapter.train_step(batch)
            adapter.synchronize()
            seconds += time.perf_counter() - begin
            loss = finite_loss(adapter, handle)
        return seconds, loss

    def _at_once(self, epoch: int) -> tuple[float, float]:
        """The framework's own loop, over a pipeline that it made off the clock."""
        idiom = cast(Idiom, self._adapter)
        order = self._start.epoch_order(epoch)
        loader = idiom.loader(self._arrays.x_train, self._arrays.y_train, order)
        idiom.synchronize()
        begin = time.perf_counter()
        handle = idiom.fit(loader, len(order))
        idiom.synchronize()
        seconds = time.perf_counter() - begin
        return seconds, finite_loss(idiom, handle)

    def held_out(self) -> Array:
        """The outputs for all test rows at the present weights."""
        return np.concatenate(
            [
                self._adapter.to_numpy(self._adapter.predict(batch))
                for batch in feed.held_out_batches(self._adapter, self._arrays)
            ]
        )

    def _quality(self) -> float:
        outputs = self.held_out()
        quality = METRICS[self._task.metric](outputs, self._arrays.y_test)
        if not math.isfinite(quality):
            raise Diverged(f"{self._task.metric} is {quality} on the test rows")
        return quality
