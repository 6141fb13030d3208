"""Random programs over all primitives: eager against replay and against PyTorch's autograd."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from impls.reference.instructions import Namespace
from impls.reference.tensor import PRIMITIVES, primitive
from tests.reference.checking import PRIMITIVES_AND_LOSSES
from tests.reference.random_programs import (
    MAKERS,
    THEIRS,
    compare_with_replay,
    compare_with_torch,
    random_program,
)

BLOCK, BLOCKS = 25, range(0, 400, 25)
made = functools.cache(random_program)


@pytest.fixture(autouse=True)
def _quiet():
    with np.errstate(all="ignore"), threadpool_limits(1):
        yield


def programs(first, count=BLOCK):
    return map(made, range(first, first + count))


def test_every_primitive_is_drawn():
    assert MAKERS.keys() == THEIRS.keys() == PRIMITIVES_AND_LOSSES.keys()
    drawn = {step.name for program in programs(0, 3 * BLOCK) for step in program.steps}
    assert drawn == MAKERS.keys()


@pytest.mark.parametrize("first", BLOCKS)
def test_values_and_gradients_are_those_of_pytorch(first):
    pytest.importorskip("torch")
    for program in programs(first):
        compare_with_torch(program)


@pytest.mark.parametrize("first", BLOCKS)
def test_replay_is_eager_bit_for_bit(first):
    for seed, program in enumerate(programs(first)):
        compare_with_replay(program, ("float32", "float64")[seed % 2])


# Planted errors.


def wrong_maximum(xp, x, y):
    """Of NaN no operand gets the gradient."""
    value = xp.maximum(x, y)
    share = lambda g, z: xp.where(x == y, g / 2, xp.where(z == value, g, 0.0))  # noqa: E731
    return value, lambda g: share(g, x), lambda g: share(g, y)


WRONG = {
    "multiply": lambda xp, x, y: (x * y, lambda g: g * y, lambda g: g * y),
    "abs": lambda xp, x: (xp.abs(x), lambda g: g * xp.sign(x)),
    "relu": lambda xp, x: (y := xp.maximum(x, 0.0), lambda g: g * (y >= 0)),
    "maximum": wrong_maximum,
    "take": lambda xp, x, i, axis: (
        xp.take(x, i, axis=axis),
        lambda g: xp.scatter_add(g, i, axis=axis % x.ndim, shape=x.shape) != 0,
    ),
}


def all_with(name, compare, *arguments):
    for program in programs(0, BLOCKS.stop):
        if any(step.name == name for step in program.steps):
            compare(program, *arguments)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_primitive_is_seen(name, monkeypatch):
    pytest.importorskip("torch")
    right = PRIMITIVES[name]
    monkeypatch.setitem(PRIMITIVES_AND_LOSSES, name, primitive(name)(WRONG[name]))
    PRIMITIVES[name] = right
    with pytest.raises(AssertionError, match=f"name='{name}'"):
        all_with(name, compare_with_torch)


def test_a_wrong_instruction_is_seen_in_replay(monkeypatch):
    def adds_to_what_was_there(self, g, indices, *, axis, shape, out=None):
        out = np.zeros(shape, g.dtype) if out is None else out
        np.add.at(out, (slice(None),) * axis + (indices,), g)
        return out

    monkeypatch.setattr(Namespace, "scatter_add", adds_to_what_was_there)
    with pytest.raises(AssertionError, match="take"):
        all_with("take", compare_with_replay, "float64")
