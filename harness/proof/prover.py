"""`python -m harness.proof.prover FD PARENT`: prove one setup of a framework after the other.

A prover imports a framework once and forks a child for every setup, so that each has a process of
its own without the seconds that an import takes. Nothing of the framework is used before a fork
but what it declares as harmless (`Tuning.ahead`): threads, devices and graphs begin in the child.
If the import has started threads, children are not forked but start fresh.

A proof compares two adapters in lock step, then checks how the examined one conducts itself.
`truth` is the reference in float64. Both get the same batches, in the order of the shared start,
epoch after epoch. Every tensor of every step is compared at once, so nothing stale can be read.
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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from harness.adapter import Adapter, Framework, Options, Setting, Unsupported
from harness.cells import THROUGHPUT, Dtype, Lane, Phase
from harness.certificates import ENDED, SUPPORTED, UNPROVABLE, Divergence, Finding, Tolerance
from harness.differences import Difference, limits, truth_of
from harness.errors import in_one_line
from harness.frameworks import phases_of, trains
from harness.proof import conduct, lockstep, rounding
from harness.proof.conduct import impossible, logical_peak
from harness.proof.lockstep import FEWEST_ROWS, Rows, Truth, in_float64
from harness.proof.pool import IMPORT_SECONDS, PROVE, ChildFailed, Prove, Proved, in_child
from harness.proof.rounding import excuses
from harness.proof.whole_training import Length, LongTraining, train_beside
from harness.tasks.costs import only_predicting
from harness.tasks.datasets import Arrays, open_staged
from harness.tasks.spec import Task
from harness.tasks.start import Start, make_start
from harness.worker.fork_server import left_behind
from harness.worker.messages import MAX_BYTES, connected
from harness.worker.system import adopt_orphans, hide_from

STEP_FLOPS = 2e8
"""Floating-point operations of one step of many that are compared: larger batches are cut to fewer
rows. One step is compared at the full batch besides (`conduct.full_batch`)."""
WEIGHT_STEPS = 6e7
"""Weights times steps: of larger models fewer steps are compared."""
FEWEST_STEPS = 10


@dataclass(frozen=True)
class Examination:
    """What was found; `divergence` has one entry a step, `rows` is the compared batches' size."""

    findings: tuple[Finding, ...]
    divergence: tuple[Divergence, ...]
    settings: dict[str, Setting]
    rows: int


def examine(
    adapter: Adapter,
    truth: Truth,
    task: Task,
    start: Start,
    arrays: Arrays,
    options: Options,
    *,
    steps: int,
    tolerance: Tolerance,
    lane: Lane = "identical",
    trains: bool = True,
) -> Examination:
    """Hold `adapter`, just built with `options`, to `truth` over so many steps.

    `truth` is the reference's adapter, just built: mode eager, float64, on the CPU. In the
    idiomatic lane `adapter` is an `Idiom` and goes through its own loop. Of one that does not train
    outputs are compared, and `task` has no slots. Raises what the adapter raises while numbers are
    compared; later an exception is the failure of one check.
    """
    dtype, rows = cast("Dtype", options.dtype), rows_compared(task)
    work = list(itertools.islice(batches(task, start, arrays, rows), steps))
    fewest = rounding.fewest_compared(len(work))
    begun = lockstep.at_the_start(adapter, truth, start, dtype)
    keep, rounded = {conduct.AGAIN, len(work)}, None
    excused: Callable[[Mapping[lockstep.Place, Difference]], dict[lockstep.Place, float]]
    excused = rounding.nothing_excused
    if dtype == "float32":
        keep.add(fewest)
        rounded = type(truth)(task, start, replace(in_float64(options), dtype=dtype))
        excused = partial(excuses, truth, start, options, work)
    bounds = limits(tolerance, dtype)
    if trains:
        lock = lockstep.run(adapter, truth, lane, dtype, work, keep, rounded)
    else:
        lock = lockstep.outputs_only(adapter, truth, lane, dtype, work)
        bounds = replace(bounds, trajectory=bounds.one_step)  # none moves the weights
        if dtype == "float32":
            excused = partial(rounding.outputs_excuses, type(truth), start, options, work)
    settings = adapter.settings()  # later checks ask for batches of other sizes
    allowed = excused(rounding.sought(lock, bounds))
    lost = rounding.lost(lock, bounds, allowed)
    compared = lock.up_to(lost[0] - 1) if lost else lock
    found = (
        Finding(check="start", ok=begun.size == 0, detail=str(begun) if begun.size else ""),
        *lockstep.findings(compared, bounds, allowed),
    )
    if lost and lost[0] <= fewest:
        why = f"the reference in float32 differs as much: {lost[1]}, step {lost[0]}: "
        found += (Finding(check=UNPROVABLE, ok=False, detail=f"{why}{lock.rounded[lost]}"),)
        compared = lock
    elif all(it.ok for it in found):
        steps = fewest if lost else len(work)
        bench = conduct.Bench(
            adapter,
            truth,
            lane,
            start,
            options,
            dtype,
            work[:steps],
            arrays,
            lock,
            limits("exact", dtype),
            excused,
            trains,
        )
        found += conduct.conduct(bench)
    return Examination(found, tuple(compared.divergence), settings, rows)


def rows_compared(task: Task) -> int:
    """Rows of a compared batch: the task's own unless a step would cost more than STEP_FLOPS."""
    affordable = int(STEP_FLOPS / (6 * task.parameters))
    return min(task.batch, max(FEWEST_ROWS, affordable))


def steps_compared(task: Task, steps: int) -> int:
    """How many of the steps that are asked for can be afforded, FEWEST_STEPS at the least."""
    return min(steps, max(FEWEST_STEPS, int(WEIGHT_STEPS / task.parameters)))


