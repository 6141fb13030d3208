"""What became of every cell between two runs, as tables in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.analysis.besides import MemoryChange, QualityChange, QualityChanges
from harness.analysis.between import Change, ChangeTable, Comparison
from harness.analysis.comparable import Basis
from harness.analysis.intervals import Interval
from harness.analysis.quality_pairs import QualityPair
from harness.analysis.shifts import Shift
from harness.analysis.verdicts import LEAST_MARGIN, MOST_MARGIN, percent
from harness.analysis.words import listed, ratio
from harness.report import format as fmt
from harness.report.inert import line
from harness.report.looks import lane_mark
from harness.report.qualities import NINE_IN_TEN, margin_text

_KINDS = {"total_rss": "total peak RSS", "device_allocated": "peak allocated on the device"}

Said = tuple[str, str, str]
"""A name, its verdict, and what more there is to say."""


@dataclass(frozen=True)
class Sheet:
    """One table of a comparison in words; the first column of every row is a name."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lead: str
    notes: tuple[str, ...] = ()


def sheets(comparison: Comparison) -> tuple[Sheet, ...]:
    """Speed, a sheet for each table; then memory; then quality."""
    return (
        *(_speed(it, comparison.basis) for it in comparison.tables),
        *(_memory(it) for it in comparison.tables if it.memory),
        *(_quality(it) for it in comparison.qualities),
    )


def _place(table: ChangeTable | QualityChanges) -> str:
    return f"{line(table.device)}, {fmt.count(table.threads, 'thread')}, {table.dtype}"


def _phase(table: ChangeTable) -> str:
    return f"{line(table.task)} {table.phase}{lane_mark(table.lane)}"


def _speed(table: ChangeTable, basis: Basis) -> Sheet:
    baseline = line(table.baseline)
    title = f"{_phase(table)} ({_place(table)})"
    lead = _lead([_said(it.label, it.shift) for it in table.changes], table.margin)
    notes = tuple(_notes(table))
    if basis == "ratio":
        head = ("framework:mode", "before", "after", "× as fast as before", "verdict")
        rows = tuple(_row(it, basis) for it in table.changes)
        return Sheet(f"{title}, × {baseline}", head, rows, lead, notes)
    ratios = [_said(it.label, it.relative) for it in table.changes if it.relative]
    against = _lead(ratios, table.margin)
    return Sheet(
        title=title,
        head=(
            *("framework:mode", "step before", "step after", "× as fast as before", "verdict"),
            *(f"the same against {baseline}", f"verdict against {baseline}"),
        ),
        rows=tuple(_row(it, basis) for it in table.changes),
        lead=lead,
        notes=(*((f"Against {baseline}: {against}",) if ratios else ()), *notes),
    )


def _row(change: Change, basis: Basis) -> tuple[str, ...]:
    def shown(it: Interval) -> str:
        return fmt.seconds(it.estimate) if basis == "time" else fmt.ratio_interval(it)[0]

    relative = change.relative
    against = (_ratio(relative.speed), relative.verdict) if relative else (fmt.NONE, fmt.NONE)
    return (
        line(change.label),
        shown(change.before),
        shown(change.after),
        _ratio(change.shift.speed),
        change.shift.verdict,
        *(against if basis == "time" else ()),
    )


def _ratio(it: Interval) -> str:
    """With its bounds, in a table."""
    return " ".join(fmt.ratio_interval(it)).strip()


def _said(label: str, shift: Shift) -> Said:
    return label, shift.verdict, f"is {ratio(shift.speed)} as fast as before"


def _lead(found: Sequence[Said], margin: float) -> str:
    """What changed, then what did not, then what is not known."""
    quiet = {
        "equivalent": f"no difference larger than {percent(margin)}",
        "cannot tell": "cannot tell",
        "not ranked": "not ranked",
    }
    said = [f"{line(label)} {words}" for label, verdict, words in found if verdict not in quiet]
    changed = bool(said)
    for verdict, words in quiet.items():
        names = [line(label) for label, it, _ in found if it == verdict]
        if names:
            said.append(f"{words} for {listed(names)}")
    text = f"{'; '.join(said)}."
    # A name keeps its own spelling, a word begins the sentence.
    return text if changed else text[:1].upper() + text[1:]


