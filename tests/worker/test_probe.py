"""Limits of the device, measured through adapters whose device is made up."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest

from harness.cells import PHASES
from harness.records import Limits, precision_class
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.costs import Product, products
from harness.worker import probe
from harness.worker.probe import matmul_error, measure_limits, peak_flops, product_seconds

TASK = CATALOGUE["digits-mlp"]


class Device:
    """NumPy; `bits` cuts the significand of every factor, `flush` gives denormals up."""

    def __init__(self, dtype="float32", bits=None, flush=False):
        self.dtype, self.bits, self.flush = np.dtype(dtype), bits, flush
        self.multiplied = []

    def tensor(self, values):
        return np.asarray(values, self.dtype)

    def products(self, pairs):
        return [self._product(left, right) for left, right in pairs]

    def _product(self, left, right):
        self.multiplied.append(Product(*left.shape, right.shape[1]))
        if self.bits:
            left, right = self._cut(left), self._cut(right)
        result = left @ right
        if self.flush:
            result = np.where(np.abs(result) < np.finfo(self.dtype).tiny, 0, result)
        return result

    def _cut(self, values):
        significand, exponent = np.frexp(values)
        scale = self.dtype.type(2**self.bits)
        return np.ldexp(np.round(significand * scale) / scale, exponent)

    def to_numpy(self, handle):
        return np.array(handle)

    def synchronize(self):
        pass


class Asleep(Device):
    """A device that computes after the call has returned, each product for 2 ms."""

    def __init__(self):
        super().__init__()
        self.pending = 0

    def products(self, pairs):
        self.pending += len(pairs)
        return [np.zeros((len(left), right.shape[1]), np.float32) for left, right in pairs]

    def synchronize(self):
        time.sleep(0.002 * self.pending)
        self.pending = 0


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (Device("float64"), "float64"),
        (Device("float32"), "float32"),
        (Device("float32", bits=11), "tf32-like"),
        (Device("float32", bits=8), "half-like"),
    ],
)
def test_precision_is_measured(device, expected):
    assert precision_class(matmul_error(device)) == expected


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("flush", [True, False])
def test_denormals(dtype, flush):
    assert probe.flushes_denormals(Device(dtype, flush=flush), dtype) is flush


@pytest.mark.parametrize("phase", PHASES)
def test_the_products_of_one_iteration_are_timed(phase):
    device, shapes = Device(), products(TASK, phase)
    assert product_seconds(device, shapes) > 0
    rounds, rest = divmod(len(device.multiplied), len(shapes))
    assert rounds >= 2
    assert rest == 0
    assert device.multiplied == list(shapes) * rounds


def test_time_on_the_device_counts():
    device = Asleep()
    assert product_seconds(device, products(TASK, "train")) >= 8 * 0.002
    assert peak_flops(device) <= Product(probe.LARGEST, probe.LARGEST, probe.LARGEST).flops / 0.002


def test_the_largest_side_ends_the_search(monkeypatch):
    monkeypatch.setattr(probe, "LARGEST", 512)
    monkeypatch.setattr(probe, "LONG_ENOUGH", 1e9)
    device = Device()
    assert peak_flops(device) > 0
    assert {it.rows for it in device.multiplied} == {256, 512}


def test_all_limits():
    device = Device()
    limits = measure_limits(device, TASK, "float32", PHASES)
    assert set(limits.product_seconds) == set(PHASES)
    assert limits.product_seconds["train"] == limits.product_seconds["train-latency"]
    assert limits.peak_flops > 1e6
    assert limits.matmul_error < 1e-5
    assert limits.flushes_denormals is False
    assert measure_limits(device, TASK, "float32").product_seconds == {}


def test_what_is_not_supported_is_left_out():
    class Nothing:
        pass

    class NoProduct(Device):
        def products(self, pairs):
            raise RuntimeError("no such kernel")

    class NotANumber(Device):
        def products(self, pairs):
            return [it * np.nan for it in super().products(pairs)]

    for adapter in (Nothing(), NoProduct()):
        assert measure_limits(adapter, TASK, "float32", PHASES) == Limits()
    assert measure_limits(NotANumber(), TASK, "float32").matmul_error is None


def test_numpy_is_a_yardstick_that_no_adapter_sets():
    class Fabulous(Device):
        """Says that it multiplies, and does not."""

        def products(self, pairs):
            return []

    limits = measure_limits(Fabulous(), TASK, "float32", PHASES, threads=1)
    assert limits.plain
    assert limits.peak_flops > 10 * limits.plain.peak_flops
    assert set(limits.plain.product_seconds) == set(limits.plain.dispatch_seconds) == set(PHASES)
    assert limits.plain.product_seconds["train"] > limits.plain.dispatch_seconds["train"]
    assert limits.plain.plain is None


def test_the_clock_of_the_yardstick_stands_still_while_others_have_the_core():
    # In a process of its own: threads that earlier tests left behind compute in this one.
    program = (
        "import time; from harness.worker import probe; clock = probe.cpu_clock(2); "
        "begin = clock(); time.sleep(0.2); print(clock() - begin)"
    )
    used = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert float(used) < 0.1
