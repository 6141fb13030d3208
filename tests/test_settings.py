"""The names of effective settings, and the classes of precision."""

from __future__ import annotations

import numpy as np
import pytest

from harness.records import MUST_AGREE, PRECISIONS, SETTINGS, precision_class


def test_what_must_agree():
    needed = {"threads", "dtype", "device", "matmul_precision", "tf32"}
    assert needed <= set(MUST_AGREE) < set(SETTINGS)
    # NumPy does not flush denormals and TensorFlow does; samples start where there are none.
    assert not {"flushes_denormals", "onednn", "xla", "inter_op_threads"} & set(MUST_AGREE)


def test_every_name_has_one_line():
    for name, it in SETTINGS.items():
        assert it.line, name
        assert "\n" not in it.line
        assert len(it.line) < 80


def rounded(values, bits):
    """Significands of so many bits, the hidden one included."""
    significand, exponent = np.frexp(values)
    return np.ldexp(np.round(significand * 2**bits) / 2**bits, exponent)


@pytest.mark.parametrize("inner", [512, 4096])
@pytest.mark.parametrize(
    ("bits", "expected"),
    [(53, "float64"), (24, "float32"), (11, "tf32-like"), (8, "half-like")],
)
def test_classes_from_rounded_factors(bits, expected, inner):
    """Factors rounded to the significands of float64, float32, TF32 and float16, bfloat16."""
    generator = np.random.default_rng(5)
    left, right = generator.standard_normal((2, 128, inner))
    exact = left @ right.T
    error = np.abs(rounded(left, bits) @ rounded(right, bits).T - exact).max() / np.abs(exact).max()
    assert precision_class(error) == expected


def test_classes_stand_from_fine_to_coarse():
    bounds = [bound for _, bound in PRECISIONS]
    assert bounds == sorted(bounds)
    assert precision_class(0.0) == "float64"
    assert precision_class(1.0) == "half-like"
