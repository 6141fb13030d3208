"""What a program's worker is asked, and what it answers. Arrays travel as npz files."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from harness.tasks.programs import Description
from harness.tasks.spec import Frozen
from harness.worker.messages import Failed


class Open(Frozen):
    """Read a program; its first weights go to the file `weights`. With `steps`, it must be able to
    train."""

    ask: Literal["open"] = "open"
    file: str
    name: str = ""
    weights: str


class Follow(Frozen):
    """From the weights in a file, one update on each batch `x0`, `y0`, `x1`, … of another.

    Step k writes `stepk.npz` into the folder `out`.
    """

    ask: Literal["follow"] = "follow"
    weights: str
    batches: str
    steps: int
    out: str
    dropout: bool = True


class TrainWhole(Frozen):
    """From the weights in a file, updates on the rows `order[k]` of `x` and `y`; the outputs for
    `x_test` go to the file `out`."""

    ask: Literal["train"] = "train"
    weights: str
    data: str
    out: str


class Close(Frozen):
    ask: Literal["close"] = "close"


class Opened(Frozen):
    answer: Literal["opened"] = "opened"
    description: Description


class Followed(Frozen):
    """`random` where the same step, made twice, did not give the same outputs or loss."""

    answer: Literal["followed"] = "followed"
    random: bool = False


class TrainedWhole(Frozen):
    answer: Literal["trained-whole"] = "trained-whole"
    seconds: float


class Refused(Frozen):
    """The program cannot be read; the user can mend that."""

    answer: Literal["refused"] = "refused"
    error: str


ASKED: TypeAdapter[Any] = TypeAdapter(
    Annotated[Open | Follow | TrainWhole | Close, Field(discriminator="ask")]
)
ANSWERED: TypeAdapter[Any] = TypeAdapter(
    Annotated[Opened | Followed | TrainedWhole | Refused | Failed, Field(discriminator="answer")]
)
