"""Compare two named sets of tensors; the limits of their differences.

The difference of two tensors is the largest absolute difference of their entries, relative to the
largest absolute entry of the reference's tensor: its *scale*. What cannot be compared has an
infinite difference, with the reason in words.

The bounds follow from rounding, they are not fitted to a framework:

- A gradient of these nets is a chain of sums of up to some thousand products, each rounded to
  ε = 2⁻⁵³ ≈ 1.1e-16 or 2⁻²⁴ ≈ 6e-8. Errors of n random roundings grow as √n·ε: about 1e-14 and
  6e-6. One step is held to 1e-12 and 1e-5.
- Along a trajectory the errors of the steps add up, and an optimizer that divides by the size of
  the gradient magnifies those of small gradients. Two correct float64 programs stay within 4e-15
  of each other in the loss over 1000 steps; 1e-9 over 100 steps leaves room for every weight.
  Whole trainings (`proof/whole_training.py`) are held to the same limit.
- In float32 the difference stays near 1e-7 until a ReLU near its kink takes the other side; from
  then on it grows without bound (0.1 at step 1000 for two correct programs). So trajectories are
  compared over the first 10 steps only, at 1e-5. A wrong ε in Adam shows there as 3e-5 to 1.5e-4.

An idiomatic mode that keeps its framework's stock formula cannot follow the task's: where gradients
are as small as ε no useful bound exists (docs/stock-optimizers.md). In the class `stock` the
reference follows that formula instead; the limits are the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from harness.adapter import Array
from harness.cells import Setup
from harness.certificates import Tolerance
from harness.frameworks import declaration
from harness.tasks.start import Start

PORTION = 2**15
"""Entries that are compared at once."""


@dataclass(frozen=True)
class Difference:
    """The largest difference of a set; `reason` says why it is infinite, if it is."""

    size: float
    tensor: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.tensor}: {self.reason or f'{self.size:.1e} of its scale'}"


def compare(
    values: Mapping[str, Array], expected: Mapping[str, Array], dtype: str | None
) -> Difference:
    """The largest difference of any tensor of a set from the reference's of that name.

    Infinite where there is no tensor at all, or one that is missing, unexpected, of another shape
    (even one that would broadcast), not of `dtype` (unless that is None), NaN or infinite.

    The scale of a tensor of zeros is the largest entry of the whole reference set. In a set of
    nothing but zeros, any other value is infinitely far. Entries below the smallest normal number
    of the dtype ÷ its ε have lost their digits to underflow: no scale is smaller than that.
    """
    if not expected:
        return _incomparable("all", "the reference has no tensor to compare with")
    for name in expected.keys() ^ values.keys():
        return _incomparable(name, "missing" if name in expected else "unknown to the reference")
    scales = {name: _largest(tensor) for name, tensor in expected.items()}
    for name, scale in scales.items():
        if not math.isfinite(scale):
            return _incomparable(name, "NaN or infinite in the reference itself")
    largest, precision = max(scales.values()), np.finfo(dtype or "float64")
    smallest = float(precision.smallest_normal / precision.eps)
    differences = [
        _difference(name, values[name], tensor, dtype, scales[name] or largest, smallest)
        for name, tensor in expected.items()
    ]
    return max(differences, key=lambda it: it.size)


def _difference(
    name: str, values: Array, expected: Array, dtype: str | None, scale: float, smallest: float
) -> Difference:
    if values.shape != expected.shape:
        return _incomparable(name, f"shape {values.shape}, not {expected.shape}")
    if not values.size:
        return _incomparable(name, "an empty tensor")
    if dtype is not None and values.dtype != dtype:
        return _incomparable(name, f"{values.dtype}, not {dtype}")
    error = _largest_error(values, expected)
    if not math.isfinite(error):
        return _incomparable(name, "NaN or infinite")
    if scale == 0 and error:
        return _incomparable(name, "not zero, as all should be")
    return Difference(error / max(scale, smallest), name)


def _incomparable(name: str, reason: str) -> Difference:
    return Difference(math.inf, name, reason)


def _largest_error(values: Array, expected: Array) -> float:
    """The largest absolute difference, in portions that stay in the cache; NaN if there is one."""
    if expected.size <= PORTION:
        with np.errstate(invalid="ignore"):  # an infinity less another is NaN, as it should be
            return _largest(np.subtract(values, expected, dtype="float64"))
    if len(expected) == 1:
        return _largest_error(values[0], expected[0])
    rows = max(1, PORTION // math.prod(expected.shape[1:]))
    portions = (slice(first, first + rows) for first in range(0, len(expected), rows))
    return float(np.max([_largest_error(values[it], expected[it]) for it in portions]))


def _largest(values: Array) -> float:
    """The largest absolute entry; NaN if there is one."""
    return float(max(abs(values.max()), abs(values.min()))) if values.size else 0.0


def finite(size: float) -> float | None:
    """The size as JSON has it: None where it is NaN or infinite."""
    return size if math.isfinite(size) else None


@dataclass(frozen=True)
class Bounds:
    """`one_step` bounds logits, loss and gradients before the first update, `trajectory` bounds
    everything else, over `steps` steps."""

    one_step: float
    trajectory: float
    steps: int


LIMITS: dict[str, Bounds] = {
    "float64": Bounds(1e-12, 1e-9, 100),
    "float32": Bounds(1e-5, 1e-5, 10),
}
"""By dtype."""
QUICK_STEPS = 10
"""The most steps of the proof with which a run begins."""
SHADOWS = 12
"""References with nudged first weights. A unit at its kink takes the other side in half of them:
one in 4,000 would miss it."""
MARGIN = 2.0
"""Two correct programs round differently: where one takes up more than half of what is allowed,
another may take up more than all of it."""
FLOAT32_ROUNDING, FLOAT64_ROUNDING = 2.0**-24, 2.0**-53

Reference = TypeVar("Reference")


def tolerance_of(setup: Setup) -> Tolerance:
    """`stock` for an idiomatic mode that says why its formula is another one."""
    if setup.lane == "identical":
        return "exact"
    return "stock" if declaration(setup.framework).idioms[setup.mode].stock else "exact"


def truth_of(setup: Setup, tolerance: Tolerance) -> str:
    """The module of the reference: the task's formulas, or those of a stock optimizer."""
    if tolerance == "exact":
        return "impls.reference.adapter"
    return declaration(setup.framework).idioms[setup.mode].truth


