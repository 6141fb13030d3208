"""What no clock decides, of setups: numbers and programs by the observer, parity by the provers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import Field, TypeAdapter

from harness.cells import DTYPES, Phase, Setup
from harness.certificates import Certificate
from harness.errors import CellsFailed, NotComparable
from harness.gate.baseline import Entry, Numbers, Parity, Program, Sketch
from harness.proof.certify import claim
from harness.proof.examine import rows_compared, steps_compared
from harness.proof.pool import prove_all
from harness.proof.process import Prover
from harness.proof.proving import needs, prove
from harness.runs.machine import cores
from harness.runs.process import ROOT, WorkerFailed, WorkerProcess
from harness.runs.store import create
from harness.tasks.data import Data
from harness.tasks.frozen import Frozen
from harness.tasks.spec import Task
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


class Observer(WorkerProcess):
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
    observer = Observer(setup, log, None, code)
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
) -> list[Entry]:
    """Everything of this code that no clock decides."""
    found = observed(setups, data, folder / "logs")
    proved = parities(setups, data, folder)
    return [
        Entry(
            setup=setup,
            parity=tuple(proved[setup][0]),
            numbers=found[setup][0],
            programs=found[setup][1],
            logical_peak=proved[setup][1],
        )
        for _, setup in setups
    ]
