"""The figure of the proof: how far each setup goes from the reference, step by step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.certificates import Certificate
from harness.report.chart import Chart, Curve, Curves, Key
from harness.report.inert import line
from harness.report.looks import label, lane_mark, look, place, scope
from harness.report.sameness import grouped, largest

FLOOR = 1e-17
"""Stands for no difference at all: a log axis has no zero, and float64 nothing this small."""
LEAST_STEPS = 2


def divergence_chart(certificates: Iterable[Certificate]) -> Chart | None:
    """One panel an arena and lane; None where nothing was compared over steps."""
    groups = [_stepped(group) for group in grouped(certificates)]
    panels = [_panel(group) for group in groups if group]
    if not panels:
        return None
    setups = {label(it.setup): look(it.setup) for group in groups for it in group}
    rows = [panels[n : n + 2] for n in range(0, len(panels), 2)]
    return Chart(
        name="divergence",
        section="sameness",
        title="Largest relative difference from the float64 reference, step by step",
        alt="Curves over training steps, on a log axis, of the largest relative difference of any "
        "loss, output, gradient, weight or slot from the reference; the tables of this section "
        "hold the largest of each kind.",
        panels=tuple((*row, *[None] * (min(len(panels), 2) - len(row))) for row in rows),
        legend=tuple(Key(name, setups[name], line=True) for name in sorted(setups)),
    )


def _stepped(group: Sequence[Certificate]) -> list[Certificate]:
    return [it for it in group if len(_points(it)) >= LEAST_STEPS]


def _panel(group: Sequence[Certificate]) -> Curves:
    setup = group[0].setup
    return Curves(
        title=f"{line(setup.task)}{lane_mark(setup.lane)} · {place(setup)}",
        axis="step",
        unit="step",
        up="relative difference",
        up_unit="relative difference",
        curves=tuple(Curve(look(it.setup), _points(it), name=label(it.setup)) for it in group),
        log=True,
        scope=scope(setup),
    )


def _points(certificate: Certificate) -> tuple[tuple[float, float], ...]:
    found = ((it.step, largest(it)) for it in certificate.divergence)
    return tuple((float(step), max(value, FLOOR)) for step, value in found if value is not None)
