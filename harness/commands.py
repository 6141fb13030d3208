"""What the commands do, put together from the rooms below."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from harness import verifying
from harness.analysis.summary import summarise_run
from harness.errors import CellsFailed, DataError, UsageError
from harness.frameworks import default_modes
from harness.records import Run
from harness.report.live import Plain, Screen, Silent
from harness.report.terminal import render
from harness.report.write import write_report
from harness.runs import runner
from harness.runs.config import RunConfig, parse_seconds, resolve
from harness.runs.engines import LocalEngine
from harness.runs.plan import Plan, make_plan
from harness.runs.schedule import planned_seconds
from harness.runs.store import Store, create, open_existing
from harness.tasks.datasets import data_directory


def run(
    flags: dict[str, Any],
    config: Path | None,
    output: Path,
    manner: str,
    *,
    dry_run: bool,
    resume: str | None,
) -> None:
    """Plan, measure, report. Raises UsageError before anything is written, CellsFailed after."""
    if "budget" in flags:
        flags["budget"] = parse_seconds(flags["budget"])
    if resume is not None:
        if flags or config:
            raise UsageError("--resume goes on as the run began; give it no other options")
        plan = make_plan(_config_of(resume, output))
    else:
        plan = make_plan(resolve(config, flags))
    console = Console()
    if dry_run:
        _print_plan(plan, console)
        return
    finished = _measure(plan, output, manner, console, resume)
    _finish(finished, output, console)


def _measure(plan: Plan, output: Path, manner: str, console: Console, resume: str | None) -> Run:
    with runner.measuring(output), create(output) as store:
        name = resume or runner.run_name(plan, store.runs())
        folder = output / name
        with runner.staged_data(plan, folder / "scratch") as data:
            done = runner.finished_blocks(store.load(name).records if resume else ())
            _print_unavailable(plan, console)
            proofs = verifying.prove_first(
                plan, store, data, folder, None if manner == "quiet" else console
            )
            if not resume:
                store.add_run(runner.make_info(plan, name), plan.tasks)
            store.relate(name, [it.key for it in proofs])
            unranked = {it.setup for it in proofs if not it.proven}
            displays = {"quiet": Silent, "plain": Plain, "screen": Screen}
            shown = manner if manner != "screen" or console.is_terminal else "plain"
            with displays[shown](console, plan.tasks) as display:
                engine = LocalEngine(folder / "logs", folder / "scratch" / "caches")
                blocks = runner.Runner(plan, name, store, engine, data, display, unranked)
                _run_blocks(blocks, done)
        return store.load(name)


def _run_blocks(blocks: runner.Runner, done: runner.Done) -> None:
    try:
        blocks.run(done)
    except KeyboardInterrupt:
        # What was measured is kept and reported; `_finish` gives the exit code.
        return


def _finish(finished: Run, output: Path, console: Console) -> None:
    folder = output / finished.info.name
    write_report(finished, folder)
    render(finished, summarise_run(finished, default_modes()), console)
    console.print(Text(f"\nreport: {folder / 'report.html'}"), soft_wrap=True)
    if finished.stopped_by == runner.INTERRUPTED:
        raise KeyboardInterrupt
    bad = [record for record in finished.records if record.status != "ok"]
    if bad:
        raise CellsFailed(
            f"{len(bad)} of {len(finished.records)} trials did not end well; see above"
        )


def _config_of(name: str, output: Path) -> RunConfig:
    with open_existing(output) as store:
        info = store.load(name).info
    if info.merged:
        raise UsageError(f"{name} was merged from other runs; resume those, and merge again")
    return RunConfig.model_validate(info.config)


def _print_unavailable(plan: Plan, console: Console) -> None:
    for it in plan.unavailable:
        console.print(Text(f"left out: {it.what}: {it.reason}"), soft_wrap=True)


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
    console.print(f"about {planned_seconds(plan):.0f} s; a rough guess before anything has run")
    if config.budget:
        console.print(f"budget: {config.budget:.0f} s")
    _print_unavailable(plan, console)


def report(name: str | None, output: Path) -> None:
    """Write the report of a stored run again."""
    with open_existing(output) as store:
        stored = store.load(_named(name, store))
    folder = output / stored.info.name
    write_report(stored, folder)
    Console().print(Text(f"report: {folder / 'report.html'}"), soft_wrap=True)


def show(name: str | None, output: Path) -> None:
    """Print the result of a stored run."""
    with open_existing(output) as store:
        stored = store.load(_named(name, store))
    render(stored, summarise_run(stored, default_modes()), Console())


def _named(name: str | None, store: Store) -> str:
    runs = store.runs()
    if name is None and not runs:
        raise UsageError("there is no run here yet; make one with: python -m harness run")
    return name or runs[-1]


def fetch(name: str, data_dir: Path | None) -> None:
    """Download what is absent or broken of a data set."""
    from harness.tasks import fetch as fetching

    directory = data_directory(data_dir)
    got = fetching.fetch(name, directory, progress=sys.stderr.isatty())
    for path in got:
        print(f"got {path}")
    print(f"{name}: complete in {directory / name}")


def verify(name: str | None, data_dir: Path | None) -> None:
    """Print the state of every file; raises DataError if one that is there is broken."""
    from harness.tasks import fetch as fetching

    directory = data_directory(data_dir)
    states = [
        state
        for known in ([name] if name else fetching.SOURCES)
        for state in fetching.verify(known, directory)
    ]
    for state in states:
        print(f"{state.state:9}  {state.path}")
    broken = [state for state in states if state.state not in ("ok", "absent")]
    if broken:
        raise DataError(broken[0].detail)
    if name and any(state.state == "absent" for state in states):
        raise DataError(f"{name} is not complete; get it with: python -m harness data fetch {name}")
