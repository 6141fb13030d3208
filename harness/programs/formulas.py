"""What a program computes, as plain values, and the reference that computes it in float64.

A `Formula` has a field for everything that a known cause of difference changes; causes are fields
exchanged. Its steps are differentiated by the reference's tape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.adapter import Array
from harness.tasks.programs import Description, LayerFacts, OptimizerFacts, ShownStep
from harness.tasks.spec import PROBABILITY_FLOOR
from impls.reference import losses
from impls.reference import primitives as ops
from impls.reference.stock import through_float32
from impls.reference.tensor import Tensor, gradient, parameter

Batch = tuple[Array, Array]


@dataclass(frozen=True)
class Formula:
    """Tuples have an entry a dense layer, from inputs to outputs; the last activation is the
    output's. An activation is a name, or several joined by +, with its number behind a colon."""

    activations: tuple[str, ...]
    biases: tuple[bool, ...]
    norms: tuple[str, ...] = ()
    norm_epsilons: tuple[float, ...] = ()
    norm_momenta: tuple[float, ...] = ()
    unbiased: bool = False
    input_factor: float = 1.0
    input_offset: float = 0.0
    label_shift: int = 0
    weights: str = "loaded"
    loss: str = "cross-entropy"
    before_loss: str = ""
    reduction: str = "mean"
    loss_factor: float = 1.0
    smoothing: float = 0.0
    clip_norm: float | None = None
    clip_epsilon: float = 1e-6
    clip_value: float | None = None
    accumulated: bool = False
    frozen: tuple[str, ...] = ()
    optimizer: str = "sgd"
    learning_rate: float = 0.01
    momentum: float = 0.0
    momentum_form: str = "heavy-ball"
    nesterov: bool = False
    dampening: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    rho: float = 0.9
    epsilon: float = 1e-8
    epsilon_place: str = "outside"
    correction: str = "exact"
    weight_decay: float = 0.0
    decay: str = "decoupled"
    amsgrad: bool = False
    centered: bool = False
    constants: str = "exact"

    @property
    def layers(self) -> int:
        return len(self.activations)


LOSSES_OF_LOGITS = ("cross-entropy", "binary-cross-entropy")


def formula_of(description: Description) -> Formula:
    """What a program's objects declare; where they are silent, what is usual."""
    factor, offset, layers = _scaling(description.layers)
    formula = _layered(layers, description)
    formula = replace(formula, input_factor=factor, input_offset=offset, frozen=description.frozen)
    if description.framework == "keras":
        formula = replace(formula, clip_epsilon=0.0)
    if (loss := description.loss) is not None and loss.name != "other":
        formula = replace(
            formula, loss=loss.name, reduction=loss.reduction, smoothing=loss.smoothing
        )
    if description.optimizer is not None:
        formula = _optimized(formula, description.optimizer)
    return formula


def guesses(description: Description) -> list[Formula]:
    """What a program may compute: what its objects declare and, where they say nothing of the
    optimizer, the usual ones with the usual activations."""
    declared = formula_of(description)
    if description.optimizer is not None or description.ordered:
        return [declared]
    *hidden, last = declared.activations
    return [
        replace(
            declared,
            activations=(*[name] * len(hidden), last),
            optimizer=optimizer,
            learning_rate=rate,
        )
        for name in ("relu", "tanh", "sigmoid", "gelu")
        for optimizer, rate in (("sgd", 0.01), ("adam", 0.001), ("rmsprop", 0.001))
    ]


def _scaling(layers: Sequence[LayerFacts]) -> tuple[float, float, list[LayerFacts]]:
    """Factor and offset of the inputs, and the layers without them."""
    factor, offset = 1.0, 0.0
    rest: list[LayerFacts] = []
    for layer in layers:
        if layer.kind == "scale" and not rest:
            factor, more = _number(layer, "factor"), _number(layer, "offset")
            offset = offset * factor + more
        elif layer.kind not in ("flatten", "identity", "dropout"):
            rest.append(layer)
    return factor, offset, rest


def _number(layer: LayerFacts, option: str) -> float:
    value = layer.options.get(option)
    return float(value) if isinstance(value, int | float) else 0.0


def _layered(layers: Sequence[LayerFacts], description: Description) -> Formula:
    activations: list[list[str]] = []
    biases: list[bool] = []
    norms: list[tuple[str, float, float]] = []
    for layer in layers:
        if layer.kind == "dense":
            activations.append([])
            biases.append(bool(layer.options.get("bias")))
            norms.append(("", 0.0, 0.0))
        elif not activations:
            continue  # nothing that is known stands before the first dense layer
        elif layer.kind in ("layer-norm", "batch-norm"):
            where = " after" if activations[-1] else ""
            numbers = (_number(layer, "epsilon"), _number(layer, "momentum"))
            norms[-1] = (layer.kind + where, *numbers)
        else:
            activations[-1].append(_activation(layer))
    named = ["+".join(it) or "identity" for it in activations]
    if not description.ordered and set(named) == {"identity"}:
        named = ["relu"] * (len(named) - 1) + ["identity"]
    return Formula(
        activations=tuple(named),
        biases=tuple(biases),
        norms=tuple(it for it, *_ in norms),
        norm_epsilons=tuple(it for _, it, _ in norms),
        norm_momenta=tuple(it for *_, it in norms),
        unbiased=description.framework == "pytorch",
    )


