"""What the proof showed, and how good the models became: certificates and trainings as sections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from harness.analysis.quality import QualityPair, QualityRow, QualityTable
from harness.analysis.sentences import bracket, listed
from harness.analysis.stats import Interval, too_wide
from harness.analysis.summary import Summary
from harness.certificates import Certificate, Divergence
from harness.records import Run
from harness.report import format as fmt
from harness.report.columns import Column, Section, grid, grouped, section
from harness.report.format import Value
from harness.report.safe_text import line
from harness.report.style import Places, label
from harness.tasks.metrics import METRICS

KINDS = ("logits", "loss", "gradients", "slots", "weights")
"""In the order in which a step computes them."""


def _largest(kind: str) -> Column[Certificate]:
    return Column(kind, lambda it: largest(it.divergence, [kind]), "relative difference")


PROOF: tuple[Column[Certificate], ...] = (
    Column("framework:mode", lambda it: it.setup.label, "name"),
    Column("outcome", lambda it: "proven" if it.proven else "not proven", "text"),
    Column("steps", lambda it: it.steps, "count"),
    Column("rows", lambda it: it.rows, "count"),
    *map(_largest, KINDS),
    Column("tolerance", lambda it: it.tolerance, "text"),
    Column(
        "training",
        lambda it: f"{it.whole.steps:,} of {it.whole.planned:,}" if it.whole else None,
        "text",
        note="Steps of a whole training in float64 that were compared.",
    ),
)


def sections(run: Run) -> tuple[Section, ...]:
    """One section a group and lane: every setup's certificate, and what it rests on."""
    return tuple(
        section(
            f"sameness-{number}",
            certificates[0].setup,
            "proof",
            grid(PROOF, certificates),
            [f"{label(it.setup)}: {line(it.why)}." for it in certificates if not it.proven],
            lead=sentence(certificates),
        )
        for number, certificates in enumerate(by_ranking(run.certificates), start=1)
    )


def fact(summary: Summary) -> str:
    """How many of the setups that were measured are shown to compute the same, in one line."""
    measured = {row.cell.setup: row for table in summary.tables for row in table.rows}
    unproven = sorted(label(setup) for setup, row in measured.items() if row.proof)
    if not measured:
        return "nothing was measured"
    if not unproven:
        return f"{fmt.count(len(measured), 'setup')} proven against the float64 reference"
    return f"not proven, so not ranked: {listed(unproven)}"


def by_ranking(certificates: Iterable[Certificate]) -> list[list[Certificate]]:
    """Certificates whose setups may be ranked against each other, together."""
    return grouped(sorted(certificates, key=lambda it: it.setup.label), lambda it: it.setup.ranking)


def largest(steps: Iterable[Divergence], kinds: Sequence[str] = KINDS) -> float | None:
    """The largest difference of some kinds at some steps; None where none was compared."""
    values = (getattr(step, kind) for step in steps for kind in kinds)
    return max((it for it in values if it is not None), default=None)


def sentence(certificates: Sequence[Certificate]) -> str:
    """Which setups are proven, and the largest difference of these from the reference."""
    proven = [it for it in certificates if it.proven]
    if not proven:
        return "None of these is shown to compute the same thing, so none is ranked."
    many = "All" if len(proven) == len(certificates) else f"{len(proven)} of {len(certificates)}"
    text = f"{many} are proven over {_span([it.steps for it in proven])}"
    farthest = largest(step for it in proven for step in it.divergence)
    if farthest is not None:
        text += ", and no tensor of theirs left the reference by more than "
        text += fmt.text(farthest, "relative difference")
    if long := [it.whole.steps for it in proven if it.whole]:
        text += f"; trainings in float64 over {_span(long)}"
    return f"{text}."


def _span(steps: Sequence[int]) -> str:
    return fmt.span(min(steps), max(steps), "step")


NINE_IN_TEN = "9 in 10 trainings"
"""What equal quality means."""


def quality(table: QualityTable, number: int, places: Places) -> Section:
    """The final value of every seed, and the time to the target."""
    metric, setup = table.task.metric, table.rows[0].setup
    diverged = (
        f"{label(it.setup)}: the training of seed {', '.join(map(str, it.diverged))} diverged."
        for it in table.rows
        if it.diverged
    )
    return section(
        f"quality-{number}",
        setup,
        METRICS[metric].word,
        grid(_quality_columns(table), table.rows),
        [_target_note(table), *(_pair_note(it, metric) for it in table.pairs), *diverged],
        lead=spread_sentence(table),
        where=places.differing(table),
    )


