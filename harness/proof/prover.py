"""`python -m harness.proof.prover FD PARENT`: prove one setup of a framework after the other.

A prover imports a framework once and forks a child for every setup, so that each has a process of
its own without the seconds that an import takes. Nothing of the framework is used before a fork
but what it declares as harmless (`Tuning.ahead`): threads, devices and graphs begin in the child.
If the import has started threads, children are not forked but start fresh.

A proof compares two adapters in lock step, then checks the behaviour of the examined one. `truth`
is the reference in float64. Both get the same batches, in the order of the shared start, epoch
after epoch. Every tensor of every step is compared at once, so nothing stale can be read.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from harness.adapter import Adapter, Options, Unsupported
from harness.cells import THROUGHPUT, Lane, Phase
from harness.certificates import ENDED, SUPPORTED, UNPROVABLE, Finding
from harness.differences import LIMITS, truth_of
from harness.errors import in_one_line
from harness.frameworks import declaration, phases_of, trains
from harness.proof import conduct, lockstep, rounding
from harness.proof.lockstep import FEWEST_ROWS, Oracle, Rows
from harness.proof.pool import IMPORT_SECONDS, PROVE, ChildFailed, Prove, Proved, in_child
from harness.proof.whole_training import Length, LongTraining, compare_trainings
from harness.tasks.costs import only_predicting
from harness.tasks.datasets import Arrays, open_staged
from harness.tasks.spec import Task
from harness.tasks.start import Start, make_start
from harness.worker.fork_server import left_behind
from harness.worker.messages import MAX_BYTES, connected
from harness.worker.session import NotImported, implementation, lacking, refuse_other_version
from harness.worker.system import adopt_orphans, hide_from

STEP_FLOPS = 2e8
"""Floating-point operations of one step of many that are compared: larger batches are cut to fewer
rows. One step is compared at the full batch too (`conduct.full_batch`)."""
WEIGHT_STEPS = 6e7
"""Weights times steps: of larger models fewer steps are compared."""
FEWEST_STEPS = 10


def examine(
    adapter: Adapter, oracle: Oracle, arrays: Arrays, lane: Lane = "identical", *, steps: int
) -> Proved:
    """Compare `adapter`, just built, with the reference over so many steps.

    The truth of `oracle` is just built too: mode eager, float64, on the CPU. In the idiomatic
    lane `adapter` is an `Idiom` and goes through its own loop. Of one that does not train outputs
    are compared, and its task has no slots. Raises what the adapter raises while numbers are
    compared; later an exception is the failure of one check.
    """
    rows = rows_compared(oracle.start.task)
    work = list(itertools.islice(batches(oracle.start, arrays, rows), steps))
    fewest = rounding.fewest_compared(len(work))
    begun = lockstep.at_the_start(adapter, oracle)
    lock = lockstep.run(adapter, oracle, lane, work, {conduct.AGAIN, fewest, len(work)})
    bounds = LIMITS[oracle.dtype]
    if not oracle.trains:
        bounds = replace(bounds, trajectory=bounds.one_step)  # none moves the weights
    settings = adapter.settings()  # later checks ask for batches of other sizes
    excused = rounding.excuses(oracle, work, rounding.sought(lock, bounds))
    lost = rounding.lost(lock, bounds, excused)
    compared = lock.up_to(lost[0] - 1) if lost else lock
    findings = [
        Finding(check="start", ok=begun.size == 0, detail=str(begun) if begun.size else ""),
        *lockstep.findings(compared, bounds, excused),
    ]
    if lost and lost[0] <= fewest:
        why = f"the reference in float32 differs as much: {lost[1]}, step {lost[0]}: "
        findings.append(Finding(check=UNPROVABLE, ok=False, detail=f"{why}{lock.rounded[lost]}"))
        compared = lock
    elif all(it.ok for it in findings):
        if lost:
            work = work[:fewest]
        bench = conduct.Bench(adapter, oracle, lane, work, arrays, lock)
        findings += conduct.conduct(bench)
    return Proved(
        findings=tuple(findings),
        divergence=tuple(compared.divergence),
        rows=rows,
        settings=settings,
    )


def rows_compared(task: Task) -> int:
    """Rows of a compared batch: the task's own unless a step would cost more than STEP_FLOPS."""
    affordable = int(STEP_FLOPS / (6 * task.parameters))
    return min(task.batch, max(FEWEST_ROWS, affordable))


def steps_compared(task: Task, steps: int) -> int:
    """How many of the steps that are asked for can be afforded, FEWEST_STEPS at the least."""
    return min(steps, max(FEWEST_STEPS, int(WEIGHT_STEPS / task.parameters)))


def batches(start: Start, arrays: Arrays, rows: int) -> Iterator[Rows]:
    """The rows of every step, epoch after epoch without end."""
    for epoch in itertools.count():
        for chosen in start.epoch_order(epoch)[:, :rows]:
            yield Rows(arrays.x_train[chosen], arrays.y_train[chosen])


