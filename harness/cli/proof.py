"""`verify` and `selftest`; and the quick proof with which every run begins."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich import box
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from harness.cells import DTYPES, Setup
from harness.certificates import Certificate, LongProof
from harness.cli import app
from harness.cli.console import Console, print_left_out, print_overruled, print_text
from harness.errors import NotProven, SelftestFailed
from harness.proof.certificates import Need, needs, one_of_each, prove
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
from harness.proof.whole_training import QUICK, WHOLE
from harness.report.format import span
from harness.runs import RESULTS, runner
from harness.runs.config import given, resolve
from harness.runs.files import within
from harness.runs.machine import cores
from harness.runs.plan import Plan, make_plan
from harness.runs.store import Store, create
from harness.tasks.spec import Data

T = TypeVar("T")
Shown = tuple[Certificate, bool]
"""A certificate, and whether an earlier proof gave it."""

EVERYTHING: dict[str, Any] = {"tasks": ("*",), "modes": "all", "dtypes": DTYPES, "twin": False}
"""What `verify` proves by default: every task and mode in the identical lane on the CPU."""
STYLES = {"caught": "green", "unseen": "yellow", "passed": "green", "unsupported": "yellow"}
"""Of the outcomes of a selftest; any other is a failure."""


def verify(
    tasks: app.Tasks = None,
    frameworks: app.Frameworks = None,
    lanes: app.Lanes = None,
    devices: app.Devices = None,
    threads: app.Threads = None,
    dtypes: app.Dtypes = None,
    settings: app.Settings = None,
    data_dir: app.DataDir = None,
    task_file: app.TaskFile = None,
    output: app.Output = RESULTS,
    fresh: app.Fresh = False,
    whole: app.WholeTraining = None,
) -> None:
    """Prints a line for every setup. Raises NotProven if one could not be proven."""
    plan = make_plan(resolve(None, EVERYTHING | given(locals())))
    runner.check_data(plan)
    console, begin = Console(), time.monotonic()
    print_overruled(plan, console)
    logs = within(output, "verify")
    with runner.measuring(output) as scratch, create(output) as store:
        _clear(logs)
        wanted = _needs(plan, None if fresh else store, quick=False)
        digests = {it.claim.task.digest for it in wanted if it.certificate is None}
        groups = tuple(group for group in plan.groups if group.task.digest in digests)
        with runner.staged_data(replace(plan, groups=groups), scratch / "data") as data:
            certificates = _proved(wanted, store, data, logs, scratch / "caches", console)
    print_left_out(plan.unavailable, console, plan.notes)
    console.print(_table(certificates))
    failed = [it for it, _ in certificates if not it.proven]
    _print_failures(failed, console)
    print_text(console, _counted(certificates, time.monotonic() - begin))
    wrong = sum(not it.unsupported for it in failed)
    if wrong:
        raise NotProven(
            f"{wrong} of {len(certificates)} setups not proven; what they wrote is in {logs}"
        )
    _clear(logs)


def _clear(logs: Path) -> None:
    """Remove what provers wrote; the user may keep other files in the folder."""
    for log in logs.glob("prover-*.log"):
        log.unlink()
    with contextlib.suppress(OSError):
        logs.rmdir()


def prove_first(
    plan: Plan,
    store: Store,
    data: Mapping[Data, Path],
    logs: Path,
    caches: Path,
    console: Console | None,
    *,
    fresh: bool = False,
) -> list[Certificate]:
    """A quick proof of every setup of a run that has none; the certificates of all of them.

    A setup that is not proven is measured, but not ranked. Without a console nothing is printed.
    With `fresh` no earlier certificate counts.
    """
    begin = time.monotonic()
    wanted = _needs(plan, None if fresh else store, quick=True)
    quiet = console or Console(quiet=True)
    shown = _proved(wanted, store, data, logs, caches, quiet)
    print_text(quiet, _counted(shown, time.monotonic() - begin))
    _print_failures([it for it, _ in shown if not it.proven], quiet)
    return [it for it, _ in shown]


def _needs(plan: Plan, earlier: Store | None, *, quick: bool) -> list[Need]:
    setups = [(group.task, setup) for group in plan.groups for setup in group.setups]
    counted = None if quick else one_of_each(setups)
    reach = WHOLE if plan.config.whole else QUICK
    return needs(setups, earlier, quick=quick, counted=counted, reach=reach)


def _proved(
    wanted: Sequence[Need],
    store: Store,
    data: Mapping[Data, Path],
    logs: Path,
    caches: Path,
    console: Console,
) -> list[Shown]:
    """The certificate of every need, with a bar while those that lack are made."""
    lacking = [it for it in wanted if it.certificate is None]
    made: dict[str, Certificate] = {}
    if lacking:
        proofs = prove(lacking, store, data, logs, caches)
        made = {it.key: it for it in _tracked(proofs, len(lacking), "proving", console)}
    return [(it.certificate or made[it.key], it.certificate is not None) for it in wanted]


def _tracked(things: Iterable[T], total: int, description: str, console: Console) -> Iterator[T]:
    """The things, with a bar while they come."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    shown = console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not shown) as progress:
        yield from progress.track(things, total=total, description=description)


