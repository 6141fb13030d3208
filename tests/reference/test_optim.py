"""Optimizers: against PyTorch's in float64, and against their formulas written out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from impls.reference.instructions import NUMPY
from impls.reference.optim import SGD, Adam, RMSprop
from tests.reference.checking import normal

RULES = {
    "sgd": (SGD(0.1), lambda t, w: t.SGD(w, 0.1), ()),
    "momentum": (
        SGD(0.1, 0.9),
        lambda t, w: t.SGD(w, 0.1, momentum=0.9),
        ("momentum_buffer",),
    ),
    "nesterov": (
        SGD(0.1, 0.9, nesterov=True),
        lambda t, w: t.SGD(w, 0.1, momentum=0.9, nesterov=True),
        ("momentum_buffer",),
    ),
    "adam": (Adam(1e-2), lambda t, w: t.Adam(w, 1e-2), ("exp_avg", "exp_avg_sq")),
    "adam, large ε": (
        Adam(1e-2, 0.8, 0.95, 0.1),
        lambda t, w: t.Adam(w, 1e-2, (0.8, 0.95), 0.1),
        ("exp_avg", "exp_avg_sq"),
    ),
    "adamw": (
        Adam(1e-2, weight_decay=0.1),
        lambda t, w: t.AdamW(w, 1e-2, weight_decay=0.1),
        ("exp_avg", "exp_avg_sq"),
    ),
    "rmsprop": (
        RMSprop(1e-2, 0.9, 1e-8),
        lambda t, w: t.RMSprop(w, 1e-2, 0.9, 1e-8),
        ("square_avg",),
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_hundred_updates_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch")
    rule, make, stock = RULES[name]
    w = normal(50)
    theirs = torch.tensor(w, requires_grad=True)
    optimizer = make(torch.optim, [theirs])
    slots = [np.zeros(50) for _ in rule.slots]
    for step in range(1, 101):
        g = normal(50, seed=step) * 10.0 ** (step % 5 - 3)
        w, *slots = rule.update(NUMPY, g, w, *slots, **rule.scalars(step))
        theirs.grad = torch.tensor(g)
        optimizer.step()
        relative(w, theirs)
        for slot, key in zip(slots, stock, strict=True):
            relative(slot, optimizer.state[theirs][key])


def relative(ours, theirs):
    theirs = theirs.detach().numpy()
    assert np.max(np.abs(ours - theirs)) <= 1e-12 * np.max(np.abs(theirs))


def test_adam_is_algorithm_1():
    rule, w, m, v = Adam(0.1, 0.7, 0.9, 0.01), 1.0, 0.0, 0.0
    ours = [np.array([value]) for value in (w, m, v)]
    for t in range(1, 20):
        g = math.sin(t)
        m = 0.7 * m + 0.3 * g
        v = 0.9 * v + 0.1 * g * g
        w -= 0.1 * (m / (1 - 0.7**t)) / (math.sqrt(v / (1 - 0.9**t)) + 0.01)
        ours = list(rule.update(NUMPY, np.array([g]), *ours, **rule.scalars(t)))
        np.testing.assert_allclose([it.item() for it in ours], [w, m, v], rtol=1e-13)


@pytest.mark.parametrize("name", RULES)
def test_an_update_leaves_its_operands_alone_and_keeps_float32(name):
    rule = RULES[name][0]
    before = [normal(5, seed=i).astype(np.float32) ** 2 for i in range(2 + len(rule.slots))]
    copies = [each.copy() for each in before]
    after = rule.update(NUMPY, *before, **rule.scalars(3))
    assert len(after) == 1 + len(rule.slots)
    assert {each.dtype for each in after} == {np.dtype(np.float32)}
    for each, copy in zip(before, copies, strict=True):
        np.testing.assert_array_equal(each, copy)
