"""What a program computes, as plain values, and the reference that computes it.

A `Formula` has a field for everything that a known cause of difference changes. A cause is a field
exchanged, and so are most planted faults of arithmetic. The reference's tape differentiates it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.adapter import Array
from harness.tasks.programs import Description, LayerFacts, ShownStep
from harness.tasks.spec import PROBABILITY_FLOOR, Task
from impls.reference import losses
from impls.reference import primitives as ops
from impls.reference.stock import through_float32
from impls.reference.tensor import PRIMITIVES, Tensor, gradient, parameter

Batch = tuple[Array, Array]


@dataclass(frozen=True)
class Formula:
    """`hidden` are the activations after all dense layers but the last, `output` the one after it:
    a name with its number behind a colon, or several joined by +. Other tuples have an entry for
    each dense layer. `rounding` names a primitive that rounds operands and results of products."""

    hidden: tuple[str, ...]
    output: str
    biases: tuple[bool, ...]
    norms: tuple[str, ...] = ()
    norm_epsilons: tuple[float, ...] = ()
    norm_momenta: tuple[float, ...] = ()
    unbiased: bool = False
    input_factor: float = 1.0
    input_offset: float = 0.0
    label_shift: int = 0
    weights: str = "loaded"
    rounding: str = ""
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


def task_formula(task: Task) -> Formula:
    """The formula of a task."""
    model, layers = task.model, len(task.layers)
    optimizer = task.optimizer.model_dump(exclude={"name"})
    return Formula(
        hidden=(model.activation,) * len(model.hidden),
        output=model.output,
        biases=(True,) * layers,
        norms=("",) * layers,
        loss=task.loss,
        optimizer=task.optimizer.name.replace("adamw", "adam"),
        **optimizer,
    )


def formula_of(description: Description) -> Formula:
    """What a program's objects declare; where they are silent, what is usual."""
    formula = _layered(description)
    if description.framework == "keras":
        formula = replace(formula, clip_epsilon=0.0)
    if (loss := description.loss) is not None and loss.name != "other":
        formula = replace(
            formula, loss=loss.name, reduction=loss.reduction, smoothing=loss.smoothing
        )
    if (facts := description.optimizer) is not None:
        known = {k: v for k, v in facts.options.items() if v is not None and hasattr(formula, k)}
        if facts.name != "other":
            known["optimizer"] = facts.name.replace("adamw", "adam")
        formula = replace(formula, **known)  # type: ignore[arg-type]
    return formula


def guesses(description: Description) -> list[Formula]:
    """What a program may compute: what its objects declare and, where they say nothing of the
    optimizer, the usual ones with the usual activations."""
    declared = formula_of(description)
    if description.optimizer is not None or description.ordered:
        return [declared]
    return [
        replace(
            declared,
            hidden=(name,) * len(declared.hidden),
            optimizer=optimizer,
            learning_rate=rate,
        )
        for name in ("relu", "tanh", "sigmoid", "gelu")
        for optimizer, rate in (("sgd", 0.01), ("adam", 0.001), ("rmsprop", 0.001))
    ]


def _layered(description: Description) -> Formula:
    """The layers, with the usual loss and optimizer."""
    factor, offset = 1.0, 0.0
    activations: list[list[str]] = []
    biases: list[bool] = []
    norms: list[tuple[str, float, float]] = []
    for layer in description.layers:
        if layer.kind == "dense":
            activations.append([])
            biases.append(bool(layer.options.get("bias")))
            norms.append(("", 0.0, 0.0))
        elif layer.kind in ("flatten", "identity", "dropout"):
            continue
        elif not activations:  # nothing else that is known stands before the first dense layer
            if layer.kind == "scale":
                scale, shift = layer.number("factor"), layer.number("offset")
                factor, offset = factor * scale, offset * scale + shift
        elif layer.kind in ("layer-norm", "batch-norm"):
            where = " after" if activations[-1] else ""
            numbers = (layer.number("epsilon"), layer.number("momentum"))
            norms[-1] = (layer.kind + where, *numbers)
        else:
            activations[-1].append(_activation(layer))
    *hidden, output = ["+".join(it) or "identity" for it in activations]
    if not description.ordered and {*hidden, output} == {"identity"}:
        hidden = ["relu"] * len(hidden)
    kinds, epsilons, momenta = zip(*norms, strict=True)
    return Formula(
        hidden=tuple(hidden),
        output=output,
        biases=tuple(biases),
        norms=kinds,
        norm_epsilons=epsilons,
        norm_momenta=momenta,
        unbiased=description.framework == "pytorch",
        input_factor=factor,
        input_offset=offset,
        frozen=description.frozen,
    )


