"""Faults planted in the adapters of real frameworks: where each is caught, and that it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from harness.cells import LANES
from harness.frameworks import absence, frameworks
from harness.proof.faults import REAL
from harness.proof.faults.fault import Faulty
from harness.proof.faults.real import MODES, planted_in
from harness.proof.selftest import planted, really_faulty, tried, unmodified
from impls.reference.adapter import Adapter
from impls.reference.idiom import Idiom
from tests.sweeps import sweep
from tests.worker.test_checks import failed

TRIED = [
    pytest.param("pytorch", ("epsilon", "lazy", "infer-last"), id="pytorch"),
    pytest.param(
        *("pytorch", ("reset-slots", "synchronize", "rate-later")),
        id="pytorch-more",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        *("tensorflow", ("reset-slots", "count-saturates", "cached-identity")),
        id="tensorflow",
        marks=pytest.mark.slow,
    ),
    pytest.param("keras", ("infer-last",), id="keras", marks=pytest.mark.slow),
]
"""Those that a test can afford; the command tries all."""


class Seams:
    """How to reach inside the reference."""

    def write(self, adapter, state):
        adapter.part("weights", state.weights)
        for slot in adapter._rule.slots:
            prefix = f"{slot}/"
            given = {
                name.removeprefix(prefix): it
                for name, it in state.slots.items()
                if name.startswith(prefix)
            }
            adapter.part(slot, given)

    def set_count(self, adapter, steps):
        adapter._steps = steps


def writable(kind):
    class Writable(kind):
        def part(self, name, values):
            views = self._network.split(self._state[name])
            for tensor, it in values.items():
                views[tensor][...] = it

    return Writable


def around_the_reference(fault):
    """The fault in the reference's adapter, as it is in that of every framework."""
    honest = writable(Idiom if fault.idiomatic else Adapter)

    def build(task, start, options):
        part = fault.part
        options = part.options(replace(options, mode="replay"))
        return part(honest(task, start, options), Seams())

    return build


IN_A_WORKER = [
    it for it in REAL.values() if it.by == "run" and it.check not in ("threads", "usage")
]
ONE_OF_EACH_CHECK = ("count-saturates", "cached-identity", "infer-last", "float16-rows")


@pytest.mark.parametrize(
    "fault",
    sweep(IN_A_WORKER, lambda it: it.name in ONE_OF_EACH_CHECK),
    ids=lambda it: it.name,
)
def test_what_a_run_must_catch_is_caught_in_whatever_adapter(fault):
    lane = "idiomatic" if fault.idiomatic else "identical"
    phases = ("train",) if fault.check == "train" else ("predict",)
    assert fault.check in failed(around_the_reference(fault), lane=lane, phases=phases)


def test_without_a_fault_nothing_is_caught():
    assert not failed(lambda *given: Faulty(Adapter(*given), Seams()))


def test_every_fault_is_a_mode_of_every_framework_that_has_its_lane():
    assert len(REAL) >= 12
    assert {it.by for it in REAL.values()} == {"verify", "run"}
    assert {lane for modes in MODES.values() for lane in modes} == set(LANES)
    with planted():
        for name, modes in MODES.items():
            honest, faulty = frameworks()[name], frameworks()[f"planted_{name}"]
            planted_here = {it.name for it in planted_in(name)}
            assert faulty.modes.keys() | faulty.idioms.keys() == planted_here
            assert planted_here == REAL.keys() or len(modes) == 1
            # The truth of a stock optimizer stays that of the stock optimizer, its backend too.
            for idiom in faulty.idioms.values():
                assert idiom.stock == honest.idioms[modes["idiomatic"]].stock
            assert not any("{mode}" in it for it in faulty.environment.values())
        assert not [it for it in unmodified(1) if it.setup.mode in REAL]
    assert "planted_pytorch" not in frameworks()


def test_each_check_of_a_run_has_a_fault_that_is_always_tried():
    quick = {it.check for it in IN_A_WORKER if it.name in ONE_OF_EACH_CHECK}
    assert quick == {it.check for it in IN_A_WORKER}


@pytest.mark.parametrize(("name", "faults"), TRIED)
def test_the_fault_is_caught_where_the_table_says(name, faults):
    if absence(frameworks()[name]):
        pytest.skip(f"{name} is not installed")
    with planted():
        cases = [it for it in really_faulty() if it.fault and it.fault.name in faults]
        cases = [it for it in cases if it.setup.framework == f"planted_{name}"]
        judgements = list(tried(cases, 1))
    assert Counter(it.outcome for it in judgements) == {"caught": len(faults)}, judgements
    for it in judgements:
        assert it.case.measured == (it.case.fault.by == "run")
