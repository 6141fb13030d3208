"""Two programs in lock step from the weights of the first: where they differ, by how much, and why.

A cause is found by trying. The reference computes what program A computes, with one entry of the
table of causes changed, then with two, then three; an alteration explains program B where all that
B shows at every step follows from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np

from harness.adapter import Array
from harness.certificates import Divergence
from harness.differences import Bounds, Difference, compare, limits
from harness.errors import NotComparable
from harness.programs.causes import CAUSES, Cause, Clues
from harness.programs.formulas import Batch, Formula, formula_of, guesses, steps
from harness.programs.process import side_by_side
from harness.proof.lockstep import QUANTITIES, limit_at
from harness.tasks.programs import Description, ShownStep
from harness.tasks.spec import Frozen

MOST_CAUSES = 3
BEAM = 6
"""Alterations that are altered once more: those after which the two go together longest."""
TRIED_STEPS = 12
"""On so many steps alterations are tried; what explains these must explain all of them."""


class Shown(Protocol):
    """What a program showed, by step from 1."""

    steps: int

    def __getitem__(self, step: int) -> ShownStep: ...


class Stepped(Protocol):
    """A program that can be compared: see `harness.programs.process.OpenProgram`."""

    title: str
    description: Description
    weights: dict[str, Array]

    def follow(
        self, weights: Mapping[str, Array], batches: list[Batch], *, dropout: bool = True
    ) -> tuple[Shown, bool]: ...


class FoundCause(Frozen):
    """An alteration of the table, in words; `stock` where it is a framework's own formula."""

    name: str
    line: str
    stock: bool = False


class FirstDifference(Frozen):
    """`size` is relative to the tensor's largest entry; None where nothing can be compared, and
    `reason` says why."""

    step: int
    quantity: str
    tensor: str
    size: float | None
    reason: str = ""


class ProgramDifference(Frozen):
    """`largest` is the largest difference of any tensor at any step. `explanations` are those
    alterations under which the reference computes what B shows, each a tuple of causes; they cannot
    be told apart on these batches. With them B is followed to `agreement`. `base` says what A
    itself has that its objects do not say."""

    programs: tuple[str, str]
    same: bool
    steps: int
    largest: float | None
    first: FirstDifference | None = None
    explanations: tuple[tuple[FoundCause, ...], ...] = ()
    agreement: float | None = None
    base: tuple[FoundCause, ...] = ()
    notes: tuple[str, ...] = ()
    divergence: tuple[Divergence, ...] = ()


class Agreement(NamedTuple):
    """How far two go together: the first place of a difference (none: to the end), and its size;
    `largest` is the largest difference on the way."""

    step: int
    quantity: int
    size: float
    largest: float
    tensor: str = ""
    reason: str = ""

    @property
    def whole(self) -> bool:
        return self.quantity == len(QUANTITIES)

    @property
    def progress(self) -> tuple[float, ...]:
        # A difference that is ten times smaller is progress too.
        return (self.step, self.quantity, -round(math.log10(min(max(self.size, 1e-300), 1e300))))


NOWHERE = Agreement(0, 0, math.inf, math.inf)


def parts(seen: ShownStep, other: ShownStep) -> dict[str, dict[str, Array]]:
    """The tensors of a step by quantity, of gradients and slots those that both have."""
    return {
        "logits": {"outputs": seen.logits},
        "loss": {"loss": np.asarray(seen.loss)},
        "gradients": {k: it for k, it in seen.gradients.items() if k in other.gradients},
        "slots": {k: it for k, it in seen.slots.items() if k in other.slots},
        "weights": dict(seen.weights),
    }


def step_differences(seen: ShownStep, true: ShownStep) -> dict[str, Difference]:
    """By quantity, in their order, without those that one of the two does not show."""
    mine, theirs = parts(seen, true), parts(true, seen)
    for quantity in ("gradients", "slots", "weights"):
        _drop_noise(mine[quantity], theirs[quantity])
    return {it: compare(mine[it], theirs[it], None) for it in QUANTITIES if mine[it] and theirs[it]}


NOISE = 1e-13


def _drop_noise(mine: dict[str, Array], theirs: dict[str, Array]) -> None:
    """Set to zero what is nothing but rounding in both: the gradient of a bias before a batch
    normalisation, say, whose true value is zero."""
    for group in {_group(name) for name in mine}:
        names = [it for it in mine if _group(it) == group]
        sizes = {it: max(_size(mine[it]), _size(theirs[it])) for it in names}
        largest = max(sizes.values())
        power = 2 if "second" in group or "square" in group else 1
        for name in names:
            if sizes[name] <= largest * NOISE**power:
                mine[name], theirs[name] = 0 * mine[name], 0 * theirs[name]


