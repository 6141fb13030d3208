"""Gradients against central differences, and what every primitive is tried on."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from impls.reference import losses
from impls.reference.tensor import PRIMITIVES, Tensor, gradient, parameter

# The faults that the self-test plants bring primitives of their own, wherever they are imported.
PRIMITIVES_AND_LOSSES = {
    name: it for name, it in PRIMITIVES.items() if not name.startswith("planted_")
} | {"probability_cross_entropy": losses.probability_cross_entropy}


def check_gradient(
    operation: Callable[..., Tensor],
    arrays: Sequence[Any],
    wrt: Sequence[int] | None = None,
    step: float = 1e-6,
    tolerance: float = 1e-7,
) -> None:
    """Raise AssertionError unless the gradients of `operation(*arrays)` are those of its values.

    Both are taken along random directions: for outputs weighted by r, and an input moved along d,
    the derivative of Σ r·y is ⟨gradient, d⟩. `wrt` picks the inputs, all float arrays by default.
    """
    random = np.random.default_rng(0)
    wrt = floats(arrays) if wrt is None else wrt
    tensors = as_tensors(arrays, wrt)
    output = operation(*tensors)
    weights = random.standard_normal(output.array.shape)
    found = gradient(output, [tensors[i] for i in wrt], seed=weights)
    for i, ours in zip(wrt, found, strict=True):
        assert ours.shape == arrays[i].shape, f"input {i}: gradient of shape {ours.shape}"
        assert ours.dtype == arrays[i].dtype, f"input {i}: gradient of dtype {ours.dtype}"
        direction = random.standard_normal(arrays[i].shape)
        expected = 0.0
        for sign in (1, -1):
            moved = list(arrays)
            moved[i] = np.asarray(arrays[i] + sign * step * direction)
            values = operation(*as_tensors(moved)).array
            expected += sign * float(np.sum(weights * values)) / (2 * step)
        projected = float(np.sum(ours * direction))
        difference = abs(projected - expected) / max(1.0, abs(expected))
        assert difference <= tolerance, f"input {i}: {projected} for {expected}"


def floats(arrays: Sequence[Any]) -> list[int]:
    return [i for i, a in enumerate(arrays) if isinstance(a, np.ndarray) and a.dtype.kind == "f"]


def as_tensors(arrays: Sequence[Any], wrt: Sequence[int] = ()) -> list[Any]:
    return [
        (parameter(a) if i in wrt else Tensor(a)) if isinstance(a, np.ndarray) else a
        for i, a in enumerate(arrays)
    ]


@dataclass(frozen=True)
class Case:
    """A primitive on inputs and static arguments, and how PyTorch calls the same thing.

    `wrt` picks the inputs with gradients (all float arrays by default); at a kink (`smooth` is
    False) central differences say nothing.
    """

    name: str
    inputs: tuple[Any, ...]
    torch: Callable[..., Any]
    static: dict[str, Any] = field(default_factory=dict)
    wrt: tuple[int, ...] | None = None
    smooth: bool = True

    def operation(self, *inputs: Any) -> Tensor:
        return PRIMITIVES_AND_LOSSES[self.name](*inputs, **self.static)

    @property
    def varied(self) -> list[int]:
        return floats(self.inputs) if self.wrt is None else list(self.wrt)

    def __str__(self) -> str:
        shapes = "·".join(str(getattr(a, "shape", a)).replace(" ", "") for a in self.inputs)
        static = ",".join(f"{k}={v}" for k, v in self.static.items())
        return f"{self.name}-{shapes}-{static}".rstrip("-")


class Lazy:
    """A module that is imported when a function of it is called."""

    def __init__(self, module: str) -> None:
        self.module = module

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **kw: getattr(importlib.import_module(self.module), name)(*args, **kw)


def normal(*shape: int, seed: int = 1) -> np.ndarray:
    return np.asarray(np.random.default_rng([seed, *shape]).standard_normal(shape))


def positive(*shape: int, seed: int = 1) -> np.ndarray:
    return np.asarray(np.abs(normal(*shape, seed=seed)) + 0.5)
