"""Every primitive against central differences and against PyTorch; and the checker itself."""

from __future__ import annotations

import numpy as np
import pytest

from impls.reference.tensor import PRIMITIVES, Tensor, gradient, parameter, primitive
from tests.reference.cases import CASES
from tests.reference.checking import PRIMITIVES_AND_LOSSES, as_tensors, check_gradient, normal


def test_every_primitive_has_a_case():
    assert {case.name for case in CASES} == PRIMITIVES_AND_LOSSES.keys()


@pytest.mark.parametrize("case", [case for case in CASES if case.smooth], ids=str)
def test_gradients_are_those_of_the_values(case):
    check_gradient(case.operation, case.inputs, case.varied)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients_are_those_of_pytorch(case):
    torch = pytest.importorskip("torch")
    ours = as_tensors(case.inputs, case.varied)
    theirs = [torch.tensor(a) if isinstance(a, np.ndarray) else a for a in case.inputs]
    for i in case.varied:
        theirs[i].requires_grad_()
    y, expected = case.operation(*ours), case.torch(*theirs)
    seed = normal(*y.array.shape, seed=5)
    expected.backward(torch.tensor(seed))
    agree(y.array, expected.detach().numpy(), 1e-12)
    found = gradient(y, [ours[i] for i in case.varied], seed)
    for i, g in zip(case.varied, found, strict=True):
        agree(g, theirs[i].grad.numpy(), 1e-10)


def agree(ours, expected, tolerance):
    assert ours.shape == expected.shape
    assert ours.dtype == expected.dtype
    if expected.size:
        largest = np.max(np.abs(expected))
        assert np.max(np.abs(ours - expected)) <= tolerance * (largest or 1.0)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float32_stays_float32(case):
    small = [a.astype(np.float32) if i in case.varied else a for i, a in enumerate(case.inputs)]
    fixed = set(range(len(small))) - set(case.varied)
    small = [
        a.astype(np.float32) if i in fixed and getattr(a, "dtype", None) == np.float64 else a
        for i, a in enumerate(small)
    ]
    tensors = as_tensors(small, case.varied)
    y = case.operation(*tensors)
    assert y.array.dtype == np.float32
    for g in gradient(y, [tensors[i] for i in case.varied]):
        assert g.dtype == np.float32


WRONG = {
    "sign": lambda xp, x, w: (x * w, lambda g: -g * w, lambda g: g * x),
    "factor": lambda xp, x, w: (x * w, lambda g: 1.001 * g * w, lambda g: g * x),
    "other input": lambda xp, x, w: (x * w, lambda g: g * x, lambda g: g * w),
    "missing term": lambda xp, x, w: (x * x * w, lambda g: g * x * w, lambda g: g * x * x),
    "zero": lambda xp, x, w: (x * w, lambda g: g * w, lambda g: 0 * x),
    "dtype": lambda xp, x, w: (x * w, lambda g: (g * w).astype("f4"), lambda g: g * x),
}


@pytest.mark.parametrize("fault", WRONG)
def test_the_checker_sees_a_wrong_gradient(fault):
    wrong = primitive("wrong")(WRONG[fault])
    try:
        with pytest.raises(AssertionError):
            check_gradient(wrong, (normal(3, 4), normal(3, 4, seed=2)))
    finally:
        del PRIMITIVES["wrong"]


def test_the_checker_sees_a_gradient_at_the_wrong_place():
    def shifted(xp, x):
        return x * x, lambda g: np.roll(2 * g * x, 1)

    wrong = primitive("wrong")(shifted)
    del PRIMITIVES["wrong"]
    with pytest.raises(AssertionError):
        check_gradient(wrong, (normal(5),))


def test_the_checker_passes_a_right_gradient():
    right = primitive("right")(lambda xp, x: (x * x, lambda g: 2 * g * x))
    del PRIMITIVES["right"]
    check_gradient(right, (normal(5),))


# Numerically hard points.

HUGE = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [1e4, 1e4, 1e4 - 1]])
LABELS = np.array([1, 0, 2])


