"""Variants of a task: `--set batch_size=32,256` and the names that it understands."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import ValidationError

from harness.errors import UsageError, first_problem, unknown
from harness.tasks.spec import Task

Content = dict[str, Any]
MAX_VARIANTS = 10_000


def _width(content: Content, value: Any) -> None:
    content["model"]["hidden"] = [value] * len(content["model"]["hidden"])


def _depth(content: Content, value: Any) -> None:
    if not isinstance(value, int) or not 0 <= value <= 1000:
        raise UsageError(f"--set depth={value}: must be a whole number from 0 to 1000")
    hidden = content["model"]["hidden"]
    content["model"]["hidden"] = [hidden[0] if hidden else 64] * value


def _hidden(content: Content, value: Any) -> None:
    content["model"]["hidden"] = str(value).split("-")


def _into(part: str | None, key: str) -> Callable[[Content, Any], None]:
    def put(content: Content, value: Any) -> None:
        (content[part] if part else content)[key] = value

    return put


KEYS: dict[str, Callable[[Content, Any], None]] = {
    "batch_size": _into(None, "batch_size"),
    "epochs": _into(None, "epochs"),
    "target": _into(None, "target"),
    "shuffle": _into(None, "shuffle"),
    "width": _width,
    "depth": _depth,
    "hidden": _hidden,
    "activation": _into("model", "activation"),
    "initializer": _into("model", "initializer"),
    "learning_rate": _into("optimizer", "learning_rate"),
    "momentum": _into("optimizer", "momentum"),
    "weight_decay": _into("optimizer", "weight_decay"),
    "features": _into("data", "features"),
    "classes": _into("data", "classes"),
    "train": _into("data", "train"),
    "test": _into("data", "test"),
}
"""Name after `--set` → how it changes a task's content. `width` sets every hidden layer,
`depth` repeats the first, `hidden=128-32-128` gives each; the last four are the teacher's."""


def parse_settings(texts: Iterable[str]) -> list[tuple[str, tuple[str, ...]]]:
    """`["batch_size=32,256"]` → `[("batch_size", ("32", "256"))]`."""
    settings = []
    for text in texts:
        key, equals, values = text.partition("=")
        if not equals or not all(value.strip() for value in values.split(",")):
            raise UsageError(f"--set {text}: write it as NAME=VALUE or NAME=VALUE,VALUE")
        if key not in KEYS:
            raise unknown("setting", key, KEYS)
        given = tuple(value.strip() for value in values.split(","))
        if len(set(given)) < len(given):
            raise UsageError(f"--set {text}: the same value twice")
        settings.append((key, given))
    if len({key for key, _ in settings}) < len(settings):
        raise UsageError("--set names the same setting twice; give all its values at once")
    return settings


def variants(task: Task, settings: Iterable[tuple[str, tuple[str, ...]]]) -> list[Task]:
    """Every combination of the settings' values, named `task[key=value,...]`.

    Raises UsageError where a value is out of range or does not fit the task.
    """
    axes = [[(key, value) for value in values] for key, values in settings]
    if (count := math.prod(map(len, axes))) > MAX_VARIANTS:
        raise UsageError(
            f"--set asks for {count:,} variants of {task.name!r}; at most {MAX_VARIANTS:,}"
        )
    return [_variant(task, combination) for combination in itertools.product(*axes)]


def origin(name: str) -> tuple[str, dict[str, str]]:
    """The task that a variant's name comes from, and its settings: the way back of `variants`.

    A name that is no variant's has no settings.
    """
    base, bracket, inside = name.removesuffix("]").partition("[")
    pairs = [it.partition("=") for it in inside.split(",")]
    if not bracket or not name.endswith("]") or any(key not in KEYS for key, *_ in pairs):
        return name, {}
    return base, {key: value for key, _, value in pairs}


def _variant(task: Task, combination: tuple[tuple[str, str], ...]) -> Task:
    if not combination:
        return task
    content = task.model_dump()
    for key, value in combination:
        KEYS[key](content, _literal(value))
    suffix = ",".join(f"{key}={value}" for key, value in combination)
    name = f"{task.name}[{suffix.replace('+', '')}]"
    try:
        # The name last: a value that is no name either is wrong for a better reason.
        Task.model_validate(content)
        return Task.model_validate({**content, "name": name})
    except ValidationError as error:
        raise UsageError(f"--set {suffix} for task {task.name!r}: {first_problem(error)}") from None


def _literal(value: str) -> Any:
    try:
        return int(value)
    except ValueError:
        return value
