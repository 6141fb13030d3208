"""What the proof showed: certificates and effective settings as sections, divergence as curves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.analysis.summary import Summary
from harness.analysis.words import listed
from harness.certificates import Certificate, Divergence
from harness.records import Run
from harness.report import format as fmt
from harness.report import values
from harness.report.content import Column, Grid, Section, Value
from harness.report.inert import line
from harness.report.looks import label, lane_mark, place, scope

KINDS = ("logits", "loss", "gradients", "slots", "weights")
"""In the order in which a step computes them."""
NAME = Column("framework:mode", "name")


def sections(run: Run) -> tuple[Section, ...]:
    """One section an arena and lane: every setup's certificate, and what it rests on."""
    return tuple(
        _section(certificates, number)
        for number, certificates in enumerate(grouped(run.certificates), start=1)
    )


def fact(run: Run, summary: Summary) -> str:
    """How many of the setups that were measured are shown to compute the same, in one line."""
    measured = {row.cell.setup: row for table in summary.tables for row in table.rows}
    unproven = sorted(label(setup) for setup, row in measured.items() if row.proof)
    if not measured:
        return "nothing was measured"
    if not unproven:
        return f"{fmt.count(len(measured), 'setup')} proven against the float64 reference"
    return f"not proven, so not ranked: {listed(unproven)}"


def grouped(certificates: Iterable[Certificate]) -> list[list[Certificate]]:
    """Certificates whose setups may be ranked against each other, together."""
    groups: dict[tuple[object, ...], list[Certificate]] = {}
    for it in sorted(certificates, key=lambda it: it.setup.label):
        groups.setdefault(it.setup.ranking, []).append(it)
    return list(groups.values())


def worst(divergence: Iterable[Divergence], kind: str) -> float | None:
    """The largest difference of one kind over all steps; None where it was never compared."""
    found = [value for it in divergence if (value := getattr(it, kind)) is not None]
    return max(found, default=None)


def largest(step: Divergence) -> float | None:
    """The largest difference of any kind at one step."""
    found = [value for kind in KINDS if (value := getattr(step, kind)) is not None]
    return max(found, default=None)


def difference(value: float | None) -> str:
    """A relative difference, e.g. `3.1e-16`; exactly none is `0`."""
    if value is None:
        return fmt.NONE
    return f"{value:.1e}" if value else "0"


def _section(certificates: Sequence[Certificate], number: int) -> Section:
    setup = certificates[0].setup
    columns = (
        NAME,
        Column("outcome", "text"),
        Column("steps"),
        Column("rows"),
        *(Column(kind) for kind in KINDS),
        Column("tolerance", "text"),
        Column("training", "text"),
    )
    failed = [it for it in certificates if not it.proven]
    return Section(
        anchor=f"sameness-{number}",
        task=line(setup.task),
        phase=f"proof{lane_mark(setup.lane)}",
        place=place(setup),
        lead=sentence(certificates),
        grid=Grid(columns, tuple(_row(it) for it in certificates)),
        notes=tuple(f"{label(it.setup)}: {line(it.why)}." for it in failed),
        scope=scope(setup),
    )


def _row(certificate: Certificate) -> tuple[Value, ...]:
    return (
        Value(label(certificate.setup)),
        Value("proven" if certificate.proven else "not proven"),
        values.count(certificate.steps),
        values.count(certificate.rows),
        *(_difference(worst(certificate.divergence, kind)) for kind in KINDS),
        Value(certificate.tolerance),
        _training(certificate),
    )


def _training(certificate: Certificate) -> Value:
    """How many steps of a whole training in float64 were compared."""
    proof = certificate.whole
    return Value(f"{proof.steps:,} of {proof.planned:,}" if proof else fmt.NONE)


def _difference(value: float | None) -> Value:
    return Value(difference(value), raw=value)


def sentence(certificates: Sequence[Certificate]) -> str:
    """Who is proven, and how far from the reference the farthest of them went."""
    proven = [it for it in certificates if it.proven]
    if not proven:
        return "None of these is shown to compute the same thing, so none is ranked."
    far = [value for it in proven for step in it.divergence if (value := largest(step)) is not None]
    over = fmt.span(min(it.steps for it in proven), max(it.steps for it in proven), "step")
    bound = ""
    if far:
        bound = f", and no tensor of theirs left the reference by more than {difference(max(far))}"
    long = [it.whole.steps for it in proven if it.whole]
    if long:
        bound += f"; trainings in float64 over {fmt.span(min(long), max(long), 'step')}"
    who = "All" if len(proven) == len(certificates) else f"{len(proven)} of {len(certificates)}"
    return f"{who} are proven over {over}{bound}."
