"""What the runner asks of a worker, and what a worker answers: JSON, one message at a time."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from harness.adapter import Setting
from harness.cells import Phase, Setup
from harness.records import Epoch, PhaseRecord, Sample, Status
from harness.tasks.frozen import Frozen
from harness.tasks.spec import Task


class Prepare(Frozen):
    """Import, build, then first calls, warm-up and calibration of every phase.

    `data` is the folder of staged arrays; a sample is calibrated to last `sample_seconds`.
    """

    ask: Literal["prepare"] = "prepare"
    task: Task
    setup: Setup
    seed: int
    phases: tuple[Phase, ...]
    data: str
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
    """Read back the settings and exit."""

    ask: Literal["finish"] = "finish"


class Prepared(Frozen):
    answer: Literal["prepared"] = "prepared"
    import_seconds: float
    build_seconds: float
    phases: tuple[PhaseRecord, ...]


class Sampled(Frozen):
    answer: Literal["sampled"] = "sampled"
    sample: Sample


class Trained(Frozen):
    answer: Literal["trained"] = "trained"
    epoch: Epoch


class Finished(Frozen):
    answer: Literal["finished"] = "finished"
    settings: dict[str, Setting]


class Failed(Frozen):
    """The worker could not do it and has nothing more to say."""

    answer: Literal["failed"] = "failed"
    status: Status
    error: str


Request = Prepare | TakeSample | TrainEpoch | Finish
Reply = Prepared | Sampled | Trained | Finished | Failed

REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="ask")])
REPLY: TypeAdapter[Reply] = TypeAdapter(Annotated[Reply, Field(discriminator="answer")])

MAX_BYTES = 64 * 2**20
"""No honest message comes near this; a longer one is refused unread."""
