"""`check` and `baseline save`: which setups, in which order, and the result as one value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from harness import __version__
from harness.adapter import Setting
from harness.analysis.pairs import entries as entries_of
from harness.analysis.run_comparison import differing_facts, same_machine
from harness.analysis.verdicts import CHECKPOINTS
from harness.cells import Setup
from harness.errors import (
    CannotTell,
    CellsFailed,
    HarnessError,
    NoBaseline,
    NotComparable,
    NotProven,
    Regression,
    UsageError,
)
from harness.frameworks import absence, frameworks, matches, modes_of, undeclared
from harness.gate import timing
from harness.gate.baseline import Baseline, BaselineEntry, Parity
from harness.gate.judging import (
    Line,
    TaskSetup,
    Thresholds,
    deterministic,
    entries,
    observed,
    older_entries,
)
from harness.gate.older_code import revision, sides, unresolved
from harness.gate.timing import Report, SideKeeper, timed, timed_of
from harness.privacy import clean
from harness.proof.certificates import claim
from harness.records import Run
from harness.runs import machine
from harness.runs.config import resolve
from harness.runs.engines import LocalEngine
from harness.runs.machine import CHANGES
from harness.runs.plan import Group, Plan, make_plan
from harness.runs.process import ROOT
from harness.runs.runner import staged_data
from harness.tasks.spec import Data, Frozen, Task
from harness.tasks.variants import known_tasks
from harness.venvs import venv_of

DEFAULTS: dict[str, Any] = {
    "tasks": ("digits-mlp", "cancer-binary", "diabetes-regression"),
    "frameworks": ("reference:*",),
    "threads": (1,),
    "blocks": 12,
    "rounds": 16,
    "warmup_seconds": 0.1,
    "twin": False,
    "repeat_noisy": False,
    "seeds": 0,
}
"""The reference engine on one thread: three tasks with every kind of loss, and no data to fetch."""


def plan_of_check(baseline: Baseline | None, flags: Mapping[str, Any]) -> Plan:
    """The setups that the flags choose: of a baseline, or of DEFAULTS if there is none.

    Raises NotComparable for a task of the baseline that is another one by now.
    """
    if baseline is None:
        plan = make_plan(resolve(None, DEFAULTS | dict(flags)))
        refuse_absent(plan, flags)
        return plan
    if "settings" in flags:
        raise UsageError("--set is for saving; of a baseline name the variant itself with -t")
    general = {it: flags[it] for it in ("data_dir", "task_file", "phases") if it in flags}
    plan = make_plan(resolve(None, DEFAULTS | general))
    tasks = {task.name: task for task in baseline.tasks}
    file = plan.config.task_file
    refuse_other_tasks(tasks, Path(file) if file else None)
    setups = _fitting(baseline, flags)
    _refuse_lost_frameworks(setups)
    return replace(plan, groups=tuple(Group(tasks[it.task], (it,)) for it in setups))


FITS: Mapping[str, Callable[[Setup, Any], bool]] = {
    "tasks": lambda it, word: fnmatchcase(it.task, word),
    "frameworks": matches,
    "lanes": lambda it, word: word in (it.lane, "both"),
    "devices": lambda it, word: it.device.split(":")[0] == word or it.device == word,
    "threads": lambda it, word: it.threads == word,
    "dtypes": lambda it, word: it.dtype == word,
}
"""Whether a setup of a baseline fits a word of a flag."""


def _fitting(baseline: Baseline, flags: Mapping[str, Any]) -> list[Setup]:
    """Raises NoBaseline for a word that no setup fits."""
    setups = [it.setup for it in baseline.entries]
    for flag, fits in FITS.items():
        words = flags.get(flag, ())
        for word in words:
            if not any(fits(it, word) for it in setups):
                raise NoBaseline(
                    f"baseline {baseline.name!r} has no {word!r}; it has: "
                    + ", ".join(it.setup.id for it in baseline.entries)
                )
        setups = [it for it in setups if not words or any(fits(it, word) for word in words)]
    return setups


def refuse_other_tasks(tasks: Mapping[str, Task], file: Path | None) -> None:
    """Raises NotComparable for a task that has another digest now."""
    for name, now in known_tasks(file).items():
        if name in tasks and tasks[name].digest != now.digest:
            raise NotComparable(
                f"task {name!r} is another one by now (digest {now.digest}, in the baseline "
                f"{tasks[name].digest}); save a new baseline"
            )


def _refuse_lost_frameworks(setups: Sequence[Setup]) -> None:
    known = frameworks()
    for name, setup in {it.name: it for it in setups}.items():
        if framework := known.get(setup.framework):
            why = absence(framework, venv_of(setup))
        else:
            why = undeclared().get(setup.framework, "not known here")
        if why:
            raise NotComparable(f"{name}: {why}; choose what else the baseline has with -f")
    for setup in setups:
        if setup.mode not in modes_of(known[setup.framework], setup.lane):
            raise NotComparable(f"{setup.label}: {setup.framework} has no such mode by now")


def refuse_absent(plan: Plan, flags: Mapping[str, Any]) -> None:
    """Raises UsageError for a named task or framework that is not available here."""
    if plan.unavailable and flags.keys() & {"frameworks", "tasks"}:
        raise UsageError(f"{plan.unavailable[0].what}: {plan.unavailable[0].reason}")


Speed = Literal["turns", "stored", "none"]
Outcome = Literal[
    "fine", "regression", "not comparable", "parity failed", "cannot tell", "cells failed"
]
ENDS: Mapping[Outcome, type[HarnessError] | None] = {
    "cells failed": CellsFailed,
    "parity failed": NotProven,
    "regression": Regression,
    "not comparable": NotComparable,
    "cannot tell": CannotTell,
    "fine": None,
}
"""How each ends, the gravest first: the first that applies is the outcome."""


class Checked(Frozen):
    """The result of one check, which `--json` prints.

    `speed` was compared in `turns` with older code, with `stored` figures, or not at all; `note`
    says more of it, or why, or what failed and ended the check. `revision` is this code's,
    `against` the older code's.
    """

    schema_version: Literal[1] = 1
    made: str
    baseline: str | None
    revision: str | None
    against: str | None
    machine: dict[str, Setting]
    speed: Speed
    note: str
    lines: tuple[Line, ...]
    outcome: Outcome
    exit_code: int

    @property
    def bad(self) -> list[Line]:
        return [it for it in self.lines if it.outcome in ("regression", "not proven")]


def check(
    plan: Plan,
    baseline: Baseline | None,
    against: str | None,
    limits: Thresholds,
    report: Report,
    folder: Path,
    *,
    clocked: bool = True,
    checkpoints: Sequence[int] = CHECKPOINTS,
    this: Path = ROOT,
) -> Checked:
    """Compare the plan's setups with a baseline that has them all, with older code, or both.

    Temporary files are written to `folder`. Without `clocked` nothing is timed. What takes turns
    with older code is the code in the folder `this`. Where a setup fails nothing more is compared;
    the lines before that are kept.
    """
    code = against if against is not None else _code_of(baseline, clocked)
    speed, note = _way(baseline, code, clocked)
    pairs, logs, caches = pairs_of(plan), folder / "logs", folder / "caches"

    def exact(
        before: Sequence[BaselineEntry], data: Mapping[Data, Path], place: Path = ROOT
    ) -> Iterator[Line]:
        report(f"numbers and proofs of {len(pairs)} setup(s)")
        known = {entry.setup: entry for entry in before}
        for now in entries(pairs, data, folder, place):
            yield from deterministic(now, known[now.setup], limits)

    def compared(data: Mapping[Data, Path]) -> Iterator[Line]:
        if baseline is not None:
            yield from exact(baseline.entries, data)
        if code is not None:
            both = sides(code, folder, this)
            if baseline is None:
                before = older_entries(pairs, data, folder, both.before)
                yield from exact(before, data, both.now)
            if clocked:
                folders = {setup: both.now for _, setup in pairs}
                folders |= {timing.older(setup): both.before for _, setup in pairs}
                engine = LocalEngine(logs, caches, folders)
                keeper = SideKeeper(plan.config, engine, data, report)
                yield from timing.compared(pairs, keeper, limits.speed, checkpoints)
        elif baseline is not None and speed == "stored":
            keeper = SideKeeper(plan.config, LocalEngine(logs, caches), data, report)
            now = timing.timed(pairs, keeper)
            times = {entry.setup: entry.timed for entry in baseline.entries}
            yield from timing.stored(now, times, limits.speed)

    lines: list[Line] = []
    ended: HarnessError | None = None
    try:
        with staged_data(plan, folder / "data") as data:
            lines += compared(data)
    except (CellsFailed, NotComparable) as error:
        ended, speed, note = error, "none", str(error)
    outcome = concluded(
        lines,
        comparable=ended is None and (speed != "none" or not clocked),
        failed=isinstance(ended, CellsFailed),
    )
    end = ENDS[outcome]
    return Checked(
        made=datetime.now().astimezone().isoformat(timespec="seconds"),
        baseline=baseline.name if baseline else None,
        revision=machine.commit({it.framework for it in plan.setups}),
        against=revision(code) or clean(code) if code else None,
        machine=machine.fingerprint(),
        speed=speed,
        note=clean(note),
        lines=tuple(lines),
        outcome=outcome,
        exit_code=end.exit_code if end else 0,
    )


def _code_of(baseline: Baseline | None, clocked: bool) -> str | None:
    """The commit of a baseline, if it is to be timed and can be obtained."""
    return revision(baseline.revision) if baseline and baseline.revision and clocked else None


WEAKER = (
    "beside bare matrix products, with stored figures, since the older code is not here: weaker "
    "than turns"
)


def _way(baseline: Baseline | None, code: str | None, clocked: bool) -> tuple[Speed, str]:
    if clocked and code is not None:
        return "turns", f"in turns with {(revision(code) or code)[:40]}"
    if not clocked or baseline is None:
        return "none", "nothing was timed, as asked"
    here, there = machine.fingerprint(), baseline.machine
    if names := differing_facts(here, there):
        facts = ", ".join(f"{it} {there[it]} there, {here[it]} here" for it in names)
        return "none", f"times of another machine say nothing here: {facts}"
    if not any(it.timed for it in baseline.entries):
        return "none", "the baseline has no times"
    why = unresolved(baseline.revision) if baseline.revision else ""
    return "stored", f"{WEAKER} ({why})" if why else WEAKER


def pairs_of(plan: Plan) -> list[TaskSetup]:
    return [(group.task, setup) for group in plan.groups for setup in group.setups]


def concluded(lines: Sequence[Line], *, comparable: bool, failed: bool = False) -> Outcome:
    """The gravest outcome of the lines. Nothing compared is nothing shown."""
    outcomes = {it.outcome for it in lines}
    applies: dict[Outcome, bool] = {
        "cells failed": failed,
        "parity failed": "not proven" in outcomes,
        "regression": "regression" in outcomes,
        "not comparable": not comparable,
        "cannot tell": "cannot tell" in outcomes or not outcomes,
        "fine": True,
    }
    return next(it for it in ENDS if applies[it])


def save(plan: Plan, name: str, report: Report, folder: Path, *, clocked: bool = True) -> Baseline:
    """Observe, prove and time every setup of a plan. Raises NotProven, CellsFailed."""
    with staged_data(plan, folder / "data") as data:
        report("numbers and proofs")
        made = entries(pairs_of(plan), data, folder)
        _refuse_unproven(made)
        if clocked:
            engine = LocalEngine(folder / "logs", folder / "caches")
            times = timed(pairs_of(plan), SideKeeper(plan.config, engine, data, report))
            made = [it.model_copy(update={"timed": times[it.setup]}) for it in made]
    return _baseline(plan, name, made)


def save_from(plan: Plan, run: Run, name: str, report: Report, folder: Path) -> Baseline:
    """The times, proofs and peaks of a stored run; numbers and programs are observed now.

    `plan` has the run's setups. Raises NotComparable where this is not the code or machine of the
    run.
    """
    _refuse_other(run)
    pairs, measured = pairs_of(plan), entries_of(run.records)
    claims = {setup: claim(task, setup, quick=True, counted=False) for task, setup in pairs}
    certificates = {
        it.setup: it
        for it in run.certificates
        if it.setup in claims and (not it.proven or claims[it.setup].shown_by(it))
    }
    if not pairs:
        raise NotProven(f"{run.info.name}: no trial of any setup")
    if lacking := [it.id for it in claims if it not in certificates or it not in measured]:
        raise NotProven(f"{run.info.name}: no proof or no good trial of {lacking[0]}")
    with staged_data(plan, folder / "data") as data:
        report("numbers")
        now = observed(pairs, data, folder / "logs")
    made = [
        now[setup].model_copy(
            update={
                "parity": (Parity.of(certificates[setup]),),
                "logical_peak": certificates[setup].logical_peak,
                "timed": timed_of(measured[setup].blocks, plan.config.phases),
            }
        )
        for setup in claims
    ]
    _refuse_unproven(made)
    return _baseline(plan, name, made)


def plan_of(run: Run, plan: Plan) -> Plan:
    """The setups that a run measured, in place of those that its configuration would give now."""
    tasks = {(it.name, it.digest): it for it in run.tasks}
    setups = dict.fromkeys(it.setup for it in run.records if not it.setup.twin)
    groups = (Group(tasks[it.task, it.digest], (it,)) for it in setups)
    return replace(plan, groups=tuple(groups))


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


def _refuse_unproven(made: Sequence[BaselineEntry]) -> None:
    for entry in made:
        for parity in entry.parity:
            if not parity.proven:
                raise NotProven(f"{entry.setup.id}, {parity.dtype}: {parity.detail}")


def _baseline(plan: Plan, name: str, made: Sequence[BaselineEntry]) -> Baseline:
    commit = machine.commit({it.framework for it in plan.setups})
    tasks = {group.task.name: group.task for group in plan.groups if group.setups}
    return Baseline(
        name=name,
        made=datetime.now().astimezone().isoformat(timespec="seconds"),
        command=machine.command_line(),
        revision=None if commit is None or commit.endswith(CHANGES) else commit,
        version=__version__,
        machine=machine.fingerprint(),
        versions=machine.versions(plan.setups),
        tasks=tuple(tasks.values()),
        entries=tuple(made),
    )
