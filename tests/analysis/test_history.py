"""One number over many runs: a series of every cell, and a change of level where there is one."""

from __future__ import annotations

import math
import random

from harness.analysis.changepoints import changes
from harness.analysis.history import METRICS, series
from harness.analysis.summary import summarise_run
from tests.builders import make_record, make_run, make_setup


def test_a_step_is_found_where_it_is():
    rng = random.Random(0)
    values = [math.exp(rng.gauss(0, 0.01)) * (1.1 if it >= 7 else 1) for it in range(16)]
    (change,) = changes(values)
    assert change.place == 7
    assert 1.08 < change.factor < 1.12


def test_two_steps_are_two():
    rng = random.Random(1)
    level = [1.0] * 10 + [1.2] * 10 + [1.0] * 10
    found = changes([it * math.exp(rng.gauss(0, 0.01)) for it in level])
    assert [it.place for it in found] == [10, 20]


def test_noise_is_no_change():
    rng = random.Random(2)
    alarms = sum(
        bool(changes([math.exp(rng.gauss(0, 0.03)) for _ in range(20)])) for _ in range(200)
    )
    assert alarms <= 10


def test_few_points_say_nothing():
    assert changes([1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0]) == ()


def test_a_growth_of_zero_has_no_factor():
    assert changes([0.0] * 8 + [5.0] * 8) == changes([]) == ()


def test_every_cell_has_its_own_series():
    setup, twin = make_setup(), make_setup(twin=True)

    def told(number: int, step: float):
        records = [
            make_record(it, block, {"train": [step, step, step]})
            for block in range(3)
            for it in (setup, twin)
        ]
        return f"run-{number}", f"{number:040}", summarise_run(make_run(records))

    runs = [told(it, 0.001 if it < 6 else 0.0012) for it in range(12)]
    (found,) = series(runs, METRICS["step"])
    assert found.cell.setup == setup
    assert [it.run for it in found.points] == [f"run-{it}" for it in range(12)]
    assert [(it.place, round(it.factor, 3)) for it in found.changes] == [(6, 1.2)]
    assert series(runs, METRICS["peak"]) == []