def main() -> None:
    channel = connected()
    adopt_orphans()
    while True:
        try:
            request = PROVE.validate_json(channel.recv_bytes(MAX_BYTES))
        except EOFError:
            return
        channel.send_bytes(prove(request).model_dump_json().encode())


def prove(request: Prove) -> Proved:
    """Examine in a child, then, if asked to, count each phase's memory in children of their own."""
    begin, setup = time.monotonic(), request.setup
    try:
        framework = declaration(setup.framework)
        hide_from(framework)
        refuse_other_version(setup)
        with at_most(IMPORT_SECONDS), lacking(setup):
            importlib.import_module(truth_of(setup, request.tolerance))
            implementation(setup)
            ahead = framework.tuning.ahead.get(setup.mode)
            if ahead and _may_import_more(request):
                importlib.import_module(ahead)
        proved = Proved.model_validate_json(_forked(partial(_examined, request), request))
        if request.counted and all(it.ok for it in proved.findings):
            proved = _with_peaks(request, proved)
    except Unsupported as reason:
        proved = _ended(SUPPORTED, str(reason))
    except ChildFailed as failure:
        proved = _ended(ENDED, str(failure))
    except Exception as error:  # of the import
        traceback.print_exc()
        proved = _ended(ENDED, in_one_line(error, named=not isinstance(error, NotImported)))
    return proved.model_copy(update={"seconds": time.monotonic() - begin})


def _ended(check: str, detail: str) -> Proved:
    return Proved(findings=(Finding(check=check, ok=False, detail=detail),))


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """End this process if it takes longer: nothing gentler reaches what hangs outside Python."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _may_import_more(request: Prove) -> bool:
    """Whether a prover may import what a framework loads late: that may start a GPU, and one that
    was started before a fork can be used by no child."""
    return request.setup.device == "cpu"


def _forked(function: Callable[[], str], request: Prove) -> str:
    if lost := left_behind():
        framework = request.setup.framework
        print(f"{lost} run once {framework} is imported: nothing is forked", file=sys.stderr)
    return in_child(
        partial(_with_version, function, request),
        request.limit,
        keep_imports=_may_import_more(request),
        fresh=bool(lost),
    )


def _with_version(function: Callable[[], str], request: Prove) -> str:
    with lacking(request.setup):
        return function()


def _built(request: Prove, start: Start) -> tuple[Adapter, Options]:
    setup = request.setup
    hide_from(declaration(setup.framework))
    options = Options(setup.mode, setup.device, setup.threads, setup.dtype)
    return implementation(setup)(start.task, start, options), options


def _examined(request: Prove) -> str:
    """The proof that is asked for, short or long, as JSON."""
    setup, task, trained = request.setup, request.task, trains(request.setup.framework)
    start = make_start(task if trained else only_predicting(task), request.seed)
    arrays = open_staged(Path(request.data))
    adapter, options = _built(request, start)
    exact = Options("eager", "cpu", setup.threads, "float64")
    reference = importlib.import_module(truth_of(setup, request.tolerance))
    truth = reference.Adapter(start.task, start, exact)
    oracle = Oracle(truth, start, options, trained)
    if request.rows is not None:
        length = Length(request.steps, request.rows)
        finding, whole = compare_trainings(
            adapter, LongTraining(oracle, arrays, length, setup.lane)
        )
        return Proved(findings=(finding,), whole=whole).model_dump_json()
    return examine(adapter, oracle, arrays, setup.lane, steps=request.steps).model_dump_json()


def _with_peaks(request: Prove, proved: Proved) -> Proved:
    """Add logical peaks; one that cannot be true is a failure of the check `memory`."""
    peaks: dict[Phase, int | None] = {}
    why = ""
    for phase in phases_of(request.setup.framework, THROUGHPUT):
        try:
            counted = _forked(partial(_peak, request, phase), request)
            peaks[phase] = int(counted) if counted else None
            impossible = conduct.impossible_peak(peaks[phase], request.task, request.setup.dtype)
            why = why or impossible
        except ChildFailed as failure:
            why = why or f"counting it for {phase}: {failure}"
    findings = tuple(
        Finding(check="memory", ok=False, detail=why) if it.check == "memory" and why else it
        for it in proved.findings
    )
    return proved.model_copy(update={"findings": findings, "logical_peak": peaks})


def _peak(request: Prove, phase: Phase) -> str:
    """The logical peak of a phase; empty where the framework does not count."""
    task = request.task
    if phase == "predict":  # without slots, whatever an adapter brings along
        task = only_predicting(task)
    os.environ.update(declaration(request.setup.framework).tuning.accounting)
    start, arrays = make_start(task, request.seed), open_staged(Path(request.data))
    adapter, _ = _built(request, start)
    batch = next(batches(start, arrays, task.batch))
    peak = conduct.logical_peak(adapter, request.setup.lane, batch, phase)
    return "" if peak is None else str(peak)


if __name__ == "__main__":
    main()
