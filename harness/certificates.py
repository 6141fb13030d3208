"""`Certificate`: the outcome of a proof that a setup computes what the reference computes.

The key of a certificate covers this module: `records` may change without a new proof.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from harness.adapter import Setting
from harness.cells import Phase, Setup
from harness.tasks.spec import Frozen

Tolerance = Literal["exact", "stock"]
"""`exact` follows the task's formulas to rounding, `stock` a framework's own variant of them."""

SUPPORTED, ENDED, UNPROVABLE = "supported", "ended", "not provable in float32"
"""Checks that only a certificate of failure has: the framework cannot do what was asked, the proof
did not come to its end, and float32 itself has no answer to this task."""

Whole = Annotated[int, Field(ge=0, lt=2**63)]
Size = Annotated[float, Field(ge=0, le=1e300)]


class Divergence(Frozen):
    """The largest differences from the reference at one step, each relative to its tensor's scale.

    `logits` and `gradients` are those at the weights before the step, `loss` the one that the step
    returned, `weights` and `slots` those after it. None where a step was not asked for it.
    """

    step: Whole
    loss: Size | None = None
    logits: Size | None = None
    gradients: Size | None = None
    weights: Size | None = None
    slots: Size | None = None


class Finding(Frozen):
    """The result of one check. `detail` says where a failed one failed first, and by how much.

    With `by_rounding` a difference above its limit was no more than rounding alone makes.
    """

    check: str
    ok: bool
    detail: str = ""
    by_rounding: bool = False


class LongProof(Frozen):
    """A training in float64 that agrees with the reference's over `steps` of the `planned` steps.

    Batches have `rows` rows. `worst` holds the largest difference of each quantity. `quality` is
    the task's metric on the test rows after those steps, `expected` the reference's. `why` says why
    there are fewer steps than were asked for: the framework has no float64, or roundings grow
    without bound.
    """

    steps: Whole
    planned: Whole
    rows: Whole
    worst: dict[str, Size] = Field(default_factory=dict)
    quality: float | None = None
    expected: float | None = None
    why: str = ""

    @property
    def described(self) -> str:
        text = f"{self.steps:,} of {self.planned:,} steps of a training in float64"
        return f"{text} ({self.why})" if self.why else text


class Certificate(Frozen):
    """The outcome of one proof. `key` changes with anything that could change the outcome.

    `code` is a hash over the adapter's files and all of samestep that a proof runs. `steps` were
    compared, on batches of `rows` rows, from the shared start of `seed`. `logical_peak` is in
    bytes, by phase, None where the framework does not count. `made` is an ISO time. `whole` is a
    proof over a training, in float64 whatever the setup's dtype.
    """

    key: str
    setup: Setup
    framework_version: str
    code: str
    machine: str
    made: str
    tolerance: Tolerance
    seed: Whole
    steps: Whole
    rows: Whole
    seconds: Size
    findings: tuple[Finding, ...]
    divergence: tuple[Divergence, ...] = ()
    settings: dict[str, Setting] = Field(default_factory=dict)
    logical_peak: dict[Phase, Whole | None] = Field(default_factory=dict)
    whole: LongProof | None = None

    @property
    def proven(self) -> bool:
        """Whether something was checked and every check passed."""
        return bool(self.findings) and all(it.ok for it in self.findings)

    @property
    def failure(self) -> Finding | None:
        """The first check that did not pass."""
        return next((it for it in self.findings if not it.ok), None)

    @property
    def why(self) -> str:
        """Why it is not proven, in words; empty where it is proven."""
        failure = self.failure
        if failure is None:
            return "" if self.proven else "nothing was checked"
        if failure.detail and failure.check in (SUPPORTED, ENDED):
            return failure.detail
        return ": ".join(filter(None, (failure.check, failure.detail)))

    @property
    def unsupported(self) -> bool:
        """Whether the framework says that it cannot do what was asked; this is no fault."""
        return any(it.check == SUPPORTED for it in self.findings)

    @property
    def worst(self) -> float | None:
        """The largest difference of any step and quantity; None where nothing was compared."""
        steps = (it.model_dump(exclude={"step"}, exclude_none=True) for it in self.divergence)
        return max((size for step in steps for size in step.values()), default=None)
