"""What no clock decides: numbers and programs by the observer, parity by the provers.

Each quantity is compared with what it was, in one line.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import Field, TypeAdapter

from harness.cells import DTYPES, Phase, Setup
from harness.errors import CellsFailed, HarnessError, NotComparable, UsageError, unknown
from harness.gate.baseline import BaselineEntry, Numbers, Parity, Program, Sketch
from harness.proof.certificates import claim, needs, prove
from harness.proof.pool import Prover, prove_all
from harness.proof.prover import rows_compared, steps_compared
from harness.runs.config import parse_precision
from harness.runs.machine import cores
from harness.runs.process import ROOT, WorkerFailed, WorkerProcess
from harness.runs.store import create
from harness.tasks.spec import Data, Frozen, Task
from harness.worker.messages import Failed

TaskSetup = tuple[Task, Setup]
STEPS, SEED = 20, 0
LIMIT = 300.0
"""Seconds for one setup; an adapter may compile."""


class Observe(Frozen):
    """`rows` of every batch are taken, as in a proof: more of a large one shows no more."""

    ask: Literal["observe"] = "observe"
    task: Task
    setup: Setup
    seed: int
    steps: int
    rows: int
    data: str


class Observed(Frozen):
    answer: Literal["observed"] = "observed"
    code: str
    numbers: Numbers
    programs: dict[Phase, Program]


class ObserverProcess(WorkerProcess):
    """Observes one setup with the code of a folder; the observer itself is this revision's."""

    program = (str(Path(__file__).with_name("observe.py")),)
    replies = TypeAdapter(Annotated[Observed | Failed, Field(discriminator="answer")])


def failure(setup: Setup, status: str, error: str | None, *, older: bool) -> HarnessError:
    """What a setup that failed ends a check with: older code is not judged."""
    text = f"{setup.original.id}: {status}: {error}"
    if older:
        return NotComparable(f"the older code cannot do it: {text}")
    return CellsFailed(text)


def observe(task: Task, setup: Setup, data: Path, logs: Path, code: Path = ROOT) -> Observed:
    """Numbers and programs of a setup. Raises WorkerFailed."""
    logs.mkdir(parents=True, exist_ok=True)
    log = next(it for n in itertools.count() if not (it := logs / f"observer-{n}.log").exists())
    request = Observe(
        task=task,
        setup=setup,
        seed=SEED,
        steps=steps_compared(task, STEPS),
        rows=rows_compared(task),
        data=str(data),
    )
    observer = ObserverProcess(setup, log, None, code)
    try:
        answer = cast("Observed", observer.request(cast("Any", request), LIMIT))
    finally:
        observer.close()
    if Path(answer.code).resolve() != code.resolve():
        raise WorkerFailed("failed", f"it ran the code of {answer.code}, not that of {code}")
    return answer


def observed(
    pairs: Iterable[TaskSetup],
    data: Mapping[Data, Path],
    logs: Path,
    code: Path = ROOT,
    *,
    older: bool = False,
) -> dict[Setup, BaselineEntry]:
    """Numbers and programs of every setup. Raises CellsFailed; NotComparable for `older` code."""
    made = {}
    for task, setup in pairs:
        try:
            answer = observe(task, setup, data[task.data], logs, code)
        except WorkerFailed as failed:
            raise failure(setup, failed.status, failed.error[:500], older=older) from None
        made[setup] = BaselineEntry(
            setup=setup, parity=(), numbers=answer.numbers, programs=answer.programs
        )
    return made


def entries(
    pairs: Sequence[TaskSetup], data: Mapping[Data, Path], folder: Path, code: Path = ROOT
) -> list[BaselineEntry]:
    """Everything of this code that no clock decides; `code` is the folder that holds it."""
    made = observed(pairs, data, folder / "logs", code)
    wanted = [(task, it) for task, setup in pairs for it in _in_each_dtype(setup)]
    with create(folder / "proofs") as store:
        lacking = needs(wanted, None, quick=False)
        proved = prove(lacking, store, data, folder / "logs", folder / "caches")
        certificates = {it.setup: it for it in proved}
    return [
        entry.model_copy(
            update={
                "parity": tuple(Parity.of(certificates[it]) for it in _in_each_dtype(setup)),
                "logical_peak": certificates[setup].logical_peak,
            }
        )
        for setup, entry in made.items()
    ]


