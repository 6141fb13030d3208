"""`selftest`: try the proof on what is wrong and on what is not, and print what it noticed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from rich import box
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from harness.console import Console
from harness.errors import SelftestFailed
from harness.proof.selftest import (
    Case,
    Judgement,
    faulty,
    planted,
    really_faulty,
    sampled,
    tried,
    unmodified,
)
from harness.runs.machine import cores

STYLES = {"caught": "green", "unseen": "yellow", "passed": "green", "unsupported": "yellow"}


def selftest(seeds: int, *, real: bool = True) -> None:
    """Print a row for every fault, then the false alarms over so many seeds.

    With `real`, faults are planted in the adapters of installed frameworks too.

    Raises SelftestFailed if a fault escaped, or if something was found where nothing is wrong.
    """
    console = Console()
    with planted():
        cases = [*faulty(), *(really_faulty() if real else ()), sampled(), *unmodified(seeds)]
        judgements = _tried(cases, console)
    faults = [it for it in judgements if it.case.fault]
    others = [it for it in judgements if not it.case.fault]
    console.print(_faults([it for it in faults if it.case.setup.framework == "planted"]))
    if in_adapters := [it for it in faults if it.case.setup.framework != "planted"]:
        console.print(_faults_in_adapters(in_adapters))
    _print_unseen(faults, console)
    console.print(_others(others))
    bad = [it for it in judgements if not it.good]
    for it in bad:
        _print_bad(it, console)
    caught = Counter(it.outcome for it in faults)
    console.print(
        Text(
            f"{len({it.case.setup.label for it in faults})} faults in {len(faults)} trials: "
            f"{caught['caught']} caught, {caught['unseen']} of which float32 shows nothing; "
            f"{sum(not it.good for it in others)} false alarms in {len(others)} trials of what has "
            f"no fault, over {seeds} seed(s)"
        ),
        soft_wrap=True,
    )
    if bad:
        escaped = sum(1 for it in bad if it.case.fault)
        raise SelftestFailed(
            f"the proof is not to be trusted: {escaped} escapes, {len(bad) - escaped} false alarms"
        )


def _tried(cases: Sequence[Case], console: Console) -> list[Judgement]:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        judgements = progress.track(
            tried(cases, cores()), total=len(cases), description="trying the proof"
        )
        # In the order of the table, not in that in which they came.
        place = {case.setup.id + str(case.seed): number for number, case in enumerate(cases)}
        return sorted(judgements, key=lambda it: place[it.case.setup.id + str(it.case.seed)])


def _faults(judgements: Iterable[Judgement]) -> Table:
    caption = "+4: four other checks noticed it too"
    return _by_fault("Planted faults", caption, judgements, lambda it: it.setup.dtype)


def _faults_in_adapters(judgements: Iterable[Judgement]) -> Table:
    title = "Faults planted in adapters of real frameworks"
    caption = "verify: by the proof; run: by the worker that measures"
    return _by_fault(
        title, caption, judgements, lambda it: it.setup.framework.removeprefix("planted_")
    )


def _by_fault(
    title: str, caption: str, judgements: Iterable[Judgement], column: Callable[[Case], str]
) -> Table:
    """A row for each fault, with what came of it in each column."""
    table = Table(
        title=title,
        caption=caption,
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        box=box.SIMPLE,
    )
    rows: dict[str, dict[str, Judgement]] = {}
    for it in judgements:
        rows.setdefault(it.case.setup.mode, {})[column(it.case)] = it
    names = list(dict.fromkeys(name for found in rows.values() for name in found))
    table.add_column("what is wrong", ratio=1, overflow="fold")
    for name in ("to be caught by", *names):
        table.add_column(name, overflow="fold")
    for found in rows.values():
        fault = next(iter(found.values())).case.fault
        assert fault is not None
        cells = [_found(found[name]) if name in found else Text("") for name in names]
        table.add_row(Text(fault.line), Text(f"{fault.by}: {fault.check}"), *cells)
    return table


def _found(it: Judgement) -> Text:
    """The check that is told first and how many others failed, or what happened instead."""
    style = STYLES.get(it.outcome, "bold red")
    if it.outcome == "caught":
        others = len(it.failed) - 1
        return Text(it.failed[0].check + (f" +{others}" if others else ""), style)
    if it.outcome == "by another":
        return Text(f"only {it.failed[0].check}", style)
    return Text(it.outcome, style)


def _print_unseen(judgements: Iterable[Judgement], console: Console) -> None:
    for it in judgements:
        if it.outcome == "unseen" and it.case.fault:
            text = f"unseen in float32: {it.case.fault.line}: {it.case.fault.unseen}"
            console.print(Text(text, "yellow"), soft_wrap=True)


def _others(judgements: Iterable[Judgement]) -> Table:
    table = Table(
        title="\nWithout a fault", title_justify="left", title_style="bold", box=box.SIMPLE
    )
    table.add_column("framework:mode", overflow="fold")
    table.add_column("lane", overflow="fold")
    table.add_column("trials", justify="right")
    table.add_column("outcome")
    rows: dict[tuple[str, str], Counter[str]] = {}
    for it in judgements:
        setup = it.case.setup
        rows.setdefault((setup.label, setup.lane), Counter())[it.outcome] += 1
    for (label, lane), outcomes in rows.items():
        worst = next((it for it in outcomes if it not in STYLES), next(iter(outcomes)))
        said = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
        style = STYLES.get(worst, "bold red")
        table.add_row(Text(label), lane, str(outcomes.total()), Text(said, style))
    return table


def _print_bad(it: Judgement, console: Console) -> None:
    found = "; ".join(f"{finding.check}: {finding.detail}" for finding in it.failed)
    text = f"{it.outcome}: {it.case.setup.id}, seed {it.case.seed}: {found or 'nothing failed'}"
    console.print(Text(text, "red"), soft_wrap=True)
