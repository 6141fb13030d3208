"""Two programs in lock step from the weights of the first: where they differ, by how much, and why.

Causes are tried. The reference computes program A with one entry of the table of causes changed,
then two, then three. An alteration explains program B if the reference then agrees with all that B
shows at every step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from harness.adapter import Array
from harness.certificates import Divergence
from harness.differences import LIMITS, Difference, compare, finite
from harness.errors import NotComparable
from harness.programs.causes import CAUSES, Cause, Clues
from harness.programs.process import OpenProgram, side_by_side
from harness.programs.trainings import Trainings, schedule_differences
from harness.proof.formulas import (
    Batch,
    Formula,
    form_of,
    formula_of,
    guesses,
    in_probabilities,
    same_form,
    steps,
)
from harness.proof.lockstep import QUANTITIES, limit_at
from harness.tasks.programs import ShownStep
from harness.tasks.spec import Frozen

BOUNDS = LIMITS["float64"]
MOST_CAUSES = 3
BEAM = 6
"""Alterations that are altered once more: those after which the two go together longest."""
NOISE = 1e-13
"""A tensor that is so small beside the others of its kind is nothing but rounding."""


class NamedCause(Frozen):
    """An alteration of the table, in words; `stock` where B's framework has this formula."""

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
    """`largest` is the largest difference of any tensor at any step. `explanations` are the
    alterations, each a tuple of causes, under which the reference agrees with B to `agreement`;
    these batches do not distinguish them. `base` lists what A computes and its objects do not
    declare, `schedule` how the training loops differ."""

    programs: tuple[str, str]
    same: bool
    steps: int
    largest: float | None
    first: FirstDifference | None = None
    explanations: tuple[tuple[NamedCause, ...], ...] = ()
    agreement: float | None = None
    base: tuple[NamedCause, ...] = ()
    notes: tuple[str, ...] = ()
    divergence: tuple[Divergence, ...] = ()
    schedule: tuple[str, ...] = ()
    trainings: Trainings | None = None


class Agreement(NamedTuple):
    """The first difference of two programs, if any, and the largest one before it."""

    first: FirstDifference | None
    largest: float

    @property
    def progress(self) -> tuple[float, ...]:
        """Larger is better. A difference that is ten times smaller is progress too."""
        if (first := self.first) is None:
            return (math.inf,)
        size = 1e300 if first.size is None else min(max(first.size, 1e-300), 1e300)
        return (first.step, QUANTITIES.index(first.quantity), -round(math.log10(size)))


def step_differences(seen: ShownStep, true: ShownStep) -> Iterator[tuple[str, Difference]]:
    """By quantity, in their order; of gradients, slots and weights those that both show."""
    yield "logits", compare({"outputs": seen.logits}, {"outputs": true.logits}, None)
    loss, true_loss = np.asarray(seen.loss), np.asarray(true.loss)
    yield "loss", compare({"loss": loss}, {"loss": true_loss}, None)
    for quantity in QUANTITIES[2:]:
        mine, theirs = getattr(seen, quantity), getattr(true, quantity)
        if names := [it for it in theirs if it in mine]:
            pair = _without_noise({k: mine[k] for k in names}, {k: theirs[k] for k in names})
            yield quantity, compare(*pair, None)