def batches(task: Task, start: Start, arrays: Arrays, rows: int) -> Iterator[Rows]:
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
    begin = time.monotonic()
    try:
        hide_from(_framework(request))
        with at_most(IMPORT_SECONDS):
            for name in _imports(request):
                importlib.import_module(name)
        examined = _examined if request.rows is None else _trained
        proved = Proved.model_validate_json(_forked(partial(examined, request), request))
        if request.counted and all(it.ok for it in proved.findings):
            proved = _with_peaks(request, proved)
    except Unsupported as reason:
        proved = _ended(SUPPORTED, str(reason))
    except ChildFailed as failure:
        proved = _ended(ENDED, str(failure))
    except Exception as error:  # of the import
        traceback.print_exc()
        proved = _ended(ENDED, in_one_line(error))
    return proved.model_copy(update={"seconds": time.monotonic() - begin})


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """End this process if it takes longer: nothing gentler reaches what hangs outside Python."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _imports(request: Prove) -> Iterator[str]:
    """The modules that a prover imports before it forks."""
    yield _truth(request)
    yield implementation(request)
    ahead = _framework(request).tuning.ahead.get(request.setup.mode)
    if ahead and _may_import_more(request):
        yield ahead


def _may_import_more(request: Prove) -> bool:
    """Whether a prover may import what a framework loads late: that may start a GPU, and one that
    was started before a fork can be used by no child."""
    return request.setup.device == "cpu"


def _forked(function: Callable[[], str], request: Prove) -> str:
    if lost := left_behind():
        who = request.setup.framework
        print(f"{lost} run once {who} is imported: nothing is forked", file=sys.stderr)
    fresh = bool(lost)
    return in_child(function, request.limit, keep_imports=_may_import_more(request), fresh=fresh)


def _framework(request: Prove) -> Framework:
    framework: Framework = importlib.import_module(f"impls.{request.setup.framework}").FRAMEWORK
    return framework


def _truth(request: Prove) -> str:
    return truth_of(_framework(request), request.setup.mode, request.tolerance)


def implementation(request: Prove) -> str:
    """The module that has the adapter of a setup."""
    kind = {"identical": "adapter", "idiomatic": "idiom"}[request.setup.lane]
    return f"impls.{request.setup.framework}.{kind}"


def _built(request: Prove) -> Adapter:
    hide_from(_framework(request))
    module = importlib.import_module(implementation(request))
    kind: Callable[..., Any] = module.Adapter if request.setup.lane == "identical" else module.Idiom
    adapter: Adapter = kind(request.task, make_start(request.task, request.seed), _options(request))
    return adapter


def _options(request: Prove) -> Options:
    setup = request.setup
    return Options(setup.mode, setup.device, setup.threads, setup.dtype)


def _examined(request: Prove) -> str:
    trained = trains(request.setup.framework)
    if not trained:
        request = request.model_copy(update={"task": only_predicting(request.task)})
    start = make_start(request.task, request.seed)
    exact = Options("eager", "cpu", request.setup.threads, "float64")
    examination = examine(
        _built(request),
        importlib.import_module(_truth(request)).Adapter(request.task, start, exact),
        request.task,
        start,
        open_staged(Path(request.data)),
        _options(request),
        steps=request.steps,
        tolerance=request.tolerance,
        lane=request.setup.lane,
        trains=trained,
    )
    return Proved(
        seconds=0.0,
        findings=examination.findings,
        divergence=examination.divergence,
        rows=examination.rows,
        settings=examination.settings,
    ).model_dump_json()


def _trained(request: Prove) -> str:
    """A long proof."""
    start, task = make_start(request.task, request.seed), request.task
    exact = Options("eager", "cpu", request.setup.threads, "float64")
    length = Length(request.steps, request.rows or task.batch)
    finding, proof = train_beside(
        _built(request),
        importlib.import_module(_truth(request)).Adapter(task, start, exact),
        LongTraining(task, start, open_staged(Path(request.data)), length, request.setup.lane),
        _options(request),
        request.tolerance,
    )
    return Proved(seconds=0.0, findings=(finding,), whole=proof).model_dump_json()


def _with_peaks(request: Prove, proved: Proved) -> Proved:
    """Add logical peaks; one that cannot be true is a failure of the check `memory`."""
    peaks: dict[Phase, int | None] = {}
    why = ""
    for phase in phases_of(request.setup.framework, THROUGHPUT):
        try:
            told = _forked(partial(_peak, request, phase), request)
            peaks[phase] = int(told) if told else None
            why = why or impossible(peaks[phase], request.task, request.setup.dtype)
        except ChildFailed as failure:
            why = why or f"counting it for {phase}: {failure}"
    findings = tuple(
        Finding(check="memory", ok=False, detail=why) if it.check == "memory" and why else it
        for it in proved.findings
    )
    return proved.model_copy(update={"findings": findings, "logical_peak": peaks})


def _peak(request: Prove, phase: Phase) -> str:
    if phase == "predict":  # who only predicts keeps no slots, whatever an adapter brings along
        request = request.model_copy(update={"task": only_predicting(request.task)})
    os.environ.update(_framework(request).tuning.accounting)
    arrays, batch = open_staged(Path(request.data)), request.task.batch
    rows = make_start(request.task, request.seed).epoch_order(0)[0][:batch]
    adapter = _built(request)
    peak = logical_peak(
        adapter, request.setup.lane, Rows(arrays.x_train[rows], arrays.y_train[rows]), phase
    )
    return "" if peak is None else str(peak)


def _ended(check: str, detail: str) -> Proved:
    return Proved(seconds=0.0, findings=(Finding(check=check, ok=False, detail=detail),))


if __name__ == "__main__":
    main()
