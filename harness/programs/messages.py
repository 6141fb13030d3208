"""What a program's worker is asked, and what it answers. Arrays travel as npz files: `given` with
the request, `out` with the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, TypeAdapter

from harness.errors import DataError
from harness.tasks.programs import Array, Description, ShownStep
from harness.tasks.spec import Frozen
from harness.whole_files import write_whole
from harness.worker.messages import Failed


class Open(Frozen):
    """Read a program; its initial weights go to `out`."""

    ask: Literal["open"] = "open"
    file: str
    name: str = ""
    out: str


class Follow(Frozen):
    """From given weights, one update on each given batch `x0`, `y0`, `x1`, …; what every step
    shows goes to `out`."""

    ask: Literal["follow"] = "follow"
    given: str
    out: str
    steps: int
    dropout: bool = True


class TrainWhole(Frozen):
    """From given weights, updates on the rows `order[k]` of `x_train` and `y_train`; the outputs
    for `x_test` go to `out`."""

    ask: Literal["train"] = "train"
    given: str
    out: str


class Answered(Frozen):
    """`description` is that of an opened program. Its steps are `random` where the same one, made
    twice, did not give the same outputs or loss."""

    answer: Literal["answered"] = "answered"
    description: Description | None = None
    random: bool = False


ProgramRequest = Open | Follow | TrainWhole
PROGRAM_REQUEST: TypeAdapter[ProgramRequest] = TypeAdapter(
    Annotated[ProgramRequest, Field(discriminator="ask")]
)
PROGRAM_REPLY: TypeAdapter[Any] = TypeAdapter(
    Annotated[Answered | Failed, Field(discriminator="answer")]
)
"""`Failed` as `unsupported`: the program cannot be read, and the user can mend that."""


WEIGHT = "weight:"
"""How the names of given weights begin."""


def read_arrays(path: Path | str) -> dict[str, Array]:
    """The arrays of an npz file, no objects. Raises DataError."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # whatever zipfile and NumPy make of a broken file
        raise DataError(f"{Path(path).name}: not a readable npz file ({error})") from None


def write_arrays(path: Path | str, arrays: Mapping[str, Array]) -> None:
    """Write an npz file under this very name. Raises OSError."""
    write_whole(Path(path), lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]


def flattened(steps: Sequence[ShownStep]) -> dict[str, Array]:
    """Everything that steps show, under names such as `0:weights:layer0.bias`."""
    flat: dict[str, Array] = {}
    for step, seen in enumerate(steps):
        for quantity, values in seen._asdict().items():
            by_tensor = values if isinstance(values, dict) else {"": values}
            flat |= {f"{step}:{quantity}:{k}": np.asarray(it) for k, it in by_tensor.items()}
    return flat


def unflattened(flat: Mapping[str, Array], count: int) -> list[ShownStep]:
    """So many steps from what `flattened` made of them."""
    steps = [
        ShownStep(flat[f"{it}:logits:"], float(flat[f"{it}:loss:"]), {}, {}, {})
        for it in range(count)
    ]
    for name, values in flat.items():
        step, quantity, tensor = name.split(":", 2)
        if tensor:
            getattr(steps[int(step)], quantity)[tensor] = values
    return steps
