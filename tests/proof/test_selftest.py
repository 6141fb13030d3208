"""The proof, tried: what is wrong is caught by the check made for it, and nothing else is."""

from __future__ import annotations

import os

import pytest

import impls
from harness.cells import DTYPES
from harness.certificates import ENDED, SUPPORTED, Finding
from harness.frameworks import frameworks
from harness.proof import conduct, lockstep
from harness.proof.faults import FAULTS
from harness.proof.faults import fault as tasks
from harness.proof.faults.fault import FAULTS as TABLE
from harness.proof.faults.fault import Planted, altered, fault
from harness.proof.selftest import TASKS, Case, faulty, judge, planted, sampled, tried, unmodified
from harness.proof.whole_training import CHECK
from tests.proof.examining import examined, failed
from tests.sweeps import sweep

TIMING = ("synchronize", "threads")
IN_FLOAT32 = ("adam-epsilon", "tf32", "beta2-rounded", "step-skipped", "threads", "fit-short")
"""Of the faults these are tried in both dtypes here, the others by the command itself."""
CASES = [
    it
    for it in faulty()
    if it.fault and (it.measured or it.setup.dtype == "float64" or it.fault.name in IN_FLOAT32)
]


def named(case: Case) -> str:
    return f"{case.setup.mode}-{case.setup.dtype}"


FIRST = {(it.fault.check, it.fault.by): named(it) for it in reversed(CASES)}.values()
QUICK = {*FIRST, "tf32-float32", "step-skipped-float32"}
"""One fault of every check, one that shows in float32 alone, and one that does not show there."""


@pytest.fixture(scope="module")
def judgements(request):
    """What came of every case that is to be tried, in two provers and a few workers."""
    items = [it for it in request.session.items if it.path == request.path]
    given = [it.callspec.params for it in items if hasattr(it, "callspec")]
    with planted():
        cases = [it["case"] for it in given if "case" in it]
        return {named(it.case): it for it in tried(cases, 2)}


@pytest.mark.parametrize("case", sweep(CASES, lambda it: named(it) in QUICK), ids=named)
def test_the_check_made_for_a_fault_catches_it(judgements, case):
    it = judgements[named(case)]
    unseen = case.fault.unseen and case.setup.dtype == "float32"
    assert it.outcome == ("unseen" if unseen else "caught"), it.failed
    if it.failed:
        assert it.failed[0].check == case.fault.check, "what is told first is not what is wrong"


@pytest.mark.parametrize("seeds", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_what_has_no_fault_passes(seeds):
    with planted():
        cases = [it for it in unmodified(seeds) if it.setup.framework in ("reference", "planted")]
        judgements = list(tried([*cases, sampled()], 2))
    labels = {it.case.setup.label for it in judgements}
    assert {"reference:replay", "reference:eager", "planted:nothing"} <= labels
    assert not [it for it in judgements if it.outcome != "passed"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("task", TASKS, ids=lambda it: it.name)
def test_a_formula_that_is_not_altered_is_the_reference(task, dtype):
    assert not failed(examined(Planted, task, dtype=dtype, steps=10)).keys() - {*TIMING}


def test_every_check_has_a_fault_that_needs_it():
    checks = {"start", *lockstep.QUANTITIES, *conduct.CHECKS, *conduct.IDIOM_CHECKS, *TIMING}
    checks.add(CHECK)
    assert {it.check for it in FAULTS.values()} >= checks | {ENDED}


def findings(*failed: str, passed: tuple[str, ...] = ("start", "loss")) -> list[Finding]:
    wrong = [Finding(check=name, ok=False, detail="so much") for name in failed]
    return [Finding(check=name, ok=True) for name in passed] + wrong


def case_of(name: str, dtype: str = "float64") -> Case:
    return next(it for it in faulty([FAULTS[name]]) if it.setup.dtype == dtype)


def test_a_fault_is_caught_by_its_own_check_alone():
    case = case_of("labels-shifted")
    assert judge(case, findings("logits", "loss")).outcome == "caught"
    assert judge(case, findings("logits")).outcome == "by another"
    assert judge(case, findings()).outcome == "escaped"
    assert [judge(case, findings(*it)).good for it in (("loss",), ("logits",), ())] == [
        True,
        False,
        False,
    ]


def test_only_what_the_table_excuses_may_go_unseen_and_only_in_float32():
    assert judge(case_of("step-skipped", "float32"), findings()).good
    assert not judge(case_of("step-skipped", "float64"), findings()).good
    assert not judge(case_of("labels-shifted", "float32"), findings()).good


def test_a_finding_without_a_fault_is_a_false_alarm():
    case = unmodified(1)[0]
    assert case.fault is None
    assert judge(case, findings()).outcome == "passed"
    alarm = judge(case, findings("weights"))
    assert (alarm.outcome, alarm.good) == ("false alarm", False)
    assert judge(case, findings(SUPPORTED)).good


def test_a_trial_in_which_nothing_was_checked_is_no_result():
    for case in (case_of("labels-shifted"), unmodified(1)[0]):
        with pytest.raises(ValueError, match="nothing was checked"):
            judge(case, [])


def test_planted_faults_are_there_only_while_they_are_asked_for(monkeypatch):
    monkeypatch.setenv("SAMESTEP_IMPLS", "/somewhere")
    before = list(impls.__path__)
    assert "planted" not in frameworks()
    with planted():
        assert os.environ["SAMESTEP_IMPLS"].startswith("/somewhere" + os.pathsep)
        known = frameworks()["planted"]
        assert {*known.modes, *known.idioms} > FAULTS.keys()
    assert list(impls.__path__) == before
    assert os.environ["SAMESTEP_IMPLS"] == "/somewhere"
    assert "planted" not in frameworks()
    with pytest.raises(ArithmeticError), planted():
        raise ArithmeticError
    assert "planted" not in frameworks()


def test_unmodified_takes_every_mode_seed_and_task():
    cases = unmodified(len(TASKS) + 1)
    assert {it.seed for it in cases} == set(range(len(TASKS) + 1))
    assert {it.task.digest for it in cases} == {it.digest for it in TASKS}
    for name, framework in frameworks().items():
        found = {it.setup.mode for it in cases if it.setup.framework == name}
        assert found in ({*framework.modes, *framework.idioms}, set()), name


def test_a_fault_is_added_in_three_lines(monkeypatch):
    monkeypatch.setattr("harness.proof.faults.fault.FAULTS", table := {})
    altered("rate", "twice the rate", "weights", learning_rate=2e-3)

    @fault("idle", "does nothing", "weights", tasks.CANCER)
    class Idle(Planted):
        def train_step(self, batch):
            return self.loss(batch)

    assert table.keys() == {"rate", "idle"}
    assert TABLE is not table
    with pytest.raises(ValueError, match="two faults"):
        fault("idle", "again", "weights")(Idle)
