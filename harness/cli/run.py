"""`run`: plan, prove, measure, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import app
from harness.cli.console import Console, print_left_out, print_overruled, print_text
from harness.cli.proof import label_in_lane, prove_first
from harness.cli.results import show_and_report, stored_run
from harness.errors import CellsFailed, StoreError, UsageError
from harness.frameworks import trains
from harness.records import Run
from harness.report.format import duration
from harness.report.terminal import Plain, Screen, Silent
from harness.report.write import refuse_links
from harness.runs import RESULTS, runner
from harness.runs.config import config_of, given, resolve
from harness.runs.contention import QuietWait
from harness.runs.engines import LocalEngine
from harness.runs.files import measuring_alone, output_option, within
from harness.runs.interrupts import patient
from harness.runs.plan import Done, Plan, finished_blocks, make_plan, refuse_changed
from harness.runs.schedule import planned_seconds
from harness.runs.store import StoreGone, create

DISPLAYS = {"quiet": Silent, "plain": Plain, "screen": Screen}


def run(
    tasks: app.Tasks = None,
    frameworks: app.Frameworks = None,
    lanes: app.Lanes = None,
    phases: app.Phases = None,
    devices: app.Devices = None,
    threads: app.Threads = None,
    dtypes: app.Dtypes = None,
    settings: app.Settings = None,
    preset: Annotated[
        str | None,
        typer.Option(help="Use the preset quick (the default), standard or full.", metavar="NAME"),
    ] = None,
    blocks: Annotated[
        int | None,
        typer.Option(help="Number of blocks; with --precision, the maximum.", metavar="N"),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="Stop when every ratio is known this precisely, such as 2%.", metavar="SHARE"
        ),
    ] = None,
    twin: Annotated[
        bool | None,
        typer.Option(
            "--twin/--no-twin",
            help="Measure one setup twice (an A/A test). The difference is the noise floor.",
        ),
    ] = None,
    fork: Annotated[
        bool | None,
        typer.Option(
            "--fork/--no-fork",
            help="Fork workers from a process that has imported their framework, where safe.",
        ),
    ] = None,
    wait_: Annotated[
        bool,
        typer.Option(
            "--wait/--no-wait", help="Wait up to a minute for a quiet machine.", show_default=False
        ),
    ] = True,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Begin no block that would end after this time: 120s, 10m, 1h.", metavar="TIME"
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Train every setup this many times to the end.", metavar="N")
    ] = None,
    memory_limit: Annotated[
        str | None, typer.Option(help="Limit the memory of each worker: 2G, 512M.", metavar="SIZE")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            help="Measure one part of the comparisons: 1/3 is the first third.", metavar="I/N"
        ),
    ] = None,
    data_dir: app.DataDir = None,
    task_file: app.TaskFile = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Start every training from the weights in this npz file.", metavar="FILE"
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="Read options from this TOML file; flags override it.", metavar="FILE"),
    ] = None,
    output: app.Output = RESULTS,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and its expected time, then exit.")
    ] = False,
    resume: Annotated[
        str | None, typer.Option(help="Resume an unfinished run.", metavar="RUN")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="With --resume: repeat blocks with failures.")
    ] = False,
    fresh: app.Fresh = False,
    whole: app.WholeTraining = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the result only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print a line for every block.")] = (
        False
    ),
) -> None:
    """Raises UsageError before anything is written, CellsFailed after the report is."""
    flags = given(locals()) | ({} if wait_ else {"wait": 0.0})
    if resume is not None:
        if flags or config:
            raise UsageError("--resume continues with the options of the run; give no others")
        plan = plan_to_resume(resume, output)
    elif retry_failed:
        raise UsageError("--retry-failed goes with --resume RUN")
    else:
        plan = make_plan(resolve(config, flags))
    console = Console()
    if dry_run:
        _print_plan(plan, console)
        return
    runner.check_data(plan)
    manner = "quiet" if quiet else "plain" if verbose or not console.is_terminal else "screen"
    finished = measure(plan, output, manner, console, resume, retry=retry_failed, fresh=fresh)
    _finish(finished, output, console)


def measure(
    plan: Plan,
    output: Path,
    manner: str,
    console: Console,
    resume: str | None,
    *,
    retry: bool = False,
    fresh: bool = False,
) -> Run:
    """Prove and measure everything that a plan holds, and return the stored run."""
    with runner.measuring(output) as scratch, measuring_alone(), create(output) as store:
        name = resume or runner.run_name(plan, store.runs(), output)
        folder = within(output, name)
        within(output, name, "logs")
        refuse_links(output, name)
        with runner.staged_data(plan, scratch / "data") as data:
            done = finished_blocks(())
            if resume is not None:
                records, attempts = store.load(resume).records, store.attempts(resume)
                done = finished_blocks(records, attempts, retry=retry)
            print_left_out(plan.unavailable, console, plan.notes)
            print_overruled(plan, console)
            proofs = prove_first(
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
            fork = plan.config.fork
            with (
                LocalEngine(folder / "logs", scratch / "caches", fork=fork) as engine,
                DISPLAYS[manner](console, plan.tasks) as display,
                patient() as ending,
            ):
                most = min(plan.config.wait, planned_seconds(plan))
                quiet = QuietWait(most, display.note, ending)
                blocks = runner.Runner(
                    plan, name, store, engine, data, display, unranked, ending, quiet
                )
                run_blocks(blocks, done, f"{name}{output_option(output)}")
        return store.load(name)


def run_blocks(blocks: runner.Runner, done: Done, way: str) -> None:
    """Run what is not done yet. `way` is the end of the command that would resume the run."""
    try:
        blocks.run(done)
    except KeyboardInterrupt:
        # What was measured is kept and reported; `_finish` gives the exit code.
        return
    except StoreGone:
        raise
    except StoreError as error:
        kept = "everything stored before is kept; once the cause is fixed, continue with"
        raise StoreError(f"{error}; {kept}: python -m harness run --resume {way}") from error


def _finish(finished: Run, output: Path, console: Console) -> None:
    show_and_report(finished, output, console)
    if finished.stopped_by == runner.INTERRUPTED:
        raise KeyboardInterrupt
    bad = sum(record.status != "ok" for record in finished.records)
    if bad:
        raise CellsFailed(f"{bad} of {len(finished.records)} trials failed; see above")


def plan_to_resume(name: str, output: Path) -> Plan:
    """The plan that a stored run began with. Raises UsageError where it cannot continue so."""
    begun = stored_run(name, output)
    if begun.info.merged:
        raise UsageError(f"{name} was merged from other runs; resume those, and merge again")
    plan = make_plan(config_of(begun))
    refuse_changed(begun, plan)
    return plan


def _print_plan(plan: Plan, console: Console) -> None:
    config = plan.config
    for group in plan.groups:
        setup = group.setups[0]
        where = f"{setup.device}, {setup.threads} threads, {setup.dtype}"
        names = ", ".join(map(label_in_lane, group.setups))
        print_text(console, f"{group.task.name} ({where}): {names}")
    many = f"at most {config.blocks}" if config.precision else f"{config.blocks}"
    phases = ", ".join(config.phases)
    trainings = f"{config.seeds} full training{'s' * (config.seeds != 1)}"
    print_text(console, f"{many} blocks each, {phases}; {trainings} of each setup that trains")
    for framework in dict.fromkeys(it.framework for it in plan.setups):
        if not trains(framework):
            print_text(console, f"{framework} only predicts")
    if config.precision:
        precision, least = f"{100 * config.precision:.3g} %", config.least_blocks
        print_text(console, f"until ratios are known to ±{precision}, after {least} at least")
    needed = planned_seconds(plan)
    if config.budget and config.budget < needed:
        print_text(console, f"{duration(config.budget)}: the budget will end it")
    else:
        text = f"about {duration(needed)}; a rough guess before anything has run"
        print_text(console, text)
    print_left_out(plan.unavailable, console, plan.notes)
    print_overruled(plan, console)
