"""`python -m harness.proof.prover FD PARENT`: prove one setup of a framework after the other.

A prover imports a framework once and forks a child for every setup, so that each has a process of
its own without the seconds that an import takes. Nothing of the framework is used before a fork
but what it names as harmless (`Framework.ahead`): threads, devices and graphs begin in the child.
Where an import has started threads all the same, children are not forked but start fresh.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from harness.adapter import Adapter, Framework, Options, Unsupported
from harness.cells import THROUGHPUT, Phase
from harness.certificates import ENDED, SUPPORTED, Finding
from harness.errors import in_one_line
from harness.proof.children import ChildFailed, in_child
from harness.proof.drive import Rows
from harness.proof.examine import examine
from harness.proof.messages import IMPORT_SECONDS, PROVE, Prove, Proved
from harness.proof.peaks import impossible, logical_peak
from harness.proof.whole_training import Length, LongTraining, train_beside
from harness.tasks.costs import only_predicting
from harness.tasks.datasets import open_staged
from harness.tasks.start import make_start
from harness.tolerances import TRUTH
from harness.worker.descendants import adopt_orphans
from harness.worker.forking import left_behind
from harness.worker.hiding import hide_from
from harness.worker.lifeline import connected
from harness.worker.messages import MAX_BYTES


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
    yield TRUTH[request.tolerance]
    yield implementation(request)
    if (ahead := _framework(request).ahead.get(request.setup.mode)) and _may_import_more(request):
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
    start = make_start(request.task, request.seed)
    exact = Options("eager", "cpu", request.setup.threads, "float64")
    examination = examine(
        _built(request),
        importlib.import_module(TRUTH[request.tolerance]).Adapter(request.task, start, exact),
        request.task,
        start,
        open_staged(Path(request.data)),
        _options(request),
        steps=request.steps,
        tolerance=request.tolerance,
        lane=request.setup.lane,
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
        importlib.import_module(TRUTH[request.tolerance]).Adapter(task, start, exact),
        LongTraining(task, start, open_staged(Path(request.data)), length, request.setup.lane),
        _options(request),
        request.tolerance,
    )
    return Proved(seconds=0.0, findings=(finding,), whole=proof).model_dump_json()


def _with_peaks(request: Prove, proved: Proved) -> Proved:
    """Add logical peaks; one that cannot be true is a failure of the check `memory`."""
    peaks: dict[Phase, int | None] = {}
    why = ""
    for phase in THROUGHPUT:
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
    os.environ.update(_framework(request).accounting)
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
