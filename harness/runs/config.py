"""What the user asks for: a preset, then the configuration file, then the flags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from harness.cells import THROUGHPUT, Dtype, Phase
from harness.errors import UsageError, first_problem, unknown
from harness.tasks.files import read_toml
from harness.tasks.frozen import Frozen


class RunConfig(Frozen):
    """Everything that decides what a run measures. Stored whole with the run.

    An empty `frameworks` means every installed one; `seeds` full trainings are made of every
    setup, with seeds 0, 1, …; `budget` is in seconds.
    """

    preset: str = "quick"
    tasks: tuple[str, ...] = ()
    task_file: str | None = None
    settings: tuple[str, ...] = ()
    frameworks: tuple[str, ...] = ()
    modes: Literal["default", "all"] = "default"
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)] = THROUGHPUT
    devices: Annotated[tuple[str, ...], Field(min_length=1)] = ("cpu",)
    threads: tuple[Annotated[int, Field(ge=1)], ...] = ()
    dtypes: Annotated[tuple[Dtype, ...], Field(min_length=1)] = ("float32",)
    blocks: Annotated[int, Field(ge=1, le=10_000)]
    rounds: Annotated[int, Field(ge=1, le=10_000)]
    sample_seconds: Annotated[float, Field(gt=0, le=60)] = 0.05
    warmup_seconds: Annotated[float, Field(gt=0, le=600)] = 0.3
    seeds: Annotated[int, Field(ge=0, le=1000)]
    budget: Annotated[float, Field(gt=0)] | None = None
    data_dir: str | None = None


Content = dict[str, Any]

PRESETS: dict[str, Content] = {
    "quick": {"tasks": ("digits-mlp",), "blocks": 6, "rounds": 10, "seeds": 1},
    "standard": {
        "tasks": ("digits-mlp", "mnist-mlp", "mnist-wide", "deep-narrow", "cancer-binary"),
        "modes": "all",
        "blocks": 8,
        "rounds": 12,
        "seeds": 3,
        "budget": 3600.0,
    },
    "full": {"tasks": ("*",), "modes": "all", "blocks": 16, "rounds": 15, "seeds": 5},
}
PRESET_HELP = {
    "quick": "one embedded task, each framework's default mode, about two minutes",
    "standard": "five tasks, every mode, three seeds, at most an hour",
    "full": "the whole catalogue, every mode, five seeds, hours",
}


def resolve(file: Path | None, flags: Content) -> RunConfig:
    """The configuration after preset, file and flags. Raises UsageError naming what is wrong."""
    content = read_toml(file) if file else {}
    preset = flags.get("preset", content.get("preset", "quick"))
    if preset not in PRESETS:
        raise unknown("preset", str(preset), PRESETS)
    merged = {"preset": preset, **PRESETS[preset], **content, **flags}
    strange = set(merged) - set(RunConfig.model_fields)
    if strange:
        raise UsageError(f"{file}: {unknown('field', min(strange), RunConfig.model_fields)}")
    try:
        return RunConfig.model_validate(merged)
    except ValidationError as error:
        where = f"{file}: " if file and set(content) & {_field(error)} else ""
        raise UsageError(f"{where}{first_problem(error)}") from None


def _field(error: ValidationError) -> str:
    location = error.errors(include_url=False)[0]["loc"]
    return str(location[0]) if location else ""


def parse_seconds(text: str) -> float:
    """`120`, `120s`, `2m` or `1h` in seconds; raises UsageError for anything else."""
    units = {"s": 1, "m": 60, "h": 3600}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1)
    try:
        seconds = float(number) * unit
    except ValueError:
        raise UsageError(f"budget {text!r}: write seconds, or a number and s, m or h") from None
    if not 0 < seconds < 1e8:
        raise UsageError(f"budget {text!r}: must be more than 0 and less than three years")
    return seconds