def _group(name: str) -> str:
    """The slot that a tensor belongs to; none for a gradient."""
    return name.partition("/")[0] if "/" in name else ""


def _size(values: Array) -> float:
    return float(np.abs(values).max(initial=0.0))


def agreement(shown: Iterator[ShownStep], expected: Shown, last: int, bounds: Bounds) -> Agreement:
    """How far a formula's steps, or another program's, go with what a program showed."""
    largest = 0.0
    for step, seen in zip(range(1, last + 1), shown, strict=False):
        for quantity, found in step_differences(seen, expected[step]).items():
            if not found.size <= limit_at((step, quantity), bounds):
                place = QUANTITIES.index(quantity)
                return Agreement(step, place, found.size, largest, found.tensor, found.reason)
            largest = max(largest, found.size)
    return Agreement(last, len(QUANTITIES), 0.0, largest)


@dataclass
class Search:
    """For formulas that compute what one program showed."""

    shown: Shown
    evidence: Clues
    bounds: Bounds

    def followed(self, formula: Formula, last: int | None = None) -> Agreement:
        try:
            with np.errstate(all="ignore"):
                made = steps(
                    formula, self.evidence.loaded, self.evidence.own, self.evidence.batches
                )
                return agreement(made, self.shown, last or self.shown.steps, self.bounds)
        except (ValueError, KeyError, IndexError, OverflowError, ZeroDivisionError):
            return NOWHERE  # such an alteration is none of this program

    def explained(self, starts: Sequence[Formula], most: int = MOST_CAUSES) -> list[Formula]:
        """The formulas with the fewest alterations that agree over all steps; none: no such."""
        frontier = [(self._tried(it), it) for it in dict.fromkeys(starts)]
        if whole := [it for at, it in frontier if at.whole and self.followed(it).whole]:
            return whole
        seen = {it for _, it in frontier}
        for _ in range(most):
            found, better = [], []
            for at, formula in frontier:
                for variant in self._variants(formula, seen):
                    then = self._tried(variant)
                    if then.whole and self.followed(variant).whole:
                        found.append(variant)
                    elif then.progress > at.progress:
                        better.append((then, variant))
            if found:
                return found
            frontier = sorted(better, key=lambda it: it[0].progress, reverse=True)[:BEAM]
        return []

    def _tried(self, formula: Formula) -> Agreement:
        return self.followed(formula, min(TRIED_STEPS, self.shown.steps))

    def _variants(self, formula: Formula, seen: set[Formula]) -> Iterator[Formula]:
        evidence = self.evidence
        try:
            with np.errstate(all="ignore"):
                first = next(steps(formula, evidence.loaded, evidence.own, evidence.batches))
        except (ValueError, KeyError, IndexError):
            first = self.shown[1]
        for cause in CAUSES:
            for variant in cause.tried(formula, first, evidence):
                if variant not in seen:
                    seen.add(variant)
                    yield variant

    def causes(self, base: Formula, found: Formula) -> tuple[Cause, ...]:
        """What of the difference between two formulas is needed for the second to agree: first the
        one that shows first; a framework's own formulas last."""
        needed: list[tuple[tuple[object, ...], Cause]] = []
        for cause in sorted(CAUSES, key=lambda it: not it.stock):
            if not cause.differs(base, found):
                continue
            without = self.followed(cause.put(found, base))
            if without.whole:
                found = cause.put(found, base)
            else:
                key = (cause.stock, without.step, without.quantity, -without.size)
                needed.append((key, cause))
        return tuple(cause for _, cause in sorted(needed, key=lambda it: it[0]))


FORMS = {
    "cross-entropy": {
        ("identity", "cross-entropy"): "identity",
        ("softmax", "cross-entropy-of-probabilities"): "softmax",
        ("log-softmax", "nll"): "log-softmax",
    },
    "binary-cross-entropy": {
        ("identity", "binary-cross-entropy"): "identity",
        ("sigmoid", "binary-cross-entropy-of-probabilities"): "sigmoid",
    },
}
"""Pairs of output and loss that are one mathematics."""


def same_form(formula: Formula, other: Formula) -> Formula:
    """The formula with output and loss in the form of another, where both forms are one loss."""
    for forms in FORMS.values():
        mine, theirs = ((it.activations[-1], it.loss) for it in (formula, other))
        if mine in forms and theirs in forms:
            last, loss = theirs
            return replace(formula, activations=(*formula.activations[:-1], last), loss=loss)
    return formula


