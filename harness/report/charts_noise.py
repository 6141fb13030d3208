"""The drift of a run: each ratio's way from block to block, around its own median."""

from __future__ import annotations

import math
from dataclasses import replace

from harness.analysis.noise import ArenaNoise, Strip
from harness.analysis.summary import Summary
from harness.cells import Setup
from harness.report import format as fmt
from harness.report.chart import Chart, Curve, Curves, Key, side_by_side
from harness.report.noise_sections import strips
from harness.report.safe_text import line
from harness.report.style import Look, Places, Scope, lane_mark, look

MANY = 1500
"""Points of a run that say their value; where there are more, none does but in the tables."""
AGAIN = (1.5, 1.5)
"""The dashes of a setup against itself."""


def drift(summary: Summary, _: Places) -> Chart:
    """One panel for every arena, lane and phase; a point a block, in their order."""
    rows = [strips(noise) for noise in summary.noise]
    looks = {
        line(it.label): _look(noise, it)
        for noise, own in zip(summary.noise, rows, strict=True)
        for panel in own
        for it in panel
    }
    points = sum(len(it.points) for own in rows for panel in own for it in panel)
    panels = [
        [_panel(noise, it, told=points <= MANY) for it in own]
        for noise, own in zip(summary.noise, rows, strict=True)
    ]
    return Chart(
        name="drift",
        section="noise",
        title="Drift: every ratio block by block, against its own median",
        alt="Lines over blocks in their order of how far the ratio of each setup to its baseline, "
        "and of a setup to itself, lay from its median over blocks; the tables of this section "
        "hold the same numbers.",
        panels=side_by_side([it for it in panels if it]),
        legend=tuple(Key(name, it, line=True) for name, it in sorted(looks.items())),
    )


def _panel(noise: ArenaNoise, own: list[Strip], *, told: bool) -> Curves:
    first = own[0]
    threads = fmt.count(noise.threads, "thread")
    where = f"{noise.device}, {threads}, {noise.dtype}"
    return Curves(
        title=f"{line(noise.task)} · {first.phase}{lane_mark(first.lane)} · {where}",
        axis="block",
        unit="block",
        up="drift",
        up_unit="change",
        curves=tuple(
            Curve(
                _look(noise, it),
                _points(it),
                name=f"{line(it.label)} ÷ {line(it.baseline)}",
                told=() if told else ((),) * len(it.points),
            )
            for it in own
        ),
        target=0.0,
        target_name="",
        thin=True,
        flat=True,
        scope=Scope(line(noise.task), noise.device, first.lane),
    )


def _points(strip: Strip) -> tuple[tuple[float, float], ...]:
    return tuple((float(block), math.expm1(log)) for block, log in strip.points)


def _look(noise: ArenaNoise, strip: Strip) -> Look:
    """That of its setup; a setup against itself is dotted."""
    name, _, again = strip.label.partition(" ")
    framework, _, mode = name.partition(":")
    own = look(
        Setup(
            task=noise.task,
            digest=noise.digest,
            framework=framework,
            mode=mode,
            lane=strip.lane,
        )
    )
    return replace(own, dashes=AGAIN) if again else own