def _titled(title: str, caption: str | None = None) -> Table:
    """A table without columns yet, in the one style of this module."""
    return Table(
        title=title,
        caption=caption,
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        box=box.SIMPLE,
    )


def _table(certificates: Sequence[Shown]) -> Table:
    """A line for every task and framework:mode; dtypes side by side."""
    table = _titled(
        "Largest difference from the float64 reference, of any tensor at any step",
        "relative to the largest entry of each tensor; steps × rows that were compared, "
        "+ steps of a training in float64; "
        "~: above the limit, but no more than rounding alone makes; °: by an earlier certificate",
    )
    for name in ("task", "framework:mode"):
        table.add_column(name, overflow="fold")
    dtypes = [it for it in DTYPES if any(c.setup.dtype == it for c, _ in certificates)]
    for dtype in dtypes:
        table.add_column(dtype, justify="right", overflow="fold")
    rows: dict[tuple[str, ...], dict[str, Text]] = {}
    for certificate, cached in certificates:
        setup = certificate.setup
        row = (setup.task, label_in_lane(setup), setup.device, str(setup.threads))
        rows.setdefault(row, {})[setup.dtype] = _cell(certificate, cached)
    before = ""
    for (task, label, *_), cells in rows.items():
        table.add_row(
            Text("" if task == before else task),
            Text(label),
            *(cells.get(dtype, Text("")) for dtype in dtypes),
        )
        before = task
    return table


def _cell(certificate: Certificate, cached: bool) -> Text:
    worst = certificate.worst
    size = "–" if worst is None else f"{worst:.1e}" if worst else "0"
    size += "~" if any(it.by_rounding for it in certificate.findings) else ""
    over = f"{certificate.steps}×{certificate.rows}"
    if certificate.whole:
        over += f"+{certificate.whole.steps}"
    if certificate.proven:
        return Text(f"{size} {over:>7}{'°' if cached else ' '}", "green")
    if certificate.unsupported:
        return Text("unsupported ", "yellow")
    return Text(f"NOT PROVEN {size} {over:>7} ", "bold red")


def label_in_lane(setup: Setup) -> str:
    return setup.label if setup.lane == "identical" else f"{setup.label} ({setup.lane})"


def _print_failures(certificates: Sequence[Certificate], console: Console) -> None:
    for certificate in certificates:
        setup = certificate.setup
        where = f"{setup.task}, {label_in_lane(setup)}, {setup.dtype} on {setup.device}"
        if certificate.unsupported:
            print_text(console, f"{where}: unsupported: {certificate.why}", "yellow")
        else:
            print_text(console, f"{where}: NOT PROVEN: {certificate.why}", "red")


def _counted(shown: Sequence[Shown], seconds: float) -> str:
    proven = [(it, cached) for it, cached in shown if it.proven]
    earlier = sum(cached for _, cached in proven)
    unsupported = sum(it.unsupported for it, _ in shown)
    parts = [f"{len(proven)} of {len(shown)} setups proven"]
    if earlier:
        parts.append(f"{earlier} of them by earlier certificates")
    if unsupported:
        parts.append(f"{unsupported} unsupported")
    if wrong := len(shown) - len(proven) - unsupported:
        parts.append(f"{wrong} NOT proven")
    lengths = "".join(f"; {it}" for it in _lengths([it.whole for it, _ in proven if it.whole]))
    return f"proof of sameness: {', '.join(parts)} ({seconds:.1f} s){lengths}"


def _lengths(proofs: Sequence[LongProof]) -> list[str]:
    """Over how many steps of trainings setups were followed in float64."""
    texts = []
    for words, steps in (
        ("over whole trainings in float64", [it.steps for it in proofs if it.steps == it.planned]),
        ("over the first part of one", [it.steps for it in proofs if 0 < it.steps < it.planned]),
    ):
        if steps:
            texts.append(f"{len(steps)} {words} ({span(min(steps), max(steps), 'step')})")
    return texts