class Reformed:
    """A program's steps with its outputs as another's form has them: probabilities for logits."""

    def __init__(self, shown: Shown, before: str, after: str) -> None:
        self._shown, self._before, self._after, self.steps = shown, before, after, shown.steps

    def __getitem__(self, step: int) -> ShownStep:
        seen = self._shown[step]
        z = seen.logits
        if self._before == "softmax":
            z = np.log(np.maximum(z, 1e-300))
        if self._before == "sigmoid":
            z = np.log(z) - np.log1p(-z)
        if "softmax" in (self._before, self._after) or "log-softmax" in (self._before, self._after):
            z = np.exp(z - z.max(axis=1, keepdims=True))
            return seen._replace(logits=z / z.sum(axis=1, keepdims=True))
        return seen._replace(logits=1 / (1 + np.exp(-z)))


def compared(
    a: Stepped, b: Stepped, batches: list[Batch], causes: bool = True
) -> ProgramDifference:
    """Raises NotComparable where nothing can be said."""
    _check_weights(a, b)
    notes: list[str] = []
    (shown_a, random_a), (shown_b, random_b) = side_by_side(
        lambda it: it.follow(a.weights, batches, dropout=True), (a, b)
    )
    one, other = formula_of(a.description), formula_of(b.description)
    found: tuple[FoundCause, ...] = ()
    if random_a or random_b:
        shown_a, shown_b = _without_dropout(a, b, batches)
        found = _dropout_causes(a, b, random_a, random_b, notes)
    bounds = limits("exact", "float64")
    formed = same_form(one, other)
    plain_a, plain_b = _in_one_form(shown_a, shown_b, one, other, formed, notes)
    last = len(batches)
    place = agreement((plain_a[it] for it in range(1, last + 1)), plain_b, last, bounds)
    table, largest = _table(plain_a, plain_b, last)
    if place.whole and not found:
        return ProgramDifference(
            programs=(a.title, b.title),
            same=True,
            steps=last,
            largest=place.largest,
            notes=tuple(notes),
        )
    result = ProgramDifference(
        programs=(a.title, b.title),
        same=False,
        steps=last,
        largest=largest,
        first=None if place.whole else _first(place),
        explanations=(found,) if found else (),
        notes=tuple(notes),
        divergence=table,
    )
    if place.whole or not causes:
        return result
    if precise := _precision(shown_a, shown_b, place):
        return result.model_copy(update={"explanations": ((*found, precise),)})
    return _explained(result, found, a, b, shown_a, shown_b, batches, bounds)


def _explained(
    result: ProgramDifference,
    found: tuple[FoundCause, ...],
    a: Stepped,
    b: Stepped,
    shown_a: Shown,
    shown_b: Shown,
    batches: list[Batch],
    bounds: Bounds,
) -> ProgramDifference:
    """The comparison with what explains it, or with a note that nothing does."""
    one, other = formula_of(a.description), formula_of(b.description)
    search_a = Search(shown_a, Clues(shown_a.__getitem__, a.weights, a.weights, batches), bounds)
    if not (fitting := search_a.explained([*guesses(a.description), other])):
        note = f"{a.title} itself is no formula of the table, so no cause can be tried"
        return result.model_copy(update={"notes": (*result.notes, note)})
    base: tuple[FoundCause, ...] = ()
    if a.description.optimizer is not None:
        base = tuple(_found(it, one, fitting[0]) for it in search_a.causes(one, fitting[0]))
    evidence = Clues(shown_b.__getitem__, a.weights, b.weights, batches, other)
    search = Search(shown_b, evidence, bounds)
    formed = same_form(fitting[0], other)
    explanations: dict[tuple[str, ...], tuple[FoundCause, ...]] = {}
    agreed = None
    for formula in search.explained([formed, other]):
        needed = search.causes(formed, formula)
        lines = tuple(_found(it, formed, formula) for it in needed)
        explanations.setdefault(tuple(it.name for it in needed), (*found, *lines))
        largest = search.followed(formula).largest
        agreed = largest if agreed is None else min(agreed, largest)
    fewest = min(map(len, explanations.values()), default=0)
    kept = tuple(it for it in explanations.values() if len(it) == fewest)
    notes = result.notes
    if not kept:
        notes = (
            *notes,
            "no alteration of the table, nor any two or three, explains the difference",
        )
        kept = (found,) if found else ()
    return result.model_copy(
        update={"explanations": kept, "agreement": agreed, "base": base, "notes": notes}
    )


