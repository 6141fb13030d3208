"""Why two programs differ: a table of alterations, each of which the reference can compute.

A cause has fields of a `Formula`; it has the values that are worth a try, some of them read off
what the program showed, and a sentence. `stock` causes are no fault: two frameworks' own formulas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from harness.adapter import Array
from harness.proof.formulas import LOSSES, Batch, Formula, form_of
from harness.tasks.programs import ShownStep
from harness.tasks.spec import PROBABILITY_FLOOR


class Clues(NamedTuple):
    """What the altered program showed, and what is needed to compute it: the weights that it was
    given, its initial ones, the batches. `declared` is what its objects say."""

    shown: Sequence[ShownStep]
    loaded: Mapping[str, Array]
    initial: Mapping[str, Array]
    batches: Sequence[Batch]
    declared: Formula | None = None


Values = Callable[[Formula, ShownStep, Clues], Iterable[Any]]
"""What to try: from a formula, the first step that it makes and the clues."""


@dataclass(frozen=True)
class Cause:
    """`values` gives values of the field to try, tuples where there are several fields; only for
    the optimizers that `only` names, if it names any. `line` says in words what a formula has in
    these fields, unlike another."""

    name: str
    fields: tuple[str, ...]
    line: Callable[[Formula, Formula], str]
    values: Values
    only: str = ""
    stock: bool = False

    def differs(self, one: Formula, other: Formula) -> bool:
        return any(getattr(one, it) != getattr(other, it) for it in self.fields)

    def put(self, formula: Formula, other: Formula) -> Formula:
        """The formula with this cause's fields as another has them."""
        return replace(formula, **{it: getattr(other, it) for it in self.fields})

    def tried(self, formula: Formula, first: ShownStep, clues: Clues) -> Iterator[Formula]:
        if clues.declared is not None:
            yield self.put(formula, clues.declared)
        if self.only and formula.optimizer not in self.only.split():
            return
        for value in self.values(formula, first, clues):
            values = value if len(self.fields) > 1 else (value,)
            yield replace(formula, **dict(zip(self.fields, values, strict=True)))


def cause(
    name: str,
    values: Values | Sequence[Any],
    sentence: str = "",
    fields: tuple[str, ...] = (),
    only: str = "",
) -> Cause:
    """A cause of one field that has its name, unless others are given. The sentence has the first
    of them as `{before}` and `{after}`."""
    fields = fields or (name.replace("-", "_"),)
    text = sentence or f"{name.replace('-', ' ')} is {{after}} (not {{before}})"

    def line(one: Formula, other: Formula) -> str:
        before, after = (_plain(getattr(it, fields[0])) for it in (one, other))
        return text.format(before=before, after=after)

    return Cause(name, fields, line, values if callable(values) else lambda *_: values, only)


def choice(
    name: str, sentences: Mapping[Any, str], only: str = "", *, stock: bool = False
) -> Cause:
    """A cause whose field has few values, each with a sentence of its own."""
    made = cause(name, [*sentences], only=only)
    (key,) = made.fields
    return replace(made, line=lambda one, other: sentences[getattr(other, key)], stock=stock)


def _plain(value: Any) -> str:
    """A value in words; of numbers by layer the largest."""
    if isinstance(value, tuple):
        numbers = all(isinstance(it, float) for it in value) and value
        return _plain(max(value)) if numbers else ", ".join(value) or "nothing"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)


# Values read off what was shown.


def _ratio(values: Array, expected: Array) -> float:
    """By what factor one array is another, by their largest entries."""
    place = np.unravel_index(np.argmax(np.abs(expected)), expected.shape)
    whole = float(expected[place])
    return float(values[place]) / whole if whole else math.nan


def _round(value: float) -> float:
    """The short number that was meant, if there is one within rounding."""
    for digits in range(1, 8):
        short = float(f"{value:.{digits}g}")
        if math.isclose(short, value, rel_tol=1e-9):
            return short
    return value


def _largest(values: Mapping[str, Array]) -> str:
    return max(values, key=lambda it: float(np.abs(values[it]).max(initial=0.0)))


def _start(formula: Formula, clues: Clues) -> Mapping[str, Array]:
    return clues.initial if formula.weights == "initial" else clues.loaded


