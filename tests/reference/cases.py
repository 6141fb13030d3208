"""Every primitive on several shapes, with PyTorch's name for it."""

from __future__ import annotations

import numpy as np

from tests.reference.checking import Case, Lazy, normal, positive

torch, F = Lazy("torch"), Lazy("torch.nn.functional")
MASK = normal(3, 4, seed=9) > 0
ROWS = np.array([2, 0, 2, 1])
LABELS = np.array([1, 0, 4, 1, 2])
TARGETS = (normal(5, 3, seed=8) > 0).astype(np.float64)
TIES = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [0.0, -0.0, 5.0]])

PAIRS = [((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 1), (1, 4)), ((1,), (2, 3)), ((0, 3), (3,))]
SHAPES = [(3, 4), (1,), (0, 2), ()]


def arithmetic():
    for name, function, make in (
        ("add", torch.add, normal),
        ("subtract", torch.sub, normal),
        ("multiply", torch.mul, normal),
        ("divide", torch.div, positive),
        ("power", torch.pow, positive),
        ("maximum", lambda x, y: torch.maximum(x, torch.as_tensor(y).double()), normal),
        ("minimum", lambda x, y: torch.minimum(x, torch.as_tensor(y).double()), normal),
    ):
        for a, b in PAIRS:
            yield Case(name, (make(*a), make(*b, seed=2)), function)
        yield Case(name, (make(3, 4), 1.5), function)
    for name in ("maximum", "minimum"):
        yield Case(name, (TIES, TIES[:, ::-1].copy()), getattr(torch, name), smooth=False)
    yield Case("subtract", (2.0, normal(3, 4)), lambda x, y: x - y)
    yield Case("divide", (2.0, positive(3, 4)), lambda x, y: x / y)
    yield Case("power", (2.0, normal(3, 4)), torch.pow)
    for exponent in (0, 1, 2, 3.0):
        yield Case("power", (np.array([0.0, -1.0, 2.0]), exponent), torch.pow)
    yield Case("power", (np.zeros(2), np.array([0.0, 2.0])), torch.pow, smooth=False)


def functions():
    for name, function, make, static in (
        ("negative", torch.neg, normal, {}),
        ("exp", torch.exp, normal, {}),
        ("log", torch.log, positive, {}),
        ("sqrt", torch.sqrt, positive, {}),
        ("abs", torch.abs, normal, {}),
        ("tanh", torch.tanh, normal, {}),
        ("sigmoid", torch.sigmoid, normal, {}),
        ("relu", torch.relu, normal, {}),
        ("gelu", F.gelu, normal, {}),
        ("softplus", lambda x: torch.logaddexp(x, torch.zeros_like(x)), normal, {}),
        ("leaky_relu", lambda x: F.leaky_relu(x, 0.2), normal, {"slope": 0.2}),
        ("clip", lambda x: torch.clamp(x, -0.5, 0.7), normal, {"low": -0.5, "high": 0.7}),
    ):
        for shape in SHAPES:
            yield Case(name, (make(*shape),), function, static)
    yield Case("relu", (TIES - 2,), torch.relu, smooth=False)
    yield Case("abs", (TIES - 2,), torch.abs, smooth=False)
    yield Case("clip", (TIES,), lambda x: torch.clamp(x, 1, 3), {"low": 1, "high": 3}, smooth=False)
    yield Case("where", (MASK, normal(3, 4), normal(4, seed=2)), torch.where)


def products():
    for a, b in [((3, 4), (4, 2)), ((5, 3, 4), (5, 4, 2)), ((3, 4), (5, 4, 2)), ((1, 1), (1, 1))]:
        yield Case("matmul", (normal(*a), normal(*b, seed=2)), torch.matmul)
    yield Case("matmul", (normal(0, 4), normal(4, 2)), torch.matmul)
    yield Case("matmul", (normal(4, 3).T, normal(2, 4, seed=2).T), torch.matmul)
    for rows in (5, 1):
        inputs = normal(rows, 3), normal(3, 2), normal(2)
        yield Case("linear", inputs, lambda x, w, b: F.linear(x, w.T, b))


def reductions():
    x = normal(2, 3, 4)
    for name, function in (
        ("sum", torch.sum),
        ("mean", torch.mean),
        ("max", torch.amax),
        ("logsumexp", torch.logsumexp),
    ):
        for axis in (0, -1, (0, 2), None):
            for keep in (False, True):
                of = (0, 1, 2) if axis is None else axis
                static = {"axis": axis, "keepdims": keep}
                yield Case(name, (x,), lambda t, f=function, a=of, k=keep: f(t, a, k), static)
    yield Case("sum", (normal(0, 3),), lambda x: torch.sum(x, 0), {"axis": 0})
    yield Case("sum", (normal(),), torch.sum)
    yield Case("max", (TIES,), lambda x: torch.amax(x, 1), {"axis": 1}, smooth=False)
    for name in ("softmax", "log_softmax"):
        for axis in (0, -1):
            call = getattr(torch, name)
            yield Case(name, (normal(3, 4),), lambda x, f=call, a=axis: f(x, a), {"axis": axis})


def places():
    yield Case("reshape", (normal(3, 4),), lambda x: x.reshape(2, 6), {"shape": (2, 6)})
    yield Case("reshape", (normal(4, 3).T,), lambda x: x.reshape(2, 6), {"shape": (2, 6)})
    yield Case("transpose", (normal(2, 3, 4),), lambda x: x.permute(2, 0, 1), {"axes": (2, 0, 1)})
    shape = (2, 3, 4)
    yield Case("broadcast_to", (normal(3, 1),), lambda x: x.expand(2, 3, 4), {"shape": shape})
    parts = normal(2, 2), normal(2, 2, seed=2), normal(2, 2, seed=3)
    for axis in (0, -1):
        static = {"axis": axis}
        yield Case("concatenate", parts, lambda *p, a=axis: torch.concatenate(p, a), static)
        inputs = normal(3, 4), ROWS
        yield Case("take", inputs, lambda x, i, a=axis: torch.index_select(x, a, i), static)
    for index in (1, slice(None, None, 2), (slice(1, 3), None, 2), (..., slice(0, 0)), (0, 0)):
        yield Case("getitem", (normal(3, 4),), lambda x, i=index: x[i], {"index": index})


def losses():
    yield Case("softmax_cross_entropy", (normal(5, 6), LABELS), F.cross_entropy)
    yield Case("softmax_cross_entropy", (normal(1, 2), LABELS[:1]), F.cross_entropy)
    pair = normal(5, 3), normal(5, 3, seed=2)
    yield Case("squared_error", pair, F.mse_loss, wrt=(0,))
    logits = normal(5, 3), TARGETS
    function = F.binary_cross_entropy_with_logits
    yield Case("sigmoid_cross_entropy", logits, function, wrt=(0,))
    p = np.exp(normal(5, 6)) / np.exp(normal(5, 6)).sum(1, keepdims=True)

    def of_probabilities(p, labels):
        return F.nll_loss(p.clamp(1e-7, 1 - 1e-7).log(), labels)

    yield Case("probability_cross_entropy", (p, LABELS), of_probabilities)


CASES = [
    case
    for kind in (arithmetic, functions, products, reductions, places, losses)
    for case in kind()
]