def _activation(layer: LayerFacts) -> str:
    for option in ("slope", "alpha"):
        if option in layer.options:
            return f"{layer.kind}:{layer.number(option):g}"
    return layer.kind


# One step.


Slots = dict[str, Array]
Statistics = dict[str, tuple[Array, Array, float]]
"""Mean and variance of the batch by normalisation, with their share in the running ones."""


def steps(
    formula: Formula,
    loaded: Mapping[str, Array],
    initial: Mapping[str, Array],
    batches: Sequence[Batch],
) -> Iterator[ShownStep]:
    """What the formula shows on each batch; `initial` are the weights before any were loaded.

    Raises ValueError where it cannot be computed: weights that do not fit, a class that is none.
    """
    start = initial if formula.weights == "initial" else loaded
    names = list(start)
    weights = {name: start[name].astype(np.float64) for name in names}
    slots: dict[str, Slots] = {}
    used: dict[str, Array] = {}
    for t, (inputs, targets) in enumerate(batches, start=1):
        tensors = {name: parameter(it) for name, it in weights.items()}
        statistics: Statistics = {}
        outputs = forward(formula, inputs.astype(np.float64), tensors, statistics)
        loss = criterion(formula, outputs, targets, len(batches[0][0]))
        made = gradient(loss, [tensors[it] for it in names])
        gradients = dict(zip(names, made, strict=True))
        before = used if formula.accumulated else {}
        used = {k: before[k] + g if k in before else g for k, g in gradients.items()}
        for name, g in clipped(formula, used).items():
            if name not in formula.frozen:
                state = slots.get(name, {})
                weights[name], slots[name] = updated(formula, name, weights[name], g, state, t)
        for name, values in statistics.items():
            slots[name] = _running(slots.get(name, {}), values, len(inputs), formula.unbiased)
        flat = {f"{slot}/{k}": it for k, state in slots.items() for slot, it in state.items()}
        yield ShownStep(outputs.array, float(loss.array), gradients, dict(weights), flat)


def _running(before: Slots, values: tuple[Array, Array, float], rows: int, unbiased: bool) -> Slots:
    """The running mean and variance of a batch normalisation."""
    mean, variance, share = values
    if unbiased:
        variance = variance * rows / (rows - 1)
    old_mean = before.get("moving_mean", np.zeros_like(mean))
    old_variance = before.get("moving_variance", np.ones_like(variance))
    return {
        "moving_mean": (1 - share) * old_mean + share * mean,
        "moving_variance": (1 - share) * old_variance + share * variance,
    }


def forward(
    formula: Formula, inputs: Array, weights: Mapping[str, Tensor], statistics: Statistics
) -> Tensor:
    rounded = PRIMITIVES.get(formula.rounding, ACTIVATIONS["identity"])
    h, number = Tensor(inputs * formula.input_factor + formula.input_offset), 0
    for index, activations in enumerate((*formula.hidden, formula.output)):
        weight = weights[f"layer{number}.weight"]
        if formula.weights == "transposed" and weight.array.shape[0] == weight.array.shape[1]:
            weight = ops.transpose(weight, axes=(1, 0))
        h = ops.matmul(rounded(h), rounded(weight))
        if formula.biases[index] and f"layer{number}.bias" in weights:
            h = ops.add(h, weights[f"layer{number}.bias"])
        h = rounded(h)
        number += 1  # of layers that have weights
        kind, _, after = formula.norms[index].partition(" ")
        if kind and not after:
            h = _normalised(formula, index, f"layer{number}", h, weights, statistics)
        for name in activations.split("+"):
            h = activated(name, h, formula.constants)
        if kind and after:
            h = _normalised(formula, index, f"layer{number}", h, weights, statistics)
        number += bool(kind)
    return h


