"""Why two programs differ: a table of alterations, each of which the reference can compute.

A cause owns fields of a `Formula`; it has the values that are worth a try, some of them read off
what the program showed, and a sentence. `stock` causes are no fault: two frameworks' own formulas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from harness.adapter import Array
from harness.programs.formulas import Batch, Formula
from harness.tasks.programs import ShownStep

Values = Iterable[Mapping[str, Any]]


class Clues(NamedTuple):
    """What the altered program showed, and what is needed to compute it: the weights that it was
    given, its own before, the batches. `declared` is what its objects say."""

    shown: Callable[[int], ShownStep]
    loaded: Mapping[str, Array]
    own: Mapping[str, Array]
    batches: Sequence[Batch]
    declared: Formula | None = None


@dataclass(frozen=True)
class Cause:
    """`values` gives fields to try, from a formula, the first step that it shows and the evidence;
    `line` says in words what another formula has in these fields."""

    name: str
    fields: tuple[str, ...]
    line: Callable[[Formula, Formula], str]
    values: Callable[[Formula, ShownStep, Clues], Values]
    stock: bool = False

    def differs(self, one: Formula, other: Formula) -> bool:
        return any(getattr(one, it) != getattr(other, it) for it in self.fields)

    def put(self, formula: Formula, other: Formula) -> Formula:
        """The formula with this cause's fields as another has them."""
        return replace(formula, **{it: getattr(other, it) for it in self.fields})

    def tried(self, formula: Formula, first: ShownStep, evidence: Clues) -> Iterator[Formula]:
        made = {formula}
        if evidence.declared is not None and self.differs(formula, evidence.declared):
            made.add(one := self.put(formula, evidence.declared))
            yield one
        for values in self.values(formula, first, evidence):
            one = replace(formula, **values)
            if one not in made:
                made.add(one)
                yield one


def field(
    name: str, sentence: str, *values: Any, only: str = "", fields: str = "", stock: bool = False
) -> Cause:
    """A cause of one field with known values, where the optimizer is `only`."""
    key = fields or name.replace("-", "_")

    def to_try(formula: Formula, first: ShownStep, evidence: Clues) -> Values:
        if not only or formula.optimizer in only.split():
            return [{key: it} for it in values]
        return []

    def line(one: Formula, other: Formula) -> str:
        before, after = (_plain(getattr(it, key)) for it in (one, other))
        return sentence.format(before=before, after=after)

    return Cause(name, (key,), line, to_try, stock)


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)


def choice(
    name: str, sentences: Mapping[Any, str], only: str = "", stock: bool = False, key: str = ""
) -> Cause:
    """A cause whose field has few values, each with a sentence of its own."""
    made = field(name, "", *sentences, only=only, fields=key, stock=stock)
    attribute = made.fields[0]
    return replace(made, line=lambda one, other: sentences[getattr(other, attribute)])


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


def _rates(formula: Formula, first: ShownStep, evidence: Clues) -> Values:
    """The rate under which the first update has the size that was shown."""
    shown, start = evidence.shown(1), _start(formula, evidence)
    moved = {k: first.weights[k] - start[k] for k in first.weights}
    name = _largest(moved)
    factor = _ratio(shown.weights[name] - start[name], moved[name])
    if math.isfinite(factor) and factor > 0:
        yield {"learning_rate": _round(formula.learning_rate * factor)}


def _start(formula: Formula, evidence: Clues) -> Mapping[str, Array]:
    return evidence.own if formula.weights == "own" else evidence.loaded


def _kept(slot: str, power: int, key: str) -> Callable[[Formula, ShownStep, Clues], Values]:
    """The share of an average that is kept, from its value after the first step."""

    def to_try(formula: Formula, first: ShownStep, evidence: Clues) -> Values:
        shown = evidence.shown(1)
        names = {k: it for k, it in first.gradients.items() if f"{slot}/{k}" in shown.slots}
        if names and not formula.accumulated:
            name = _largest(names)
            kept = 1 - _ratio(shown.slots[f"{slot}/{name}"], names[name] ** power)
            if 0 <= kept < 1:
                yield {key: _round(kept)}
        usual = {"beta1": (0.9, 0.95, 0.8, 0.5, 0.0)}.get(key, (0.999, 0.99, 0.9, 0.95, 0.9999))
        yield from ({key: it} for it in usual)

    return to_try


