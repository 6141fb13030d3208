"""`python -m benchmarks.studies.gate [--planted]`: does `check --against` cry wolf, does it sleep?

Twenty checks of unchanged code: this tree against its own last commit. With `--planted` twenty
checks of a copy of this tree whose reference takes every 20th step twice (`planted_impls/slowed`),
5.00 % more work by counting, against a copy that holds the same scratch memory and takes no step
twice. A check is the command's own: both codes in turns, with up to three checkpoints.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.studies.journal import Design, Journal, Run, page, percent, table
from benchmarks.studies.lab import Bench, asked, setups_of, study
from harness.analysis.verdicts import CHECKPOINTS
from harness.errors import HarnessError
from harness.gate.check import DEFAULTS, Checked, check
from harness.gate.judging import Thresholds
from harness.gate.older_code import ROOMS
from harness.runs.config import SAMPLE_SECONDS, resolve
from harness.runs.plan import make_plan
from harness.runs.process import ROOT

SLOWED = Path(__file__).parent / "planted_impls" / "slowed" / "adapter.py"
TASK, LABEL, RUNS, QUICK_CHECKPOINTS = "digits-mlp", "reference:replay", 20, (6,)
ALARMS, FOUND = 1, 18
HONEST = "impls.reference.honest"
"""Where a copy keeps the adapter that the slowed one stands on."""


def planted(folder: Path, period: int) -> Path:
    """A copy of this code whose reference takes every `period`-th step twice; never for 0."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    reference = folder / "impls" / "reference"
    (reference / "adapter.py").rename(reference / "honest.py")
    text = SLOWED.read_text(encoding="utf-8").replace("impls.reference.adapter", HONEST)
    slowed = text.replace("PERIODS[options.mode]", str(period))
    if slowed == text:
        raise HarnessError(f"{SLOWED}: no period to set")
    others = f"from {HONEST} import *  # noqa: F403\n"
    future = "from __future__ import annotations\n"
    slowed = slowed.replace(future, future + others)
    (reference / "adapter.py").write_text(slowed, encoding="utf-8")
    return folder


def refuse_changes() -> None:
    """Unchanged code is that of the last commit, or the study is none of unchanged code."""
    words = ["git", "-C", str(ROOT), "status", "--porcelain", "--", *ROOMS]
    if subprocess.run(words, capture_output=True, check=True).stdout:
        raise HarnessError(f"{ROOT}: commit the changes of {' and '.join(ROOMS)} first")


def one_check(
    number: int, slow: bool, checkpoints: Sequence[int], threads: int, folder: Path
) -> Run:
    began, begin = datetime.now().astimezone(), time.perf_counter()
    flags = {"tasks": (TASK,), "frameworks": (LABEL,), "phases": ("train",), "threads": (threads,)}
    plan = make_plan(resolve(None, DEFAULTS | flags))
    against, this = "HEAD", ROOT
    if slow:
        against, this = str(_once(folder / "plain", 0)), _once(folder / "slower", 20)
    with tempfile.TemporaryDirectory() as scratch:
        checked = check(
            plan,
            None,
            against,
            Thresholds(),
            lambda text: None,
            Path(scratch),
            checkpoints=checkpoints,
            this=this,
        )
    return Run(
        number=number,
        began=began.isoformat(timespec="seconds"),
        seconds=(time.perf_counter() - begin,),
        steps={},
        logs={},
        noise=(),
        extra=told(checked),
    )


def _once(folder: Path, period: int) -> Path:
    return folder if folder.exists() else planted(folder, period)


def told(checked: Checked) -> dict[str, Any]:
    """The outcome, the line of the speed, and whatever else was not fine."""
    (speed,) = [it for it in checked.lines if it.what == "speed"]
    others = [it.what for it in checked.lines if it.what != "speed" and it.outcome != "fine"]
    return {
        "outcome": checked.outcome,
        "exit_code": checked.exit_code,
        "change": speed.change,
        "low": speed.low,
        "high": speed.high,
        "blocks": int(speed.detail.split()[0]),
        "others": others,
    }


def summary(journal: Journal) -> str:
    slow = journal.design.study.endswith("planted")
    found = Counter(run.extra["outcome"] for run in journal.runs)
    n, alarms = len(journal.runs), found["regression"]
    met = alarms >= FOUND * n / RUNS if slow else alarms <= ALARMS * n / RUNS
    said = "met" if met and n >= RUNS else "not met" if not met else "too few runs to say"
    bar = f"found in at least {FOUND} of {RUNS}" if slow else f"at most {ALARMS} alarm in {RUNS}"
    changes = [run.extra["change"] for run in journal.runs]
    others = sorted({it for run in journal.runs for it in run.extra["others"]})
    what = "A planted slowdown of 5 %" if slow else "Unchanged code"
    return page(
        f"{what}, by `check --against`",
        journal,
        f"The bar, {bar}: **{said}** ({alarms} of {n} checks said *regression*).",
        table(("outcome", "checks"), [(name, count) for name, count in sorted(found.items())]),
        f"The median estimate is {percent(statistics.median(changes))} more time, from "
        f"{percent(min(changes))} to {percent(max(changes))}; the median check took "
        f"{statistics.median(run.extra['blocks'] for run in journal.runs):.0f} blocks and "
        f"{statistics.median(run.seconds[0] for run in journal.runs):.0f} s. "
        + (f"Not fine besides: {', '.join(others)}." if others else "All else was fine."),
    )


def main() -> None:
    given = asked(
        "gate",
        "Checks of this code against itself, or of a copy that is slower by 5 %.",
        RUNS,
        1,
        planted="of a copy that takes every 20th step twice",
    )
    slow, checkpoints = "planted" in given.flags, QUICK_CHECKPOINTS if given.quick else CHECKPOINTS
    design = Design(
        study="gate-planted" if slow else "gate-unchanged",
        task=TASK,
        setups=setups_of([LABEL, LABEL], TASK, given.threads),
        pairs=(),
        phases=("train",),
        blocks=checkpoints[-1],
        rounds=DEFAULTS["rounds"],
        sample_seconds=SAMPLE_SECONDS,
        warmup_seconds=DEFAULTS["warmup_seconds"],
    )

    def run(bench: Bench, number: int) -> Run:
        if not slow:
            refuse_changes()
        return one_check(number, slow, checkpoints, given.threads, bench.data.parent)

    study(design, given, run, summary)


if __name__ == "__main__":
    main()
