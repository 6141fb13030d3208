"""What operands, axes and indices may be, and what becomes of NaN, infinities and ties."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from impls.reference import primitives as ops
from impls.reference.capture import capture
from impls.reference.instructions import NUMPY
from impls.reference.losses import LOSSES, softmax_cross_entropy
from impls.reference.program import ProgramError
from impls.reference.replay import Replay
from impls.reference.tensor import PRIMITIVES, Tensor, gradient, parameter
from tests.reference.checking import Lazy, normal
from tests.reference.random_programs import THEIRS, close

torch = Lazy("torch")
SPECIAL = [-np.inf, -2.0, -1.0, -0.0, 0.0, 0.5, 1.0, np.inf, np.nan]
UNARY = "abs relu leaky_relu clip gelu softplus sigmoid tanh exp log sqrt negative"
BINARY = "maximum minimum add subtract multiply divide power"
STATIC = {"leaky_relu": {"slope": 0.2}, "clip": {"low": -1.0, "high": 0.5}}
X32 = np.array([[1.0, -2.0, 0.5]], np.float32)


def agree_with_torch(name, *arrays, **static):
    pytest.importorskip("torch")
    mine = [parameter(np.array(it)) for it in arrays]
    theirs = [torch.tensor(np.array(it), requires_grad=True) for it in arrays]
    with np.errstate(all="ignore"):
        y, expected = PRIMITIVES[name](*mine, **static), THEIRS[name](*theirs, **static)
        found = gradient(y, mine)
    close(f"{name} of {arrays}", y.array, expected.detach().numpy(), 1.0)
    expected.backward(torch.ones_like(expected))
    for ours, it in zip(found, theirs, strict=True):
        close(f"gradient of {name} at {arrays}", ours, it.grad.numpy(), 1.0)


@pytest.mark.parametrize("name", UNARY.split())
def test_special_values(name):
    agree_with_torch(name, np.array(SPECIAL), **STATIC.get(name, {}))


@pytest.mark.parametrize("name", BINARY.split())
def test_pairs_of_special_values(name):
    agree_with_torch(name, *map(np.ravel, np.meshgrid(SPECIAL, SPECIAL)))


@pytest.mark.parametrize("name", ["max", "logsumexp", "sum", "mean"])
@pytest.mark.parametrize("third", [0.0, 1.0])
def test_reductions_of_special_values(name, third):
    pairs = np.stack([*map(np.ravel, np.meshgrid(SPECIAL, SPECIAL)), np.full(81, third)], 1)
    agree_with_torch(name, pairs, axis=1, keepdims=False)
    agree_with_torch(name, pairs[:, :2], axis=1, keepdims=True)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_of_special_values(name):
    agree_with_torch(name, np.stack([*map(np.ravel, np.meshgrid(SPECIAL, SPECIAL))], 1), axis=1)


@pytest.mark.parametrize("name", ["sum", "mean", "max", "logsumexp"])
@pytest.mark.parametrize("axis", [None, (), 0, -1, (0, -1), np.int64(1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_axes(name, axis, keepdims):
    agree_with_torch(name, normal(2, 3), axis=axis, keepdims=keepdims)


def test_nothing_and_numbers():
    for name in ("sum", "mean", "max", "logsumexp"):
        agree_with_torch(name, normal(0, 3), axis=1, keepdims=False)
        for axis in (None, 0, -1):
            agree_with_torch(name, normal(), axis=axis, keepdims=True)
    for name in ("softmax", "log_softmax"):
        agree_with_torch(name, normal(), axis=-1)
        agree_with_torch(name, normal(0, 3), axis=0)
    agree_with_torch("logsumexp", normal(0, 3), axis=0, keepdims=False)
    agree_with_torch("sum", normal(0, 3), axis=0, keepdims=True)


@pytest.mark.parametrize("axes", [(-1, 0, 1), (0, -1, -2), (-3, -2, -1), (2, 1, -3)])
def test_negative_axes_of_a_transposition(axes):
    agree_with_torch("transpose", normal(2, 3, 4), axes=axes)


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (partial(ops.sum, axis=(0, 0)), "duplicate"),
        (partial(ops.max, axis=(1, -1)), "duplicate"),
        (partial(ops.sum, axis=2), "out of bounds"),
        (partial(ops.transpose, axes=(0, -2)), "repeated axis"),
        (partial(ops.transpose, axes=(0,)), "axes don't match"),
        (partial(ops.mean, axis=(0, 1, 0)), "duplicate"),
        (partial(ops.concatenate, axis=2), "out of bounds"),
        (lambda x: ops.concatenate(x[0, 0], axis=0), "zero-dimensional"),
        (lambda x: ops.linear(x, x[0], x[0]), "two matrices and a vector"),
        (lambda x: softmax_cross_entropy(x, Tensor(np.array([1]))), "do not fit"),
    ],
)
def test_what_does_not_fit_is_refused(operation, message):
    with pytest.raises(ValueError, match=message):
        operation(parameter(normal(2, 3)))


# Dtypes.

NUMBERS = [2, 2.0, True, np.float64(2.0), np.float32(2.0), np.int64(2), np.bool_(True)]


@pytest.mark.parametrize("name", [*BINARY.split(), "where"])
@pytest.mark.parametrize("number", NUMBERS, ids=lambda it: type(it).__name__)
@pytest.mark.parametrize("captured", [False, True])
def test_a_number_never_changes_a_dtype(name, number, captured):
    def step(xp, x):
        found = {}
        for side in "left", "right":
            tensor = parameter(x, xp)
            pair = (tensor, number) if side == "left" else (number, tensor)
            if name == "where":
                pair = Tensor(xp.equal(x, 1.0), xp), *pair
            y = PRIMITIVES[name](*pair)
            assert y.array.dtype == np.float32
            found |= {side: y.array, f"g{side}": gradient(y, [tensor])[0] * 1.0}
        return found

    with np.errstate(all="ignore"):
        found = Replay(capture(step, {"x": X32})).run(x=X32) if captured else step(NUMPY, X32)
    assert {it.dtype for it in found.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", BINARY.split())
@pytest.mark.parametrize("dtype", ["int64", "int32", "float64", "float16"])
def test_arrays_that_would_change_a_dtype_are_refused(name, dtype):
    other = Tensor(np.array([[1, 2, 3]], dtype))
    for pair in (parameter(X32), other), (other, parameter(X32)):
        with pytest.raises(TypeError, match=r"float32.*cast"), np.errstate(all="ignore"):
            PRIMITIVES[name](*pair)


def test_static_numbers_do_not_change_a_dtype():
    x = parameter(X32)
    for y in (
        ops.clip(x, low=np.float64(-1), high=np.float64(1)),
        ops.leaky_relu(x, slope=np.float64(0.1)),
        ops.sum(x, axis=np.int64(0)),
    ):
        assert y.array.dtype == gradient(y, [x])[0].dtype == np.float32


def test_a_captured_step_refuses_what_would_change_the_dtype():
    for mix in (lambda xp, x: {"y": x * np.float64(2.0)}, lambda xp, x: {"y": x * xp.arange(3)}):
        with pytest.raises(ProgramError, match="mixed"):
            capture(mix, {"x": X32})


def test_numbers_beside_integers_are_captured_as_they_are():
    program = capture(lambda xp, i: {"half": i * 0.5, "more": i + 2}, {"i": np.arange(3)})
    found = Replay(program).run(i=np.arange(3))
    np.testing.assert_array_equal(found["half"], [0.0, 0.5, 1.0], strict=True)
    np.testing.assert_array_equal(found["more"], np.arange(2, 5), strict=True)


def test_gradients_are_of_floats_and_seeds_fit():
    with pytest.raises(TypeError, match="not of int64"):
        parameter(np.arange(3))
    x = parameter(X32)
    for seed in (np.ones((1, 3)), np.ones(3, np.float32), np.ones((1, 3), int)):
        with pytest.raises(ValueError, match="seed"):
            gradient(x * 2.0, [x], seed)


def test_conditions_are_bools_and_indices_integers():
    x = parameter(normal(3))
    for condition in (Tensor(np.array([1, 0, 1])), True, Tensor(np.ones(3))):
        with pytest.raises(TypeError, match="condition"):
            ops.where(condition, x, 0.0)
    for indices in (Tensor(np.array([True, False, True])), Tensor(np.ones(2)), 1):
        with pytest.raises(TypeError, match="indices"):
            ops.take(x, indices, axis=0)


# Operators and indices.


def test_operators_without_a_primitive_are_refused():
    x = parameter(normal(3))
    for of in (
        lambda: x < 1.0,
        lambda: x // 2,
        lambda: x == x,
        lambda: np.add.reduce(x),
        lambda: np.add(x, 1.0, out=np.zeros(3)),
        lambda: x.__iadd__(1.0),
    ):
        with pytest.raises(TypeError, match="no primitive"):
            of()


def test_a_captured_step_refuses_what_works_in_place():
    def step(xp, x):
        x += 1.0
        return {"y": x}

    with pytest.raises(ProgramError, match="cannot capture add"):
        capture(step, {"x": X32})


def test_the_absolute_value_may_be_written_as_in_python():
    x = parameter(normal(3))
    np.testing.assert_array_equal(abs(x).array, np.abs(x.array))


@pytest.mark.parametrize(
    "index",
    [np.int64(1), (np.int32(-1), slice(None)), slice(None, None, -1), None, (..., 0), ()],
    ids=str,
)
def test_indices_of_numpy(index):
    agree_with_torch("getitem", normal(3, 4), index=index)


@pytest.mark.parametrize(
    "index",
    [True, np.bool_(False), [0, 1], np.array([0, 0]), np.array([True, False, True]), 1.0, "a"],
    ids=str,
)
def test_other_indices_are_refused(index):
    for at in (index, (slice(None), index)):
        with pytest.raises(TypeError, match="slicing takes integers"):
            parameter(normal(3, 3))[at]
        with pytest.raises(TypeError, match="slicing takes integers"):
            capture(lambda xp, x, at=at: {"y": x[at] * 1.0}, {"x": normal(3, 3)})


def test_what_is_taken_twice_gathers_both_gradients():
    x = parameter(normal(3))
    y = ops.take(x, Tensor(np.array([[0, 0], [-3, 2]])), axis=0)
    np.testing.assert_array_equal(gradient(y, [x])[0], [3.0, 0.0, 1.0])


def test_what_is_captured_in_another_layout_is_replayed_in_its_own():
    x = normal(3, 4)
    step = lambda xp, x: {"y": xp.sum(x.T.reshape(-1) * 2.0), "z": x.T.reshape(-1)}  # noqa: E731
    replay = Replay(capture(step, {"x": np.asarray(x, order="F")}))
    replay.run(x=x)
    x[...] = 1.0
    found = replay.run()
    assert found["y"] == 24
    np.testing.assert_array_equal(found["z"], np.ones(12))


def test_labels_fit_the_rows():
    for name in ("cross-entropy", "cross-entropy-of-probabilities"):
        with pytest.raises(ValueError, match="do not fit"):
            LOSSES[name](parameter(np.full((3, 2), 0.5)), Tensor(np.array([1])))