def _momenta(formula: Formula, first: ShownStep, evidence: Clues) -> Values:
    """From two velocities and the gradient between them, and the usual ones."""
    if formula.optimizer != "sgd":
        return
    one, two = evidence.shown(1), evidence.shown(2)
    slots = {k: it for k, it in one.slots.items() if k.startswith("velocity/")}
    if slots and two.gradients:
        name = _largest(slots)
        gradient = two.gradients[name.partition("/")[2]]
        share = _ratio(two.slots[name] - gradient, slots[name])
        if 0 <= share < 1:
            yield {"momentum": _round(share)}
    yield from ({"momentum": it} for it in (0.9, 0.0, 0.99, 0.95, 0.8, 0.5))


def _factors(formula: Formula, first: ShownStep, evidence: Clues) -> Values:
    shown = evidence.shown(1)
    if first.loss and math.isfinite(shown.loss / first.loss) and shown.loss > 0:
        yield {"loss_factor": _round(formula.loss_factor * shown.loss / first.loss)}


def _clip_norms(formula: Formula, first: ShownStep, evidence: Clues) -> Values:
    """The usual ones, and the one under which the first update has the size that was shown."""
    norm = math.sqrt(sum(float(np.sum(g * g)) for g in first.gradients.values()))
    found = [it["learning_rate"] for it in _rates(formula, first, evidence)]
    factor = found[0] / formula.learning_rate if found else 1.0
    for epsilon in (1e-6, 0.0):
        fitted = (_round(factor * (norm + epsilon)),) if factor < 1 else ()
        for most in (*fitted, 1.0, 0.5, 0.1, 5.0, 10.0, 2.0, 0.01, None):
            yield {"clip_norm": most, "clip_epsilon": epsilon}


def _kinds(formula: Formula, first: ShownStep, evidence: Clues) -> Values:
    """Other optimizers, with the fields that their slots tell."""
    for name in ("sgd", "adam", "rmsprop"):
        if name != formula.optimizer:
            yield {"optimizer": name}


HIDDEN = (
    *("relu", "tanh", "sigmoid", "gelu", "gelu-tanh", "silu", "softplus", "relu6", "elu:1"),
    *("leaky-relu:0.01", "leaky-relu:0.2", "leaky-relu:0.3", "leaky-relu:0.1", "identity"),
)
OUTPUT = ("identity", "softmax", "relu", "sigmoid", "tanh", "log-softmax", "softmax-over-rows")


def _all_hidden(formula: Formula, first: ShownStep, evidence: Clues) -> Values:
    *hidden, last = formula.activations
    if not hidden:
        return
    for name in HIDDEN:
        yield {"activations": (*[name] * len(hidden), last)}
    if len(hidden) > 1:
        for index in range(len(hidden)):
            for name in HIDDEN:
                changed = [*hidden]
                changed[index] = name
                yield {"activations": (*changed, last)}


def _outputs(formula: Formula, first: ShownStep, evidence: Clues) -> Values:
    hidden = formula.activations[:-1]
    for name in dict.fromkeys((*OUTPUT, hidden[-1] if hidden else "relu")):
        yield {"activations": (*hidden, name)}


def _biases(formula: Formula, first: ShownStep, evidence: Clues) -> Values:
    yield {"biases": (False,) * formula.layers}
    for index in range(formula.layers):
        yield {"biases": tuple(it != index and b for it, b in enumerate(formula.biases))}


def _losses(formula: Formula, first: ShownStep, evidence: Clues) -> Values:
    classes = ("cross-entropy", "cross-entropy-of-probabilities", "nll")
    binary = ("binary-cross-entropy", "binary-cross-entropy-of-probabilities", "mse")
    targets = evidence.batches[0][1]
    if targets.dtype.kind in "iu":
        known: Sequence[str] = classes
    else:
        known = binary if set(np.unique(targets)) <= {0.0, 1.0} else ("mse",)
    yield from ({"loss": it} for it in known)


def _input_scales(formula: Formula, first: ShownStep, evidence: Clues) -> Values:
    for factor in (255.0, 1 / 255, 1 / 256, 256.0, 16.0, 1 / 16, 2.0, 0.5, 100.0, 0.01):
        yield {"input_factor": formula.input_factor * factor}
    yield {"input_factor": 2.0, "input_offset": -1.0}  # from [0, 1] to [−1, 1]
    yield {"input_factor": 1.0, "input_offset": -0.5}
    yield {"input_factor": 1.0, "input_offset": 0.0}
    yield {"input_factor": 1 / 127.5, "input_offset": -1.0}