def _found(cause: Cause, one: Formula, other: Formula) -> FoundCause:
    return FoundCause(name=cause.name, line=cause.line(one, other), stock=cause.stock)


def _check_weights(a: Stepped, b: Stepped) -> None:
    shapes = [{k: it.shape for k, it in each.weights.items()} for each in (a, b)]
    for name in sorted(shapes[0].keys() ^ shapes[1].keys()):
        has, lacks = (a, b) if name in shapes[0] else (b, a)
        raise NotComparable(f"{has.title} has {name}, {lacks.title} has not")
    for name, shape in shapes[0].items():
        if shapes[1][name] != shape:
            raise NotComparable(
                f"{name} has shape {shape} in {a.title}, {shapes[1][name]} in {b.title}"
            )


def _without_dropout(a: Stepped, b: Stepped, batches: list[Batch]) -> tuple[Shown, Shown]:
    made = []
    for each in (a, b):
        shown, random = each.follow(a.weights, batches, dropout=False)
        if random:
            raise NotComparable(
                f"{each.title} shows something else each time, even without dropout; switch its "
                "random numbers off"
            )
        made.append(shown)
    return made[0], made[1]


def _dropout_causes(
    a: Stepped, b: Stepped, random_a: bool, random_b: bool, notes: list[str]
) -> tuple[FoundCause, ...]:
    rates = [
        [it.options.get("rate") for it in each.description.layers if it.kind == "dropout"]
        for each in (a, b)
    ]
    notes.append("compared with dropout off, because it draws other entries each time")
    if random_a and random_b:
        if rates[0] == rates[1]:
            return ()
        line = f"dropout rates are {rates[1]} (not {rates[0]})"
        return (FoundCause(name="dropout", line=line),)
    on, off = ("on", "off in A") if random_b else ("off", "on in A")
    return (FoundCause(name="dropout", line=f"dropout is {on} ({off})"),)


def _in_one_form(
    shown_a: Shown,
    shown_b: Shown,
    one: Formula,
    other: Formula,
    formed: Formula,
    notes: list[str],
) -> tuple[Shown, Shown]:
    """Both with outputs of one form, where they have two forms of one loss."""
    if formed == one:
        return shown_a, shown_b
    before, after = one.activations[-1], other.activations[-1]
    notes.append(f"{before} with {one.loss} and {after} with {other.loss} are one loss")
    return Reformed(shown_a, before, after), Reformed(shown_b, after, before)


def _first(place: Agreement) -> FirstDifference:
    return FirstDifference(
        step=place.step,
        quantity=QUANTITIES[place.quantity],
        tensor=place.tensor,
        size=place.size if math.isfinite(place.size) else None,
        reason=place.reason,
    )


def _table(one: Shown, other: Shown, last: int) -> tuple[tuple[Divergence, ...], float | None]:
    """The differences at every step, and the largest of all."""
    rows, largest = [], 0.0
    for step in range(1, last + 1):
        found = step_differences(one[step], other[step])
        sizes = {k: it.size if math.isfinite(it.size) else None for k, it in found.items()}
        rows.append(Divergence(step=step, **sizes))
        largest = max(largest, *(it.size for it in found.values()))
    return tuple(rows), largest if math.isfinite(largest) else None


# float64 numbers with so many bits after the leading one, and what has so many.
PRECISIONS = (("float16", 10), ("bfloat16", 7), ("float32", 23))
ROUNDINGS = 64.0


def _precision(shown_a: Shown, shown_b: Shown, place: Agreement) -> FoundCause | None:
    """The lower precision of one of the two, by the bits of its first outputs."""
    if place.step > 1 or place.quantity:
        return None
    bits = [_bits(it[1].logits) for it in (shown_a, shown_b)]
    for name, most in PRECISIONS:
        unit = 2.0**-most
        if bits[1] <= most < bits[0] and place.size < ROUNDINGS * unit:
            return FoundCause(name="precision", line=f"it computes in {name}, not float64")
    if bits[1] <= 23 < bits[0] and place.size < ROUNDINGS * 2.0**-10:
        return FoundCause(
            name="precision", line="matrix products are rounded to about 10 bits (TF32 or float16)"
        )
    return None


def _bits(values: Array) -> int:
    """How many bits after the leading one the most precise of some numbers has."""
    fraction = np.frexp(values[np.isfinite(values) & (values != 0)])[0]
    for most in (7, 10, 23):
        scaled = fraction * 2.0 ** (most + 1)
        if np.array_equal(scaled, np.rint(scaled)):
            return most
    return 52