def _in_each_dtype(setup: Setup) -> list[Setup]:
    return [setup.model_copy(update={"dtype": dtype}) for dtype in DTYPES]


def older_entries(
    pairs: Sequence[TaskSetup], data: Mapping[Data, Path], folder: Path, code: Path
) -> list[BaselineEntry]:
    """The same of the older code in a folder. Its proofs show nothing but its memory."""
    made = observed(pairs, data, folder / "logs", code, older=True)
    count = itertools.count()

    def launch(setup: Setup) -> Prover:
        log = folder / "logs" / f"older-{next(count)}.log"
        return Prover(setup, log, folder / "caches", code)

    asked = {
        claim(task, setup, quick=True).request(data[task.data], LIMIT): setup
        for task, setup in pairs
    }
    for request, proved in prove_all(list(asked), launch, cores()):
        setup = asked[request]
        made[setup] = made[setup].model_copy(update={"logical_peak": proved.logical_peak})
    return list(made.values())


Outcome = Literal["fine", "improved", "changed", "regression", "cannot tell", "not proven"]

ONE_STEP, TRAJECTORY = 1e-12, 1e-9
"""The limits of a proof in float64 (harness/differences.py): other processors and libraries round
differently, and by no more than that. A change of 1e-6 is a million times as much as the one."""
EARLY = ("first gradients", "first slots")


class Thresholds(Frozen):
    """By how much something may grow: shares of what it was."""

    speed: float = 0.05
    memory: float = 0.02
    program: float = 0.0


def limits_of(words: Sequence[str]) -> Thresholds:
    """The limits in `speed:5%` and the like. Raises UsageError for anything else."""
    shares: dict[str, float] = {}
    for word in words:
        what, colon, share = word.partition(":")
        if not colon:
            raise UsageError(f"--fail-on {word!r}: write NAME:SHARE, such as speed:5%")
        if what not in Thresholds.model_fields:
            raise unknown("limit", what, Thresholds.model_fields)
        zero = share.rstrip("%") in ("0", "0.0") and what != "speed"
        shares[what] = 0.0 if zero else parse_precision(share)
    return Thresholds.model_validate(shares)


class Line(Frozen):
    """One thing that was compared. `change` is relative: 0.05 is 5 % more than before.

    `low` and `high` are the ends of its interval, where it has one.
    """

    setup: Setup
    phase: Phase | None
    what: str
    outcome: Outcome
    change: float | None = None
    low: float | None = None
    high: float | None = None
    threshold: float | None = None
    detail: str = ""


NumericChange = tuple[float, float, str]
"""The relative change of a number, its limit, and where it is."""


def numbers(setup: Setup, now: Numbers, before: Numbers) -> Iterator[Line]:
    """Losses, then tensors by place; a change beyond its limit is a regression, however small."""
    exact = now.digest == before.digest and now.losses == before.losses
    if now.losses or before.losses:
        yield _numeric(setup, "losses", _losses(now, before), exact)
    for place in dict.fromkeys((*before.sketches, *now.sketches)):
        mine, theirs = now.sketches.get(place, {}), before.sketches.get(place, {})
        yield _numeric(setup, place, _tensors(mine, theirs, place), exact)


def _numeric(setup: Setup, what: str, changes: Iterable[NumericChange], exact: bool) -> Line:
    """Of the change that is largest relative to its limit."""
    change, limit, where = max(changes, key=lambda it: it[0] / it[1])
    finite = math.isfinite(change)
    detail = "to the bit" if exact and not change else f"{where}: {change:.1e} of its size"
    return Line(
        setup=setup,
        phase=None,
        what=what,
        outcome="fine" if change <= limit else "regression",
        change=change if finite else None,
        threshold=limit,
        detail=detail if finite else where,
    )