def _frozen(formula: Formula, first: ShownStep, evidence: Clues) -> Values:
    """Weights that the first steps did not move."""
    one = evidence.shown(1)
    still = [k for k, it in one.weights.items() if np.array_equal(it, _start(formula, evidence)[k])]
    moving = [k for k in still if np.abs(first.gradients.get(k, np.zeros(1))).max() > 0]
    if moving and len(moving) < len(one.weights):
        yield {"frozen": tuple(moving)}
    yield {"frozen": ()}


def _norm_epsilons(formula: Formula, first: ShownStep, evidence: Clues) -> Values:
    for value in (1e-5, 1e-3, 1e-6, 1e-8, 1e-12, 1e-7, 1e-2):
        yield {"norm_epsilons": tuple(value if it else 0.0 for it in formula.norms)}


def _norm_momenta(formula: Formula, first: ShownStep, evidence: Clues) -> Values:
    for value in (0.1, 0.01, 0.9, 0.99, 0.001, 0.5):
        yield {"norm_momenta": tuple(value if it else 0.0 for it in formula.norms)}


# Sentences.


def _activations_line(one: Formula, other: Formula) -> str:
    changed = [
        f"layer {it + 1} {after} (not {before})"
        for it, (before, after) in enumerate(zip(one.activations, other.activations, strict=False))
        if before != after
    ]
    if len(changed) > 1 and len(changed) == len(other.activations) - 1:
        return f"every hidden activation is {other.activations[0]} (not {one.activations[0]})"
    return f"the activation differs: {', '.join(changed)}"


def _twice(formula: Formula) -> str:
    """The classic fault of tutorials."""
    double = formula.activations[-1] == "softmax" and formula.loss == "cross-entropy"
    return "; a softmax before a loss of logits is applied twice" if double else ""


def _output_line(one: Formula, other: Formula) -> str:
    before, after = one.activations[-1], other.activations[-1]
    return f"the model ends in {after} (not {before}){_twice(other)}"


def _loss_line(one: Formula, other: Formula) -> str:
    return f"the loss is {other.loss} (not {one.loss}){_twice(other)}"


def _bias_line(one: Formula, other: Formula) -> str:
    pairs = enumerate(zip(one.biases, other.biases, strict=False))
    lacking = [str(it + 1) for it, (_, after) in pairs if not after]
    return f"no bias is added in dense layer {', '.join(lacking)}" if lacking else "a bias is added"


def _inputs_line(one: Formula, other: Formula) -> str:
    factor = other.input_factor / one.input_factor
    shift = other.input_offset - one.input_offset * factor
    divided = f"divided by {_plain(1 / factor)}" if abs(factor) < 1 else f"times {_plain(factor)}"
    moved = f", plus {_plain(shift)}" if shift else ""
    return f"inputs are scaled: {divided}{moved}"


def _labels_line(one: Formula, other: Formula) -> str:
    return f"class labels are shifted by {other.label_shift - one.label_shift:+d}"


@dataclass(frozen=True)
class HiddenCause(Cause):
    """Its field is all of `activations` but the last entry."""

    def differs(self, one: Formula, other: Formula) -> bool:
        return one.activations[:-1] != other.activations[:-1]

    def put(self, formula: Formula, other: Formula) -> Formula:
        return replace(formula, activations=(*other.activations[:-1], formula.activations[-1]))


@dataclass(frozen=True)
class OutputCause(Cause):
    """Its field is the last entry of `activations`."""

    def differs(self, one: Formula, other: Formula) -> bool:
        return one.activations[-1] != other.activations[-1]

    def put(self, formula: Formula, other: Formula) -> Formula:
        return replace(formula, activations=(*formula.activations[:-1], other.activations[-1]))