def _normalised(
    formula: Formula,
    index: int,
    layer: str,
    h: Tensor,
    weights: Mapping[str, Tensor],
    statistics: Statistics,
) -> Tensor:
    over_rows = formula.norms[index].startswith("batch-norm")
    axis = 0 if over_rows else 1
    mean = ops.mean(h, axis=axis, keepdims=True)
    centred = ops.subtract(h, mean)
    variance = ops.mean(ops.multiply(centred, centred), axis=axis, keepdims=True)
    h = ops.divide(centred, ops.sqrt(ops.add(variance, formula.norm_epsilons[index])))
    if over_rows:
        statistics[layer] = mean.array[0], variance.array[0], formula.norm_momenta[index]
    if f"{layer}.scale" in weights:
        h = ops.multiply(h, weights[f"{layer}.scale"])
    if f"{layer}.offset" in weights:
        h = ops.add(h, weights[f"{layer}.offset"])
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
    "log-softmax-over-rows": lambda x: ops.log_softmax(x, axis=0),
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


def criterion(formula: Formula, outputs: Tensor, targets: Array, whole: int) -> Tensor:
    """The loss, a scalar on the tape; `whole` are the rows of a batch that is no smaller one."""
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
        "whole-batch": rows / whole,
    }[formula.reduction]
    return ops.multiply(loss, factor * formula.loss_factor)


def _cross_entropy(z: Tensor, y: Array, smoothing: float) -> Tensor:
    loss = losses.softmax_cross_entropy(z, Tensor(y))
    if smoothing:
        even = ops.negative(ops.mean(ops.log_softmax(z, axis=1)))
        loss = ops.add(ops.multiply(loss, 1 - smoothing), ops.multiply(even, smoothing))
    return loss


def _normalised_first(p: Tensor, y: Array, smoothing: float) -> Tensor:
    """Keras divides by the sum before it clips, which changes nothing for probabilities."""
    shares = ops.divide(p, ops.sum(p, axis=1, keepdims=True))
    return losses.probability_cross_entropy(shares, Tensor(y))


def _clipped_first(p: Tensor, y: Array, smoothing: float) -> Tensor:
    """Keras on TensorFlow takes the logarithms of clipped probabilities as logits."""
    p = ops.clip(p, low=PROBABILITY_FLOOR, high=1 - PROBABILITY_FLOOR)
    return losses.softmax_cross_entropy(ops.log(p), Tensor(y))


def _unclipped(p: Tensor, y: Array, smoothing: float) -> Tensor:
    """Keras on TensorFlow remembers what a softmax was computed of, and takes those logits."""
    return losses.softmax_cross_entropy(ops.log(p), Tensor(y))


def _nll(z: Tensor, y: Array, smoothing: float) -> Tensor:
    chosen = Tensor(np.eye(z.array.shape[1], dtype=z.array.dtype)[y])
    return ops.negative(ops.mean(ops.sum(ops.multiply(z, chosen), axis=1)))


def _smoothed(z: Tensor, y: Array, smoothing: float) -> Tensor:
    """Binary targets, in the dtype of the outputs."""
    return Tensor(y.astype(z.array.dtype) * (1 - smoothing) + smoothing / 2)


def _binary_of_probabilities(p: Tensor, y: Array, smoothing: float) -> Tensor:
    target = _smoothed(p, y, smoothing)
    p = ops.clip(p, low=PROBABILITY_FLOOR, high=1 - PROBABILITY_FLOOR)
    right = ops.multiply(target, ops.log(p))
    wrong = ops.multiply(ops.subtract(1.0, target), ops.log(ops.subtract(1.0, p)))
    return ops.negative(ops.mean(ops.add(right, wrong)))


def _binary_unclipped(p: Tensor, y: Array, smoothing: float) -> Tensor:
    """The same for a sigmoid."""
    logits = ops.subtract(ops.log(p), ops.log(ops.subtract(1.0, p)))
    return losses.sigmoid_cross_entropy(logits, _smoothed(p, y, smoothing))


LOSSES: dict[str, Callable[[Tensor, Array, float], Tensor]] = {
    "cross-entropy": _cross_entropy,
    "nll": _nll,
    "cross-entropy-of-probabilities": lambda p, y, _: losses.probability_cross_entropy(
        p, Tensor(y)
    ),
    "cross-entropy-of-unclipped-probabilities": _unclipped,
    "cross-entropy-of-shares": _normalised_first,
    "cross-entropy-of-clipped-shares": _clipped_first,
    "cross-entropy-clipped": lambda z, y, _: losses.probability_cross_entropy(
        ops.softmax(z, axis=1), Tensor(y)
    ),
    "mse": lambda z, y, _: losses.squared_error(z, Tensor(y.astype(z.array.dtype))),
    "binary-cross-entropy": lambda z, y, s: losses.sigmoid_cross_entropy(z, _smoothed(z, y, s)),
    "binary-cross-entropy-of-probabilities": _binary_of_probabilities,
    "binary-cross-entropy-of-unclipped-probabilities": _binary_unclipped,
    "binary-cross-entropy-clipped": lambda z, y, s: _binary_of_probabilities(ops.sigmoid(z), y, s),
}