def _quality_columns(table: QualityTable) -> Iterator[Column[QualityRow]]:
    metric = table.task.metric

    def final(seed: int) -> Column[QualityRow]:
        def get(row: QualityRow) -> Value:
            """The value that a seed ends with; of several trainings of it all."""
            finals = [it.final for it in row.trainings if it.quality.seed == seed]
            text = ", ".join(fmt.quality(it, metric) for it in finals)
            return Value(text or fmt.NONE, raw=finals[0] if finals else None)

        return Column(f"seed {seed}", get)

    def median(row: QualityRow) -> Value:
        bounds = _bounds(row.final_interval, metric)
        return Value(fmt.quality(row.final, metric), bounds, raw=row.final)

    def reached(row: QualityRow) -> Value:
        return Value(f"{row.reached} of {len(row.trainings)}", raw=row.reached)

    def to_target(row: QualityRow) -> Value:
        return Value(time_to_target(row), _to_target_bounds(row), raw=row.seconds_to_target)

    yield Column("framework:mode", lambda it: it.setup.label, "name")
    yield from map(final, table.seeds)
    yield Column("median", median)
    if table.task.target is not None:
        yield Column("time to target", to_target)
        yield Column("reached", reached)
    yield Column("time of training", lambda it: it.seconds, "seconds")


def time_to_target(row: QualityRow) -> str:
    """The median time to the target, or that it was not reached."""
    return "not reached" if row.seconds_to_target is None else fmt.seconds(row.seconds_to_target)


def _to_target_bounds(row: QualityRow) -> str:
    """Its interval or range, in brackets; one that includes “not reached” has no end."""
    time = row.to_target
    if time is None:
        return ""
    low, high = (time.least, time.most) if time.method == "none" else (time.low, time.high)
    if low is None:
        return ""
    ends = f"{fmt.seconds(low)}–{fmt.seconds(high) if high else '∞'}"
    if time.method == "none":
        return f"(range of {time.n}: {ends})"
    return fmt.NOT_KNOWN if high is not None and too_wide(low, high) else f"({ends})"


def _bounds(interval: Interval, metric: str) -> str:
    low, high = interval.low, interval.high
    if low is None:
        low, high = interval.least, interval.most
    if low is None or high is None:
        return ""
    # An end of an older file may lie where no value can.
    low, high = max(0.0, low), min(1.0, high) if METRICS[metric].unit == "percent" else high
    return bracket(interval, fmt.quality(low, metric), fmt.quality(high, metric))


def margin_text(pair: QualityPair, metric: str) -> str:
    """What makes no difference in quality, e.g. `0.50 points`, `5 % of the error`."""
    if pair.relative:
        return f"{fmt.whole_percent(pair.margin)} of the {METRICS[metric].word}"
    return fmt.difference(pair.margin, metric)


def _pair_note(pair: QualityPair, metric: str) -> str:
    """Whether two setups end equally good, over the seeds that they share."""
    within = f"{NINE_IN_TEN} lie within {margin_text(pair, metric)}"
    names = f"{line(pair.label)} and {line(pair.baseline)}"
    seeds = fmt.count(len(pair.seeds), "seed")
    if pair.verdict == "equivalent":
        return f"{names} end equally good over {seeds}: {within}."
    why = f": {line(pair.reason)}" if pair.reason else ""
    if pair.verdict == "differs":
        return f"{names} differ in quality by more than chance over {seeds}{why}."
    return f"{names}: cannot tell whether {within}, over {seeds}{why}."


def spread_sentence(table: QualityTable) -> str:
    """The largest difference of final values at the same seed."""
    metric, spread = table.task.metric, table.spread
    if spread is None:
        if len(table.rows) > 1:
            return "No two setups were trained from the same seed."
        only = label(table.rows[0].setup)
        return f"{only} was trained alone: there is nothing to compare it with."
    noun = METRICS[metric].plural
    if spread.value == 0:
        return f"At the same seed all final {noun} are equal."
    return (
        f"At the same seed the final {noun} lie within {fmt.difference(spread.value, metric)} "
        f"of each other (largest between {' and '.join(map(line, spread.setups))}, "
        f"seed {spread.seed})."
    )


def _target_note(table: QualityTable) -> str:
    name, target = table.task.metric, table.task.target
    metric, epochs = METRICS[name], fmt.count(table.task.epochs, "epoch")
    measured = f"{metric.title.capitalize()} on the test rows after {epochs}."
    if target is None:
        return f"{measured} The task names no target."
    bound = "at least" if metric.higher_is_better else "at most"
    return f"{measured} Target: {bound} {fmt.quality(target, name)}."
