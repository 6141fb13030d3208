"""A baseline: what was computed and measured of some setups, as one JSON file."""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError

from harness.adapter import Setting
from harness.cells import Dtype, Phase, Setup
from harness.certificates import Certificate
from harness.errors import NoBaseline, NotComparable, StoreError, UsageError, first_problem
from harness.runs.files import within
from harness.tasks.spec import Frozen, Task
from harness.whole_files import write_whole

FOLDER = "baselines"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MAX_BYTES = 16 * 2**20


def _from_hex(value: object) -> object:
    return float.fromhex(value) if isinstance(value, str) else value


Exact = Annotated[
    float, BeforeValidator(_from_hex), PlainSerializer(float.hex, return_type=str, when_used="json")
]
"""A float64 to the bit: hexadecimal in JSON."""
Sketch = tuple[Exact, Exact, Exact]
"""A tensor's norm and its sums in two directions: see `observe.sketch`."""


class Numbers(Frozen):
    """What a training computes in float64 over its first steps, from the shared start of `seed`.

    `losses` are those of every step, none where nothing is trained; `sketches` are by place (`first
    gradients`, `last weights`, …) and tensor. `digest` is the SHA-256 of the last weights, or of
    the outputs where nothing is trained: where it is the same, so is every bit.
    """

    seed: int
    rows: int
    losses: tuple[Exact, ...]
    sketches: dict[str, dict[str, Sketch]]
    digest: str


class Program(Frozen):
    """The captured program of one step; `buffers` are the pieces of memory that it allocates."""

    instructions: int
    operations: dict[str, int]
    flops: int
    buffers: int
    arena_bytes: int
    fed_bytes: int
    unshared_bytes: int


class Parity(Frozen):
    """A certificate in brief: `worst` is the largest difference from the float64 reference."""

    dtype: Dtype
    proven: bool
    steps: int
    worst: float | None = None
    detail: str = ""

    @classmethod
    def of(cls, certificate: Certificate) -> Parity:
        return cls(
            dtype=certificate.setup.dtype,
            proven=certificate.proven,
            steps=certificate.steps,
            worst=certificate.worst,
            detail=certificate.why,
        )


class Timed(Frozen):
    """One phase by blocks, in seconds: a step, and its bare matrix products in the same worker."""

    steps: tuple[float, ...]
    products: tuple[float, ...]


class BaselineEntry(Frozen):
    """All that is kept of one setup. `logical_peak` is in bytes, None where nobody counts it."""

    setup: Setup
    parity: tuple[Parity, ...]
    numbers: Numbers
    programs: dict[Phase, Program] = Field(default_factory=dict)
    logical_peak: dict[Phase, int | None] = Field(default_factory=dict)
    timed: dict[Phase, Timed] = Field(default_factory=dict)


class Baseline(Frozen):
    """`revision` is the git commit of the code, None where it had changes or was no checkout; then
    only the installed `version` says how to obtain it."""

    schema_version: Literal[1] = 1
    name: str
    made: str
    command: tuple[str, ...]
    revision: str | None
    version: str
    machine: dict[str, Setting]
    versions: dict[str, str]
    tasks: tuple[Task, ...]
    entries: Annotated[tuple[BaselineEntry, ...], Field(min_length=1)]


def path_of(name: str, output: Path) -> Path:
    """Where a baseline of this name lies; raises UsageError for a name that is none."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"baseline {name!r}: a name has letters, digits, '.', '-' and '_', at most 64 of them"
        )
    return output / FOLDER / f"{name}.json"


def new_path(name: str, output: Path) -> Path:
    """Where a baseline of this name is to be written; raises UsageError where a link is."""
    return within(output, FOLDER, path_of(name, output).name)


def write(baseline: Baseline, output: Path) -> Path:
    """All of it or nothing. Raises StoreError where it cannot be written."""
    path, content = new_path(baseline.name, output), baseline.model_dump_json(indent=1) + "\n"
    try:
        return write_whole(path, content.encode("utf-8"), lasting=True)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from None


def read(name: str, output: Path) -> Baseline:
    """Raises NoBaseline where there is none, NotComparable for one of another schema, or broken."""
    path = path_of(name, output)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        known = ", ".join(sorted(it.stem for it in path.parent.glob("*.json")))
        way = f"there is: {known}" if known else f"make one: python -m harness baseline save {name}"
        raise NoBaseline(f"no baseline {name!r} in {path.parent}; {way}") from None
    except OSError as error:
        raise NoBaseline(f"{path}: {error.strerror or error}") from None
    if len(content) > MAX_BYTES:
        raise NotComparable(f"{path}: larger than {MAX_BYTES:,} bytes; this is no baseline")
    try:
        baseline = Baseline.model_validate_json(content.removeprefix(codecs.BOM_UTF8))
    except (ValidationError, RecursionError) as error:
        problem = first_problem(error) if isinstance(error, ValidationError) else "nested too deep"
        raise NotComparable(f"{path}: not a baseline that this version reads: {problem}") from None
    tasks = {(task.name, task.digest) for task in baseline.tasks}
    for setup in (entry.setup for entry in baseline.entries):
        if (setup.task, setup.digest) not in tasks:
            raise NotComparable(f"{path}: {setup.id} has no task in it; it was edited")
    return baseline
