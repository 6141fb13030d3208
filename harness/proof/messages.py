"""What is asked of a prover, and what it answers: JSON, one message at a time."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from harness.adapter import Setting
from harness.cells import Phase, Setup
from harness.certificates import Divergence, Finding, LongProof, Tolerance
from harness.tasks.frozen import Frozen
from harness.tasks.spec import Task
from harness.worker.messages import Failed

IMPORT_SECONDS = 120.0
"""What takes a prover longer to import has hung; the prover then ends itself by SIGALRM."""


class Prove(Frozen):
    """Examine a setup over so many steps from the shared start of a seed.

    `data` is the folder of staged arrays; what takes longer than `limit` seconds has hung. Memory
    is counted besides where `counted` says so; older code, which always counts, is not told. With
    `rows` it is a long proof instead: a training with so many rows a batch.
    """

    ask: Literal["prove"] = "prove"
    task: Task
    setup: Setup
    seed: int
    steps: int
    tolerance: Tolerance
    data: str
    limit: float
    counted: bool = Field(default=True, exclude_if=bool)
    rows: int | None = Field(default=None, exclude_if=lambda it: it is None)


class Proved(Frozen):
    """What was found: the content of a certificate."""

    answer: Literal["proved"] = "proved"
    seconds: float
    findings: tuple[Finding, ...]
    divergence: tuple[Divergence, ...] = ()
    rows: int = 0
    settings: dict[str, Setting] = Field(default_factory=dict)
    logical_peak: dict[Phase, int | None] = Field(default_factory=dict)
    whole: LongProof | None = None


PROVE: TypeAdapter[Prove] = TypeAdapter(Prove)
ANSWER: TypeAdapter[Proved | Failed] = TypeAdapter(
    Annotated[Proved | Failed, Field(discriminator="answer")]
)
