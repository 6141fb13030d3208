"""What `run` does, put together from the rooms below."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.text import Text

from harness import verifying
from harness.analysis.summary import summarise_run
from harness.console import Console
from harness.errors import (
    CellsFailed,
    ReportError,
    StoreError,
    UsageError,
)
from harness.frameworks import default_modes
from harness.listing import print_left_out
from harness.records import Run
from harness.report.format import duration
from harness.report.terminal import Plain, Screen, Silent, render
from harness.runs import runner
from harness.runs.config import config_of, resolve
from harness.runs.contention import QuietWait
from harness.runs.engines import LocalEngine
from harness.runs.files import measuring_alone, within
from harness.runs.interrupts import patient
from harness.runs.plan import Done, Plan, finished_blocks, make_plan, refuse_changed
from harness.runs.schedule import planned_seconds
from harness.runs.store import Store, StoreGone, create, open_existing
from harness.showing import elsewhere, refuse_links, write


def run(
    flags: dict[str, Any],
    config: Path | None,
    output: Path,
    manner: str,
    *,
    dry_run: bool,
    resume: str | None,
    retry: bool = False,
    fresh: bool = False,
) -> None:
    """Plan, measure, report. Raises UsageError before anything is written, CellsFailed after."""
    if resume is not None:
        if flags or config:
            raise UsageError("--resume goes on as the run began; give it no other options")
        plan = _plan_of(resume, output)
    elif retry:
        raise UsageError("--retry-failed goes with --resume RUN")
    else:
        plan = make_plan(resolve(config, flags))
    console = Console()
    if dry_run:
        _print_plan(plan, console)
        return
    runner.check_data(plan)
    finished = _measure(plan, output, manner, console, resume, retry=retry, fresh=fresh)
    _finish(finished, output, console)


def _measure(
    plan: Plan,
    output: Path,
    manner: str,
    console: Console,
    resume: str | None,
    *,
    retry: bool = False,
    fresh: bool = False,
) -> Run:
    with (
        runner.measuring(output) as scratch,
        measuring_alone(),
        create(output) as store,
    ):
        name = resume or runner.run_name(plan, store.runs(), output)
        folder = within(output, name)
        within(output, name, "logs")
        refuse_links(output, name)
        with runner.staged_data(plan, scratch / "data") as data:
            done = _done(store, resume, retry)
            print_left_out(plan.unavailable, console, plan.notes)
            verifying.print_overruled(plan, console)
            proofs = verifying.prove_first(
                plan,
                store,
                data,
                folder / "logs",
                scratch / "proof",
                None if manner == "quiet" else console,
                fresh=fresh,
            )
            if not resume:
                store.add_run(runner.make_info(plan, name), plan.tasks)
            store.relate(name, [it.key for it in proofs])
            unranked = {it.setup for it in proofs if not it.proven}
            displays = {"quiet": Silent, "plain": Plain, "screen": Screen}
            shown = manner if manner != "screen" or console.is_terminal else "plain"
            fork = plan.config.fork
            with (
                LocalEngine(folder / "logs", scratch / "caches", fork=fork) as engine,
                displays[shown](console, plan.tasks) as display,
                patient() as ending,
            ):
                most = min(plan.config.wait, planned_seconds(plan))
                quiet = QuietWait(most, display.note, ending)
                blocks = runner.Runner(
                    plan, name, store, engine, data, display, unranked, ending, quiet
                )
                _run_blocks(blocks, done, f"{name}{elsewhere(output)}")
        return store.load(name)


def _done(store: Store, resume: str | None, retry: bool) -> Done:
    if resume is None:
        return finished_blocks(())
    records, attempts = store.load(resume).records, store.attempts(resume)
    return finished_blocks(records, attempts, retry=retry)


def _run_blocks(blocks: runner.Runner, done: Done, way: str) -> None:
    try:
        blocks.run(done)
    except KeyboardInterrupt:
        # What was measured is kept and reported; `_finish` gives the exit code.
        return
    except StoreGone:
        raise
    except StoreError as error:
        kept = "what was kept before that stands; when it is mended go on with"
        raise StoreError(f"{error}; {kept}: python -m harness run --resume {way}") from error


def _finish(finished: Run, output: Path, console: Console) -> None:
    unwritten = None
    try:
        write(finished, output)
    except ReportError as error:
        unwritten = error  # the terminal can still have the result
    render(finished, summarise_run(finished, default_modes()), console)
    if unwritten:
        raise unwritten
    where = output / finished.info.name / "report.html"
    console.print(Text(f"\nreport: {where}"), soft_wrap=True)
    if finished.stopped_by == runner.INTERRUPTED:
        raise KeyboardInterrupt
    bad = [record for record in finished.records if record.status != "ok"]
    if bad:
        raise CellsFailed(
            f"{len(bad)} of {len(finished.records)} trials did not end well; see above"
        )


def _plan_of(name: str, output: Path) -> Plan:
    """As a run began. Raises UsageError where it could not go on so."""
    with open_existing(output) as store:
        begun = store.load(name)
    if begun.info.merged:
        raise UsageError(f"{name} was merged from other runs; resume those, and merge again")
    plan = make_plan(config_of(begun))
    refuse_changed(begun, plan)
    return plan


def _print_plan(plan: Plan, console: Console) -> None:
    config = plan.config
    for arena in plan.arenas:
        setup = arena.setups[0]
        where = f"{setup.device}, {setup.threads} threads, {setup.dtype}"
        names = ", ".join(
            it.label if it.lane == "identical" else f"{it.label} ({it.lane})" for it in arena.setups
        )
        console.print(Text(f"{arena.task.name} ({where}): {names}"), soft_wrap=True)
    many = f"at most {config.blocks}" if config.precision else f"{config.blocks}"
    phases = ", ".join(config.phases)
    console.print(
        Text(f"{many} blocks each, {phases}; {config.seeds} full training(s) of each setup"),
        soft_wrap=True,
    )
    if config.precision:
        least = config.least_blocks
        console.print(
            f"until ratios are known to ±{100 * config.precision:.3g} %, after {least} at least"
        )
    needed = planned_seconds(plan)
    if config.budget and config.budget < needed:
        console.print(f"{duration(config.budget)}: the budget will end it")
    else:
        console.print(f"about {duration(needed)}; a rough guess before anything has run")
    print_left_out(plan.unavailable, console, plan.notes)
    verifying.print_overruled(plan, console)