def _without_noise(
    mine: dict[str, Array], theirs: dict[str, Array]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Both with zeros for what is only rounding: the gradient of a bias before a batch
    normalisation, say, whose true value is zero."""
    sizes = {k: max(np.abs(it).max(initial=0.0) for it in (mine[k], theirs[k])) for k in mine}
    largest: dict[str, float] = {}
    for name, size in sizes.items():
        largest[_slot(name)] = max(size, largest.get(_slot(name), 0.0))
    for name, size in sizes.items():
        power = 2 if "second" in _slot(name) or "square" in _slot(name) else 1
        if size <= largest[_slot(name)] * NOISE**power:
            mine[name], theirs[name] = 0 * mine[name], 0 * theirs[name]
    return mine, theirs


def _slot(name: str) -> str:
    """The slot that a tensor belongs to; empty for a gradient or weight."""
    return name.rpartition("/")[0]


def agreement(differences: Iterable[Iterable[tuple[str, Difference]]]) -> Agreement:
    """From the differences at each step, as far as they are needed."""
    largest = 0.0
    for step, by_quantity in enumerate(differences, start=1):
        for quantity, difference in by_quantity:
            if not difference.size <= limit_at((step, quantity), BOUNDS):
                first = FirstDifference(
                    step=step,
                    quantity=quantity,
                    tensor=difference.tensor,
                    size=finite(difference.size),
                    reason=difference.reason,
                )
                return Agreement(first, largest)
            largest = max(largest, difference.size)
    return Agreement(None, largest)


NO_AGREEMENT = Agreement(
    FirstDifference(step=0, quantity=QUANTITIES[0], tensor="", size=None), math.inf
)
NOT_COMPUTABLE = (ValueError, KeyError, IndexError, OverflowError, ZeroDivisionError)
"""The errors of the reference for an alteration that does not fit the program."""


@dataclass
class Search:
    """A search for formulas that compute what one program showed."""

    clues: Clues

    def _made(self, formula: Formula) -> Iterator[ShownStep]:
        return steps(formula, self.clues.loaded, self.clues.initial, self.clues.batches)

    def followed(self, formula: Formula) -> Agreement:
        pairs = zip(self.clues.shown, self._made(formula), strict=False)
        try:
            with np.errstate(all="ignore"):
                return agreement(step_differences(made, seen) for seen, made in pairs)
        except NOT_COMPUTABLE:
            return NO_AGREEMENT

    def explained(self, starts: Sequence[Formula]) -> list[Formula]:
        """The formulas with the fewest alterations that agree over all steps; none: no such."""
        seen = set(starts)
        better = [(self.followed(it), it) for it in dict.fromkeys(starts)]
        if whole := [it for at, it in better if at.first is None]:
            return whole
        for _ in range(MOST_CAUSES):
            frontier = sorted(better, key=lambda it: it[0].progress, reverse=True)[:BEAM]
            better = []
            for at, formula in frontier:
                for variant in self._variants(formula, seen):
                    then = self.followed(variant)
                    if then.first is None:
                        whole.append(variant)
                    elif then.progress > at.progress:
                        better.append((then, variant))
            if whole:
                return whole
        return []

    def _variants(self, formula: Formula, seen: set[Formula]) -> Iterator[Formula]:
        try:
            with np.errstate(all="ignore"):
                first = next(self._made(formula))
        except NOT_COMPUTABLE:
            first = self.clues.shown[0]
        for cause in CAUSES:
            for variant in cause.tried(formula, first, self.clues):
                if variant not in seen:
                    seen.add(variant)
                    yield variant

    def causes(self, base: Formula, formula: Formula) -> tuple[NamedCause, ...]:
        """The causes by which two formulas differ and without which the second does not agree.
        The one that shows first comes first, the formulas of a framework last."""
        needed: list[tuple[tuple[float, ...], Cause]] = []
        for cause in sorted(CAUSES, key=lambda it: not it.stock):
            if cause.differs(base, formula):
                without = cause.put(formula, base)
                then = self.followed(without)
                if then.first is None:
                    formula = without
                else:
                    needed.append((then.progress, cause))
        declared = self.clues.declared or base
        causes = [
            NamedCause(
                name=cause.name,
                line=cause.line(base, formula),
                stock=cause.stock and not cause.differs(declared, formula),
            )
            for _, cause in sorted(needed, key=lambda it: it[0])
        ]
        return tuple(sorted(causes, key=lambda it: it.stock))


def compared(a: OpenProgram, b: OpenProgram, batches: list[Batch]) -> ProgramDifference:
    """Raises NotComparable where nothing can be said."""
    _check_weights(a, b)
    (shown_a, random_a), (shown_b, random_b) = side_by_side(
        lambda it: it.follow(a.weights, batches), (a, b)
    )
    notes: list[str] = []
    dropout: tuple[NamedCause, ...] = ()
    if random_a or random_b:
        shown_a, shown_b = (_without_dropout(it, a, batches) for it in (a, b))
        notes.append("compared with dropout off, because it draws other entries each time")
        dropout = _dropout_cause(a, b, random_a, random_b)
    one, other = formula_of(a.description), formula_of(b.description)
    sides = list(zip(shown_a, shown_b, strict=True))
    if same_form(one, other) != one:
        notes.append(
            f"{one.output} with {one.loss} and {other.output} with {other.loss} are one loss"
            + ("" if form_of(one) == form_of(other) else ", as long as nothing is clipped")
        )
        sides = [(in_probabilities(x, one), in_probabilities(y, other)) for x, y in sides]
    differences = [dict(step_differences(x, y)) for x, y in sides]
    first = agreement(it.items() for it in differences).first
    same = first is None and not dropout
    result = ProgramDifference(
        programs=(a.title, b.title),
        same=same,
        steps=len(batches),
        largest=finite(max(it.size for each in differences for it in each.values())),
        first=first,
        explanations=(dropout,) if dropout else (),
        notes=tuple(notes),
        divergence=() if same else tuple(_row(*it) for it in enumerate(differences, start=1)),
        schedule=schedule_differences(a.description, b.description),
    )
    if first is None:
        return result
    if precision := _precision(shown_a[0].logits, shown_b[0].logits, first):
        return result.model_copy(update={"explanations": ((*dropout, precision),)})
    of_a = Search(Clues(shown_a, a.weights, a.weights, batches))
    declared = None if b.description.optimizer is None else other
    of_b = Search(Clues(shown_b, a.weights, b.weights, batches, declared))
    starts = of_a.explained([*guesses(a.description), other])
    if not starts:
        note = f"{a.title} itself is no formula of the table, so no cause can be tried"
        return result.model_copy(update={"notes": (*notes, note)})
    if a.description.optimizer is not None:
        result = result.model_copy(update={"base": of_a.causes(one, starts[0])})
    return _explained(result, of_b, same_form(starts[0], other), other)


def _explained(
    result: ProgramDifference, of_b: Search, start: Formula, declared: Formula
) -> ProgramDifference:
    """The comparison with what explains it, or with a note that nothing does. `start` is what A
    computes, and `declared` what the objects of B say."""
    formulas = of_b.explained([start, declared])
    if not formulas:
        note = "no alteration of the table, nor any two or three, explains the difference"
        return result.model_copy(update={"notes": (*result.notes, note)})
    dropout = result.explanations[0] if result.explanations else ()
    explanations: dict[tuple[str, ...], tuple[NamedCause, ...]] = {}
    for formula in formulas:
        causes = of_b.causes(start, formula)
        explanations.setdefault(tuple(it.name for it in causes), (*dropout, *causes))
    fewest = min(map(len, explanations))
    return result.model_copy(
        update={
            "explanations": tuple(it for k, it in explanations.items() if len(k) == fewest),
            "agreement": min(of_b.followed(it).largest for it in formulas),
        }
    )


def _check_weights(a: OpenProgram, b: OpenProgram) -> None:
    shapes_a, shapes_b = ({k: it.shape for k, it in each.weights.items()} for each in (a, b))
    for name in sorted(shapes_a.keys() ^ shapes_b.keys()):
        has, lacks = (a, b) if name in shapes_a else (b, a)
        raise NotComparable(f"{has.title} has {name}, {lacks.title} has not")
    for name, shape in shapes_a.items():
        if shapes_b[name] != shape:
            raise NotComparable(
                f"{name} has shape {shape} in {a.title}, {shapes_b[name]} in {b.title}"
            )


def _without_dropout(program: OpenProgram, a: OpenProgram, batches: list[Batch]) -> list[ShownStep]:
    shown, random = program.follow(a.weights, batches, dropout=False)
    if random:
        raise NotComparable(
            f"{program.title} shows something else each time, even without dropout; switch its "
            "random numbers off"
        )
    return shown


def _dropout_cause(
    a: OpenProgram, b: OpenProgram, random_a: bool, random_b: bool
) -> tuple[NamedCause, ...]:
    rates_a, rates_b = (
        [it.options.get("rate") for it in each.description.layers if it.kind == "dropout"]
        for each in (a, b)
    )
    if not random_a:
        line = "dropout is on (off in A)"
    elif not random_b:
        line = "dropout is off (on in A)"
    elif rates_a != rates_b:
        line = f"dropout rates are {rates_b} (not {rates_a})"
    else:
        return ()
    return (NamedCause(name="dropout", line=line),)


def _row(step: int, differences: dict[str, Difference]) -> Divergence:
    return Divergence(step=step, **{k: finite(it.size) for k, it in differences.items()})


PRECISIONS = {"float16": 10, "bfloat16": 7, "float32": 23}
"""How many bits after the leading one a number of this type has."""
ROUNDINGS = 64.0


def _precision(a: Array, b: Array, first: FirstDifference) -> NamedCause | None:
    """The lower precision of B, by the bits of its first outputs."""
    if (first.step, first.quantity) != (1, "logits") or first.size is None:
        return None
    bits_a, bits_b = _bits(a), _bits(b)
    for name, bits in PRECISIONS.items():
        if bits_b <= bits < bits_a and first.size < ROUNDINGS * 2.0**-bits:
            return NamedCause(name="precision", line=f"it computes in {name}, not float64")
    if bits_b <= 23 < bits_a and first.size < ROUNDINGS * 2.0**-10:
        line = "matrix products are rounded to about 10 bits (TF32 or float16)"
        return NamedCause(name="precision", line=line)
    return None


def _bits(values: Array) -> int:
    """How many bits after the leading one the most precise of some numbers has."""
    fraction = np.frexp(values[np.isfinite(values) & (values != 0)])[0]
    for bits in sorted(PRECISIONS.values()):
        scaled = fraction * 2.0 ** (bits + 1)
        if np.array_equal(scaled, np.rint(scaled)):
            return bits
    return 52