def _activation(layer: LayerFacts) -> str:
    for option in ("slope", "alpha"):
        if option in layer.options:
            return f"{layer.kind}:{_number(layer, option):g}"
    return layer.kind


def _optimized(formula: Formula, facts: OptimizerFacts) -> Formula:
    known = {k: v for k, v in facts.options.items() if v is not None and hasattr(formula, k)}
    name = "adam" if facts.name == "adamw" else facts.name
    if name == "other":
        return replace(formula, **known)  # type: ignore[arg-type]
    return replace(formula, optimizer=name, **known)  # type: ignore[arg-type]


# One step.


def steps(
    formula: Formula,
    loaded: Mapping[str, Array],
    own: Mapping[str, Array],
    batches: Sequence[Batch],
) -> Iterator[ShownStep]:
    """What the formula shows on each batch; `own` are the program's weights before any were loaded.

    Raises ValueError where it cannot be computed: weights that do not fit, a class that is none.
    """
    start = own if formula.weights == "own" else loaded
    names = list(start)
    weights = {name: start[name].astype(np.float64) for name in names}
    slots: dict[str, dict[str, Array]] = {}
    total: dict[str, Array] = {}
    for t, (inputs, targets) in enumerate(batches, start=1):
        x = inputs.astype(np.float64) * formula.input_factor + formula.input_offset
        tensors = {name: parameter(it) for name, it in weights.items()}
        statistics: dict[str, Array] = {}
        outputs = forward(formula, x, tensors, statistics)
        loss = criterion(formula, outputs, targets)
        found = dict(zip(names, gradient(loss, [tensors[it] for it in names]), strict=True))
        total = (
            {k: total.get(k, 0.0) + g for k, g in found.items()} if formula.accumulated else found
        )
        used = clipped(formula, total)
        moved, slots = updated(formula, weights, used, slots, t)
        weights = {k: it if k in formula.frozen else moved[k] for k, it in weights.items()}
        _average(formula, slots, statistics, len(x))
        flat = {f"{slot}/{k}": it for slot, by_name in slots.items() for k, it in by_name.items()}
        yield ShownStep(outputs.array, float(loss.array), found, dict(weights), flat)


def _average(
    formula: Formula, slots: dict[str, dict[str, Array]], statistics: dict[str, Array], rows: int
) -> None:
    """The running mean and variance of batch normalisations, kept among the slots."""
    for key, values in statistics.items():
        slot, _, layer = key.partition("/")
        share = formula.norm_momenta[int(layer.partition(":")[2])]
        name = layer.partition(":")[0]
        if slot == "moving_variance" and formula.unbiased:
            values = values * rows / (rows - 1)
        first = np.ones_like(values) if slot == "moving_variance" else np.zeros_like(values)
        before = slots.setdefault(slot, {}).get(name, first)
        slots[slot][name] = (1 - share) * before + share * values


def forward(
    formula: Formula, x: Array, weights: Mapping[str, Tensor], statistics: dict[str, Array]
) -> Tensor:
    h, number = Tensor(x), 0
    for index in range(formula.layers):
        weight = weights[f"layer{number}.weight"]
        if formula.weights == "transposed" and weight.array.shape[0] == weight.array.shape[1]:
            weight = ops.transpose(weight, axes=(1, 0))
        h = ops.matmul(h, weight)
        if formula.biases[index] and f"layer{number}.bias" in weights:
            h = ops.add(h, weights[f"layer{number}.bias"])
        number += 1
        kind, _, after = formula.norms[index].partition(" ")
        if kind and not after:
            h = _normalised(formula, index, number, kind, h, weights, statistics)
        for name in formula.activations[index].split("+"):
            h = activated(name, h, formula.constants)
        if kind and after:
            h = _normalised(formula, index, number, kind, h, weights, statistics)
        number += bool(kind)
    return h


