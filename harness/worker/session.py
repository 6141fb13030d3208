"""One worker's life: `prepare`, then turns, then `finish`."""

from __future__ import annotations

import gc
import importlib
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

from harness.adapter import Adapter, Options, Setting
from harness.records import Epoch, PhaseRecord
from harness.tasks.datasets import Arrays, open_staged
from harness.tasks.metrics import METRICS
from harness.tasks.start import make_start
from harness.worker import feed
from harness.worker.measure import prepare_phase, take_sample
from harness.worker.messages import (
    Finish,
    Finished,
    Prepare,
    Prepared,
    Reply,
    Request,
    Sampled,
    TakeSample,
    Trained,
    TrainEpoch,
)


class Diverged(Exception):
    """The loss became NaN or infinite."""


class Session:
    """Answers requests, one at a time, with one adapter. Raises whatever the adapter raises."""

    def __init__(self, prepare: Prepare) -> None:
        self._task = prepare.task
        self._start = make_start(prepare.task, prepare.seed)
        self._arrays: Arrays = open_staged(Path(prepare.data))
        setup = prepare.setup

        begin = time.perf_counter()
        implementation = importlib.import_module(f"impls.{setup.framework}.adapter")
        imported = time.perf_counter()
        options = Options(setup.mode, setup.device, setup.threads, setup.dtype)
        self._adapter: Adapter = implementation.Adapter(self._task, self._start, options)
        self._adapter.synchronize()
        built = time.perf_counter()

        # Without a phase there is nothing to cycle through: a full training stages its own.
        self._batches: Sequence[Any] = (
            feed.sample_batches(self._adapter, self._task, self._start, self._arrays)
            if prepare.phases
            else ()
        )
        self._phases: Mapping[str, PhaseRecord] = {
            phase: prepare_phase(
                self._adapter,
                phase,
                self._batches,
                prepare.sample_seconds,
                prepare.warmup_seconds,
            )
            for phase in prepare.phases
        }
        # What lives now lives to the end: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        self.prepared = Prepared(
            import_seconds=imported - begin,
            build_seconds=built - imported,
            phases=tuple(self._phases.values()),
        )

    def answer(self, request: Request) -> Reply:
        match request:
            case TakeSample(phase=phase, round=round_, turn=turn):
                iterations = self._phases[phase].iterations
                sample, handle = take_sample(
                    self._adapter, phase, self._batches, iterations, round_, turn
                )
                if phase == "train":
                    self._require_finite(handle)
                return Sampled(sample=sample)
            case TrainEpoch(epoch=epoch):
                return Trained(epoch=self._train(epoch))
            case Finish():
                return Finished(settings=self._adapter.settings() | _process_settings())
            case Prepare():
                raise ValueError("a worker is prepared once")

    def _train(self, epoch: int) -> Epoch:
        adapter = self._adapter
        if epoch == 0:
            adapter.reset()
        seconds, loss = 0.0, math.nan
        portions = feed.epoch_portions(adapter, self._task, self._start, self._arrays, epoch)
        for portion in portions:
            adapter.synchronize()
            begin = time.perf_counter()
            for batch in portion:
                handle = adapter.train_step(batch)
            adapter.synchronize()
            seconds += time.perf_counter() - begin
            loss = self._require_finite(handle)
        return Epoch(epoch=epoch, seconds=seconds, loss=loss, quality=self._quality())

    def _quality(self) -> float:
        outputs = np.concatenate(
            [
                self._adapter.to_numpy(self._adapter.predict(batch))
                for batch in feed.held_out_batches(self._adapter, self._arrays)
            ]
        )
        quality = METRICS[self._task.metric](outputs, self._arrays.y_test)
        if not math.isfinite(quality):
            raise Diverged(f"{self._task.metric} is {quality} on the test rows")
        return quality

    def _require_finite(self, handle: Any) -> float:
        loss = float(self._adapter.to_numpy(handle))
        if not math.isfinite(loss):
            raise Diverged(f"the training loss became {loss}")
        return loss


def _process_settings() -> dict[str, Setting]:
    """What holds for the process whatever the framework: its BLAS libraries and their threads."""
    return {
        f"blas_{index}": f"{pool['internal_api']} {pool['version']}, {pool['num_threads']} threads"
        for index, pool in enumerate(threadpoolctl.threadpool_info())
    }
