"""What no clock decides: numbers and programs by the observer, parity by the provers.

Each quantity is compared with what it was; the comparison has one line per quantity.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import Field, TypeAdapter

from harness.cells import DTYPES, Phase, Setup
from harness.certificates import Certificate
from harness.errors import CellsFailed, NotComparable, UsageError, unknown
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


class _Numbers(Frozen):
    losses: tuple[str, ...]
    sketches: dict[str, dict[str, Sketch]]
    digest: str


class Observed(Frozen):
    answer: Literal["observed"] = "observed"
    code: str
    numbers: _Numbers
    programs: dict[Phase, Program]


class ObserverProcess(WorkerProcess):
    """Observes one setup with the code of a folder; the observer itself is this revision's."""

    program = (str(Path(__file__).with_name("observe.py")),)
    replies = TypeAdapter(Annotated[Observed | Failed, Field(discriminator="answer")])


Found = tuple[Numbers, dict[Phase, Program]]


def observe(task: Task, setup: Setup, data: Path, logs: Path, code: Path = ROOT) -> Found:
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
        told = cast("Observed", observer.request(cast("Any", request), LIMIT))
    finally:
        observer.close()
    if Path(told.code).resolve() != code.resolve():
        raise WorkerFailed("failed", f"it ran the code of {told.code}, not that of {code}")
    kept = Numbers.model_validate({**told.numbers.model_dump(), "seed": SEED, "rows": request.rows})
    return kept, told.programs


def observed(
    setups: Iterable[tuple[Task, Setup]],
    data: Mapping[Data, Path],
    logs: Path,
    code: Path = ROOT,
    *,
    older: bool = False,
) -> dict[Setup, Found]:
    """Of every setup. Raises CellsFailed where one fails, NotComparable if it is `older` code."""
    found = {}
    for task, setup in setups:
        try:
            found[setup] = observe(task, setup, data[task.data], logs, code)
        except WorkerFailed as failure:
            said = f"{setup.id}: {failure.status}: {failure.error}"
            if older:
                raise NotComparable(f"the older code cannot do it: {said}") from None
            raise CellsFailed(said) from None
    return found


def parities(
    setups: Sequence[tuple[Task, Setup]], data: Mapping[Data, Path], folder: Path
) -> dict[Setup, tuple[list[Parity], dict[Phase, int | None]]]:
    """Fresh proofs of every setup in each dtype; and the logical peaks in the setup's own."""
    wanted = [
        (task, setup.model_copy(update={"dtype": dtype}))
        for task, setup in setups
        for dtype in DTYPES
    ]
    with create(folder / "proofs") as store:
        lacking = needs(wanted, None, quick=False)
        logs, caches = folder / "logs", folder / "caches"
        made = {it.setup: it for it in prove(lacking, store, data, logs, caches)}
    return {
        setup: (
            [parity(made[setup.model_copy(update={"dtype": dtype})]) for dtype in DTYPES],
            dict(made[setup].logical_peak),
        )
        for _, setup in setups
    }


def logical_peaks(
    pairs: Sequence[tuple[Task, Setup]], data: Mapping[Data, Path], folder: Path, code: Path
) -> dict[Setup, dict[Phase, int | None]]:
    """What the provers of the code in a folder count; empty where they count nothing."""
    count = itertools.count()
    logs = folder / "logs"

    def launch(setup: Setup) -> Prover:
        return Prover(setup, logs / f"older-{next(count)}.log", folder / "caches", code)

    asked = {
        claim(task, setup, quick=True).request(data[task.data], LIMIT): setup
        for task, setup in pairs
    }
    proved = prove_all(list(asked), launch, cores())
    return {asked[request]: dict(it.logical_peak) for request, it in proved}


def parity(certificate: Certificate) -> Parity:
    return Parity(
        dtype=certificate.setup.dtype,
        proven=certificate.proven,
        steps=certificate.steps,
        worst=certificate.worst,
        detail=certificate.why,
    )


def entries(
    setups: Sequence[tuple[Task, Setup]], data: Mapping[Data, Path], folder: Path
) -> list[BaselineEntry]:
    """Everything of this code that no clock decides."""
    found = observed(setups, data, folder / "logs")
    proved = parities(setups, data, folder)
    return [
        BaselineEntry(
            setup=setup,
            parity=tuple(proved[setup][0]),
            numbers=found[setup][0],
            programs=found[setup][1],
            logical_peak=proved[setup][1],
        )
        for _, setup in setups
    ]


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


def proofs(setup: Setup, parity: tuple[Parity, ...]) -> Iterator[Line]:
    """One for every dtype."""
    for it in parity:
        worst = "" if it.worst is None else f"at most {it.worst:.1e} from the float64 reference"
        yield Line(
            setup=setup,
            phase=None,
            what=f"parity, {it.dtype}",
            outcome="fine" if it.proven else "not proven",
            detail=it.detail or f"{worst}, {it.steps} steps",
        )


