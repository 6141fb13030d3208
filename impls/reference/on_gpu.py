"""The instruction set on a GPU, over CuPy: where it differs from NumPy, and what it allocates."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from harness.adapter import Unsupported
from impls.reference.instructions import Array, Namespace


class OnGpu(Namespace):
    """The instruction set over CuPy."""

    def max(self, x: Array, *, axis: Any = None, keepdims: bool = False, out: Any = None) -> Array:
        """An array's own method: CuPy's `maximum` does not reduce."""
        return x.max(axis, out, keepdims)

    def matmul(self, x: Array, y: Array, out: Any = None) -> Array:
        """As NumPy's. CuPy's takes `out` by name only; for matrices `dot` is the shorter way."""
        if out is not None and x.ndim <= 2 and y.ndim <= 2:
            return x.dot(y, out)
        return self.library.matmul(x, y, out=out)


def namespace(device: str) -> OnGpu:
    """CuPy on the GPU of this name, `gpu:0`. Raises Unsupported with the reason."""
    try:
        cupy = importlib.import_module("cupy")
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # whatever a driver or a missing library may raise
        raise Unsupported(f"the reference needs CuPy and a GPU for {device}: {error}") from None
    index = int(device.removeprefix("gpu:"))
    if index >= count:
        raise Unsupported(f"CuPy sees {count} GPU(s); there is no {device}")
    cupy.cuda.Device(index).use()
    return OnGpu(cupy)


def name(cupy: Any) -> str:
    """What the driver calls the GPU in use."""
    told: bytes = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"]
    return told.decode()


def allocation_peak(cupy: Any, run: Callable[[], Any]) -> int:
    """Peak bytes of CuPy's memory pool while `run` runs, with what was there before.

    The pool keeps no peak itself, but calls a hook at every allocation and every release.
    """

    class Hook(cupy.cuda.MemoryHook):  # type: ignore[misc]
        name = "samestep"
        grown = peak = 0

        def malloc_postprocess(self, **told: int) -> None:
            self.grown += told["mem_size"]
            self.peak = max(self.peak, self.grown)

        def free_postprocess(self, **told: int) -> None:
            self.grown -= told["mem_size"]

    before: int = cupy.get_default_memory_pool().used_bytes()
    with Hook() as hook:
        run()
    return before + int(hook.peak)
