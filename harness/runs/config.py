"""What the user asks for: a preset, then the configuration file, then the flags."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, ValidationError, field_validator

from harness import cells
from harness.errors import NotComparable, StoreError, UsageError, first_problem, unknown
from harness.privacy import cleaned, restored
from harness.records import Run
from harness.tasks.spec import Frozen
from harness.tasks.variants import read_toml

SAMPLE_SECONDS = 0.01
"""How long a sample lasts: half of a turn."""
WAIT_SECONDS = 60.0
LEAST_MEMORY = 50_000_000
"""Bytes that a worker needs for itself, whatever its framework."""


class RunConfig(Frozen):
    """Everything that decides what a run measures. Stored whole with the run.

    Empty `frameworks` are every installed one. Without `lanes` the identical one counts, and the
    idiomatic one for a framework that is asked for and has no mode in the other. Every setup is
    trained to the end with `seeds` seeds: 0, 1, …; `budget` is in seconds.

    `blocks` are made of every group; with a `precision` (half the width of a ratio's interval, 0.02
    is 2 %) at most so many: a group ends after `least_blocks` as soon as every ratio is known so
    well. Before blocks the run waits for a quiet machine, `wait` seconds at most in all. With
    `repeat_noisy` each noisy block adds one, up to a third more. With `twin` one setup of every
    group takes part twice. With `fork`, workers that need not start alone are forked from a process
    that has imported their framework. Each worker has at most `memory_limit` bytes. With `whole`
    the proof follows whole trainings. The `shard` 2/3 takes every third group, from the second on.
    Every task starts from the `weights` in that npz file; a plan has their digest instead.
    """

    preset: str = "quick"
    tasks: tuple[str, ...] = ()
    task_file: str | None = None
    settings: tuple[str, ...] = ()
    frameworks: tuple[str, ...] = ()
    modes: Literal["default", "all"] = "default"
    lanes: Annotated[tuple[cells.Lane, ...], Field(min_length=1)] | None = None
    phases: Annotated[tuple[cells.Phase, ...], Field(min_length=1)] = cells.THROUGHPUT
    devices: Annotated[tuple[str, ...], Field(min_length=1)] = ("cpu",)
    threads: tuple[Annotated[int, Field(ge=1)], ...] = ()
    dtypes: Annotated[tuple[cells.Dtype, ...], Field(min_length=1)] = ("float32",)
    blocks: Annotated[int, Field(ge=1, le=10_000)]
    precision: Annotated[float, Field(gt=0, lt=1)] | None = None
    least_blocks: Annotated[int, Field(ge=1, le=10_000)] = 8
    repeat_noisy: bool = True
    wait: Annotated[float, Field(ge=0, le=3600)] = WAIT_SECONDS
    twin: bool = True
    fork: bool = True
    rounds: Annotated[int, Field(ge=1, le=10_000)]
    sample_seconds: Annotated[float, Field(gt=0, le=60)] = SAMPLE_SECONDS
    warmup_seconds: Annotated[float, Field(gt=0, le=600)] = 0.3
    seeds: Annotated[int, Field(ge=0, le=1000)]
    budget: Annotated[float, Field(gt=0)] | None = None
    memory_limit: Annotated[int, Field(ge=LEAST_MEMORY)] | None = None
    data_dir: str | None = None
    shard: str | None = None
    whole: bool = False
    weights: str | None = None

    @field_validator("shard")
    @classmethod
    def _is_a_part(cls, text: str | None) -> str | None:
        if text is not None:
            part_of(text)
        return text


Content = dict[str, Any]

MOST_BLOCKS = 24
"""The number of blocks where only a precision is given."""
PRESETS: dict[str, Content] = {
    "quick": {
        "tasks": ("digits-mlp",),
        "blocks": 9,
        "rounds": 16,
        "warmup_seconds": 0.2,
        "repeat_noisy": False,
        "seeds": 1,
    },
    "standard": {
        "tasks": ("digits-mlp", "mnist-mlp", "mnist-wide", "deep-narrow", "cancer-binary"),
        "modes": "all",
        "phases": cells.PHASES,
        "blocks": 1000,  # it is the budget that ends it
        "precision": 0.02,
        "rounds": 20,
        "seeds": 3,
        "budget": 7200.0,
        "whole": True,
    },
    "full": {
        "tasks": ("*",),
        "modes": "all",
        "lanes": cells.LANES,
        "phases": cells.PHASES,
        "blocks": 2 * MOST_BLOCKS,
        "precision": 0.02,
        "rounds": 20,
        "seeds": 5,
        "whole": True,
    },
}
PRESET_ALIASES = {
    **dict.fromkeys(("default", "fast", "small", "short"), "quick"),
    **dict.fromkeys(("normal", "medium"), "standard"),
    **dict.fromkeys(("all", "complete", "everything"), "full"),
}
PRESET_HELP = {
    "quick": "one embedded task, each framework's default mode, three to four minutes",
    "standard": "five tasks, every mode, three seeds, two hours towards ±2 %",
    "full": "the whole catalogue, every mode in both lanes, ±2 %, five seeds, hours",
}


def given(options: Mapping[str, object]) -> Content:
    """The options that were given and are fields of a configuration."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in options.items()
        if name in RunConfig.model_fields and value not in (None, [])
    }


