"""`baseline save` and `check`: which setups, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from rich.text import Text

from harness.cells import Setup
from harness.console import Console
from harness.errors import (
    CannotTell,
    CellsFailed,
    NoBaseline,
    NotComparable,
    UsageError,
    unknown,
)
from harness.frameworks import absence, frameworks, matches, modes_of, undeclared
from harness.gate import check as saving
from harness.gate.baseline import Baseline, new_path, read, write
from harness.gate.check import ENDS, Checked, check
from harness.gate.judging import Thresholds
from harness.gate.older_code import refuse_unknown, unresolved
from harness.report.check import markdown, render
from harness.runs.config import config_of, parse_precision, resolve
from harness.runs.files import measuring_alone, write_whole
from harness.runs.plan import Arena, Plan, make_plan
from harness.runs.runner import measuring
from harness.runs.store import open_existing
from harness.tasks.spec import Task
from harness.tasks.variants import known_tasks
from harness.verifying import print_overruled

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


def save(
    name: str, flags: Mapping[str, Any], run: str | None, output: Path, *, clocked: bool
) -> None:
    """Write a baseline. Raises UsageError, NotComparable, NotProven, CellsFailed."""
    new_path(name, output)
    if run is not None:
        if flags or not clocked:
            raise UsageError("--from takes the setups of the run; give it no other options")
        with open_existing(output) as store:
            stored = store.load(run)
        plan = saving.plan_of(stored, make_plan(config_of(stored)))
    else:
        plan = make_plan(resolve(None, DEFAULTS | dict(flags)))
    _refuse_absent(plan, flags)
    console = Console(stderr=True)
    alone = measuring_alone() if clocked and run is None else nullcontext()
    print_overruled(plan, console)
    with measuring(output) as scratch, alone, _telling(console) as told:
        if run is not None:
            made = saving.save_from(plan, stored, name, told, scratch)
        else:
            made = saving.save(plan, name, told, scratch, clocked=clocked)
        path = write(made, output)
    if made.revision is None:
        why = unresolved("HEAD") or "this tree has changes"
        consequence = "a check cannot obtain this code, and will compare speed with stored figures"
        console.print(Text(f"{why}: {consequence}"), soft_wrap=True)
    print(f"baseline: {path} ({len(made.entries)} setups)")


def gate(
    name: str | None,
    against: str | None,
    flags: Mapping[str, Any],
    fail_on: Sequence[str],
    output: Path,
    *,
    clocked: bool,
    as_json: bool,
    comment: Path | None,
    everything: bool,
) -> None:
    """Check, print, and raise what the exit code stands for."""
    if name is None and against is None:
        raise UsageError("check with what? give --baseline NAME, or --against REV, or both")
    limits = limits_of(fail_on)
    if against is not None:
        refuse_unknown(against)
    baseline = read(name, output) if name is not None else None
    plan = _plan(baseline, flags)
    console = Console(stderr=True)
    alone = measuring_alone() if clocked else nullcontext()
    print_overruled(plan, console)
    with measuring(output) as scratch, alone, _telling(console) as told:
        checked = check(plan, baseline, against, limits, told, scratch, clocked=clocked)
    if comment is not None:
        try:
            write_whole(comment, markdown(checked).encode("utf-8"))
        except OSError as error:
            raise UsageError(f"{comment}: {error.strerror or error}") from None
    if as_json:
        print(checked.model_dump_json(indent=1, ensure_ascii=True))
    else:
        render(checked, Console(), everything=everything)
    _end(checked)


def _end(checked: Checked) -> None:
    kind = ENDS[checked.outcome]
    if kind is None:
        return
    first = next(iter(checked.bad), None)
    if kind is NotComparable:
        raise NotComparable(checked.note or "nothing could be compared")
    if kind is CellsFailed:
        raise CellsFailed(checked.note)
    if kind is CannotTell or first is None:
        raise CannotTell("too few blocks, or too much noise, to tell")
    phase = f", {first.phase}" if first.phase else ""
    more = f" (and {len(checked.bad) - 1} more)" if len(checked.bad) > 1 else ""
    raise kind(f"{first.setup.id}{phase}: {first.what}: {first.outcome}: {first.detail}{more}")


def limits_of(words: Sequence[str]) -> Thresholds:
    """`speed:5%` and the like; raises UsageError for anything else."""
    found: dict[str, float] = {}
    for word in words:
        what, colon, share = word.partition(":")
        if not colon:
            raise UsageError(f"--fail-on {word!r}: write NAME:SHARE, such as speed:5%")
        if what not in Thresholds.model_fields:
            raise unknown("limit", what, Thresholds.model_fields)
        zero = share.rstrip("%") in ("0", "0.0") and what != "speed"
        found[what] = 0.0 if zero else parse_precision(share)
    return Thresholds.model_validate(found)


def _plan(baseline: Baseline | None, flags: Mapping[str, Any]) -> Plan:
    """The setups that are asked for; of a baseline those that fit, and all if nothing is named.

    Raises NotComparable for a task of the baseline that is another one by now.
    """
    if baseline is None:
        plan = make_plan(resolve(None, DEFAULTS | dict(flags)))
        _refuse_absent(plan, flags)
        return plan
    if "settings" in flags:
        raise UsageError("--set is for saving; of a baseline name the variant itself with -t")
    general = {it: flags[it] for it in ("data_dir", "task_file", "phases") if it in flags}
    plan = make_plan(resolve(None, DEFAULTS | general))
    tasks = {it.name: it for it in baseline.tasks}
    own = plan.config.task_file
    _refuse_other_tasks(tasks, Path(own) if own else None)
    setups = _fitting(baseline, flags)
    _refuse_lost_frameworks(setups)
    return replace(plan, arenas=tuple(Arena(tasks[it.task], (it,)) for it in setups))


FITS: Mapping[str, Callable[[Setup, Any], bool]] = {
    "tasks": lambda it, word: fnmatchcase(it.task, word),
    "frameworks": matches,
    "lanes": lambda it, word: word in (it.lane, "both"),
    "devices": lambda it, word: it.device.split(":")[0] == word or it.device == word,
    "threads": lambda it, word: it.threads == word,
    "dtypes": lambda it, word: it.dtype == word,
}
"""Whether a setup of a baseline is one that a flag asks for."""


def _fitting(baseline: Baseline, flags: Mapping[str, Any]) -> list[Setup]:
    """Raises NoBaseline for a word that no setup fits, and where none fits all of them."""
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


def _refuse_other_tasks(tasks: Mapping[str, Task], own: Path | None) -> None:
    for name, now in known_tasks(own).items():
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


def _refuse_absent(plan: Plan, flags: Mapping[str, Any]) -> None:
    """What is checked must be there: a gate leaves nothing out in silence."""
    named = ("frameworks", "tasks")
    if plan.unavailable and any(it in flags for it in named):
        raise UsageError(f"{plan.unavailable[0].what}: {plan.unavailable[0].reason}")


@contextmanager
def _telling(console: Console) -> Iterator[Any]:
    """Says what goes on, on standard error, where somebody watches it."""
    if not console.is_terminal:
        yield lambda text: None
        return
    with console.status("") as status:
        yield lambda text: status.update(Text(text))
