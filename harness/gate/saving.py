"""`baseline save`: everything that a later check will ask for, of this code and this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from harness import __version__
from harness.analysis.comparable import same_machine
from harness.analysis.compare import entries as entries_of
from harness.cells import Setup
from harness.errors import NotComparable, NotProven
from harness.gate.baseline import Baseline, Entry
from harness.gate.check import pairs_of
from harness.gate.observing import entries, observed, parity
from harness.gate.timing import Told, timed, timed_of
from harness.proof.certify import claim
from harness.records import Run
from harness.runs import machine
from harness.runs.engines import LocalEngine
from harness.runs.machine import CHANGES
from harness.runs.plan import Arena, Plan
from harness.runs.runner import staged_data
from harness.tasks.data import Data


def save(plan: Plan, name: str, told: Told, folder: Path, *, clocked: bool = True) -> Baseline:
    """Observe, prove and time every setup of a plan. Raises NotProven, CellsFailed."""
    with staged_data(plan, folder / "data") as data:
        told("numbers and proofs")
        made = entries(pairs_of(plan), data, folder)
        _refuse_unproven(made)
        if clocked:
            engine = LocalEngine(folder / "logs", folder / "caches")
            times = timed(pairs_of(plan), plan.config, engine, data, told)
            made = [it.model_copy(update={"timed": times[it.setup]}) for it in made]
    return _baseline(plan, name, made)


def save_from(plan: Plan, run: Run, name: str, told: Told, folder: Path) -> Baseline:
    """The times, proofs and peaks of a stored run; numbers and programs are observed now.

    `plan` has the run's setups. Raises NotComparable where this is not the code or the machine of
    the run: what is observed now would not belong to what was measured then.
    """
    _refuse_other(run)
    with staged_data(plan, folder / "data") as data:
        told("numbers")
        made = _from_run(plan, run, data, folder)
    _refuse_unproven(made)
    return _baseline(plan, name, made)


def plan_of(run: Run, plan: Plan) -> Plan:
    """The setups that a run measured, in place of those that its configuration would give now."""
    tasks = {(it.name, it.digest): it for it in run.tasks}
    setups = dict.fromkeys(it.setup for it in run.records if not it.setup.twin)
    arenas = (Arena(tasks[it.task, it.digest], (it,)) for it in setups)
    return replace(plan, arenas=tuple(arenas))


def _from_run(plan: Plan, run: Run, data: Mapping[Data, Path], folder: Path) -> list[Entry]:
    pairs = pairs_of(plan)
    claims = {setup: claim(task, setup, quick=True, counted=False) for task, setup in pairs}
    certificates = {
        it.setup: it
        for it in run.certificates
        if it.setup in claims and (not it.proven or claims[it.setup].shown_by(it))
    }
    measured = entries_of(run.records)
    if not pairs:
        raise NotProven(f"{run.info.name}: no trial of any setup")
    if lacking := [it.id for _, it in pairs if it not in certificates or it not in measured]:
        raise NotProven(f"{run.info.name}: no proof or no good trial of {lacking[0]}")
    found = observed(pairs, data, folder / "logs")
    return [
        Entry(
            setup=setup,
            parity=(parity(certificates[setup]),),
            numbers=found[setup][0],
            programs=found[setup][1],
            logical_peak=certificates[setup].logical_peak,
            timed=timed_of(measured[setup].blocks, plan.config.phases),
        )
        for _, setup in pairs
    ]


def _refuse_other(run: Run) -> None:
    here, info = machine.fingerprint(), run.info
    if len(info.machines) > 1:
        raise NotComparable(f"{info.name} holds {len(info.machines)} machines; name a run of one")
    commit = machine.commit({it.setup.framework for it in run.records})
    if info.commit is not None and (info.commit != commit or CHANGES in info.commit):
        raise NotComparable(
            f"{info.name} was made by the code of {info.commit}, this is {commit}; "
            "save the baseline without --from, or from a clean tree of that code"
        )
    if not same_machine(here, info.machine):
        raise NotComparable(f"{info.name} was made on another machine")


def _refuse_unproven(made: Sequence[Entry]) -> None:
    """Nobody is to be held to what was wrong from the start."""
    for entry in made:
        for it in entry.parity:
            if not it.proven:
                raise NotProven(f"{entry.setup.id}, {it.dtype}: {it.detail}")


def _baseline(plan: Plan, name: str, made: Sequence[Entry]) -> Baseline:
    commit = machine.commit({it.setup.framework for it in made})
    setups: set[Setup] = {it.setup for it in made}
    tasks = {arena.task.name: arena.task for arena in plan.arenas if setups & set(arena.setups)}
    return Baseline(
        name=name,
        made=datetime.now().astimezone().isoformat(timespec="seconds"),
        command=machine.command_line(),
        revision=None if commit is None or commit.endswith(CHANGES) else commit,
        version=__version__,
        machine=machine.fingerprint(),
        versions=machine.versions(),
        tasks=tuple(tasks.values()),
        entries=tuple(made),
    )
