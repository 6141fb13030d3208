"""`baseline save` and `check`: has anything become worse?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from harness.cli import app
from harness.cli.console import Console, print_overruled, print_text
from harness.cli.results import stored_run, write_out
from harness.errors import CannotTell, CellsFailed, NotComparable, UsageError
from harness.gate import check as gate
from harness.gate.baseline import new_path, read, write
from harness.gate.check import DEFAULTS, plan_of_check, refuse_absent
from harness.gate.judging import limits_of
from harness.gate.older_code import located, unresolved
from harness.report import check as report
from harness.runs import RESULTS
from harness.runs.config import config_of, given, resolve
from harness.runs.files import measuring_alone
from harness.runs.plan import make_plan
from harness.runs.runner import measuring

Deterministic = Annotated[
    bool, typer.Option("--deterministic", help="Time nothing; compare only what repeats exactly.")
]


def baseline_save(
    name: Annotated[str, typer.Argument(help="The name of the baseline.")],
    from_run: Annotated[
        str | None, typer.Option("--from", help="Take the times of this run.", metavar="RUN")
    ] = None,
    tasks: app.Tasks = None,
    frameworks: app.Frameworks = None,
    lanes: app.Lanes = None,
    phases: app.Phases = None,
    devices: app.Devices = None,
    threads: app.Threads = None,
    dtypes: app.Dtypes = None,
    settings: app.Settings = None,
    data_dir: app.DataDir = None,
    task_file: app.TaskFile = None,
    deterministic: Deterministic = False,
    output: app.Output = RESULTS,
) -> None:
    """Raises UsageError, NotComparable, NotProven, CellsFailed."""
    flags, clocked = given(locals()), not deterministic
    new_path(name, output)
    if from_run is not None:
        if flags or not clocked:
            raise UsageError("--from takes the setups of the run; give it no other options")
        stored = stored_run(from_run, output)
        plan = gate.plan_of(stored, make_plan(config_of(stored)))
    else:
        plan = make_plan(resolve(None, DEFAULTS | flags))
    refuse_absent(plan, flags)
    console = Console(stderr=True)
    alone = measuring_alone() if clocked and from_run is None else nullcontext()
    print_overruled(plan, console)
    with measuring(output) as scratch, alone, _status(console) as tell:
        if from_run is not None:
            made = gate.save_from(plan, stored, name, tell, scratch)
        else:
            made = gate.save(plan, name, tell, scratch, clocked=clocked)
        path = write(made, output)
    if made.revision is None:
        why = unresolved("HEAD") or "this tree has changes"
        consequence = "a check cannot obtain this code, and will compare speed with stored figures"
        print_text(console, f"{why}: {consequence}")
    print(f"baseline: {path} ({len(made.entries)} setups)")


def check(
    baseline: Annotated[
        str | None, typer.Option(help="Compare with this baseline.", metavar="NAME")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="Take turns with older code: a git revision, or a folder.", metavar="REV"
        ),
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            help="Allow this much growth [default: speed:5%, memory:2%, program:0%].",
            metavar="NAME:SHARE",
        ),
    ] = None,
    tasks: app.Tasks = None,
    frameworks: app.Frameworks = None,
    lanes: app.Lanes = None,
    phases: app.Phases = None,
    devices: app.Devices = None,
    threads: app.Threads = None,
    dtypes: app.Dtypes = None,
    settings: app.Settings = None,
    data_dir: app.DataDir = None,
    task_file: app.TaskFile = None,
    deterministic: Deterministic = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    markdown: Annotated[
        Path | None,
        typer.Option(help="Also write the table to this Markdown file.", metavar="FILE"),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Print a line for every comparison.")
    ] = False,
    output: app.Output = RESULTS,
) -> None:
    """Raises the error that has the exit code of the outcome; see docs/exit-codes.md."""
    flags, clocked = given(locals()), not deterministic
    if baseline is None and against is None:
        raise UsageError("check with what? give --baseline NAME, or --against REV, or both")
    limits = limits_of(fail_on or [])
    if against is not None:
        located(against)
    kept = read(baseline, output) if baseline is not None else None
    plan = plan_of_check(kept, flags)
    console = Console(stderr=True)
    alone = measuring_alone() if clocked else nullcontext()
    print_overruled(plan, console)
    with measuring(output) as scratch, alone, _status(console) as tell:
        checked = gate.check(plan, kept, against, limits, tell, scratch, clocked=clocked)
    if markdown is not None:
        write_out([report.markdown(checked).encode("utf-8")], str(markdown))
    if json_:
        print(checked.model_dump_json(indent=1, ensure_ascii=True))
    else:
        report.render(checked, Console(), everything=verbose)
    _end(checked)


def _end(checked: gate.Checked) -> None:
    kind = gate.ENDS[checked.outcome]
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


@contextmanager
def _status(console: Console) -> Iterator[Callable[[str], None]]:
    """Show the present step on standard error, if that is a terminal."""
    if not console.is_terminal:
        yield lambda text: None
        return
    with console.status("") as status:
        yield lambda text: status.update(Text(text))
