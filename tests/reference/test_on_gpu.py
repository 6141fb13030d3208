"""What the reference asks of CuPy beside arrays, from a stand-in with CuPy's names."""

from __future__ import annotations

import sys
import types

import pytest

from harness.adapter import Unsupported
from impls.reference import on_gpu

BEFORE = 1000


class Pool:
    """A memory pool that tells a hook, entered as CuPy's are, of what it gives and takes back."""

    def __init__(self) -> None:
        self.hooks: list[object] = []

    def used_bytes(self) -> int:
        return BEFORE

    def give(self, size: int) -> None:
        for it in self.hooks:
            it.malloc_postprocess(device_id=0, size=size - 12, mem_size=size, mem_ptr=1, pmem_id=1)

    def take(self, size: int) -> None:
        for it in self.hooks:
            it.free_postprocess(device_id=0, mem_size=size, mem_ptr=1, pmem_id=1)


@pytest.fixture
def pool() -> Pool:
    return Pool()


@pytest.fixture
def cupy(pool, monkeypatch):
    class MemoryHook:
        def __enter__(self):
            pool.hooks.append(self)
            return self

        def __exit__(self, *_):
            pool.hooks.remove(self)

    class Device:
        used = 0

        def __init__(self, index=None) -> None:
            self.id = Device.used if index is None else index

        def use(self) -> None:
            Device.used = self.id

    names = [b"NVIDIA H100", b"NVIDIA H200"]
    runtime = types.SimpleNamespace(
        getDeviceCount=lambda: len(names), getDeviceProperties=lambda it: {"name": names[it]}
    )
    module = types.ModuleType("cupy")
    module.__getattr__ = lambda name: None  # its functions, which nobody calls here
    module.cuda = types.SimpleNamespace(MemoryHook=MemoryHook, Device=Device, runtime=runtime)
    module.get_default_memory_pool = lambda: pool
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


def test_the_peak_is_the_most_that_lived_at_once_with_what_was_there_before(cupy, pool):
    def run():
        pool.give(512)
        pool.give(1024)
        pool.take(512)
        pool.take(400)  # of what was there before
        pool.give(600)

    pool.give(5000)  # before, and given back before too
    assert on_gpu.allocation_peak(cupy, run) == BEFORE + 512 + 1024
    assert pool.hooks == []


def test_what_only_gives_back_peaks_at_its_beginning(cupy, pool):
    assert on_gpu.allocation_peak(cupy, lambda: pool.take(500)) == BEFORE


def test_the_gpu_that_was_asked_for_is_used_and_named(cupy):
    assert on_gpu.namespace("gpu:1").library is cupy
    assert on_gpu.name(cupy) == "NVIDIA H200"
    with pytest.raises(Unsupported, match=r"CuPy sees 2 GPU\(s\); there is no gpu:2"):
        on_gpu.namespace("gpu:2")


def test_a_driver_that_fails_is_no_crash(cupy):
    def fails():
        raise RuntimeError("cudaErrorNoDevice")

    cupy.cuda.runtime.getDeviceCount = fails
    with pytest.raises(Unsupported, match="needs CuPy and a GPU for gpu:0: cudaErrorNoDevice"):
        on_gpu.namespace("gpu:0")
