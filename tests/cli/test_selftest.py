"""The command `selftest`: what it prints, and how it ends."""

from __future__ import annotations

import pytest

from harness.certificates import Finding
from harness.cli import proof
from harness.errors import SelftestFailed
from harness.proof.selftest import judge
from tests.test_cli import harness


def caught(case):
    """The findings of a proof that works: the check made for a fault, and one more."""
    if case.fault is None:
        return [Finding(check="start", ok=True)]
    unseen = bool(case.fault.unseen) and case.setup.dtype == "float32"
    failed = [] if unseen else [case.fault.check, "another"]
    return [Finding(check="start", ok=True), *(Finding(check=it, ok=False) for it in failed)]


def trial(findings):
    """Stands for `tried`: no process, the findings are given; in no order."""
    return lambda cases, provers: (judge(case, findings(case)) for case in reversed(cases))


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")


def test_all_is_well(monkeypatch, capsys):
    monkeypatch.setattr(proof, "tried", trial(caught))
    proof.selftest(1)
    told = capsys.readouterr().out
    for text in (
        "softmax before a loss that takes logits",
        "loss +1",
        "reference:replay",
        "0 false alarms",
        "unseen",
    ):
        assert text in told
    assert "its first skip is the 50th step" in told
    assert "Faults planted in adapters of real frameworks" in told
    assert "run: held-out rows" in told
    assert "ESCAPED" not in told.upper()
    # In the order of the table, whatever came first.
    assert told.index("every 50th step skipped") < told.index("one gradient holds a NaN")


BROKEN = {
    "a check that never fails": (
        lambda case: [it for it in caught(case) if it.ok],
        "escaped: digits-mlp@",
    ),
    "a check that is switched off": (
        lambda case: [it for it in caught(case) if it.ok or it.check != "loss"],
        "only another",
    ),
    "a check that always fails": (
        lambda case: [*caught(case), Finding(check="slots", ok=False, detail="so much")],
        "false alarm: digits-mlp@",
    ),
}


def test_faults_in_adapters_of_real_frameworks_can_be_left_out(monkeypatch, capsys):
    monkeypatch.setattr(proof, "tried", trial(caught))
    proof.selftest(0, real=False)
    assert "adapters of real frameworks" not in capsys.readouterr().out


@pytest.mark.parametrize(("findings", "text"), BROKEN.values(), ids=BROKEN)
def test_a_proof_that_is_broken_is_told(monkeypatch, capsys, findings, text):
    monkeypatch.setattr(proof, "tried", trial(findings))
    with pytest.raises(SelftestFailed, match="not to be trusted") as failure:
        proof.selftest(1)
    assert failure.value.exit_code == 5
    assert text in capsys.readouterr().out


def test_seeds_must_make_sense():
    told = harness("selftest", "--seeds", "-1")
    assert told.returncode == 2
    assert "--seeds" in told.stderr
