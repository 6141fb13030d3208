"""`verify`, and the proofs with which a run begins: ask for certificates, and print them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich import box
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from harness.cells import DTYPES, Setup
from harness.certificates import Certificate, LongProof
from harness.console import Console
from harness.errors import NotProven
from harness.listing import print_left_out
from harness.proof.certificates import Need, needs, one_of_each, prove
from harness.proof.whole_training import QUICK, WHOLE, Reach
from harness.report.format import span
from harness.runs import runner
from harness.runs.config import resolve
from harness.runs.files import within
from harness.runs.plan import Plan, make_plan
from harness.runs.process import overruled
from harness.runs.store import Store, create
from harness.tasks.spec import Data, Task

EVERYTHING: dict[str, Any] = {"tasks": ("*",), "modes": "all", "dtypes": DTYPES, "twin": False}
"""What `verify` proves unless it is told otherwise: the identical lane on the CPU."""


def verify(flags: dict[str, Any], output: Path, *, fresh: bool) -> None:
    """Prove, and print a line for every setup. Raises NotProven if one could not be proven.

    With `fresh` no earlier certificate counts.
    """
    plan = make_plan(resolve(None, EVERYTHING | flags))
    runner.check_data(plan)
    console, begin = Console(), time.monotonic()
    print_overruled(plan, console)
    logs = within(output, "verify")
    with runner.measuring(output) as scratch, create(output) as store:
        _clear(logs)
        setups = setups_of(plan)
        earlier = None if fresh else store
        wanted = needs(
            setups, earlier, quick=False, counted=one_of_each(setups), reach=_reach(plan)
        )
        lacking = [it for it in wanted if it.certificate is None]
        staged = replace(plan, arenas=_concerned(plan, lacking))
        with runner.staged_data(staged, scratch / "data") as data:
            made = _proved(lacking, store, data, logs, scratch / "caches", console)
    print_left_out(plan.unavailable, console, plan.notes)
    shown = [(made.get(it.key) or it.certificate, it.key not in made) for it in wanted]
    certificates = [(it, cached) for it, cached in shown if it is not None]
    console.print(_table(certificates))
    failed = [it for it, _ in certificates if not it.proven]
    _print_failures(failed, console)
    console.print(Text(_counted(certificates, time.monotonic() - begin)), soft_wrap=True)
    wrong = sum(not it.unsupported for it in failed)
    if wrong:
        raise NotProven(
            f"{wrong} of {len(certificates)} setups not proven; what they wrote is in {logs}"
        )
    _clear(logs)


def print_overruled(plan: Plan, console: Console) -> None:
    """Which of the user's variables do not count, and what does instead."""
    if line := overruled(plan.setups):
        console.print(Text(line), soft_wrap=True)


def _clear(logs: Path) -> None:
    """Remove what provers wrote; the folder may be somebody's who has other things in it."""
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

    What is not proven is measured all the same, and ranked by nobody. Prints what was done unless
    there is no console. With `fresh` no earlier certificate counts.
    """
    begin = time.monotonic()
    wanted = needs(setups_of(plan), None if fresh else store, quick=True, reach=_reach(plan))
    lacking = [it for it in wanted if it.certificate is None]
    quiet = console or Console(quiet=True)
    made = _proved(lacking, store, data, logs, caches, quiet)
    shown = [(made[it.key], False) for it in lacking]
    shown += [(it.certificate, True) for it in wanted if it.certificate]
    quiet.print(Text(_counted(shown, time.monotonic() - begin)), soft_wrap=True)
    _print_failures([it for it, _ in shown if not it.proven], quiet)
    return [it for it, _ in shown]


def _reach(plan: Plan) -> Reach:
    """How far trainings are compared."""
    return WHOLE if plan.config.whole else QUICK


def setups_of(plan: Plan) -> list[tuple[Task, Setup]]:
    return [(arena.task, setup) for arena in plan.arenas for setup in arena.setups]


def _concerned(plan: Plan, lacking: Sequence[Need]) -> tuple[Any, ...]:
    digests = {it.claim.task.digest for it in lacking}
    return tuple(arena for arena in plan.arenas if arena.task.digest in digests)


def _proved(
    lacking: Sequence[Need],
    store: Store,
    data: Mapping[Data, Path],
    logs: Path,
    caches: Path,
    console: Console,
) -> dict[str, Certificate]:
    """New certificates by key, with a bar while they are made."""
    if not lacking:
        return {}
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        proofs = prove(lacking, store, data, logs, caches)
        tracked = progress.track(proofs, total=len(lacking), description="proving")
        return {certificate.key: certificate for certificate in tracked}


def _table(certificates: Sequence[tuple[Certificate, bool]]) -> Table:
    """A line for every task and framework:mode; dtypes side by side."""
    table = Table(
        title="Largest difference from the float64 reference, of any tensor at any step",
        caption="relative to the largest entry of each tensor; steps × rows that were compared, "
        "+ steps of a training in float64; "
        "~: above the limit, but no more than rounding alone makes; °: by an earlier certificate",
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        box=box.SIMPLE,
    )
    for name in ("task", "framework:mode"):
        table.add_column(name, overflow="fold")
    dtypes = [it for it in DTYPES if any(c.setup.dtype == it for c, _ in certificates)]
    for dtype in dtypes:
        table.add_column(dtype, justify="right", overflow="fold")
    rows: dict[tuple[str, ...], dict[str, Text]] = {}
    for certificate, cached in certificates:
        setup = certificate.setup
        row = (setup.task, _label(setup), setup.device, str(setup.threads))
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


def _label(setup: Setup) -> str:
    return setup.label if setup.lane == "identical" else f"{setup.label} ({setup.lane})"


def _print_failures(certificates: Sequence[Certificate], console: Console) -> None:
    for it in certificates:
        setup = it.setup
        where = f"{setup.task}, {_label(setup)}, {setup.dtype} on {setup.device}"
        said = "unsupported" if it.unsupported else "NOT PROVEN"
        style = "yellow" if it.unsupported else "red"
        console.print(Text(f"{where}: {said}: {it.why}", style), soft_wrap=True)


def _counted(shown: Sequence[tuple[Certificate, bool]], seconds: float) -> str:
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
    said = []
    for words, steps in (
        ("over whole trainings in float64", [it.steps for it in proofs if it.steps == it.planned]),
        ("over the first part of one", [it.steps for it in proofs if 0 < it.steps < it.planned]),
    ):
        if steps:
            said.append(f"{len(steps)} {words} ({span(min(steps), max(steps), 'step')})")
    return said
