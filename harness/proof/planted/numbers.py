"""Faults in the precision of the arithmetic."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from harness.adapter import Array, Options, Setting
from harness.proof.planted.fault import SAME, Net, Planted, fault
from harness.proof.planted.tasks import DIGITS, LARGE_BATCH
from harness.tasks.spec import Task
from harness.tasks.start import Start
from impls.reference.tensor import Tensor, primitive

MANTISSA_BITS = 10


def tf32(values: Array) -> Array:
    """Values rounded to 10 mantissa bits after the leading one."""
    fraction, exponent = np.frexp(values)
    scale = 2.0 ** (MANTISSA_BITS + 1)
    return np.ldexp(np.rint(fraction * scale) / scale, exponent).astype(values.dtype)


def float16(values: Array) -> Array:
    return values.astype(np.float16).astype(values.dtype)


# Rounded on the way forth and on the way back: every product has such operands.
through_tf32 = primitive("planted_tf32")(lambda xp, x: (tf32(x), tf32))
through_float16 = primitive("planted_float16")(lambda xp, x: (float16(x), float16))


class TF32Net(Net):
    def affine(self, index: int, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        product = super().affine(index, through_tf32(x), through_tf32(weight), bias)
        return through_tf32(product)


@fault("float16", "float16 inside", DIGITS, "logits")
class Float16Net(Net):
    def affine(self, index: int, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        product = super().affine(index, through_float16(x), through_float16(weight), bias)
        return through_float16(product)


@fault("tf32", "matrix products with 10 mantissa bits, as TF32", DIGITS, "logits")
class TF32(Planted):
    def __init__(self, task: Task, start: Start, options: Options) -> None:
        super().__init__(task, start, options, network=TF32Net)

    def product(self, left: Any, right: Any) -> Any:
        return super().product(tf32(left), tf32(right))


@fault(
    "float32-inside", "float32 inside, shown as what was asked for", DIGITS, "start", unseen=SAME
)
class Float32Inside(Planted):
    def __init__(self, task: Task, start: Start, options: Options) -> None:
        super().__init__(task, start, replace(options, dtype="float32"))
        self._shown = options.dtype

    def to_numpy(self, handle: Any) -> Array:
        return super().to_numpy(handle).astype(self._shown)

    def settings(self) -> dict[str, Setting]:
        return super().settings() | {"dtype": self._shown}


@fault("inference-cheaper", "float16 in predict alone", DIGITS, "logits")
class InferenceCheaper(Planted):
    def predict(self, batch: Any) -> Any:
        with self.other(Float16Net):
            return super().predict(batch)


@fault("batch-cheaper", "10 mantissa bits from 256 rows on", LARGE_BATCH, "full-batch")
class BatchCheaper(Planted):
    LARGE = 256

    def predict(self, batch: Any) -> Any:
        with self._network_of(batch):
            return super().predict(batch)

    def gradients(self, batch: Any) -> dict[str, Array]:
        with self._network_of(batch):
            return super().gradients(batch)

    def train_step(self, batch: Any) -> Any:
        with self._network_of(batch):
            return super().train_step(batch)

    def _network_of(self, batch: Any) -> AbstractContextManager[None]:
        return self.other(TF32Net) if len(batch.inputs) >= self.LARGE else nullcontext()