def shadows(
    build: Callable[[Start], Reference], start: Start, rounding: float = FLOAT32_ROUNDING
) -> Iterator[Reference]:
    """References, as `build` makes them, whose first weights are nudged.

    Each has a random generator of its own, so it does not depend on how many were drawn. A stock
    formula also rounds its scalars at every step, as float32 does.
    """
    for seed in np.random.SeedSequence(start.seed).spawn(SHADOWS):
        generator = np.random.default_rng(seed)
        shadow = build(nudged(start, generator, rounding))
        round_scalars = getattr(shadow, "round_scalars", None)
        if round_scalars and rounding == FLOAT32_ROUNDING:
            round_scalars(generator)
        yield shadow


def nudged(
    start: Start, generator: np.random.Generator, rounding: float = FLOAT32_ROUNDING
) -> Start:
    """The start with every weight moved by at most √n roundings of itself, biases by as much of the
    layer's largest weight: they begin at zero but are rounded with what they are added to."""
    reach = math.sqrt(sum(fan_in for fan_in, _ in start.task.layers)) * rounding
    weights = {}
    for name, values in start.weights.items():
        size = np.abs(values)
        if name.endswith(".bias"):
            weight = start.weights[name.removesuffix("bias") + "weight"]
            size = np.full_like(values, np.abs(weight).max())
        weights[name] = values + size * generator.uniform(-reach, reach, values.shape)
    return replace(start, weights=weights)
