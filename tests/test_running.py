"""What the commands hand on to the rooms below."""

from __future__ import annotations

import sys

import pytest
from rich.console import Console
from typer.testing import CliRunner

from harness import running, verifying
from harness.cli import app
from harness.runs import runner
from harness.runs.config import resolve
from harness.runs.plan import make_plan
from tests.builders import make_certificate


def test_no_block_is_made_for_the_sake_of_what_is_not_proven(tmp_path, monkeypatch):
    handed = {}

    class Runner:
        def __init__(self, plan, name, store, engine, data, display, unranked, ending, quiet):
            handed["unranked"] = unranked
            handed["forks"] = engine._stems is not None

        def run(self, done):
            return "all blocks done"

    def prove_first(plan, store, data, logs, caches, console, *, fresh):
        made = [
            make_certificate(setup, None if setup.mode == "replay" else "too far")
            for _, setup in verifying.setups_of(plan)
            if not setup.twin
        ]
        for it in made:
            store.add_certificate(it)
        return made

    monkeypatch.setattr(runner, "Runner", Runner)
    monkeypatch.setattr(verifying, "prove_first", prove_first)
    flags = {"tasks": ("diabetes-regression",), "frameworks": ("reference:*",), "precision": "2%"}
    plan = make_plan(resolve(None, flags))
    run = running._measure(plan, tmp_path, "quiet", Console(quiet=True), None)
    assert handed["forks"] is (sys.platform == "linux")
    assert {it.label for it in handed["unranked"]} == {"reference:eager"}
    assert {it.setup.label: it.proven for it in run.certificates} == {
        "reference:eager": False,
        "reference:replay": True,
    }


@pytest.mark.parametrize(
    ("words", "fork", "wait"),
    [((), True, 60.0), (("--no-fork",), False, 60.0), (("--no-wait",), True, 0.0)],
)
def test_forking_and_waiting_can_be_switched_off(monkeypatch, words, fork, wait):
    chosen = []
    monkeypatch.setattr(running, "run", lambda flags, *_, **__: chosen.append(resolve(None, flags)))
    assert CliRunner().invoke(app, ["run", *words]).exit_code == 0
    assert [(it.fork, it.wait) for it in chosen] == [(fork, wait)]
