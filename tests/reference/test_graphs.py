"""Random graphs: the tape against PyTorch, and replay against eager, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from impls.reference import primitives as ops
from impls.reference.capture import capture
from impls.reference.instructions import NUMPY
from impls.reference.replay import Replay
from impls.reference.tensor import Tensor, gradient, parameter
from tests.reference.checking import Lazy

torch = Lazy("torch")
SIZES = st.sampled_from([1, 3, 2, 0])

# Name → (ours, PyTorch's), on values of two axes. All keep values moderate.
UNARY = {
    "tanh": (ops.tanh, torch.tanh),
    "sigmoid": (ops.sigmoid, torch.sigmoid),
    "softplus": (ops.softplus, lambda x: torch.logaddexp(x, torch.zeros_like(x))),
    "relu": (ops.relu, torch.relu),
    "abs": (ops.abs, torch.abs),
    "negative": (ops.negative, torch.neg),
    "exp of tanh": (lambda x: ops.exp(ops.tanh(x)), lambda x: x.tanh().exp()),
    "log": (lambda x: ops.log(x * x + 1.0), lambda x: (x * x + 1).log()),
    "sqrt": (lambda x: ops.sqrt(x * x + 0.5), lambda x: (x * x + 0.5).sqrt()),
    "clip": (lambda x: ops.clip(x, low=-0.5, high=0.5), lambda x: x.clamp(-0.5, 0.5)),
    "double": (lambda x: x + x, lambda x: x + x),
    "square": (lambda x: x * x * 0.3, lambda x: x * x * 0.3),
    "transpose": (lambda x: ops.transpose(x, axes=(1, 0)), lambda x: x.T),
    "rows": (lambda x: x[:1], lambda x: x[:1]),
    "every second": (lambda x: x[:, ::2], lambda x: x[:, ::2]),
    "reversed shape": (
        lambda x: ops.reshape(x, shape=x.array.shape[::-1]),
        lambda x: x.reshape(*x.shape[::-1]),
    ),
    "column sums": (lambda x: ops.sum(x, axis=0, keepdims=True), lambda x: x.sum(0, True)),
    "row sums": (lambda x: ops.sum(x, axis=1, keepdims=True), lambda x: x.sum(1, True)),
    "twice": (lambda x: ops.concatenate(x, x, axis=1), lambda x: torch.concatenate((x, x), 1)),
}
NOT_EMPTY = {
    "corner": (lambda x: ops.reshape(x[0, 0], shape=(1, 1)), lambda x: x[0, 0].reshape(1, 1)),
    "mean": (lambda x: ops.mean(x, keepdims=True), lambda x: x.mean().reshape(1, 1)),
    "max": (lambda x: ops.max(x, axis=1, keepdims=True), lambda x: x.amax(1, True)),
    "softmax": (lambda x: ops.softmax(x, axis=1), lambda x: x.softmax(1)),
    "log_softmax": (lambda x: ops.log_softmax(x, axis=0), lambda x: x.log_softmax(0)),
    "logsumexp": (
        lambda x: ops.logsumexp(x, axis=1, keepdims=True),
        lambda x: x.logsumexp(1, True),
    ),
}
BINARY = {
    "add": (ops.add, lambda x, y: x + y),
    "subtract": (ops.subtract, lambda x, y: x - y),
    "multiply": (lambda x, y: ops.tanh(x) * y, lambda x, y: x.tanh() * y),
    "divide": (lambda x, y: x / (y * y + 1.0), lambda x, y: x / (y * y + 1)),
    "maximum": (ops.maximum, torch.maximum),
    "minimum": (ops.minimum, torch.minimum),
}


@st.composite
def graphs(draw):
    """Leaves, and steps (operation, operand, operand) that fit them."""
    rows, columns = draw(SIZES), draw(SIZES)
    shapes = [(rows, columns), (1, columns), (rows, 1)][: draw(st.integers(1, 3))]
    leaves = [np.random.default_rng(i).standard_normal(shape) for i, shape in enumerate(shapes)]
    values = [parameter(leaf) for leaf in leaves]
    steps = []
    for _ in range(draw(st.integers(1, 12))):
        i = draw(st.integers(0, len(values) - 1))
        partners = [j for j, other in enumerate(values) if fits(values[i], other)]
        j = draw(st.sampled_from(partners))
        names = list(UNARY | BINARY) + (list(NOT_EMPTY) if values[i].array.size else [])
        if values[i].array.shape[1] == values[j].array.shape[0]:
            names.append("matmul")
        step = draw(st.sampled_from(sorted(names))), i, j
        value = ours(step, values)
        if value.array.size <= 200:
            steps.append(step)
            values.append(value)
    return leaves, steps


def fits(x, y):
    try:
        np.broadcast_shapes(x.array.shape, y.array.shape)
    except ValueError:
        return False
    return True


def ours(step, values):
    name, i, j = step
    if name == "matmul":
        return ops.tanh(values[i] @ values[j])
    if name in BINARY:
        return BINARY[name][0](values[i], values[j])
    return (UNARY | NOT_EMPTY)[name][0](values[i])


def theirs(step, values):
    name, i, j = step
    if name == "matmul":
        return (values[i] @ values[j]).tanh()
    if name in BINARY:
        return BINARY[name][1](values[i], values[j])
    return (UNARY | NOT_EMPTY)[name][1](values[i])


def total(values):
    """A scalar that depends on every value, so that each is used once more."""
    result = ops.sum(values[0])
    for value in values[1:]:
        result = result + ops.sum(ops.tanh(value))
    return result


MANY = settings(max_examples=150, derandomize=True, suppress_health_check=list(HealthCheck))


@MANY
@given(graphs())
def test_random_graphs_are_those_of_pytorch(graph):
    pytest.importorskip("torch")
    leaves, steps = graph
    mine = [parameter(leaf) for leaf in leaves]
    other = [torch.tensor(leaf, requires_grad=True) for leaf in leaves]
    values, expected = list(mine), list(other)
    for step in steps:
        values.append(ours(step, values))
        expected.append(theirs(step, expected))
        close(values[-1].array, expected[-1], 1e-12)
    result = total(values)
    reference = sum((it.tanh().sum() for it in expected[1:]), expected[0].sum())
    close(result.array, reference, 1e-12)
    reference.backward()
    for g, leaf in zip(gradient(result, mine), other, strict=True):
        close(g, leaf.grad, 1e-10)


def close(mine, other, tolerance):
    other = other.detach().numpy()
    assert mine.shape == other.shape
    if other.size:
        assert np.max(np.abs(mine - other)) <= tolerance * max(1.0, np.max(np.abs(other)))


@MANY
@given(graphs(), st.sampled_from(["float32", "float64"]), st.booleans())
def test_replay_is_eager_bit_for_bit(graph, dtype, separately):
    leaves, steps = graph
    inputs = {f"x{i}": leaf.astype(dtype) for i, leaf in enumerate(leaves)}

    def step(xp, **arrays):
        first = [parameter(array, xp) for array in arrays.values()]
        values = list(first)
        for each in steps:
            values.append(ours(each, values))
        result = total(values)
        gradients = gradient(result, first)
        found = {f"g{i}": g * 1.0 for i, g in enumerate(gradients)} if separately else {}
        packed = xp.pack(*gradients) * 0.5
        return {"y": values[-1].array * 1.0, "total": result.array, "all": packed, **found}

    with threadpool_limits(1):
        replay = Replay(capture(step, inputs))
        for scale in (1.0, -0.7):
            changed = {name: np.asarray(value * scale, dtype) for name, value in inputs.items()}
            eager = step(NUMPY, **changed)
            replayed = replay.run(**changed)
            for name, expected in eager.items():
                np.testing.assert_array_equal(replayed[name], expected, strict=True)


@MANY
@given(graphs(), st.booleans())
def test_replayed_state_is_eager_bit_for_bit(graph, also_results):
    leaves, steps = graph
    inputs = {f"x{i}": leaf for i, leaf in enumerate(leaves)}

    def step(xp, **arrays):
        """The next state of each leaf is the newest value of its shape, or its gradient."""
        first = [parameter(array, xp) for array in arrays.values()]
        values = list(first)
        for each in steps:
            values.append(ours(each, values))
        found = gradient(total(values), first)
        after = {}
        for name, array, g in zip(arrays, arrays.values(), found, strict=True):
            fitting = [it.array for it in values[len(first) :] if it.array.shape == array.shape]
            after[name] = xp.tanh(fitting[-1] if fitting else g)
        rest = {f"g{i}": g + 0.0 for i, g in enumerate(found)} if also_results else {}
        return {**after, **rest}

    with threadpool_limits(1):
        replay = Replay(capture(step, inputs))
        for name, value in inputs.items():
            replay.state[name][...] = value
        state = inputs
        for _ in range(3):
            eager = step(NUMPY, **state)
            replayed = {**replay.run(), **replay.state}
            assert eager.keys() == replayed.keys()
            for name, expected in eager.items():
                np.testing.assert_array_equal(replayed[name], expected, strict=True)
            state = {name: eager[name] for name in inputs}


def test_a_tensor_stands_for_its_array():
    assert "Tensor" in repr(Tensor(np.ones(2)))