def _notes(table: ChangeTable) -> Iterator[str]:
    yield from _reasons((line(it.label), it.shift.verdict, it.shift.reason) for it in table.changes)
    for it in table.changes:
        if not it.shift.agrees:
            yield f"{line(it.label)}: Welch’s t does not agree with the exact interval."
    if table.margin > MOST_MARGIN:
        yield (
            f"No equality is claimed: one of the runs could not tell a setup from itself to "
            f"{percent(table.margin)}."
        )


def _memory(table: ChangeTable) -> Sheet:
    found = [(it.label, it.verdict, _amount(it)) for it in table.memory]
    return Sheet(
        title=f"{_phase(table)}, {_KINDS[table.memory[0].kind]} ({_place(table)})",
        head=("framework:mode", "peak before", "peak after", "× as much as before", "verdict"),
        rows=tuple(
            (
                line(it.label),
                fmt.memory(it.before),
                fmt.memory(it.after),
                _ratio(it.times),
                it.verdict,
            )
            for it in table.memory
        ),
        lead=_lead(found, LEAST_MARGIN),
        notes=_reasons((line(it.label), it.verdict, it.reason) for it in table.memory),
    )


def _amount(it: MemoryChange) -> str:
    return f"takes {ratio(it.times)} as much memory as before"


def _reasons(found: Iterable[Said]) -> tuple[str, ...]:
    """Of names and verdicts that have a reason, each reason once."""
    names: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, verdict, reason in found:
        if reason:
            names[verdict, line(reason)].append(name)
    return tuple(
        f"{listed(of_it)}: {verdict}, {reason}." for (verdict, reason), of_it in names.items()
    )


def _quality(table: QualityChanges) -> Sheet:
    metric = table.metric
    return Sheet(
        title=f"{line(table.task)}, final {metric} ({_place(table)})",
        head=("framework:mode", "before", "after", "difference by seed", "verdict"),
        rows=tuple(
            (
                _name(it),
                fmt.quality(it.before, metric),
                fmt.quality(it.after, metric),
                _difference(it.pair),
                it.pair.verdict,
            )
            for it in table.changes
        ),
        lead=_quality_lead(table),
        notes=_reasons((_name(it), it.pair.verdict, it.pair.reason) for it in table.changes),
    )


def _quality_lead(table: QualityChanges) -> str:
    within = margin_text(table.changes[0].pair)
    said = []
    for verdict, words in (
        ("differs", "Another quality than before"),
        ("equivalent", f"As good as before, {NINE_IN_TEN} within {within},"),
        ("cannot tell", f"Cannot tell whether as good as before, {NINE_IN_TEN} within {within},"),
    ):
        names = [_name(it) for it in table.changes if it.pair.verdict == verdict]
        if names:
            said.append(f"{words} for {listed(names)}.")
    return " ".join(said)


def _name(change: QualityChange) -> str:
    return f"{line(change.label)}{lane_mark(change.lane)}"


def _difference(pair: QualityPair) -> str:
    """After less before, e.g. `+0.02 points (−0.01 to +0.05)`, or a share of the error."""
    found = pair.difference
    if found is None:
        return fmt.NONE

    def signed(value: float) -> str:
        return fmt.change(value) if pair.relative else f"{100 * value:+.2f}".replace("-", "−")

    unit = "" if pair.relative else " points"
    text = f"{signed(found.estimate)}{unit}"
    if found.low is not None and found.high is not None:
        return f"{text} ({signed(found.low)} to {signed(found.high)})"
    if found.least is None or found.most is None:
        return text
    return f"{text} (range of {found.n}: {signed(found.least)} to {signed(found.most)})"