def resolve(file: Path | None, flags: Content) -> RunConfig:
    """The configuration after preset, file and flags. Raises UsageError naming what is wrong."""
    content = read_toml(file) if file else {}
    given = content | flags
    preset = given.get("preset", "quick")
    if not isinstance(preset, str) or preset not in PRESETS:
        raise unknown("preset", str(preset), PRESETS, PRESET_ALIASES)
    merged = {"preset": preset, **PRESETS[preset], **given}
    if "precision" in given and "blocks" not in given and "precision" not in PRESETS[preset]:
        merged["blocks"] = MOST_BLOCKS
    if strange := set(merged) - set(RunConfig.model_fields):
        raise UsageError(f"{file}: {unknown('field', min(strange), RunConfig.model_fields)}")

    def where(field: str) -> str:
        return f"{file}: " if field in content and field not in flags else ""

    for field, parse in NUMBERS.items():
        if isinstance(merged.get(field), str):
            merged[field] = parse(merged[field])
    for field, words in WORDS.items():
        asked = merged.get(field)
        if isinstance(asked, list | tuple) and all(isinstance(it, str) for it in asked):
            merged[field] = words.in_full(asked, where(field))
    try:
        return RunConfig.model_validate(merged)
    except ValidationError as error:
        field = str(error.errors(include_url=False)[0]["loc"][0])
        raise UsageError(f"{where(field)}{first_problem(error)}") from None


PATHS = ("task_file", "data_dir")


def clean_config(config: RunConfig) -> Content:
    """What a run keeps of its configuration: paths without what is private."""
    content = config.model_dump(mode="json")
    return content | {name: cleaned(content[name]) for name in PATHS}


def config_of(run: Run) -> RunConfig:
    """The configuration that a run was made with. Raises StoreError for one of another version,
    NotComparable where it was merged from runs that differ in it."""
    content = run.info.config
    paths = {name: restored(content[name]) for name in PATHS if isinstance(content.get(name), str)}
    try:
        return RunConfig.model_validate({**content, **paths})
    except ValidationError as error:
        if run.info.merged and (parts := ", ".join(it.info.name for it in run.info.merged)):
            raise NotComparable(
                f"{run.info.name} was merged from runs that differ in their configuration "
                f"({first_problem(error)}); name one of those: {parts}"
            ) from None
        raise StoreError(
            f"run {run.info.name!r}: its configuration is not one that this version understands: "
            f"{first_problem(error)}"
        ) from None


def part_of(text: str) -> tuple[int, int]:
    """`2/3` as (2, 3); raises ValueError for what is no part of a whole."""
    match = re.fullmatch(r"([1-9]\d{0,3})/([1-9]\d{0,3})", text, re.ASCII)
    if not match or int(match[1]) > int(match[2]):
        raise ValueError(f"{text!r} is no part of a whole; write the first of three as 1/3")
    return int(match[1]), int(match[2])


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


def parse_precision(text: str) -> float:
    """`2%` or `0.02` as a share; raises UsageError for anything else."""
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise UsageError(f"precision {text!r}: write a share of the ratio, such as 2% or 0.02")
    return share


def parse_bytes(text: str) -> int:
    """`2G`, `2GB`, `1.5G`, `512M` or plain bytes; raises UsageError for anything else."""
    units = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)([KMGT]?)B?", text.strip(), re.IGNORECASE)
    if not match:
        raise UsageError(f"memory limit {text!r}: write bytes, or a number and K, M, G or T")
    return round(float(match[1]) * units.get(match[2].upper(), 1))


NUMBERS: Mapping[str, Callable[[str], float]] = {
    "precision": parse_precision,
    "memory_limit": parse_bytes,
    "budget": parse_seconds,
}
"""Fields that users may write with a unit."""


class Words(NamedTuple):
    """The words of a field: `groups` stand for several `choices`; `aliases` are only suggested."""

    name: str
    choices: Sequence[str]
    groups: Mapping[str, Sequence[str]]
    aliases: Mapping[str, str]

    def in_full(self, asked: Iterable[str], where: str) -> list[str]:
        """The choices that names, globs and groups stand for. Raises UsageError, with `where`."""
        chosen: set[str] = set()
        for word in asked:
            meant = self.groups.get(word) or fnmatch.filter(self.choices, word)
            if not meant:
                known = (*self.choices, *self.groups)
                raise UsageError(f"{where}{unknown(self.name, word, known, self.aliases)}")
            chosen.update(meant)
        # In their own order: a first call of a later phase finds the earlier one compiled.
        return sorted(chosen, key=self.choices.index)


WORDS: Mapping[str, Words] = {
    "phases": Words("phase", cells.PHASES, {"latency": cells.LATENCY}, cells.PHASE_ALIASES),
    "lanes": Words("lane", cells.LANES, {"both": cells.LANES}, cells.LANE_ALIASES),
    "dtypes": Words("dtype", cells.DTYPES, {}, cells.DTYPE_ALIASES),
}