def _rates(formula: Formula, first: ShownStep, clues: Clues) -> Iterator[float]:
    """The rate under which the first update has the size that was shown."""
    shown, start = clues.shown[0], _start(formula, clues)
    moved = {k: first.weights[k] - start[k] for k in first.weights}
    name = _largest(moved)
    factor = _ratio(shown.weights[name] - start[name], moved[name])
    if math.isfinite(factor) and factor > 0:
        yield _round(formula.learning_rate * factor)


def _kept(slot: str, power: int, *usual: float) -> Values:
    """The share of an average that is kept, from its value after the first step."""

    def values(formula: Formula, first: ShownStep, clues: Clues) -> Iterator[float]:
        slots = clues.shown[0].slots
        names = {k: it for k, it in first.gradients.items() if f"{slot}/{k}" in slots}
        if names and not formula.accumulated:
            name = _largest(names)
            kept = 1 - _ratio(slots[f"{slot}/{name}"], names[name] ** power)
            if 0 <= kept < 1:
                yield _round(kept)
        yield from usual

    return values


def _momenta(formula: Formula, first: ShownStep, clues: Clues) -> Iterator[float]:
    """From two velocities and the gradient between them, and the usual ones."""
    one, two = clues.shown[:2]
    slots = {k: it for k, it in one.slots.items() if k.startswith("velocity/")}
    if slots and two.gradients:
        name = _largest(slots)
        gradient = two.gradients[name.partition("/")[2]]
        share = _ratio(two.slots[name] - gradient, slots[name])
        if 0 <= share < 1:
            yield _round(share)
    yield from (0.9, 0.0, 0.99, 0.95, 0.8, 0.5)


def _loss_factors(formula: Formula, first: ShownStep, clues: Clues) -> Iterator[float]:
    loss = clues.shown[0].loss
    if first.loss and math.isfinite(loss / first.loss) and loss > 0:
        yield _round(formula.loss_factor * loss / first.loss)


def _clip_norms(formula: Formula, first: ShownStep, clues: Clues) -> Iterator[Any]:
    """The usual ones, and the one under which the first update has the size that was shown."""
    norm = math.sqrt(sum(float(np.sum(g * g)) for g in first.gradients.values()))
    factor = next(_rates(formula, first, clues), math.inf) / formula.learning_rate
    for epsilon in (1e-6, 0.0):
        fitted = (_round(factor * (norm + epsilon)),) if factor < 1 else ()
        yield from product((*fitted, 1.0, 0.5, 0.1, 5.0, 10.0, 2.0, 0.01, None), (epsilon,))


HIDDEN = (
    *("relu", "tanh", "sigmoid", "gelu", "gelu-tanh", "silu", "softplus", "relu6", "elu:1"),
    *("leaky-relu:0.01", "leaky-relu:0.2", "leaky-relu:0.3", "leaky-relu:0.1", "identity"),
)
OUTPUT = ("identity", "softmax", "relu", "sigmoid", "tanh", "log-softmax", "softmax-over-rows")


def _by_layer(field: str, values: Sequence[Any]) -> Values:
    """Each value for all layers, then for one of them."""

    def tuples(formula: Formula, first: ShownStep, clues: Clues) -> Iterator[tuple[Any, ...]]:
        now = getattr(formula, field)
        yield from ((value,) * len(now) for value in values)
        for index, value in product(range(len(now)), values):
            yield (*now[:index], value, *now[index + 1 :])

    return tuples


def _losses(formula: Formula, first: ShownStep, clues: Clues) -> Sequence[str]:
    targets = clues.batches[0][1]
    if targets.dtype.kind in "iu":
        return tuple(it for it in LOSSES if it == "nll" or it.startswith("cross-entropy"))
    if set(np.unique(targets)) <= {0.0, 1.0}:
        return tuple(it for it in LOSSES if it == "mse" or it.startswith("binary"))
    return ("mse",)


def _scales(formula: Formula, first: ShownStep, clues: Clues) -> Iterator[tuple[float, float]]:
    for factor in (255.0, 1 / 255, 1 / 256, 256.0, 16.0, 1 / 16, 2.0, 0.5, 100.0, 0.01):
        yield formula.input_factor * factor, formula.input_offset
    yield from ((2.0, -1.0), (1 / 127.5, -1.0))  # from [0, 1] or [0, 255] to [−1, 1]
    yield from ((1.0, -0.5), (1.0, 0.0))


