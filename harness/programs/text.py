"""A comparison in lines of text."""

from __future__ import annotations

from collections.abc import Iterator

from harness.programs.comparison import NamedCause, ProgramDifference
from harness.programs.trainings import Trainings
from harness.proof.lockstep import QUANTITIES
from harness.tasks.metrics import METRICS

ROWS = 8
"""Of the table of differences, at the most."""
MOST_EXPLANATIONS = 5


def comparison_text(result: ProgramDifference) -> Iterator[str]:
    """The lines that are printed."""
    a, b = result.programs
    yield f"A is {a}, B is {b}; both begin with A's weights and see the same batches."
    yield from (f"Note: {it}." for it in result.notes)
    yield from (f"A is not what its objects say: {it.line}." for it in result.base)
    if result.same:
        how = f"The same to {_size(result.largest)}" if result.largest else "Exactly the same"
        yield f"{how} over {result.steps} steps."
    else:
        yield from _difference(result)
    yield from (f"The training loops differ: {it}." for it in result.schedule)
    if result.trainings is not None:
        yield from _trainings(result.trainings)


def _difference(result: ProgramDifference) -> Iterator[str]:
    if (first := result.first) is not None:
        how = first.reason or f"by {_size(first.size)} of its largest entry"
        tensor = "" if first.tensor in ("outputs", "loss") else f" of {first.tensor}"
        yield f"They differ: first at step {first.step}, in the {first.quantity}{tensor}, {how}."
    explanations = result.explanations[:MOST_EXPLANATIONS]
    for index, causes in enumerate(explanations):
        begin = "Likely cause: B differs from A in that" if not index else "Or:"
        yield f"{begin} {_joined(causes)}."
    if len(result.explanations) > 1:
        yield "These cannot be told apart on these batches."
    if result.agreement is not None:
        yield f"With that, the reference computes B to {_size(result.agreement)} over all steps."
    yield from _table(result)


def _joined(causes: tuple[NamedCause, ...]) -> str:
    return "; and ".join(
        it.line + (" (the framework's own formula)" if it.stock else "") for it in causes
    )


def _table(result: ProgramDifference) -> Iterator[str]:
    yield "step" + "".join(f"{it:>11}" for it in QUANTITIES)
    rows = result.divergence
    shown = rows[: ROWS - 1] + rows[-1:] if len(rows) > ROWS else rows
    for row in shown:
        sizes = (getattr(row, it) for it in QUANTITIES)
        yield f"{row.step:4}" + "".join(f"{_size(it):>11}" for it in sizes)


def _size(size: float | None) -> str:
    return "–" if size is None else f"{size:.1e}" if size else "0"


def _trainings(whole: Trainings) -> Iterator[str]:
    metric, seeds = METRICS[whole.metric], len(whole.values[0])
    a, b = (_mean(it, metric.unit) for it in whole.values)
    yield (
        f"Trained with {seeds} seed{'s' * (seeds > 1)}: {metric.word} {a} after "
        f"{whole.steps[0]:,} steps of A, {b} after {whole.steps[1]:,} of B."
    )
    if whole.differ is None:
        yield "Fewer than six seeds cannot tell whether that is more than seeds make."
    else:
        yield f"That is {'more' if whole.differ else 'no more'} than seeds make."
    if whole.initializer is not None:
        yield f"Each seed began both with new weights, drawn by {whole.initializer} as A's are."
    else:
        yield (
            "With each seed both began with A's weights, the entries of every tensor in another "
            "order: A's initializer is unknown."
        )


def _mean(values: tuple[float | None, ...], unit: str) -> str:
    """The mean of the trainings that did not diverge."""
    kept = [it for it in values if it is not None]
    if not kept:
        return "none (all diverged)"
    mean = sum(kept) / len(kept)
    text = f"{100 * mean:.2f} %" if unit == "percent" else f"{mean:.4g}"
    return text if len(kept) == len(values) else f"{text} ({len(values) - len(kept)} diverged)"
