"""Faults that begin when the proof is over: the worker that measures must notice them."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.adapter import Setting
from harness.proof.planted.fault import Planted, fault
from harness.proof.planted.numbers import TF32Net, tf32
from harness.proof.planted.tasks import DIGITS

HONEST_RESETS = 6
"""So many samples, first calls and warm-ups are right."""


class Later(Planted):
    """Without a fault at first; what comes after is up to a subclass."""

    _resets = 0

    def reset(self) -> None:
        super().reset()
        self._resets += 1

    @property
    def later(self) -> bool:
        return self._resets > HONEST_RESETS


@fault("samples-shorter", "later samples run half of their steps", DIGITS, "sample", by="run")
class SamplesShorter(Later):
    _last: Any = None

    def train_step(self, batch: Any) -> Any:
        if not self.later or self._last is None:
            self._last = super().train_step(batch)
            return self._last
        last, self._last = self._last, None
        return last


@fault("loss-infinite", "a later loss is infinite", DIGITS, "diverged", by="run")
class LossInfinite(Later):
    def train_step(self, batch: Any) -> Any:
        loss = super().train_step(batch)
        return loss * np.inf if self.later else loss


@fault("retraces", "the step is traced again while it is timed", DIGITS, "settings", by="run")
class Retraces(Later):
    def settings(self) -> dict[str, Setting]:
        return super().settings() | {"train_traces": self._resets}


@fault("tf32-later", "later predictions have 10 mantissa bits", DIGITS, "settings", by="run")
class TF32Later(Later):
    def predict(self, batch: Any) -> Any:
        if not self.later:
            return super().predict(batch)
        with self.other(TF32Net):
            return super().predict(batch)

    def product(self, left: Any, right: Any) -> Any:
        return (
            super().product(tf32(left), tf32(right)) if self.later else super().product(left, right)
        )


@fault("dtype-later", "later samples run in another dtype", DIGITS, "settings", by="run")
class DtypeLater(Later):
    def settings(self) -> dict[str, Setting]:
        return super().settings() | ({"dtype": "float16"} if self.later else {})