@pytest.mark.parametrize(
    "name", ["softmax", "log_softmax", "logsumexp", "sigmoid", "softplus", "tanh", "gelu"]
)
def test_huge_entries(name):
    torch = pytest.importorskip("torch")
    function = {
        "softmax": lambda x: torch.softmax(x, -1),
        "log_softmax": lambda x: torch.log_softmax(x, -1),
        "logsumexp": lambda x: torch.logsumexp(x, -1),
        "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
        "gelu": torch.nn.functional.gelu,
    }.get(name) or getattr(torch, name)
    static = {"axis": -1} if name in ("softmax", "log_softmax", "logsumexp") else {}
    x, t = parameter(HUGE), torch.tensor(HUGE, requires_grad=True)
    y, expected = PRIMITIVES[name](x, **static), function(t)
    expected.sum().backward()
    np.testing.assert_allclose(y.array, expected.detach().numpy(), rtol=1e-12, atol=1e-12)
    (g,) = gradient(y, [x])
    assert np.isfinite(g).all()
    np.testing.assert_allclose(g, t.grad.numpy(), rtol=1e-10, atol=1e-12)


def test_cross_entropy_of_huge_logits():
    z = parameter(HUGE)
    loss = PRIMITIVES["softmax_cross_entropy"](z, Tensor(LABELS))
    rows = [2e4, np.log(3), 1 + 2 * np.log(1) + np.log(2 + np.exp(-1)) - np.log(1)]
    assert loss.array == pytest.approx(np.mean(rows), rel=1e-12)
    (g,) = gradient(loss, [z])
    np.testing.assert_allclose(g[0], np.array([1, -1, 0]) / 3, atol=1e-12)


def test_binary_cross_entropy_of_huge_logits():
    z = parameter(np.array([[1e4], [-1e4], [1e4], [-1e4]]))
    y = Tensor(np.array([[1.0], [0.0], [0.0], [1.0]]))
    loss = PRIMITIVES["sigmoid_cross_entropy"](z, y)
    assert loss.array == 5e3
    np.testing.assert_array_equal(gradient(loss, [z])[0].ravel(), [0, 0, 0.25, -0.25])


def test_cross_entropy_in_float32_loses_no_digits_to_large_logits():
    z = np.array([[1e4, 1e4 - 3, 1e4 - 7]], np.float32)
    loss = PRIMITIVES["softmax_cross_entropy"](parameter(z), Tensor(np.array([1])))
    assert loss.array == pytest.approx(3 + np.log1p(np.exp(-3) + np.exp(-7)), rel=1e-6)


def test_softmax_of_equal_entries_is_exact():
    np.testing.assert_array_equal(PRIMITIVES["softmax"](Tensor(np.full((2, 4), 1e4))).array, 0.25)


def test_log_of_tiny():
    x = parameter(np.array([5e-324, 1e-300]))
    y = PRIMITIVES["log"](x)
    np.testing.assert_allclose(y.array, [-744.4400719213812, -690.7755278982137], rtol=1e-15)
    with np.errstate(over="ignore"):
        assert gradient(y, [x])[0][1] == pytest.approx(1e300)


def test_sigmoid_keeps_its_digits_where_it_is_small():
    x = np.array([-30.0, -300.0, -700.0])
    np.testing.assert_allclose(PRIMITIVES["sigmoid"](Tensor(x)).array, np.exp(x), rtol=1e-12)


@pytest.mark.parametrize(
    "name",
    [
        "softmax_cross_entropy",
        "squared_error",
        "sigmoid_cross_entropy",
        "probability_cross_entropy",
    ],
)
@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_an_empty_batch_is_refused(name, shape):
    targets = (
        np.zeros(shape[0], int)
        if name.endswith(("softmax_cross_entropy", "probability_cross_entropy"))
        else np.zeros(shape)
    )
    with pytest.raises(ValueError, match="at least one row"):
        PRIMITIVES_AND_LOSSES[name](parameter(np.zeros(shape)), Tensor(targets))


def test_the_mean_of_nothing_is_refused():
    with pytest.raises(ValueError, match="empty"):
        PRIMITIVES["mean"](parameter(np.zeros((0, 3))))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        PRIMITIVES["squared_error"](parameter(np.zeros((3, 1))), Tensor(np.zeros((3, 2))))
    with pytest.raises(ValueError, match="matrices"):
        PRIMITIVES["matmul"](parameter(np.zeros(3)), Tensor(np.zeros((3, 2))))
    with pytest.raises(TypeError, match="take"):
        parameter(np.zeros(3))[np.array([0, 1])]
