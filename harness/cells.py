"""`Setup` and `Cell`: what is compared with what.

A worker process hosts one setup; its phases take turns inside it, so that a framework is started
once for all of them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from harness.tasks.frozen import Frozen

Phase = Literal["train", "predict"]
Lane = Literal["identical"]
Dtype = Literal["float32", "float64"]
Device = Annotated[str, Field(pattern=r"^(cpu|gpu:\d{1,2})$")]

PHASES: tuple[Phase, ...] = ("train", "predict")
DTYPES: tuple[Dtype, ...] = ("float32", "float64")


class Setup(Frozen):
    """A task in one framework and mode, on one device, with so many threads, in one dtype."""

    task: str
    digest: str
    framework: str
    mode: str
    lane: Lane = "identical"
    device: Device = "cpu"
    threads: Annotated[int, Field(ge=1, le=4096)] = 1
    dtype: Dtype = "float32"

    @property
    def label(self) -> str:
        """Framework and mode as users write them, e.g. `pytorch:eager`."""
        return f"{self.framework}:{self.mode}"

    @property
    def arena(self) -> tuple[str, str, str, str, int, str]:
        """What two setups must share to be compared: all but framework and mode."""
        return (self.task, self.digest, self.lane, self.device, self.threads, self.dtype)

    @property
    def id(self) -> str:
        """Stable and readable: the same setup has the same id in every run."""
        return "/".join(
            (
                f"{self.task}@{self.digest[:8]}",
                self.label,
                self.lane,
                self.device,
                f"t{self.threads}",
                self.dtype,
            )
        )


class Cell(Frozen):
    """One combination: task × phase × framework:mode × lane × device × threads × dtype."""

    setup: Setup
    phase: Phase

    @property
    def id(self) -> str:
        return f"{self.setup.id}/{self.phase}"