DECADES = tuple(10.0**-it for it in range(2, 17))
EPSILON_PLACES = {
    "outside": "epsilon is added outside the bias-corrected root",
    "before-correction": "epsilon is added before the bias correction (Keras' formula)",
    "inside": "epsilon is added inside the root",
    "inside-before-correction": "epsilon is added inside the root, before the bias correction",
}
CAUSES: tuple[Cause, ...] = (
    choice(
        "weights",
        {
            "own": "the loaded weights are not used: it computes with weights of its own",
            "transposed": "square weight matrices are used transposed",
            "loaded": "the loaded weights are used",
        },
    ),
    Cause("inputs", ("input_factor", "input_offset"), _inputs_line, _input_scales),
    HiddenCause("activation", ("activations",), _activations_line, _all_hidden),
    OutputCause("output", ("activations",), _output_line, _outputs),
    Cause("bias", ("biases",), _bias_line, _biases),
    Cause(
        "norm-epsilon",
        ("norm_epsilons",),
        lambda one, other: (
            f"the normalisation's epsilon is {_plain(max(other.norm_epsilons))} "
            f"(not {_plain(max(one.norm_epsilons))})"
        ),
        _norm_epsilons,
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
        "labels", ("label_shift",), _labels_line, lambda *_: [{"label_shift": it} for it in (1, -1)]
    ),
    Cause("loss", ("loss",), _loss_line, _losses),
    choice(
        "reduction",
        {
            "sum": "the loss is a sum over the batch, not a mean",
            "mean": "the loss is a mean over the batch, not a sum",
            "half": "the loss has a factor of one half",
            "outputs-summed": "the loss is summed over the outputs, not averaged",
        },
    ),
    field("smoothing", "labels are smoothed by {after} (not {before})", 0.1, 0.01, 0.05, 0.2, 0.0),
    Cause(
        "loss-factor",
        ("loss_factor",),
        lambda one, other: f"the loss is scaled by {_plain(other.loss_factor / one.loss_factor)}",
        _factors,
    ),
    Cause(
        "frozen",
        ("frozen",),
        lambda one, other: f"not trained: {', '.join(other.frozen) or 'nothing'}",
        _frozen,
    ),
    choice(
        "accumulated",
        {True: "gradients are not set to zero between steps", False: "gradients are set to zero"},
    ),
    Cause(
        "clip-norm",
        ("clip_norm", "clip_epsilon"),
        lambda one, other: (
            f"gradients are clipped to a norm of {_plain(other.clip_norm)} "
            f"(not {_plain(one.clip_norm)})"
        ),
        _clip_norms,
    ),
    field(
        "clip-value",
        "gradients are clipped to ±{after} (not {before})",
        *(1.0, 0.5, 0.1, 5.0, 0.01, 0.001, None),
    ),
    Cause(
        "optimizer",
        ("optimizer",),
        lambda one, other: f"the optimizer is {other.optimizer} (not {one.optimizer})",
        _kinds,
    ),
    Cause(
        "beta1",
        ("beta1",),
        lambda one, other: f"beta1 is {_plain(other.beta1)} (not {_plain(one.beta1)})",
        _kept("first_moment", 1, "beta1"),
    ),
    Cause(
        "beta2",
        ("beta2",),
        lambda one, other: f"beta2 is {_plain(other.beta2)} (not {_plain(one.beta2)})",
        _kept("second_moment", 2, "beta2"),
    ),
    Cause(
        "rho",
        ("rho",),
        lambda one, other: f"rho is {_plain(other.rho)} (not {_plain(one.rho)})",
        _kept("mean_square", 2, "rho"),
    ),
    Cause(
        "momentum",
        ("momentum",),
        lambda one, other: f"momentum is {_plain(other.momentum)} (not {_plain(one.momentum)})",
        _momenta,
    ),
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
    field(
        "dampening", "momentum has a dampening of {after} (not {before})", 0.9, 0.1, 0.5, only="sgd"
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
    field(
        "weight-decay",
        "weight decay is {after} (not {before})",
        *(0.01, 0.0, 1e-4, 5e-4, 1e-3, 0.004, 0.1, 0.05, 1e-5),
    ),
    choice(
        "decay",
        {
            "coupled": "weight decay is coupled: added to the gradient",
            "decoupled": "weight decay is decoupled from the gradient",
            "weights-only": "weight decay leaves out the biases",
        },
    ),
    Cause(
        "learning-rate",
        ("learning_rate",),
        lambda one, other: (
            f"the learning rate is {_plain(other.learning_rate)} (not {_plain(one.learning_rate)})"
        ),
        _rates,
    ),
    field("epsilon", "epsilon is {after} (not {before})", *DECADES, only="adam rmsprop"),
    choice("epsilon-place", EPSILON_PLACES, only="adam rmsprop", stock=True),
    choice(
        "constants",
        {
            "float32": "constants pass through float32 on the way (TensorFlow's)",
            "exact": "constants are exact",
        },
        stock=True,
    ),
    Cause(
        "norm-momentum",
        ("norm_momenta",),
        lambda one, other: (
            f"the share of a new batch in running statistics is "
            f"{_plain(max(other.norm_momenta))} (not {_plain(max(one.norm_momenta))})"
        ),
        _norm_momenta,
    ),
    choice(
        "unbiased",
        {True: "the running variance is unbiased", False: "the running variance is biased"},
        stock=True,
    ),
)