def _losses(now: Numbers, before: Numbers) -> Iterator[NumericChange]:
    if (len(now.losses), now.rows, now.seed) != (len(before.losses), before.rows, before.seed):
        yield math.inf, TRAJECTORY, "other steps, rows or start"
        return
    for step, (one, other) in enumerate(zip(now.losses, before.losses, strict=True), 1):
        limit = ONE_STEP if step == 1 else TRAJECTORY
        yield _relative(one, other, abs(other)), limit, f"step {step}"


def _tensors(
    now: Mapping[str, Sketch], before: Mapping[str, Sketch], place: str
) -> Iterator[NumericChange]:
    """Relative to a tensor's norm, beside which the rounding of its sums stays small."""
    limit = ONE_STEP if place in EARLY else TRAJECTORY
    if strange := now.keys() ^ before.keys():
        yield math.inf, limit, f"{min(strange)}: in one of the two only"
        return
    largest = max((it[0] for it in before.values()), default=0.0)
    for name, sketch in now.items():
        for one, other in zip(sketch, before[name], strict=True):
            yield _relative(one, other, before[name][0] or largest), limit, name


def _relative(one: float, other: float, scale: float) -> float:
    if one == other:
        return 0.0
    return abs(one - other) / scale if scale else math.inf


COUNTS = ("instructions", "flops", "buffers", "arena_bytes", "fed_bytes", "unshared_bytes")


def programs(
    setup: Setup, now: Mapping[Phase, Program], before: Mapping[Phase, Program], limits: Thresholds
) -> Iterator[Line]:
    """Counts of the captured step, of the phases that both report."""
    for phase in [it for it in before if it in now]:
        mine, theirs = now[phase], before[phase]
        for what in COUNTS:
            limit = limits.memory if what.endswith("_bytes") else limits.program
            yield _count(setup, phase, what, getattr(mine, what), getattr(theirs, what), limit)
        if others := _differing(mine.operations, theirs.operations):
            yield Line(
                setup=setup, phase=phase, what="operations", outcome="changed", detail=others
            )


def _count(setup: Setup, phase: Phase, what: str, now: int, before: int, threshold: float) -> Line:
    change = (now - before) / before if before else float(now > 0)
    outcome: Outcome = "fine"
    if change > threshold:
        outcome = "regression"
    elif change < -threshold:
        outcome = "improved"
    return Line(
        setup=setup,
        phase=phase,
        what=what.replace("_", " "),
        outcome=outcome,
        change=change,
        threshold=threshold,
        detail=f"{now:,}" if now == before else f"{before:,} → {now:,}",
    )


def _differing(now: Mapping[str, int], before: Mapping[str, int]) -> str:
    return ", ".join(
        f"{name} {before.get(name, 0)} → {now.get(name, 0)}"
        for name in sorted(now.keys() | before.keys())
        if now.get(name, 0) != before.get(name, 0)
    )


def deterministic(now: BaselineEntry, before: BaselineEntry, limits: Thresholds) -> Iterator[Line]:
    """Everything of one setup that no clock decides."""
    setup = now.setup
    for parity in now.parity:
        worst = ""
        if parity.worst is not None:
            worst = f"at most {parity.worst:.1e} from the float64 reference"
        yield Line(
            setup=setup,
            phase=None,
            what=f"parity, {parity.dtype}",
            outcome="fine" if parity.proven else "not proven",
            detail=parity.detail or f"{worst}, {parity.steps} steps",
        )
    yield from numbers(setup, now.numbers, before.numbers)
    yield from programs(setup, now.programs, before.programs, limits)
    for phase, theirs in before.logical_peak.items():
        mine = now.logical_peak.get(phase)
        if mine is not None and theirs:
            yield _count(setup, phase, "logical peak", mine, theirs, limits.memory)
