"""Nothing that cannot be compared passes for equal, and sizes are those of the definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.differences import compare

numbers = st.floats(-1e6, 1e6, allow_nan=False).map(lambda it: 0.0 if abs(it) < 1e-6 else it)
tensors = hnp.arrays("float64", hnp.array_shapes(max_dims=2, max_side=6), elements=numbers)
sets = st.dictionaries(st.sampled_from("abcd"), tensors, min_size=1)


def copied(tensors):
    return {name: values.copy() for name, values in tensors.items()}


@given(sets)
def test_a_set_is_no_distance_from_itself(expected):
    assert compare(copied(expected), expected, "float64").size == 0


@given(sets, st.data(), st.floats(1e-9, 1e3))
def test_one_changed_entry_is_found_and_measured(expected, data, by):
    name = data.draw(st.sampled_from(sorted(expected)))
    place = data.draw(st.integers(0, expected[name].size - 1))
    scale = np.abs(expected[name]).max()
    assume(scale > 0)
    values = copied(expected)
    values[name].flat[place] += by * scale
    found = compare(values, expected, "float64")
    assert found.tensor == name
    assert found.size == pytest.approx(by, rel=1e-6)
    assert name in str(found)


@given(sets, st.floats(1e-3, 1e3))
def test_the_unit_of_a_tensor_does_not_matter(expected, unit):
    assume(any(it.any() for it in expected.values()))
    values = {name: it + 0.5 for name, it in expected.items()}
    scaled = compare(
        {name: it * unit for name, it in values.items()},
        {name: it * unit for name, it in expected.items()},
        "float64",
    )
    assert scaled.size == pytest.approx(compare(values, expected, "float64").size, rel=1e-9)


@given(sets, st.data())
def test_what_cannot_be_compared_is_infinitely_far(expected, data):
    name = data.draw(st.sampled_from(sorted(expected)))
    values, odd = copied(expected), data.draw(st.sampled_from((np.nan, np.inf, -np.inf)))
    spoilt = values[name].copy()
    spoilt.flat[-1] = odd
    for wrong, reason in (
        ({it: values[it] for it in values if it != name}, "missing"),
        (values | {"stranger": values[name]}, "unknown to the reference"),
        (values | {name: values[name][None]}, "shape"),
        (values | {name: values[name].astype("float32")}, "float32, not float64"),
        (values | {name: spoilt}, "NaN or infinite"),
        ({}, "missing"),
    ):
        found = compare(wrong, expected, "float64")
        assert found.size == math.inf
        assert reason in found.reason
        assert found.reason in str(found)


def test_shapes_that_would_broadcast_are_different_shapes():
    for shape in ((1, 3), (3, 1), (1,), ()):
        assert compare({"a": np.ones(shape)}, {"a": np.ones(3)}, "float64").size == math.inf


def test_nothing_to_compare_is_a_failure():
    assert compare({}, {}, "float64").size == math.inf
    assert compare({"a": np.zeros(0)}, {"a": np.zeros(0)}, "float64").size == math.inf


def test_a_reference_that_is_not_finite_is_a_failure():
    broken = np.array([1.0, np.nan])
    assert compare({"a": broken}, {"a": broken}, "float64").size == math.inf
    endless = np.array([1.0, np.inf])
    assert compare({"a": endless}, {"a": endless}, "float64").size == math.inf


def test_a_reference_that_is_not_finite_hides_behind_no_tensor_of_zeros():
    expected = {"dead": np.zeros(2), "broken": np.array([np.nan, 1.0])}
    for order in (expected, dict(reversed(expected.items()))):
        assert compare(copied(order), order, "float64").size == math.inf


@pytest.mark.parametrize(
    "shape", [(300, 200), (1, 70_000), (70_000,), (3, 1, 50_000), (2, 7, 5000)]
)
def test_large_tensors_are_compared_in_portions_and_no_entry_is_left_out(shape, monkeypatch):
    generator = np.random.default_rng(0)
    expected = generator.standard_normal(shape)
    scale = np.abs(expected).max()
    for place in (
        0,
        expected.size // 2,
        expected.size - 1,
        *generator.integers(0, expected.size, 9),
    ):
        for wrong in (np.nan, np.inf, expected.flat[place] + scale):
            values = np.asfortranarray(expected.copy())
            values.flat[place] = wrong
            found = compare({"a": values}, {"a": expected}, "float64").size
            assert found == (pytest.approx(1) if np.isfinite(wrong) else math.inf)


def test_zeros_are_measured_by_the_largest_entry_of_the_whole_set():
    expected = {"dead": np.zeros(3), "alive": np.array([1.0, -4.0])}
    values = copied(expected)
    values["dead"][1] = 1e-3
    found = compare(values, expected, "float64")
    assert (found.tensor, found.size) == ("dead", pytest.approx(1e-3 / 4))


def test_among_nothing_but_zeros_whatever_is_not_zero_is_infinitely_far():
    expected = {"a": np.zeros(2), "b": np.zeros(2)}
    assert compare(copied(expected), expected, "float64").size == 0
    found = compare(expected | {"b": np.array([0.0, 1e-300])}, expected, "float64")
    assert found.size == math.inf
    assert found.tensor == "b"


def test_what_float32_must_lose_to_underflow_is_no_difference():
    """A second moment of 1e-42 is a denormal number in float32, zero where those are flushed."""
    flushed = compare({"a": np.zeros(2, "float32")}, {"a": np.full(2, 1e-42)}, "float32")
    assert flushed.size < 1e-10
    assert compare({"a": np.zeros(2)}, {"a": np.full(2, 1e-42)}, "float64").size == 1


def test_only_a_loss_may_have_any_dtype():
    assert compare({"loss": np.float32(2)}, {"loss": np.float64(2)}, None).size == 0


@pytest.mark.parametrize("other", ["float16", "int64", "bool"])
def test_other_dtypes_are_no_numbers_of_a_cell(other):
    assert compare({"a": np.ones(2, other)}, {"a": np.ones(2)}, "float32").size == math.inf