def numbers(setup: Setup, now: Numbers, before: Numbers) -> Iterator[Line]:
    """Losses, then tensors by place; a change beyond its limit is a regression, however small."""
    exact = now.digest == before.digest and now.losses == before.losses
    if now.losses or before.losses:
        yield _numeric(setup, "losses", _losses(now, before), exact)
    for place in dict.fromkeys((*before.sketches, *now.sketches)):
        mine, theirs = now.sketches.get(place, {}), before.sketches.get(place, {})
        yield _numeric(setup, place, _tensors(mine, theirs, place), exact)


def _numeric(setup: Setup, what: str, found: tuple[float, float, str], exact: bool) -> Line:
    """Of the change that is largest beside its limit: change, limit, where."""
    change, limit, where = found
    fine = change <= limit
    detail = "to the bit" if exact and not change else f"{where}: {change:.1e} of its size"
    return Line(
        setup=setup,
        phase=None,
        what=what,
        outcome="fine" if fine else "regression",
        change=change if math.isfinite(change) else None,
        threshold=limit,
        detail=detail if math.isfinite(change) else where,
    )


def _losses(now: Numbers, before: Numbers) -> tuple[float, float, str]:
    if (len(now.losses), now.rows, now.seed) != (len(before.losses), before.rows, before.seed):
        return math.inf, TRAJECTORY, "other steps, rows or start"
    return max(
        (
            (_apart(one, other, abs(other)), limit, f"step {step}")
            for step, (one, other) in enumerate(zip(now.losses, before.losses, strict=True), 1)
            for limit in [ONE_STEP if step == 1 else TRAJECTORY]
        ),
        key=_excess,
    )


def _tensors(
    now: Mapping[str, Sketch], before: Mapping[str, Sketch], place: str
) -> tuple[float, float, str]:
    """Relative to a tensor's norm, beside which the rounding of its sums stays small."""
    limit = ONE_STEP if place in EARLY else TRAJECTORY
    if strange := now.keys() ^ before.keys():
        return math.inf, limit, f"{min(strange)}: in one of the two only"
    largest = max((it[0] for it in before.values()), default=0.0)
    return max(
        (
            (_apart(one, other, before[name][0] or largest), limit, name)
            for name, sketch in now.items()
            for one, other in zip(sketch, before[name], strict=True)
        ),
        key=_excess,
    )


def _excess(found: tuple[float, float, str]) -> float:
    return found[0] / found[1]


def _apart(one: float, other: float, scale: float) -> float:
    if one == other:
        return 0.0
    return abs(one - other) / scale if scale else math.inf


def programs(
    setup: Setup, now: Mapping[Phase, Program], before: Mapping[Phase, Program], limits: Thresholds
) -> Iterator[Line]:
    """Counts of the captured step, of the phases that both tell."""
    for phase in [it for it in before if it in now]:
        mine, theirs = now[phase], before[phase]
        for what, limit in (
            ("instructions", limits.program),
            ("flops", limits.program),
            ("buffers", limits.program),
            ("arena_bytes", limits.memory),
            ("fed_bytes", limits.memory),
            ("unshared_bytes", limits.memory),
        ):
            yield _count(setup, phase, what, getattr(mine, what), getattr(theirs, what), limit)
        if others := _differing(mine.operations, theirs.operations):
            yield Line(
                setup=setup, phase=phase, what="operations", outcome="changed", detail=others
            )


Peaks = Mapping[Phase, int | None]


def memory(setup: Setup, now: Peaks, before: Peaks, limits: Thresholds) -> Iterator[Line]:
    """The framework's own account of its memory, in bytes, where it keeps one."""
    for phase, theirs in before.items():
        mine = now.get(phase)
        if mine is not None and theirs:
            yield _count(setup, phase, "logical peak", mine, theirs, limits.memory)


def _count(setup: Setup, phase: Phase, what: str, now: int, before: int, threshold: float) -> Line:
    change = (now - before) / before if before else float(now > 0)
    outcome: Outcome = "fine"
    if change > threshold:
        outcome = "regression"
    elif change < -threshold:
        outcome = "improved"
    said = f"{now:,}" if now == before else f"{before:,} → {now:,}"
    return Line(
        setup=setup,
        phase=phase,
        what=what.replace("_", " "),
        outcome=outcome,
        change=change,
        threshold=threshold,
        detail=said,
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
    yield from proofs(setup, now.parity)
    yield from numbers(setup, now.numbers, before.numbers)
    yield from programs(setup, now.programs, before.programs, limits)
    yield from memory(setup, now.logical_peak, before.logical_peak, limits)