def _normalised(
    formula: Formula,
    index: int,
    number: int,
    kind: str,
    h: Tensor,
    weights: Mapping[str, Tensor],
    statistics: dict[str, Array],
) -> Tensor:
    axis = 1 if kind == "layer-norm" else 0
    mean = ops.mean(h, axis=axis, keepdims=True)
    centred = ops.subtract(h, mean)
    variance = ops.mean(ops.multiply(centred, centred), axis=axis, keepdims=True)
    h = ops.divide(centred, ops.sqrt(ops.add(variance, formula.norm_epsilons[index])))
    if kind == "batch-norm":
        statistics[f"moving_mean/layer{number}:{index}"] = mean.array[0]
        statistics[f"moving_variance/layer{number}:{index}"] = variance.array[0]
    if f"layer{number}.scale" in weights:
        h = ops.multiply(h, weights[f"layer{number}.scale"])
    if f"layer{number}.offset" in weights:
        h = ops.add(h, weights[f"layer{number}.offset"])
    return h


def _gelu_by_tanh(x: Tensor) -> Tensor:
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))
    return ops.multiply(0.5 * x, 1 + ops.tanh(inner))


def _elu(x: Tensor, alpha: float) -> Tensor:
    below = ops.minimum(x, 0.0)
    return ops.add(ops.relu(x), ops.multiply(alpha, ops.subtract(ops.exp(below), 1.0)))


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "relu": ops.relu,
    "tanh": ops.tanh,
    "sigmoid": ops.sigmoid,
    "gelu": ops.gelu,
    "gelu-tanh": _gelu_by_tanh,
    "silu": lambda x: ops.multiply(x, ops.sigmoid(x)),
    "softplus": ops.softplus,
    "relu6": lambda x: ops.minimum(ops.relu(x), 6.0),
    "softmax": lambda x: ops.softmax(x, axis=1),
    "softmax-over-rows": lambda x: ops.softmax(x, axis=0),
    "log-softmax": lambda x: ops.log_softmax(x, axis=1),
}


def activated(name: str, x: Tensor, constants: str = "exact") -> Tensor:
    name, _, number = name.partition(":")
    if name == "leaky-relu":
        return ops.leaky_relu(x, slope=float(number))
    if name == "elu":
        return _elu(x, float(number))
    if name not in ACTIVATIONS:
        raise ValueError(f"no reference for {name}")
    if name == "gelu" and constants == "float32":
        scaled = ops.multiply(x, through_float32(math.sqrt(2)) / math.sqrt(2))
        return ops.multiply(x, ops.divide(ops.gelu(scaled), scaled))
    return ACTIVATIONS[name](x)


def criterion(formula: Formula, outputs: Tensor, targets: Array) -> Tensor:
    """The loss, a scalar on the tape."""
    if targets.dtype.kind in "iu" and formula.label_shift:
        targets = (targets + formula.label_shift) % outputs.array.shape[1]
    for name in filter(None, formula.before_loss.split("+")):
        outputs = activated(name, outputs)
    loss = LOSSES[formula.loss](outputs, targets, formula.smoothing)
    rows, width = outputs.array.shape
    entries = width if targets.ndim == 2 else 1
    factor = {
        "mean": 1.0,
        "sum": float(rows * entries),
        "half": 0.5,
        "outputs-summed": float(entries),
    }[formula.reduction]
    return ops.multiply(loss, factor * formula.loss_factor)


def _cross_entropy(z: Tensor, y: Array, smoothing: float) -> Tensor:
    loss = losses.softmax_cross_entropy(z, Tensor(y))
    if smoothing:
        even = ops.negative(ops.mean(ops.log_softmax(z, axis=1)))
        loss = ops.add(ops.multiply(loss, 1 - smoothing), ops.multiply(even, smoothing))
    return loss


def _nll(z: Tensor, y: Array, smoothing: float) -> Tensor:
    chosen = Tensor(np.eye(z.array.shape[1])[y])
    return ops.negative(ops.mean(ops.sum(ops.multiply(z, chosen), axis=1)))


def _of_probabilities(p: Tensor, y: Array, smoothing: float) -> Tensor:
    return losses.probability_cross_entropy(p, Tensor(y))


def _squared(z: Tensor, y: Array, smoothing: float) -> Tensor:
    return losses.squared_error(z, Tensor(y.astype(np.float64)))


def _smoothed(y: Array, smoothing: float) -> Tensor:
    return Tensor(y.astype(np.float64) * (1 - smoothing) + smoothing / 2)


def _binary(z: Tensor, y: Array, smoothing: float) -> Tensor:
    return losses.sigmoid_cross_entropy(z, _smoothed(y, smoothing))


def _binary_of_probabilities(p: Tensor, y: Array, smoothing: float) -> Tensor:
    target = _smoothed(y, smoothing)
    p = ops.clip(p, low=PROBABILITY_FLOOR, high=1 - PROBABILITY_FLOOR)
    right = ops.multiply(target, ops.log(p))
    wrong = ops.multiply(ops.subtract(1.0, target), ops.log(ops.subtract(1.0, p)))
    return ops.negative(ops.mean(ops.add(right, wrong)))


