"""The tape: fan-out, broadcasting, depth, dtypes, and what it keeps alive."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from impls.reference import primitives as ops
from impls.reference.instructions import Namespace
from impls.reference.tensor import Tensor, gradient, parameter
from tests.reference.checking import check_gradient, normal


def test_gradients_accumulate_over_fan_out():
    x = parameter(np.array([1.0, 2.0]))
    y = x * x + x * 3.0 + x
    np.testing.assert_array_equal(gradient(ops.sum(y), [x])[0], 2 * x.array + 4)


def test_a_value_used_before_and_after_another():
    def diamond(x, w):
        a = ops.tanh(x @ w)
        b = ops.exp(a * 0.5)
        return ops.concatenate(a * b, b, a, axis=1)

    check_gradient(diamond, (normal(3, 4), normal(4, 2)))


def test_an_intermediate_value_can_be_asked_for():
    x = parameter(np.array([2.0]))
    y = x * x
    z = y * y
    assert [g.item() for g in gradient(z, [y, x, z])] == [8.0, 32.0, 1.0]


@pytest.mark.parametrize(
    ("a", "b"),
    [((2, 3), ()), ((2, 3), (1, 1)), ((4, 1, 3), (2, 1)), ((0, 3), (1, 3)), ((1,), (5,))],
)
def test_broadcasting_is_undone(a, b):
    check_gradient(lambda x, y: x * y + y, (normal(*a), normal(*b, seed=2)))


def test_no_gradient_where_there_is_no_dependence():
    x, unused = parameter(np.ones(2)), parameter(np.ones((3, 1), np.float32))
    found = gradient(ops.sum(x), [x, unused])
    np.testing.assert_array_equal(found[1], np.zeros((3, 1)))
    assert found[1].dtype == np.float32


def test_a_path_through_an_input_without_gradient_ends_there():
    x, y = parameter(normal(2, 3)), parameter(normal(2, 3, seed=2))
    loss = ops.squared_error(x, y * 2.0) if hasattr(ops, "squared_error") else None
    assert loss is None or gradient(loss, [y])[0].shape == (2, 3)


def test_off_the_tape_is_refused():
    x = Tensor(np.ones(2))
    with pytest.raises(ValueError, match="tape"):
        gradient(ops.sum(x), [x])
    with pytest.raises(ValueError, match="tape"):
        gradient(ops.sum(parameter(np.ones(2))), [x])


@pytest.mark.parametrize("operation", [lambda x: x + 1.0, ops.tanh, lambda x: x * x * 0.5])
def test_depth_ten_thousand(operation):
    x = y = parameter(np.array([0.1]))
    for _ in range(10_000):
        y = operation(y)
    assert np.isfinite(gradient(y, [x])[0]).all()
    del y, x
    gc.collect()


def test_a_wide_and_deep_graph_takes_linear_time():
    x = y = parameter(np.array([1.0]))
    for _ in range(200):  # 2^200 paths
        y = (y + y) * 0.5
    assert gradient(y, [x])[0].item() == 1.0


def test_dtypes_are_never_mixed_silently():
    x, y = Tensor(np.ones(2, np.float32)), Tensor(np.ones(2))
    for mix in (lambda: x + y, lambda: y @ x, lambda: ops.where(Tensor(np.ones(2, bool)), x, y)):
        with pytest.raises(TypeError, match="float"):
            mix()
    assert (x * 2.0 + 1).array.dtype == np.float32
    assert ops.mean(x).array.dtype == np.float32


def test_only_tensors_and_numbers():
    x = parameter(np.ones(2))
    for mix in (lambda: x + np.ones(2), lambda: np.ones(2) * x, lambda: ops.add(x, [1, 2])):
        with pytest.raises(TypeError, match="takes tensors and numbers"):
            mix()
    with pytest.raises(TypeError, match="namespace"):
        ops.add(1.0, 2.0)
    with pytest.raises(TypeError, match="namespace"):
        ops.add(x, Tensor(np.ones(2), Namespace(np)))


def test_the_tape_keeps_only_what_the_way_back_needs():
    x = parameter(normal(4, 4))
    z = ops.add(x, 1.0)  # nothing needs z: the product of exp needs its value, that of add nothing
    y = ops.exp(z)
    kept = weakref.ref(y.array)
    freed = weakref.ref(z.array)
    s = ops.sum(y)
    del z, y
    assert freed() is None
    assert kept() is not None
    del s
    gc.collect()
    assert kept() is None


def test_no_product_is_called_for_an_input_without_gradient():
    from impls.reference.tensor import PRIMITIVES, primitive

    def never(g):
        raise AssertionError("called")

    guarded = primitive("guarded")(lambda xp, x, y: (x * y, lambda g: g * y, never))
    del PRIMITIVES["guarded"]
    x = parameter(np.ones(2))
    np.testing.assert_array_equal(gradient(guarded(x, Tensor(np.ones(2))), [x])[0], 1)


def test_operators_read_like_the_mathematics():
    x = parameter(np.array([[1.0, 2.0], [3.0, 4.0]]))
    y = -((2.0 - x) ** 2) / 4 + 1 / x - x @ x + (1 + x) - (x - 1) + 3 * x + x[0]
    a = x.array
    expected = -((2 - a) ** 2) / 4 + 1 / a - a @ a + 2 + 3 * a + a[0]
    np.testing.assert_allclose(y.array, expected, rtol=1e-15)
