"""The requests of the runner and the replies of a worker: JSON, one message at a time.

A process that the runner started reads them from a socket, and ends with the runner.
"""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing.connection import Connection
from operator import not_
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from harness.adapter import Setting
from harness.cells import Phase, Setup
from harness.certificates import Finding
from harness.records import Epoch, Limits, PhaseRecord, Sample, Seconds, Status, Usage
from harness.tasks.spec import Frozen, Task
from harness.worker.system import PR_SET_PDEATHSIG, process_control


class Load(Frozen):
    """Import, build, stage, then the first and second call of every phase.

    `data` is the folder of staged arrays; with a `memory_limit` no more than so many bytes may be
    allocated from then on.
    """

    ask: Literal["load"] = "load"
    task: Task
    setup: Setup
    seed: int
    phases: tuple[Phase, ...]
    data: str
    memory_limit: int | None = None


class Prepare(Frozen):
    """Warm-up and calibration of every phase: a sample is to last `sample_seconds`."""

    ask: Literal["prepare"] = "prepare"
    sample_seconds: float
    warmup_seconds: float


class TakeSample(Frozen):
    """One turn: one sample of a phase, from the shared start."""

    ask: Literal["sample"] = "sample"
    phase: Phase
    round: int
    turn: int


class TrainEpoch(Frozen):
    """One turn of a full training; epoch 0 begins from the shared start."""

    ask: Literal["epoch"] = "epoch"
    epoch: int


class Finish(Frozen):
    """Read back the settings, measure the limits of the device and check the measured work if
    asked to, and exit. `thorough` checks go beyond the steps of a sample. Where they are false both
    fields are left out: older code does not know them."""

    ask: Literal["finish"] = "finish"
    limits: bool = False
    checks: bool = Field(default=False, exclude_if=not_)
    thorough: bool = Field(default=False, exclude_if=not_)


class Loaded(Frozen):
    """Phases with their first calls; their warm-up is still to come."""

    answer: Literal["loaded"] = "loaded"
    import_seconds: Seconds
    build_seconds: Seconds
    phases: tuple[PhaseRecord, ...]


class Prepared(Frozen):
    """The same phases, ready for samples, and the settings before the first of them."""

    answer: Literal["prepared"] = "prepared"
    phases: tuple[PhaseRecord, ...]
    settings: dict[str, Setting]


class Sampled(Frozen):
    answer: Literal["sampled"] = "sampled"
    sample: Sample


class Trained(Frozen):
    answer: Literal["trained"] = "trained"
    epoch: Epoch


class Finished(Frozen):
    answer: Literal["finished"] = "finished"
    settings: dict[str, Setting]
    limits: Limits | None = None
    checks: tuple[Finding, ...] = ()
    usage: Usage | None = None


class Failed(Frozen):
    """The worker failed, and sends nothing more."""

    answer: Literal["failed"] = "failed"
    status: Status
    error: str


Request = Load | Prepare | TakeSample | TrainEpoch | Finish
Reply = Loaded | Prepared | Sampled | Trained | Finished | Failed

REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="ask")])
REPLY: TypeAdapter[Reply] = TypeAdapter(Annotated[Reply, Field(discriminator="answer")])


class Import(Frozen):
    """Asked of a fork server: import what workers of these setups need."""

    ask: Literal["import"] = "import"
    setups: tuple[Setup, ...]


class Fork(Frozen):
    """Asked of a fork server: one more worker with these variables. The descriptors of its channel
    and its log follow."""

    ask: Literal["fork"] = "fork"
    environment: dict[str, str]


class Reap(Frozen):
    """Asked of a fork server: how did a worker end?"""

    ask: Literal["reap"] = "reap"
    pid: int


class Imported(Frozen):
    answer: Literal["imported"] = "imported"


class Forked(Frozen):
    answer: Literal["forked"] = "forked"
    pid: int


class Reaped(Frozen):
    """Its exit code, or minus the signal that ended it; None while it lives."""

    answer: Literal["reaped"] = "reaped"
    code: int | None


ForkRequest = Import | Fork | Reap
ForkReply = Imported | Forked | Reaped | Failed

FORK_REQUEST: TypeAdapter[ForkRequest] = TypeAdapter(
    Annotated[ForkRequest, Field(discriminator="ask")]
)
FORK_REPLY: TypeAdapter[ForkReply] = TypeAdapter(
    Annotated[ForkReply, Field(discriminator="answer")]
)


def fits(request: Request, reply: Reply, phases: tuple[Phase, ...]) -> bool:
    """Whether this answers that very request, in a trial of these phases."""
    match request, reply:
        case Load(), Loaded(phases=records):
            return tuple(it.phase for it in records) == phases
        case Prepare(), Prepared(phases=records):
            ready = all(it.iterations and it.warmup for it in records)
            return ready and tuple(it.phase for it in records) == phases
        case TakeSample(), Sampled(sample=sample):
            return (sample.round, sample.turn) == (request.round, request.turn)
        case TrainEpoch(), Trained(epoch=epoch):
            return epoch.epoch == request.epoch
        case Finish(), Finished():
            return True
    return False


MAX_BYTES = 64 * 2**20
"""No honest message comes near this; a longer one is refused unread."""


def die_with(parent: int) -> None:
    """Ask the kernel to kill this process when the runner dies, however it dies (Linux)."""
    process_control(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        sys.exit(1)


def connected() -> Connection:
    """The channel that the command line names: `DESCRIPTOR PARENT`. Ends with the parent."""
    descriptor, parent = map(int, sys.argv[1:3])
    die_with(parent)
    # A process that the framework starts must not hold the channel open once this one has ended.
    os.set_inheritable(descriptor, False)
    return Connection(descriptor)