LOSSES: dict[str, Callable[[Tensor, Array, float], Tensor]] = {
    "cross-entropy": _cross_entropy,
    "nll": _nll,
    "cross-entropy-of-probabilities": _of_probabilities,
    "mse": _squared,
    "binary-cross-entropy": _binary,
    "binary-cross-entropy-of-probabilities": _binary_of_probabilities,
}


def clipped(formula: Formula, gradients: Mapping[str, Array]) -> dict[str, Array]:
    if (most := formula.clip_value) is not None:
        return {k: np.clip(g, -most, most) for k, g in gradients.items()}
    if (most := formula.clip_norm) is not None:
        norm = math.sqrt(sum(float(np.sum(g * g)) for g in gradients.values()))
        factor = most / (norm + formula.clip_epsilon)  # PyTorch has 1e-6 there, Keras nothing
        return {k: g * min(1.0, factor) for k, g in gradients.items()}
    return dict(gradients)


# Optimizers.

State = dict[str, dict[str, Array]]


def updated(
    formula: Formula,
    weights: Mapping[str, Array],
    gradients: Mapping[str, Array],
    slots: State,
    t: int,
) -> tuple[dict[str, Array], State]:
    """The next weights and slots; `slots` is empty before the first step."""
    rule = {"sgd": _sgd, "adam": _adam, "rmsprop": _rmsprop}[formula.optimizer]
    constant = through_float32 if formula.constants == "float32" else float
    rate, decay = formula.learning_rate, constant(formula.weight_decay)
    moved: dict[str, Array] = {}
    made: State = {k: dict(it) for k, it in slots.items() if k.startswith("moving")}
    for name, w in weights.items():
        g = gradients[name]
        decays = decay and not (formula.decay == "weights-only" and name.endswith(".bias"))
        if decays and formula.decay == "coupled":
            g = g + decay * w
        elif decays:
            w = w * (1 - rate * decay)
        before = {k: it[name] for k, it in slots.items() if name in it}
        step, after = rule(formula, constant, g, before, t)
        moved[name] = w - step
        for slot, values in after.items():
            made.setdefault(slot, {})[name] = values
    return moved, made


Slots = Mapping[str, Array]
Constant = Callable[[float], float]


def _sgd(f: Formula, constant: Constant, g: Array, slots: Slots, t: int) -> tuple[Array, Any]:
    if not f.momentum:
        return f.learning_rate * g, {}
    mu = constant(f.momentum)
    scale = 1.0 if t == 1 else 1 - f.dampening
    if f.momentum_form == "average":
        scale = 1 - mu
    rate = f.learning_rate
    added = rate * g if f.momentum_form in ("rate-twice", "rate-inside") else g
    v = mu * slots.get("velocity", np.zeros_like(g)) + scale * added
    ahead = added + mu * v if f.nesterov else v
    if f.momentum_form == "rate-inside":
        rate = 1.0
    return rate * ahead, {"velocity": v}


def _adam(f: Formula, constant: Constant, g: Array, slots: Slots, t: int) -> tuple[Array, Any]:
    zero = np.zeros_like(g)
    m = f.beta1 * slots.get("first_moment", zero) + (1 - f.beta1) * g
    v = f.beta2 * slots.get("second_moment", zero) + (1 - f.beta2) * (g * g)
    made = {"first_moment": m, "second_moment": v}
    if f.amsgrad:
        made["largest"] = np.maximum(slots.get("largest", zero), v)
    power = {"late": max(1, t - 1), "early": t + 1}.get(f.correction, t)
    one = 1 - constant(f.beta1) ** power
    two = 1 - constant(f.beta2) ** power
    if f.correction == "none":
        one = two = 1.0
    elif f.correction == "first-only":
        two = 1.0
    elif f.correction == "second-only":
        one = 1.0
    square = made.get("largest", v)
    if f.epsilon_place == "outside":
        under = np.sqrt(square / two) + f.epsilon
    elif f.epsilon_place == "inside":
        under = np.sqrt(square / two + f.epsilon)
    elif f.epsilon_place == "inside-before-correction":
        under = np.sqrt(square + f.epsilon) / math.sqrt(two)
    else:
        under = (np.sqrt(square) + f.epsilon) / math.sqrt(two)
    return f.learning_rate * (m / one) / under, made


def _rmsprop(f: Formula, constant: Constant, g: Array, slots: Slots, t: int) -> tuple[Array, Any]:
    zero = np.zeros_like(g)
    s = f.rho * slots.get("mean_square", zero) + (1 - f.rho) * (g * g)
    made, square = {"mean_square": s}, s
    if f.centered:
        made["mean"] = f.rho * slots.get("mean", zero) + (1 - f.rho) * g
        square = s - made["mean"] ** 2
    inside = f.epsilon_place == "inside"
    under = np.sqrt(square + f.epsilon) if inside else np.sqrt(square) + f.epsilon
    return f.learning_rate * g / under, made
