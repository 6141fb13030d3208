"""Two named sets of tensors, compared: how far apart at the most, and where.

The difference of two tensors is the largest absolute difference of their entries, relative to the
largest absolute entry of the reference's tensor: its *scale*. Nothing that cannot be compared may
pass for equal: such a difference is infinite, with the reason in words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.adapter import Array

PORTION = 2**15
"""Entries that are compared at once."""


@dataclass(frozen=True)
class Difference:
    """The largest one of a set; `reason` says why it is infinite, if it is."""

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

    A tensor of zeros has no scale of its own: there the largest entry of the whole reference set
    counts, and in a set of nothing but zeros whatever is not zero is infinitely far. Entries below
    the smallest normal number of the dtype ÷ its ε have lost their digits to underflow: no scale
    is smaller than that.
    """
    if not expected:
        return _cannot("all", "the reference has no tensor to compare with")
    for name in expected.keys() ^ values.keys():
        return _cannot(name, "missing" if name in expected else "unknown to the reference")
    largest = {name: _largest(it) for name, it in expected.items()}
    for name, size in largest.items():
        if not math.isfinite(size):
            return _cannot(name, "NaN or infinite in the reference itself")
    whole, smallest = max(largest.values()), _smallest_scale(dtype)
    found = [
        _difference(name, values[name], it, dtype, largest[name] or whole, smallest)
        for name, it in expected.items()
    ]
    return max(found, key=lambda it: it.size)


def _difference(
    name: str, values: Array, expected: Array, dtype: str | None, scale: float, smallest: float
) -> Difference:
    if values.shape != expected.shape:
        return _cannot(name, f"shape {values.shape}, not {expected.shape}")
    if not values.size:
        return _cannot(name, "an empty tensor")
    if dtype is not None and values.dtype != dtype:
        return _cannot(name, f"{values.dtype}, not {dtype}")
    apart = _apart(values, expected)
    if not math.isfinite(apart):
        return _cannot(name, "NaN or infinite")
    if scale == 0 and apart:
        return _cannot(name, "not zero, as all should be")
    return Difference(apart / max(scale, smallest), name)


def _apart(values: Array, expected: Array) -> float:
    """The largest absolute difference, in portions that stay in the cache; NaN if there is one."""
    if expected.size <= PORTION:
        with np.errstate(invalid="ignore"):  # an infinity less another is NaN, as it should be
            return _largest(np.subtract(values, expected, dtype="float64"))
    if len(expected) == 1:
        return _apart(values[0], expected[0])
    rows = max(1, PORTION // math.prod(expected.shape[1:]))
    return float(
        np.max(
            [
                _apart(values[first : first + rows], expected[first : first + rows])
                for first in range(0, len(expected), rows)
            ]
        )
    )


def _largest(values: Array) -> float:
    """The largest absolute entry; NaN if there is one."""
    if not values.size:
        return 0.0
    return float(max(abs(values.max()), abs(values.min())))


def _smallest_scale(dtype: str | None) -> float:
    kind = np.finfo(dtype or "float64")
    return float(kind.smallest_normal / kind.eps)


def _cannot(name: str, reason: str) -> Difference:
    return Difference(math.inf, name, reason)