def _frozen(formula: Formula, first: ShownStep, clues: Clues) -> Iterator[tuple[str, ...]]:
    """Weights that the first step did not move."""
    weights, start = clues.shown[0].weights, _start(formula, clues)
    still = [k for k, it in weights.items() if np.array_equal(it, start[k])]
    unmoved = [k for k in still if np.abs(first.gradients.get(k, np.zeros(1))).max() > 0]
    if unmoved and len(unmoved) < len(weights):
        yield tuple(unmoved)
    yield ()


def _where_normalised(*values: float) -> Values:
    """Each value for all normalisations."""
    return lambda formula, first, clues: (
        tuple(value if it else 0.0 for it in formula.norms) for value in values
    )


# Sentences.


def _twice(formula: Formula) -> str:
    """The classic fault of tutorials."""
    double = formula.output == "softmax" and formula.loss == "cross-entropy"
    return "; a softmax before a loss of logits is applied twice" if double else ""


def _loss_line(one: Formula, other: Formula) -> str:
    before, after = form_of(one), form_of(other)
    if before and after and before[0] == after[0]:
        clips = f"probabilities at {PROBABILITY_FLOOR:.0e}" if after[1] else "no probabilities"
        return f"the loss clips {clips}"
    if "-of-" in other.loss and other.output == "identity":
        return "the loss takes probabilities, but the model gives logits: from_logits is missing"
    return f"the loss is {other.loss} (not {one.loss}){_twice(other)}"


def _hidden_line(one: Formula, other: Formula) -> str:
    changed = [
        f"layer {number} {after} (not {before})"
        for number, (before, after) in enumerate(zip(one.hidden, other.hidden, strict=False), 1)
        if before != after
    ]
    if len(changed) > 1 and len(changed) == len(other.hidden):
        return f"every hidden activation is {other.hidden[0]} (not {one.hidden[0]})"
    return f"the activation differs: {', '.join(changed)}"


def _bias_line(one: Formula, other: Formula) -> str:
    lacking = [str(number) for number, bias in enumerate(other.biases, 1) if not bias]
    return f"no bias is added in dense layer {', '.join(lacking)}" if lacking else "a bias is added"


def _inputs_line(one: Formula, other: Formula) -> str:
    factor = other.input_factor / one.input_factor
    shift = other.input_offset - one.input_offset * factor
    divided = f"divided by {_plain(1 / factor)}" if abs(factor) < 1 else f"times {_plain(factor)}"
    moved = f", plus {_plain(shift)}" if shift else ""
    return f"inputs are scaled: {divided}{moved}"