FORMS = {
    ("identity", "cross-entropy"): ("softmax", False),
    ("softmax", "cross-entropy-of-unclipped-probabilities"): ("softmax", False),
    ("log-softmax", "nll"): ("softmax", False),
    ("identity", "cross-entropy-clipped"): ("softmax", True),
    ("softmax", "cross-entropy-of-probabilities"): ("softmax", True),
    ("log-softmax", "cross-entropy-clipped"): ("softmax", True),
    ("identity", "binary-cross-entropy"): ("sigmoid", False),
    ("sigmoid", "binary-cross-entropy-of-unclipped-probabilities"): ("sigmoid", False),
    ("identity", "binary-cross-entropy-clipped"): ("sigmoid", True),
    ("sigmoid", "binary-cross-entropy-of-probabilities"): ("sigmoid", True),
}
"""Pairs of output and loss that are one mathematics: what makes probabilities of the logits, and
whether the loss clips these."""


def form_of(formula: Formula) -> tuple[str, bool] | None:
    """The entry of `FORMS`; None for a loss of nothing that becomes probabilities."""
    return FORMS.get((formula.output, formula.loss))


def same_form(formula: Formula, other: Formula) -> Formula:
    """The formula with the output of another, where both are losses of the same probabilities."""
    form, wanted = form_of(formula), form_of(other)
    if form is None or wanted is None or form[0] != wanted[0]:
        return formula
    (loss,) = (it for (output, it), of in FORMS.items() if output == other.output and of == form)
    return replace(formula, output=other.output, loss=loss)


def in_probabilities(seen: ShownStep, formula: Formula) -> ShownStep:
    """The step with probabilities for logits."""
    form, _ = FORMS[formula.output, formula.loss]
    if formula.output == form:
        return seen
    return seen._replace(logits=activated(form, Tensor(seen.logits)).array)


def clipped(formula: Formula, gradients: Mapping[str, Array]) -> dict[str, Array]:
    if (most := formula.clip_value) is not None:
        return {k: np.clip(g, -most, most) for k, g in gradients.items()}
    if (most := formula.clip_norm) is not None:
        norm = math.sqrt(sum(float(np.sum(g * g)) for g in gradients.values()))
        factor = most / (norm + formula.clip_epsilon)  # PyTorch has 1e-6 there, Keras nothing
        return {k: g * min(1.0, factor) for k, g in gradients.items()}
    return dict(gradients)


# Optimizers.

Constant = Callable[[float], float]


def updated(
    formula: Formula, name: str, w: Array, g: Array, slots: Slots, t: int
) -> tuple[Array, Slots]:
    """The next value and slots of a weight; `slots` is empty before the first step."""
    rule = {"sgd": _sgd, "adam": _adam, "rmsprop": _rmsprop}[formula.optimizer]
    constant = through_float32 if formula.constants == "float32" else float
    decay = constant(formula.weight_decay)
    if formula.decay == "weights-only" and name.endswith(".bias"):
        decay = 0.0
    if decay and formula.decay == "coupled":
        g = g + decay * w
    elif decay:
        w = w * (1 - formula.learning_rate * decay)
    step, slots = rule(formula, constant, g, slots, t)
    return w - step, slots


def _sgd(f: Formula, constant: Constant, g: Array, slots: Slots, t: int) -> tuple[Array, Slots]:
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


def _adam(f: Formula, constant: Constant, g: Array, slots: Slots, t: int) -> tuple[Array, Slots]:
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


def _rmsprop(f: Formula, constant: Constant, g: Array, slots: Slots, t: int) -> tuple[Array, Slots]:
    zero = np.zeros_like(g)
    s = f.rho * slots.get("mean_square", zero) + (1 - f.rho) * (g * g)
    made, square = {"mean_square": s}, s
    if f.centered:
        made["mean"] = f.rho * slots.get("mean", zero) + (1 - f.rho) * g
        square = s - made["mean"] ** 2
    inside = f.epsilon_place == "inside"
    under = np.sqrt(square + f.epsilon) if inside else np.sqrt(square) + f.epsilon
    return f.learning_rate * g / under, made
