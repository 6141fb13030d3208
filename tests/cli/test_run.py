"""What `run` hands on to the layers below."""

from __future__ import annotations

import sys

import pytest
from rich.console import Console

from harness.cli import run as verb
from harness.runs import runner
from harness.runs.config import resolve
from harness.runs.plan import make_plan
from tests.builders import make_certificate


def test_no_block_is_made_for_the_sake_of_what_is_not_proven(tmp_path, monkeypatch):
    handed = {}

    class Runner:
        def __init__(self, plan, name, store, engine, data, display, unranked, ending, quiet):
            handed["unranked"] = unranked
            handed["forks"] = engine._servers is not None

        def run(self, done):
            return "all blocks done"

    def prove_first(plan, store, data, logs, caches, console, *, fresh):
        made = [
            make_certificate(setup, None if setup.mode == "replay" else "too far")
            for group in plan.groups
            for setup in group.setups
            if not setup.twin
        ]
        for it in made:
            store.add_certificate(it)
        return made

    monkeypatch.setattr(runner, "Runner", Runner)
    monkeypatch.setattr(verb, "prove_first", prove_first)
    flags = {"tasks": ("diabetes-regression",), "frameworks": ("reference:*",), "precision": "2%"}
    plan = make_plan(resolve(None, flags))
    run = verb.measure(plan, tmp_path, "quiet", Console(quiet=True), None)
    assert handed["forks"] is (sys.platform == "linux")
    assert {it.label for it in handed["unranked"]} == {"reference:eager"}
    assert {it.setup.label: it.proven for it in run.certificates} == {
        "reference:eager": False,
        "reference:replay": True,
    }


@pytest.mark.parametrize(
    ("options", "fork", "twin", "wait"),
    [
        ({}, True, True, 60.0),
        ({"fork": False}, False, True, 60.0),
        ({"twin": False}, True, False, 60.0),
        ({"wait_": False}, True, True, 0.0),
    ],
)
def test_fork_wait_and_twin_can_be_switched_off(monkeypatch, options, fork, twin, wait):
    chosen = []
    monkeypatch.setattr(verb, "make_plan", chosen.append)
    monkeypatch.setattr(verb, "_print_plan", lambda *_: None)
    verb.run(dry_run=True, **options)
    assert [(it.fork, it.twin, it.wait) for it in chosen] == [(fork, twin, wait)]
