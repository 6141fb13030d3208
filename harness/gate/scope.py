"""Which setups a baseline holds and a check compares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from harness.cells import Setup
from harness.errors import NoBaseline, NotComparable, UsageError
from harness.frameworks import absence, frameworks, matches, modes_of, undeclared
from harness.gate.baseline import Baseline
from harness.runs.config import resolve
from harness.runs.plan import Group, Plan, make_plan
from harness.tasks.spec import Task
from harness.tasks.variants import known_tasks

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
    tasks = {it.name: it for it in baseline.tasks}
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
    for name in dict.fromkeys(it.framework for it in setups):
        why = absence(known[name]) if name in known else undeclared().get(name, "not known here")
        if why:
            raise NotComparable(f"{name}: {why}; choose what else the baseline has with -f")
    for setup in setups:
        if setup.mode not in modes_of(known[setup.framework], setup.lane):
            raise NotComparable(f"{setup.label}: {setup.framework} has no such mode by now")


def refuse_absent(plan: Plan, flags: Mapping[str, Any]) -> None:
    """Raises UsageError for a named task or framework that is not available here.

    A check must not leave out silently what it was asked for.
    """
    named = ("frameworks", "tasks")
    if plan.unavailable and any(it in flags for it in named):
        raise UsageError(f"{plan.unavailable[0].what}: {plan.unavailable[0].reason}")
