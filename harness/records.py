"""`Record`: what one trial measured, raw. Statistics are derived from records, never stored here.

Times are in seconds, memory in bytes.

Names of effective settings are here too. An adapter reports under these names what it reads back
from its framework; the worker adds what holds for the whole process. A setting that a framework
does not have, or that means nothing where it runs, is left out or None: it agrees with everything.
Other names may be reported too; they describe one framework only.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from harness.adapter import Setting
from harness.cells import Phase, Setup
from harness.certificates import Certificate, Finding
from harness.environment import only_known
from harness.tasks.spec import Frozen, Task


@dataclass(frozen=True)
class Meaning:
    """One line; whether cells may be ranked against each other only where they agree in it; and
    whether it may not change while a worker is timed."""

    line: str
    must_agree: bool = False
    constant: bool = True


THREADS, DTYPE, DEVICE, WEIGHTS = "threads", "dtype", "device", "devices_of_weights"
CORES = "cores"
PRECISION, TF32, DENORMALS = "matmul_precision", "tf32", "flushes_denormals"

SETTINGS: Mapping[str, Meaning] = {
    THREADS: Meaning("threads that one operation may use", must_agree=True),
    CORES: Meaning("cores that the process's threads may use", must_agree=True),
    DTYPE: Meaning("dtype of every weight", must_agree=True),
    DEVICE: Meaning("device on which tensors are made", must_agree=True),
    WEIGHTS: Meaning("device of every weight", must_agree=True),
    PRECISION: Meaning("precision of matrix products, measured against float64", must_agree=True),
    TF32: Meaning("whether float32 products may be rounded to TF32", must_agree=True),
    "gpu": Meaning("the GPU, as the framework names it"),
    "float32_matmul_precision": Meaning("the framework's own flag for float32 products"),
    "inter_op_threads": Meaning("operations that may run at the same time"),
    "blas": Meaning("BLAS and OpenMP libraries of the process (threads of each)", constant=False),
    "onednn": Meaning("whether oneDNN's kernels are used"),
    "xla": Meaning("whether XLA compiles the step"),
    "compile": Meaning("what runs in place of the step's Python"),
    DENORMALS: Meaning("whether results too small to be normal become zero, measured"),
    "train_traces": Meaning("how often the training step was traced or captured"),
    "predict_traces": Meaning("how often the prediction was traced or captured"),
    "graphs": Meaning("graphs that were compiled, over all functions"),
}
MUST_AGREE = tuple(name for name, it in SETTINGS.items() if it.must_agree)

PRECISIONS: tuple[tuple[str, float], ...] = (
    ("float64", 1e-11),
    ("float32", 1e-5),
    ("tf32-like", 1.2e-3),
)
"""Classes of matrix products and the error below which a product belongs to them; see below."""


def precision_class(error: float) -> str:
    """The class of a product by its largest error, relative to the largest entry.

    A sum of 512 products of normal numbers, each factor rounded to p bits and summed exactly, is
    off by about 2⁻ᵖ of its scale: 4e-4 for the 11 bits of TF32 and of float16, 3e-3 for the 8 bits
    of bfloat16, which is `half-like`, as are sums in half precision. In float32 and float64 all is
    in the summing: 5e-7 and 1e-15 (all measured). The bounds lie between, far from either where
    there is room.
    """
    return next((name for name, bound in PRECISIONS if error < bound), "half-like")


SCHEMA_VERSION = 2

Status = Literal[
    "ok",
    "unsupported",  # the framework cannot do what was asked, and says why
    "not-started",  # the process could not be started
    "failed",  # an exception in the worker, its last line in `error`
    "crashed",  # killed by a signal, or exited with a code of its own
    "no-result",  # exited 0 without having answered
    "hung",  # no answer within the limit
    "out-of-memory",
    "diverged",  # the loss became NaN or infinite
    "interrupted",  # ended by the user or by the runner's own end
]


Count = Annotated[int, Field(ge=0, lt=2**63)]
"""What SQLite can hold."""
Seconds = Annotated[float, Field(ge=0, le=1e9)]
Reading = Annotated[float, Field(ge=1e-12, le=1e9)]
"""Seconds that are timed: none is 0, for their ratios count."""
Positive = Annotated[float, Field(ge=1e-100, le=1e100)]
"""Of what ratios and logarithms are formed: no result of theirs is more than a float holds."""
NotNegative = Annotated[float, Field(ge=0, le=1e300)]
Bytes = Annotated[int, Field(ge=0, lt=2**63)]
Fact = str | bool | Annotated[int, Field(ge=-(2**63), lt=2**63)] | float | None
"""A `Setting`, as a file may hold it."""


Counted = Annotated[float, Field(ge=-1e9, le=1e9)]
"""What a counter says that the worker or its machine keeps: it may have been set back."""


class Sample(Frozen):
    """One timed reading over `iterations` iterations, synchronised at its end.

    `turn` is the worker's place in the round's order; the noise counters are those of the worker
    while it was timed, `cpu_seconds` with all processes that it started; `steal_seconds` and
    `pressure_seconds` (the time in which some task waited for a core) are the whole machine's,
    `load` is its one-minute load average. `loss` is the last loss of a training sample. A latency
    phase keeps the `readings` of its single iterations.
    """

    round: Count
    turn: Count
    iterations: Annotated[int, Field(ge=1, lt=2**63)]
    seconds: Reading
    cpu_seconds: Counted
    voluntary_switches: Count
    involuntary_switches: Count
    steal_seconds: Counted | None = None
    pressure_seconds: Counted | None = None
    load: Counted | None = None
    loss: float | None = None
    readings: tuple[Reading, ...] = ()

    @property
    def step_seconds(self) -> float:
        """Seconds per iteration; of a latency phase the median of its readings."""
        if self.readings:
            return statistics.median(self.readings)
        return self.mean_seconds

    @property
    def mean_seconds(self) -> float:
        """Seconds per iteration, pauses included."""
        return self.seconds / self.iterations


class Memory(Frozen):
    """Peaks of one phase; None means that it could not be counted, never that it was zero.

    `incremental_peak_rss` is the high-water mark after a reset minus the resident size at the
    reset; the device peaks are the framework's own count.
    """

    incremental_peak_rss: Bytes | None
    total_peak_rss: Bytes | None
    device_peak_allocated: Bytes | None = None
    device_peak_reserved: Bytes | None = None


class PhaseRecord(Frozen):
    """One phase of one trial: its first calls, its warm-up, its samples."""

    phase: Phase
    first_call: Seconds
    second_call: Seconds
    warmup: tuple[Seconds, ...]
    iterations: Count
    staged_batches: Count
    samples: tuple[Sample, ...] = ()
    memory: Memory | None = None


class Epoch(Frozen):
    """One epoch of a full training: time on the clock, then quality on the test rows off it."""

    epoch: Count
    seconds: Seconds
    loss: float
    quality: NotNegative


class Quality(Frozen):
    """A full training from the shared start of a seed."""

    seed: Count
    epochs: tuple[Epoch, ...]


class Limits(Frozen):
    """What the device could do at best, measured in the same worker after its last sample.

    `matmul_error` is the largest error of a product against float64, relative to the largest
    entry; `peak_flops` is the rate of a large product, in FLOP/s; `product_seconds` is the time of
    the bare matrix products of one iteration, by phase, and `dispatch_seconds` that of as many
    products of single numbers; `flushes_denormals` says whether a denormal result became zero.
    `plain` are the same of NumPy in the same process, without the adapter; on a CPU only.
    """

    matmul_error: NotNegative | None = None
    peak_flops: Positive | None = None
    product_seconds: dict[Phase, Reading] = Field(default_factory=dict)
    dispatch_seconds: dict[Phase, Reading] = Field(default_factory=dict)
    flushes_denormals: bool | None = None
    plain: Limits | None = None


class Around(Frozen):
    """Who else used the machine while a block's turns were taken; the same for all its trials.

    `cores` are those that the run might use; `others_seconds` is their CPU time that belongs to
    none of the run's processes, `stolen_seconds` what the hypervisor gave to others. `ran_seconds`
    and `waited_seconds` are of the run's threads: the time on a core, and the time in line for one.
    `fixed` are readings of one fixed computation.
    """

    seconds: Reading
    cores: Annotated[int, Field(ge=1)]
    others_seconds: Seconds | None = None
    stolen_seconds: Seconds | None = None
    ran_seconds: Seconds = 0.0
    waited_seconds: Seconds | None = None
    fixed: tuple[Reading, ...] = ()


class Growth(Frozen):
    """By how much held memory grew in the timed steps of each sample, in bytes a step.

    Empty where it is not counted. `allocated` is what the C library handed out: what is given back
    to it may stay resident. `device` is the framework's own count.
    """

    resident: tuple[Counted, ...] = ()
    allocated: tuple[Counted, ...] = ()
    device: tuple[Counted, ...] = ()


class Usage(Frozen):
    """What a worker and all processes that it started used, from its first turn to its last.

    Of its `turns`, other threads than the one that answers still worked after `unsettled`, when
    the limit for that had passed. `between` is while others were timed. `processes` and `memory`
    are those that it started: the most at once, and their largest resident memory together.
    """

    turns: Count = 0
    unsettled: Count = 0
    turn_seconds: Seconds = 0.0
    turn_cpu_seconds: Seconds = 0.0
    between_seconds: Seconds = 0.0
    between_cpu_seconds: Seconds = 0.0
    processes: Count = 0
    memory: Bytes = 0
    growth: dict[Phase, Growth] = Field(default_factory=dict)


class Record(Frozen):
    """One execution of a setup in a process of its own.

    `alone` says whether nothing else ran while it started: only then do its import, build and
    first calls count; `cold`, whether it filled an empty compile cache; `forked`, whether its
    process began as a copy of one that had imported the framework: then it has no memory peaks.
    `settings` were read back after the last sample, `settings_before` after the warm-up. `checks`
    say whether the work that was timed was right and done; empty where it was not checked.
    `around` is None where no turn was taken, or its block ended early. `usage` is None where the
    worker did not come to its end.
    """

    schema_version: int = SCHEMA_VERSION
    trial: str
    block: Count
    attempt: Annotated[int, Field(ge=1, lt=2**63)] = 1
    setup: Setup
    status: Status
    error: str | None = None
    stderr_tail: str = ""
    alone: bool = True
    cold: bool = False
    forked: bool = False
    import_seconds: Seconds | None = None
    build_seconds: Seconds | None = None
    phases: tuple[PhaseRecord, ...] = ()
    quality: Quality | None = None
    settings: dict[str, Setting] = Field(default_factory=dict)
    settings_before: dict[str, Setting] = Field(default_factory=dict)
    limits: Limits | None = None
    checks: tuple[Finding, ...] = ()
    around: Around | None = None
    usage: Usage | None = None

    @model_validator(mode="after")
    def _whole(self) -> Record:
        if self.status == "ok" and self.quality and not self.quality.epochs:
            raise ValueError("a training that ended well has an epoch")
        return self

    def phase(self, phase: Phase) -> PhaseRecord | None:
        for it in self.phases:  # not by a generator: statistics ask a hundred thousand times
            if it.phase == phase:
                return it
        return None


class Unavailable(Frozen):
    """Something that was asked for by a glob or by default and cannot run here, and why."""

    what: str
    reason: str


class Source(Frozen):
    """A run that a merged one was made of; `machine` is what its machine is called there.

    Empty where all of them are of one machine.
    """

    machine: str
    info: RunInfo


class _EarlyStop(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)
    precision: Annotated[float, Field(gt=0, lt=1)] | None = None
    least_blocks: Count = 0


class RunInfo(Frozen):
    """All that is needed to repeat a run, and to know what it ran on.

    Of a `merged` run every fact is the one that its sources share, or each one's with its machine.
    """

    name: str
    created: str
    command: tuple[str, ...]
    config: dict[str, Any]
    machine: dict[str, Fact]
    versions: dict[str, str]
    environment: dict[str, str]
    commit: str | None
    unavailable: tuple[Unavailable, ...] = ()
    merged: tuple[Source, ...] = ()

    @field_validator("environment")
    @classmethod
    def _only_known(cls, variables: dict[str, str]) -> dict[str, str]:
        """Earlier versions kept variables by prefixes, API keys among them."""
        return only_known(variables)

    @field_validator("config")
    @classmethod
    def _stopped_early(cls, config: dict[str, Any]) -> dict[str, Any]:
        """What statistics take from it; all else is only shown, or read as a configuration."""
        _EarlyStop.model_validate(config)
        return config

    @property
    def machines(self) -> dict[str, dict[str, Setting]]:
        """The facts of every machine by its name; of the only one under an empty name."""
        machines = {it.machine: it.info.machine for it in self.merged}
        return machines if len(machines) > 1 else {"": self.machine}


class Run(Frozen):
    """A run as it stands in the store: what was planned, and every record so far.

    `certificates` are those that its setups had when it began, passed or not. `stopped_by` is the
    rule that ended it, None while it goes on or if it was killed.
    """

    info: RunInfo
    tasks: tuple[Task, ...]
    records: tuple[Record, ...]
    stopped_by: str | None
    seconds: Seconds | None
    certificates: tuple[Certificate, ...] = ()