def selftest(
    seeds: Annotated[
        int,
        typer.Option(min=0, max=1000, help="Try every framework without a fault this many times."),
    ] = 2,
    real: Annotated[
        bool,
        typer.Option(
            "--real/--no-real", help="Plant faults in the adapters of installed frameworks too."
        ),
    ] = True,
) -> None:
    """Raises SelftestFailed if a fault escaped, or if a check failed where nothing is wrong."""
    console = Console()
    with planted():
        cases = [*faulty(), *(really_faulty() if real else ()), sampled(), *unmodified(seeds)]
        judgements = _tried(cases, console)
    faults = [it for it in judgements if it.case.fault]
    others = [it for it in judgements if not it.case.fault]
    console.print(_faults([it for it in faults if it.case.setup.framework == "planted"]))
    if in_adapters := [it for it in faults if it.case.setup.framework != "planted"]:
        console.print(_faults(in_adapters, real=True))
    for fault in [it.case.fault for it in faults if it.outcome == "unseen"]:
        if fault:
            print_text(console, f"unseen in float32: {fault.line}: {fault.unseen}", "yellow")
    console.print(_others(others))
    bad = [it for it in judgements if not it.good]
    for judgement in bad:
        failed = "; ".join(f"{it.check}: {it.detail}" for it in judgement.failed)
        where = f"{judgement.case.setup.id}, seed {judgement.case.seed}"
        text = f"{judgement.outcome}: {where}: {failed or 'nothing failed'}"
        print_text(console, text, "red")
    caught = Counter(it.outcome for it in faults)
    print_text(
        console,
        f"{len({it.case.setup.label for it in faults})} faults in {len(faults)} trials: "
        f"{caught['caught']} caught, {caught['unseen']} of which float32 shows nothing; "
        f"{sum(not it.good for it in others)} false alarms in {len(others)} trials of what has "
        f"no fault, over {seeds} seed(s)",
    )
    if bad:
        escaped = sum(1 for it in bad if it.case.fault)
        raise SelftestFailed(
            f"the proof is not to be trusted: {escaped} escapes, {len(bad) - escaped} false alarms"
        )


def _tried(cases: Sequence[Case], console: Console) -> list[Judgement]:
    judgements = _tracked(tried(cases, cores()), len(cases), "trying the proof", console)
    # In the order of the table, not in that in which they came.
    place = {(case.setup.id, case.seed): number for number, case in enumerate(cases)}
    return sorted(judgements, key=lambda it: place[it.case.setup.id, it.case.seed])


def _faults(judgements: Iterable[Judgement], *, real: bool = False) -> Table:
    """A row for each fault, with what came of it by dtype, or by `real` framework."""
    table = _titled("Planted faults", "+4: four other checks noticed it too")
    if real:
        table = _titled(
            "Faults planted in adapters of real frameworks",
            "verify: by the proof; run: by the worker that measures",
        )
    rows: dict[str, dict[str, Judgement]] = {}
    for judgement in judgements:
        setup = judgement.case.setup
        column = setup.framework.removeprefix("planted_") if real else setup.dtype
        rows.setdefault(setup.mode, {})[column] = judgement
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    table.add_column("what is wrong", ratio=1, overflow="fold")
    for name in ("to be caught by", *names):
        table.add_column(name, overflow="fold")
    for row in rows.values():
        fault = next(iter(row.values())).case.fault
        assert fault is not None
        cells = [_outcome(row[name]) if name in row else Text("") for name in names]
        table.add_row(Text(fault.line), Text(f"{fault.by}: {fault.check}"), *cells)
    return table


def _outcome(judgement: Judgement) -> Text:
    """The first check that failed and the number of others, or what happened instead."""
    outcome, failed = judgement.outcome, judgement.failed
    if outcome == "caught":
        others = f" +{len(failed) - 1}" if len(failed) > 1 else ""
        return Text(failed[0].check + others, STYLES[outcome])
    text = f"only {failed[0].check}" if outcome == "by another" else outcome
    return Text(text, STYLES.get(outcome, "bold red"))


def _others(judgements: Iterable[Judgement]) -> Table:
    table = _titled("\nWithout a fault")
    table.add_column("framework:mode", overflow="fold")
    table.add_column("lane", overflow="fold")
    table.add_column("trials", justify="right")
    table.add_column("outcome")
    rows: dict[tuple[str, str], Counter[str]] = {}
    for judgement in judgements:
        setup = judgement.case.setup
        rows.setdefault((setup.label, setup.lane), Counter())[judgement.outcome] += 1
    for (label, lane), outcomes in rows.items():
        worst = next((it for it in outcomes if it not in STYLES), next(iter(outcomes)))
        text = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
        style = STYLES.get(worst, "bold red")
        table.add_row(Text(label), lane, str(outcomes.total()), Text(text, style))
    return table
