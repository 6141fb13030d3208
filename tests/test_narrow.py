"""On a narrow terminal tables wrap: nothing that a user must type back is cut."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from harness.certificates import Finding
from harness.cli import machine, proof
from harness.doctor.checks import Checkup
from harness.doctor.checks import Diagnosis as Health
from harness.gate.check import Checked
from harness.gate.judging import Line
from harness.proof.faults import REAL
from harness.proof.selftest import Case, faulty, judge
from harness.report import check
from tests.builders import make_certificate, make_setup, make_task

TASK = make_task("a-task-with-a-long-name[batch_size=32]")
SETUP = make_setup(TASK, "a-framework-of-mine:a-mode-of-mine")


def verified(console):
    certificates = [make_certificate(SETUP), make_certificate(SETUP, "step 1, layer0.weight")]
    console.print(proof._table([(it, False) for it in certificates]))


def selftested(console):
    caught = [judge(it, [Finding(check=it.fault.check, ok=False)]) for it in faulty()]
    console.print(proof._faults(caught))
    in_adapters = [Case(TASK, SETUP, 0, it, it.by == "run") for it in REAL.values()]
    caught = [judge(it, [Finding(check=it.fault.check, ok=False)]) for it in in_adapters]
    console.print(proof._faults(caught, real=True))
    console.print(proof._others([judge(Case(TASK, SETUP), [Finding(check="x", ok=True)])]))


def listed(console):
    console.print(machine.grid("Tasks", [(TASK.name, f"{SETUP.label}: so that it has no room")]))


def diagnosed(console):
    found = Health(name="a-long-name", level="warning", found="x" * 50, advice=f"run {'y' * 50}")
    machine.show_checkup(Checkup(findings=(found,), untold=()), console)


def checked(console):
    line = Line(setup=SETUP, phase=None, what="gradients of layer12.weight", outcome="regression")
    content = dict.fromkeys(("baseline", "revision", "against"))
    check.render(
        Checked(
            **content,
            made="now",
            machine={},
            speed="none",
            note="",
            lines=(line,),
            outcome="regression",
            exit_code=7,
        ),
        console,
    )


@pytest.mark.parametrize("show", [verified, selftested, listed, diagnosed, checked])
def test_nothing_is_cut(show):
    for width in (40, 60, 80):
        console = Console(file=io.StringIO(), width=width)
        show(console)
        told = console.file.getvalue()
        assert "…" not in told
        assert max(map(len, told.splitlines())) <= width