DECADES = tuple(10.0**-it for it in range(2, 17))
CAUSES: tuple[Cause, ...] = (
    choice(
        "weights",
        {
            "initial": "the loaded weights are not used: it computes with its initial ones",
            "transposed": "square weight matrices are used transposed",
            "loaded": "the loaded weights are used",
        },
    ),
    Cause("inputs", ("input_factor", "input_offset"), _inputs_line, _scales),
    Cause("activation", ("hidden",), _hidden_line, _by_layer("hidden", HIDDEN)),
    Cause(
        "output",
        ("output",),
        lambda one, other: f"the model ends in {other.output} (not {one.output}){_twice(other)}",
        lambda formula, *_: (*OUTPUT, *formula.hidden[-1:]),
    ),
    Cause("bias", ("biases",), _bias_line, _by_layer("biases", (False,))),
    cause(
        "norm-epsilon",
        _where_normalised(1e-5, 1e-3, 1e-6, 1e-8, 1e-12, 1e-7, 1e-2),
        "the normalisation's epsilon is {after} (not {before})",
        fields=("norm_epsilons",),
    ),
    choice(
        "before-loss",
        {
            "softmax": "softmax is applied before a loss that takes logits: it is applied twice",
            "sigmoid": "a sigmoid is applied before a loss that takes logits: it is applied twice",
            "log-softmax": "log-softmax is applied before the loss",
            "": "nothing is applied before the loss",
        },
    ),
    Cause(
        "labels",
        ("label_shift",),
        lambda one, other: f"class labels are shifted by {other.label_shift - one.label_shift:+d}",
        lambda *_: (1, -1),
    ),
    Cause("loss", ("loss",), _loss_line, _losses),
    choice(
        "reduction",
        {
            "sum": "the loss is a sum over the batch, not a mean",
            "mean": "the loss is a mean over the batch, not a sum",
            "half": "the loss has a factor of one half",
            "outputs-summed": "the loss is summed over the outputs, not averaged",
            "whole-batch": "the loss of a smaller batch is divided by the rows of a whole one",
        },
    ),
    cause(
        "smoothing", (0.1, 0.01, 0.05, 0.2, 0.0), "labels are smoothed by {after} (not {before})"
    ),
    Cause(
        "loss-factor",
        ("loss_factor",),
        lambda one, other: f"the loss is scaled by {_plain(other.loss_factor / one.loss_factor)}",
        _loss_factors,
    ),
    cause("frozen", _frozen, "not trained: {after}"),
    choice(
        "accumulated",
        {True: "gradients are not set to zero between steps", False: "gradients are set to zero"},
    ),
    cause(
        "clip-norm",
        _clip_norms,
        "gradients are clipped to a norm of {after} (not {before})",
        fields=("clip_norm", "clip_epsilon"),
    ),
    cause(
        "clip-value",
        (1.0, 0.5, 0.1, 5.0, 0.01, 0.001, None),
        "gradients are clipped to ±{after} (not {before})",
    ),
    cause("optimizer", ("sgd", "adam", "rmsprop"), "the optimizer is {after} (not {before})"),
    cause("beta1", _kept("first_moment", 1, 0.9, 0.95, 0.8, 0.5, 0.0), only="adam"),
    cause("beta2", _kept("second_moment", 2, 0.999, 0.99, 0.9, 0.95, 0.9999), only="adam"),
    cause("rho", _kept("mean_square", 2, 0.999, 0.99, 0.9, 0.95, 0.9999), only="rmsprop"),
    cause("momentum", _momenta, only="sgd"),
    choice(
        "momentum-form",
        {
            "heavy-ball": "momentum has its usual form, v ← μ·v + g",
            "average": "momentum is an average: v ← μ·v + (1 − μ)·g",
            "rate-twice": "the learning rate is applied twice: v ← μ·v + lr·g, w ← w − lr·v",
            "rate-inside": "the learning rate is part of the velocity, which changes no weight",
        },
        only="sgd",
    ),
    choice(
        "nesterov",
        {True: "momentum is Nesterov's", False: "momentum is not Nesterov's"},
        only="sgd",
    ),
    cause(
        "dampening",
        (0.9, 0.1, 0.5),
        "momentum has a dampening of {after} (not {before})",
        only="sgd",
    ),
    choice(
        "correction",
        {
            "none": "Adam's bias correction is missing",
            "late": "Adam's bias correction is that of the step before",
            "early": "Adam's bias correction is that of the step after",
            "first-only": "only Adam's first moment is corrected",
            "second-only": "only Adam's second moment is corrected",
            "exact": "Adam's bias correction is made",
        },
        only="adam",
    ),
    choice("amsgrad", {True: "Adam is AMSGrad", False: "Adam is not AMSGrad"}, only="adam"),
    choice(
        "centered", {True: "RMSprop is centered", False: "RMSprop is not centered"}, only="rmsprop"
    ),
    cause("weight-decay", (0.01, 0.0, 1e-4, 5e-4, 1e-3, 0.004, 0.1, 0.05, 1e-5)),
    choice(
        "decay",
        {
            "coupled": "weight decay is coupled: added to the gradient",
            "decoupled": "weight decay is decoupled from the gradient",
            "weights-only": "weight decay leaves out the biases",
        },
    ),
    cause("learning-rate", _rates, "the learning rate is {after} (not {before})"),
    cause("epsilon", DECADES, only="adam rmsprop"),
    choice(
        "epsilon-place",
        {
            "outside": "epsilon is added outside the bias-corrected root",
            "before-correction": "epsilon is added before the bias correction (Keras' formula)",
            "inside": "epsilon is added inside the root",
            "inside-before-correction": (
                "epsilon is added inside the root, before the bias correction"
            ),
        },
        only="adam rmsprop",
        stock=True,
    ),
    choice(
        "constants",
        {
            "float32": "constants pass through float32 on the way (TensorFlow's)",
            "exact": "constants are exact",
        },
        stock=True,
    ),
    cause(
        "norm-momentum",
        _where_normalised(0.1, 0.01, 0.9, 0.99, 0.001, 0.5),
        "the share of a new batch in running statistics is {after} (not {before})",
        fields=("norm_momenta",),
    ),
    choice(
        "unbiased",
        {True: "the running variance is unbiased", False: "the running variance is biased"},
        stock=True,
    ),
)
