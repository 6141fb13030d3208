"""`Setup` and `Cell`: what is compared with what.

A worker process hosts one setup; its phases take turns inside it, so that a framework is started
once for all of them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from harness.tasks.spec import Frozen

Phase = Literal["train", "predict", "train-latency", "predict-latency"]
Lane = Literal["identical", "idiomatic"]
Dtype = Literal["float32", "float64"]
MACHINE = r"[A-Za-z0-9][A-Za-z0-9._-]{0,19}"
"""What a machine may be called."""
Device = Annotated[str, Field(pattern=rf"^(cpu|gpu:\d{{1,2}})(@{MACHINE})?$")]
"""`cpu`, `gpu:0`; where runs of several machines are merged, with its machine: `cpu@alpha`. Two
machines' devices are two devices, so whatever keeps devices apart keeps machines apart."""

THROUGHPUT: tuple[Phase, ...] = ("train", "predict")
"""Many iterations a sample, synchronised at its end."""
LATENCY: tuple[Phase, ...] = ("train-latency", "predict-latency")
"""Every iteration timed by itself; `predict-latency` takes one example at a time."""
PHASES = THROUGHPUT + LATENCY
LANES: tuple[Lane, ...] = ("identical", "idiomatic")
DTYPES: tuple[Dtype, ...] = ("float32", "float64")
PHASE_ALIASES = {
    **dict.fromkeys(("training", "fit"), "train"),
    **dict.fromkeys(("inference", "infer", "prediction", "eval", "test"), "predict"),
}
"""Other words for a phase; with a lane's and a dtype's below, they are suggested, not accepted."""
LANE_ALIASES = {"same": "identical", "idioms": "idiomatic", "native": "idiomatic", "all": "both"}
DTYPE_ALIASES = {
    **dict.fromkeys(("fp32", "f32", "single", "float"), "float32"),
    **dict.fromkeys(("fp64", "f64", "double"), "float64"),
    **dict.fromkeys(("float16", "bfloat16", "fp16", "bf16", "tfloat32", "tf32"), ""),
}


def is_training(phase: Phase) -> bool:
    return phase.startswith("train")


class Setup(Frozen):
    """A task in one framework and mode, on one device, with so many threads, in one dtype.

    A `twin` is the same setup once more under another name: compared with itself, it shows the
    noise of a run. It takes part in no ranking.
    """

    task: str
    digest: str
    framework: str
    mode: str
    lane: Lane = "identical"
    device: Device = "cpu"
    threads: Annotated[int, Field(ge=1, le=4096)] = 1
    dtype: Dtype = "float32"
    twin: bool = False

    @property
    def label(self) -> str:
        """Framework and mode as users write them, e.g. `pytorch:eager`."""
        return f"{self.framework}:{self.mode}{' again' if self.twin else ''}"

    @property
    def processor(self) -> str:
        """The device without its machine: `cpu`, `gpu:0`."""
        return self.device.partition("@")[0]

    @property
    def machine(self) -> str:
        """The device's machine; empty where all is of one machine."""
        return self.device.partition("@")[2]

    @property
    def original(self) -> Setup:
        """The setup that a twin is a twin of; itself where it is none."""
        return self.model_copy(update={"twin": False}) if self.twin else self

    @property
    def group(self) -> tuple[str, str, str, int, str]:
        """What setups share that take turns in one block: all but framework, mode and lane."""
        return (self.task, self.digest, self.device, self.threads, self.dtype)

    @property
    def ranking(self) -> tuple[str, str, str, int, str, str]:
        """What setups share that may be ranked against each other: their group and their lane."""
        return (*self.group, self.lane)

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
                *(("twin",) if self.twin else ()),
            )
        )


class Cell(Frozen):
    """One combination: task × phase × framework:mode × lane × device × threads × dtype."""

    setup: Setup
    phase: Phase

    @property
    def id(self) -> str:
        return f"{self.setup.id}/{self.phase}"
