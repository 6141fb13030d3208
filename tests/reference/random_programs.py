"""Random programs over all primitives, and the comparison of ours with PyTorch's autograd.

Shapes broadcast, are empty or have no axes; entries tie, are infinite or NaN; operands are numbers,
NumPy scalars and arrays that are not contiguous.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from impls.reference import primitives as ops
from impls.reference.capture import capture
from impls.reference.instructions import NUMPY
from impls.reference.replay import Replay
from impls.reference.tensor import Tensor, gradient, parameter
from tests.reference.checking import PRIMITIVES_AND_LOSSES, Lazy

torch, F = Lazy("torch"), Lazy("torch.nn.functional")

SPECIAL = (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan)
NUMBERS = (2, -1.5, 0, 1, np.float64(0.75), np.int64(-1), np.float32(2.0), np.bool_(True))
"""Not 0.5: libraries take it for a square root, each in other places; that differs at -0 and -∞."""
LARGEST_SIZE, LARGEST_VALUE = 150, 1e6


@dataclass(frozen=True)
class Step:
    """A primitive on operands: earlier values by number, or else numbers and fixed arrays."""

    name: str
    operands: tuple[Any, ...]
    static: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Value:
    number: int


@dataclass(frozen=True)
class Fixed:
    """An array without a gradient: labels, targets, indices, a condition."""

    number: int


@dataclass
class RandomProgram:
    leaves: list[np.ndarray]
    fixed: list[np.ndarray]
    steps: list[Step]

    def values(self, xp: Any, leaves: Any, fixed: Any) -> list[Tensor]:
        values = [parameter(leaf, xp) for leaf in leaves]
        for step in self.steps:
            values.append(apply(step, values, [Tensor(it, xp) for it in fixed]))
        return values

    def total(self, values: list[Tensor]) -> Tensor:
        """The sum of all that no step reads."""
        sums = [ops.sum(values[number]) for number in self.ends()]
        for each in sums[1:]:
            sums[0] = sums[0] + each
        return sums[0]

    def ends(self) -> list[int]:
        read = {it.number for step in self.steps for it in step.operands if isinstance(it, Value)}
        return [it for it in range(len(self.leaves) + len(self.steps)) if it not in read]


def apply(step: Step, values: list[Tensor], fixed: list[Tensor]) -> Tensor:
    operands = [_pick(it, values, fixed) for it in step.operands]
    return PRIMITIVES_AND_LOSSES[step.name](*operands, **step.static)


def _pick(operand: Any, values: list[Any], fixed: list[Any]) -> Any:
    if isinstance(operand, Value):
        return values[operand.number]
    return fixed[operand.number] if isinstance(operand, Fixed) else operand


# Making a program.


def random_program(seed: int) -> RandomProgram:
    random = np.random.default_rng(seed)
    sizes = [int(random.choice([1, 2, 3, 4, 0], p=[0.2, 0.25, 0.25, 0.25, 0.05])) for _ in range(3)]
    sizes = sizes[:1] * 3 if random.random() < 0.4 else sizes
    ordinary = random.random() < 0.4
    leaves = [leaf(random, sizes, ordinary) for _ in range(random.integers(1, 4))]
    program = RandomProgram(leaves, [], [])
    values = [parameter(it) for it in leaves]
    wanted = random.integers(3, 13)
    for _ in range(60):
        if len(program.steps) == wanted:
            break
        number = int(random.integers(len(values)))
        name = str(random.choice(NAMES))
        fixed = len(program.fixed)
        step = MAKERS[name](random, name, program, values, number)
        if step is not None:
            value = apply(step, values, [Tensor(it) for it in program.fixed])
            finite = value.array[np.isfinite(value.array)]
            if value.array.size <= LARGEST_SIZE and (np.abs(finite) < LARGEST_VALUE).all():
                program.steps.append(step)
                values.append(value)
                continue
        del program.fixed[fixed:]
    return program


def leaf(random: Any, sizes: list[int], ordinary: bool) -> np.ndarray:
    ndim = int(random.choice([0, 1, 2, 3], p=[0.1, 0.25, 0.4, 0.25]))
    shape = [1 if random.random() < 0.2 else size for size in sizes[3 - ndim :]]
    array = np.asarray(random.standard_normal(shape))
    if random.random() < 0.3:
        array = np.round(array)  # ties
    if not ordinary:
        array = np.where(random.random(shape) < 0.15, random.choice(SPECIAL, shape), array)
    if ndim and random.random() < 0.3:
        array = np.asarray(array.T.copy()).T if random.random() < 0.5 else array[::-1]
    return np.asarray(array)


def unary(random, name, program, values, number):
    bounds = [(-0.5, 0.5), (-1.0, 1), (0.5, -0.5), (np.float64(0), np.inf)]
    low, high = bounds[random.integers(len(bounds))]
    static = {"leaky_relu": {"slope": 0.2}, "clip": {"low": low, "high": high}}.get(name, {})
    return Step(name, (Value(number),), static)


def _partner(random, values, number, fits):
    """A value that fits another, or nothing."""
    found = [i for i, it in enumerate(values) if fits(values[number].array, it.array)]
    return Value(int(random.choice(found))) if found else None


def _broadcast(x, y):
    """Whether two shapes do."""
    try:
        return np.broadcast_shapes(x, y) is not None
    except ValueError:
        return False


def binary(random, name, program, values, number):
    other: Any = _partner(random, values, number, lambda x, y: _broadcast(x.shape, y.shape))
    if random.random() < 0.25:
        other = NUMBERS[random.integers(len(NUMBERS))]
    pair = (Value(number), other)
    return Step(name, pair if random.random() < 0.5 else pair[::-1])


def where(random, name, program, values, number):
    x, y = binary(random, name, program, values, number).operands
    shape = values[number].array.shape
    program.fixed.append(np.asarray(random.random(shape if random.random() < 0.7 else ()) < 0.5))
    return Step(name, (Fixed(len(program.fixed) - 1), x, y))


def matmul(random, name, program, values, number):
    def fits(x, y):
        matrices = min(x.ndim, y.ndim) >= 2 and x.shape[-1] == y.shape[-2]
        return matrices and _broadcast(x.shape[:-2], y.shape[:-2])

    other = _partner(random, values, number, fits)
    return other and Step(name, (Value(number), other))


def linear(random, name, program, values, number):
    w = _partner(
        random, values, number, lambda x, w: x.ndim == w.ndim == 2 and x.shape[1] == w.shape[0]
    )
    if w is None:
        return None
    columns = values[w.number].array.shape[1]
    b = _partner(random, values, number, lambda x, b: b.shape == (columns,))
    return b and Step(name, (Value(number), w, b))


def _axis(random, ndim):
    """Axes as a user may write them."""
    chosen = [int(a) for a in random.permutation(ndim)[: random.integers(0, ndim + 1)]]
    chosen = [a - ndim if random.random() < 0.5 else a for a in chosen]
    one = chosen[0] if chosen else int(random.integers(-1, 1)) if not ndim else -1
    return [None, one, np.int64(one), tuple(chosen)][random.integers(4)]


def _dims(axis, ndim):
    if axis is None or (isinstance(axis, tuple) and not axis):
        return tuple(range(ndim)) or (0,)
    return axis if isinstance(axis, tuple) else (int(axis),)


def reduction(random, name, program, values, number):
    x = values[number].array
    axis, keepdims = _axis(random, x.ndim), bool(random.random() < 0.4)
    empty = x.ndim and not all(x.shape[a] for a in _dims(axis, x.ndim))
    if name in ("max", "mean") and empty:
        return None
    return Step(name, (Value(number),), {"axis": axis, "keepdims": keepdims})


def along(random, name, program, values, number):
    ndim = values[number].array.ndim or 1
    axis = int(random.integers(-ndim, ndim))
    return Step(name, (Value(number),), {"axis": axis})


def reshape(random, name, program, values, number):
    shape = values[number].array.shape
    shapes = [(-1,), shape[::-1], (1, *shape), (*shape, 1), tuple(s for s in shape if s != 1)]
    return Step(name, (Value(number),), {"shape": shapes[random.integers(len(shapes))]})


def transpose(random, name, program, values, number):
    ndim = values[number].array.ndim
    axes = [int(a) - ndim * int(random.integers(2)) for a in random.permutation(ndim)]
    return Step(name, (Value(number),), {"axes": tuple(axes)})


def broadcast_to(random, name, program, values, number):
    shape = [int(random.integers(0, 4)) if s == 1 else s for s in values[number].array.shape]
    return Step(name, (Value(number),), {"shape": (2, *shape)[random.integers(2) :]})


def concatenate(random, name, program, values, number):
    ndim = values[number].array.ndim
    if not ndim:
        return None
    axis = int(random.integers(-ndim, ndim))

    def fits(x, y):
        same = x.ndim == y.ndim and [a == b for a, b in zip(x.shape, y.shape, strict=True)]
        return same and all(np.delete(same, axis))

    others = [_partner(random, values, number, fits) for _ in range(random.integers(0, 3))]
    return Step(name, (Value(number), *others), {"axis": axis})


def take(random, name, program, values, number):
    x = values[number].array
    if not x.ndim:
        return None
    axis = int(random.integers(-x.ndim, x.ndim))
    size = x.shape[axis]
    shape = [(), (4,), (2, 2), (0,)][random.integers(4)] if size else (0,)
    program.fixed.append(np.asarray(random.integers(-size, size or 1, shape)))
    return Step(name, (Value(number), Fixed(len(program.fixed) - 1)), {"axis": axis})


def getitem(random, name, program, values, number):
    parts: list[Any] = []
    for size in values[number].array.shape:
        choices = [slice(None), slice(1, None), slice(None, None, 2), slice(None, None, -1)]
        choices += [slice(-1, 0, -2)] + [0, -1, np.int64(size - 1)] * bool(size)
        parts.append(choices[random.integers(len(choices))])
    del parts[random.integers(len(parts) + 1) :]
    for extra in (None, ...):
        if random.random() < 0.3:
            parts.insert(random.integers(len(parts) + 1) if extra is None else len(parts), extra)
    index = parts[0] if len(parts) == 1 and random.random() < 0.5 else tuple(parts)
    return Step(name, (Value(number),), {"index": index})


def loss(random, name, program, values, number):
    """Of finite outputs only: what the losses make of others is not promised."""
    x = values[number].array
    if x.ndim != 2 or not x.size or not np.isfinite(x).all():
        return None
    if "softmax" in name or "probability" in name:
        program.fixed.append(random.integers(0, x.shape[1], len(x)))
    else:
        program.fixed.append(random.random(x.shape))
    return Step(name, (Value(number), Fixed(len(program.fixed) - 1)))


_UNARY = ["negative", "exp", "log", "sqrt", "abs", "tanh", "sigmoid", "softplus"]
_UNARY += ["relu", "leaky_relu", "gelu", "clip"]
_BINARY = ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum"]
_LOSSES = ["softmax_cross_entropy", "squared_error", "sigmoid_cross_entropy"]
_LOSSES += ["probability_cross_entropy"]
MAKERS: dict[str, Callable[..., Step | None]] = {
    **dict.fromkeys(_UNARY, unary),
    **dict.fromkeys(_BINARY, binary),
    **dict.fromkeys(("sum", "mean", "max", "logsumexp"), reduction),
    **dict.fromkeys(("softmax", "log_softmax"), along),
    **dict.fromkeys(_LOSSES, loss),
    "where": where,
    "matmul": matmul,
    "linear": linear,
    "reshape": reshape,
    "transpose": transpose,
    "broadcast_to": broadcast_to,
    "concatenate": concatenate,
    "take": take,
    "getitem": getitem,
}
NAMES = sorted([*MAKERS, *["matmul", "linear", "concatenate", *_LOSSES] * 3])
"""Those that seldom fit are tried more often."""


# The same in PyTorch.


def _gathered(x: Any, index: Any) -> Any:
    """PyTorch has no negative steps: the entries one by one."""
    places = np.arange(x.numel()).reshape(tuple(x.shape))[index]
    return x.reshape(-1)[torch.tensor(np.array(places))]


def _relu(x):
    """`relu` masks by a product, so that 0·∞ is NaN in a gradient, where PyTorch makes it 0."""
    import torch

    class Masked(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.open = torch.relu(x) != 0
            return torch.relu(x)

        @staticmethod
        def backward(ctx, g):
            return g * ctx.open

    return Masked.apply(x)


def _double(x):
    return torch.as_tensor(x).double()


THEIRS = {
    **{name: getattr(torch, name) for name in _UNARY if name in ("exp", "log", "sqrt", "abs")},
    "negative": torch.neg,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
    "relu": _relu,
    "leaky_relu": lambda x, slope: F.leaky_relu(x, slope),
    "gelu": F.gelu,
    "clip": lambda x, low, high: torch.clamp(x, low, high),
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "power": torch.pow,
    "maximum": lambda x, y: torch.maximum(_double(x), _double(y)),
    "minimum": lambda x, y: torch.minimum(_double(x), _double(y)),
    "where": lambda c, x, y: torch.where(c, x, y),
    "matmul": torch.matmul,
    "linear": lambda x, w, b: F.linear(x, w.T, b),
    "sum": lambda x, axis, keepdims: torch.sum(x, _dims(axis, x.ndim), keepdims),
    "mean": lambda x, axis, keepdims: torch.mean(x, _dims(axis, x.ndim), keepdims),
    "max": lambda x, axis, keepdims: torch.amax(x, _dims(axis, x.ndim), keepdims),
    "logsumexp": lambda x, axis, keepdims: torch.logsumexp(x, _dims(axis, x.ndim), keepdims),
    "softmax": lambda x, axis: torch.softmax(x, axis),
    "log_softmax": lambda x, axis: torch.log_softmax(x, axis),
    "reshape": lambda x, shape: x.reshape(shape),
    "transpose": lambda x, axes: x.permute(axes),
    "broadcast_to": lambda x, shape: x.expand(shape),
    "concatenate": lambda *parts, axis: torch.concatenate(parts, axis),
    "take": lambda x, i, axis: x[(slice(None),) * (axis % x.ndim) + (i,)],
    "getitem": _gathered,
    "softmax_cross_entropy": F.cross_entropy,
    "squared_error": F.mse_loss,
    "sigmoid_cross_entropy": F.binary_cross_entropy_with_logits,
    "probability_cross_entropy": lambda p, i: F.nll_loss(p.clamp(1e-7, 1 - 1e-7).log(), i),
}


def compare_with_torch(program: RandomProgram) -> None:
    """Raise AssertionError unless every step's value, and every value's gradient, is PyTorch's.

    Each step is given our operands and our gradient of its result, so that rounding does not add
    up: a value's gradient must be the sum of what PyTorch leads back from the steps that read it.
    """
    values = program.values(NUMPY, program.leaves, program.fixed)
    found = gradient(program.total(values), values)
    expected: list[Any] = [np.zeros(value.array.shape) for value in values]
    terms = [np.zeros(value.array.shape) for value in values]
    unpromised: set[int] = set()
    for end in program.ends():
        expected[end] = expected[end] + 1.0
    fixed = [torch.tensor(array) for array in program.fixed]
    for number, step in enumerate(program.steps, start=len(program.leaves)):
        mine = [values[it.number].array for it in step.operands if isinstance(it, Value)]
        theirs = {it.number: torch.tensor(values[it.number].array.copy(), requires_grad=True)
                  for it in step.operands if isinstance(it, Value)}  # fmt: skip
        operands = [_plain(_pick(it, theirs, fixed)) for it in step.operands]
        static = {
            k: it.item() if isinstance(it, np.generic) else it for k, it in step.static.items()
        }
        y = THEIRS[step.name](*operands, **static)
        scale = _largest(*mine)
        if step.name in ("matmul", "linear"):
            scale *= scale
        close(f"value of {step}", values[number].array, y.detach().numpy(), scale)
        if step.name in _LOSSES and not np.isfinite(found[number]):
            unpromised |= theirs.keys()  # a loss is not made for such a gradient
        leaves = list(theirs.values())
        seed = torch.tensor(np.array(found[number]))
        parts = Lazy("torch.autograd").grad(y, leaves, seed, allow_unused=True)
        for it, part in zip(theirs, parts, strict=True):
            if part is not None:
                expected[it] = expected[it] + part.numpy()
                size = _largest(found[number]) * scale
                terms[it] = np.maximum(terms[it], np.maximum(size, _largest(part.numpy())))
    for number, (ours, theirs_, term) in enumerate(zip(found, expected, terms, strict=True)):
        if number in unpromised:
            continue
        readers = [it for it in program.steps if Value(number) in it.operands]
        close(f"gradient of {number}, read by {readers}", ours, theirs_, term)


def _plain(value):
    """The number in a NumPy scalar, 1 for true, which PyTorch does not take everywhere."""
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, bool) else value


def _largest(*arrays):
    """The largest finite entry, at least 1."""
    return max((float(np.abs(x[np.isfinite(x)]).max(initial=1)) for x in arrays), default=1.0)


def close(what: str, ours: Any, theirs: Any, scale: Any) -> None:
    assert ours.shape == theirs.shape, f"{what}: {ours.shape} for {theirs.shape}"
    assert ours.dtype == theirs.dtype, f"{what}: {ours.dtype} for {theirs.dtype}"
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    finite = np.isfinite(theirs)
    same = np.array_equal(ours[~finite], theirs[~finite], equal_nan=True)
    bound = (1e-12 * np.abs(theirs) + 1e-14 * scale)[finite]
    same = same and bool((np.abs(ours[finite] - theirs[finite]) <= bound).all())
    assert same, f"{what}:\n{ours}\nfor\n{theirs}"


# The same in replay.


def compare_with_replay(program: RandomProgram, dtype: str) -> None:
    """Raise AssertionError unless replay gives eager's bits, and everything is of one dtype."""
    inputs = {f"x{i}": it.astype(dtype, order="C") for i, it in enumerate(program.leaves)}
    fixed = {
        f"f{i}": it.astype(dtype if it.dtype.kind == "f" else it.dtype, order="C")
        for i, it in enumerate(program.fixed)
    }

    def step(xp: Any, **arrays: Any) -> dict[str, Any]:
        leaves = [arrays[name] for name in inputs]
        values = program.values(xp, leaves, [arrays[name] for name in fixed])
        total = program.total(values)
        found = gradient(total, values[: len(leaves)])
        assert {it.dtype for it in (*found, *(v.array for v in values))} == {np.dtype(dtype)}
        every = {f"g{i}": g * xp.ones((), dtype) for i, g in enumerate(found)}
        return {"total": total.array, "last": values[-1].array * 1.0, **every}

    replay = Replay(capture(step, inputs | fixed))
    for factor in (1.0, -0.7):
        fed = {name: np.asarray(it * factor, dtype) for name, it in inputs.items()} | fixed
        eager = step(NUMPY, **fed)
        for name, ours in replay.run(**fed).items():
            # As integers, so that the sign of zero counts; NaN has many forms.
            ours, theirs = (np.where(np.isnan(it), np.nan, it) for it in (ours, eager[name]))
            assert ours.dtype == theirs.dtype, f"{name} of {program}"
            assert ours.tobytes() == theirs.tobytes(), f"{name} of {program}"
