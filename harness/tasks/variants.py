"""Tasks that are not in the catalogue: variants by `--set`, and a user's own from a TOML file.

The `data` of a user's own file are described in `harness.tasks.data_files`. A file has entries such
as:

[[task]]
name = "my-net"
data = { name = "digits" }
model = { hidden = [128, 64], activation = "gelu" }
loss = "cross-entropy"
optimizer = { name = "sgd", learning_rate = 0.1, momentum = 0.9 }
batch_size = 64
epochs = 10
"""

from __future__ import annotations

import codecs
import itertools
import json
import math
import re
import tomllib
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.errors import DataError, DataFileAbsent, UsageError, first_problem, unknown
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.data_files import FileRequest, read_data_file
from harness.tasks.spec import FileData, Frozen, Model, Optimizer, Task, Teacher

Content = dict[str, Any]
Part = typing.Literal["task", "model", "optimizer", "data"]
MAX_VARIANTS = 10_000
MAX_DEPTH = 1000

OPTIMIZERS: dict[str, type[Frozen]] = {
    it.model_fields["name"].default: it for it in typing.get_args(typing.get_args(Optimizer)[0])
}
PARTS: dict[Part, dict[str, type[Frozen]]] = {
    "task": {"": Task},
    "model": {"": Model},
    "optimizer": OPTIMIZERS,
    "data": {"teacher": Teacher},
}
"""The parts of a task whose fields can be set, and the kinds of each part, by name. Published data
have no numbers to set."""
NOT_SET = {"name", "probes", "data", "model", "optimizer", "hidden", "weights"}
"""Fields that name a task or a kind, or hold others; the optimizer and the layers have own keys."""

FIELDS: dict[str, Part] = {
    field: part
    for part, kinds in PARTS.items()
    for kind in kinds.values()
    for field in kind.model_fields
    if field not in NOT_SET
}
"""Every field of a task that has one value, and the part that it belongs to."""
LAYERS = {
    "hidden": "the width of each hidden layer, joined by -: hidden=128-64 is one net of two layers",
    "depth": f"whole number from 0 to {MAX_DEPTH}; so many hidden layers, each as the first one",
    "width": "whole number from 1 to 65,536; every hidden layer has this width",
}
KEYS = ("optimizer", *LAYERS, *FIELDS)
"""The names that `--set` understands, in the order in which they are applied."""
ALIASES = {
    "lr": "learning_rate",
    "eps": "epsilon",
    "wd": "weight_decay",
    "beta_1": "beta1",
    "beta_2": "beta2",
    "init": "initializer",
    "batch": "batch_size",
    **dict.fromkeys(("units", "neurons"), "width"),
    **dict.fromkeys(("layers", "hidden_layers", "hidden_sizes"), "hidden"),
    **dict.fromkeys(("data", "dataset", "task"), "--task"),
    **{name: f"--{name}" for name in ("blocks", "device", "dtype", "phase", "seeds", "threads")},
}
"""Other words for a setting, and words that name an option instead."""


def parse_settings(texts: Iterable[str]) -> list[tuple[str, tuple[str, ...]]]:
    """`["batch_size=32,256"]` → `[("batch_size", ("32", "256"))]`."""
    settings: dict[str, tuple[str, ...]] = {}
    for text in texts:
        key, equals, values = text.partition("=")
        given = tuple(value.strip() for value in values.split(","))
        if not equals or not all(given):
            raise UsageError(f"--set {text}: write it as NAME=VALUE or NAME=VALUE,VALUE")
        if key not in KEYS:
            problem = unknown("setting", key, KEYS, ALIASES)
            raise UsageError(f"{problem}; what each may be: python -m harness list --settings")
        if len(set(given)) < len(given):
            raise UsageError(f"--set {text}: the same value twice")
        if key in settings:
            raise UsageError("--set names the same setting twice; give all its values at once")
        settings[key] = given
    if "hidden" in settings and settings.keys() & {"depth", "width"}:
        raise UsageError("--set hidden gives every layer; leave out depth and width")
    return list(settings.items())


def hints(settings: Iterable[tuple[str, tuple[str, ...]]]) -> list[str]:
    """How settings with two possible meanings were understood."""
    return [
        f"--set hidden={','.join(values)} makes {len(values)} variants of each task, with one "
        f"hidden layer each; one net with these layers is --set hidden={'-'.join(values)}"
        for key, values in settings
        if key == "hidden" and len(values) > 1 and all(it.isdecimal() for it in values)
    ]


def variants(task: Task, settings: Iterable[tuple[str, tuple[str, ...]]]) -> list[Task]:
    """Every combination of the settings' values, named `task[key=value,...]`.

    Raises UsageError where a value is out of range or does not fit the task.
    """
    axes = [[(key, value) for value in values] for key, values in settings]
    if (count := math.prod(map(len, axes))) > MAX_VARIANTS:
        raise UsageError(
            f"--set asks for {count:,} variants of {task.name!r}; at most {MAX_VARIANTS:,}"
        )
    made: dict[str, Task] = {}
    for combination in itertools.product(*axes):
        one = _variant(task, combination)
        if (same := made.setdefault(one.digest, one)) is not one:
            raise UsageError(f"--set gives the same task twice: {same.name} and {one.name}")
    return list(made.values())


def origin(name: str) -> tuple[str, dict[str, str]]:
    """The task that a variant's name comes from, and its settings: the way back of `variants`.

    A name that is no variant's has no settings.
    """
    base, bracket, inside = name.removesuffix("]").partition("[")
    pairs = [it.partition("=") for it in inside.split(",")]
    if not bracket or not name.endswith("]") or any(key not in KEYS for key, *_ in pairs):
        return name, {}
    return base, {key: value for key, _, value in pairs}


def described() -> list[tuple[str, str]]:
    """Every name that `--set` understands, with its type, its values and its default."""
    names = ", ".join(OPTIMIZERS)
    optimizer = f"{names}; another than the task's own begins with its defaults"
    return [
        ("optimizer", optimizer),
        *LAYERS.items(),
        *((field, _described(field, part)) for field, part in FIELDS.items()),
    ]


def _variant(task: Task, combination: tuple[tuple[str, str], ...]) -> Task:
    if not combination:
        return task
    content = task.model_dump()
    suffix = ",".join(f"{key}={value}" for key, value in combination)
    where = f"--set {suffix} for task {task.name!r}"
    for key, value in sorted(combination, key=lambda pair: KEYS.index(pair[0])):
        _put(content, key, value, where)
    name = f"{task.name}[{suffix.replace('+', '')}]"
    try:
        # The name last: for a bad value the reason of its field is the better one.
        Task.model_validate(content)
        return Task.model_validate({**content, "name": name})
    except ValidationError as error:
        raise UsageError(f"{where}: {first_problem(error)}") from None


def _put(content: Content, key: str, value: str, where: str) -> None:
    """Change a task's content by one setting. Raises UsageError where it has no such field."""
    if key == "optimizer":
        if value not in OPTIMIZERS:
            raise unknown("optimizer", value, OPTIMIZERS, {"adamax": "", "nadam": "", "radam": ""})
        if value != content["optimizer"]["name"]:
            content["optimizer"] = {"name": value}
    elif key in LAYERS:
        content["model"]["hidden"] = _layers(key, value, content["model"]["hidden"], where)
    else:
        part = FIELDS[key]
        place = content if part == "task" else content[part]
        kinds = PARTS[part]
        kind = place["name"] if len(kinds) > 1 or part == "data" else ""
        if kind not in kinds or key not in kinds[kind].model_fields:
            having = [name for name, it in kinds.items() if key in it.model_fields]
            raise UsageError(
                f"{where}: its {part} is {kind}; only {' and '.join(having)} has {key}"
            )
        place[key] = _literal(value)


def _layers(key: str, value: str, hidden: Sequence[int], where: str) -> Sequence[Any]:
    if key == "hidden":
        if not re.fullmatch(r"\d+(-\d+)*", value, re.ASCII):
            raise UsageError(f"{where}: write the widths of the layers joined by -, such as 128-64")
        return value.split("-")
    if key == "width":
        if not hidden:
            raise UsageError(f"{where}: there is no hidden layer; add one with depth or hidden")
        return [_literal(value)] * len(hidden)
    depth = _literal(value)
    if not isinstance(depth, int) or not 0 <= depth <= MAX_DEPTH:
        raise UsageError(f"--set depth={value}: must be a whole number from 0 to {MAX_DEPTH}")
    return [hidden[0] if hidden else 64] * depth


def _literal(value: str) -> Any:
    if value == "none":
        return None
    try:
        return int(value)
    except ValueError:
        return value


def _described(field: str, part: Part) -> str:
    kinds = {name: it for name, it in PARTS[part].items() if field in it.model_fields}
    shapes = {name: it.model_json_schema()["properties"][field] for name, it in kinds.items()}
    texts = [_values(next(iter(shapes.values())))]
    if len(kinds) < len(PARTS[part]) or part == "data":
        texts.append(f"only with {', '.join(kinds)}")
    defaults: dict[str, list[str]] = {}
    for name, shape in shapes.items():
        if "default" in shape:
            defaults.setdefault(_plain(shape["default"]), []).append(name)
    if len(defaults) > 1:
        given = (f"{value} ({', '.join(names)})" for value, names in defaults.items())
        texts.append(f"default {', '.join(given)}")
    elif defaults:
        texts.append(f"default {next(iter(defaults))}")
    return "; ".join(texts)


def _values(shape: dict[str, Any]) -> str:
    """The values that a field may have, from its JSON Schema."""
    if "anyOf" in shape:
        return " or ".join(_values(it) for it in shape["anyOf"])
    if "enum" in shape:
        return ", ".join(map(str, shape["enum"]))
    if "const" in shape:
        return str(shape["const"])
    if shape["type"] in ("boolean", "null"):
        return {"boolean": "true or false", "null": "none"}[shape["type"]]
    bounds = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    limits = [f"{word} {shape[it]:,}" for it, word in bounds.items() if it in shape]
    kind = "whole number" if shape["type"] == "integer" else "number"
    return f"{kind} {', '.join(limits)}".strip()


def _plain(value: object) -> str:
    return "none" if value is None else json.dumps(value).strip('"')


MAX_BYTES = 1_000_000


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file; raises UsageError with the line where it is malformed."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise UsageError(f"{path}: larger than {MAX_BYTES:,} bytes; this is no such file")
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise UsageError(f"{path}: UTF-16, not UTF-8 text; save it as UTF-8")
        return tomllib.loads(content.decode("utf-8-sig"))  # some editors begin with a mark
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8 text") from None
    except (ValueError, RecursionError) as error:  # ValueError: a number of thousands of digits
        raise UsageError(f"{path}: not valid TOML: {error}") from None


def read_task_file(path: Path, absent: dict[str, str] | None = None) -> list[Task]:
    """The tasks of a file; raises UsageError naming file, task and field.

    Where `absent` is given, a task whose data file is not there is left out, and noted there under
    its name with the reason.
    """
    content = read_toml(path)
    entries = content.get("task")
    if not isinstance(entries, list) or not entries or set(content) != {"task"}:
        raise UsageError(f"{path}: expected one or more [[task]] tables and nothing else")
    tasks: list[Task] = []
    files: dict[FileRequest, FileData] = {}
    for number, entry in enumerate(entries, start=1):
        try:
            task = Task.model_validate(_with_data(entry, path.parent, files))
        except ValidationError as error:
            raise UsageError(f"{path}: task {number}: {first_problem(error)}") from None
        except DataError as error:
            if absent is not None and isinstance(error, DataFileAbsent):
                absent[str(entry.get("name"))] = f"{Path(entry['data']['file']).name}: no such file"
                continue
            raise DataError(f"{path}: task {number}: data: {error}") from None
        if task.name in CATALOGUE or task.name in {other.name for other in tasks}:
            raise UsageError(f"{path}: task {number}: the name {task.name!r} is taken")
        tasks.append(task)
    return tasks


def _with_data(entry: Any, folder: Path, files: dict[FileRequest, FileData]) -> Any:
    """An entry whose data file, if it has one, was read; of several that name it, once."""
    data = entry.get("data") if isinstance(entry, dict) else None
    if not isinstance(data, dict) or not ("file" in data or data.get("name") == "file"):
        return entry
    try:
        request = FileRequest.model_validate(data)
    except ValidationError as error:
        raise DataError(first_problem(error)) from None
    if request not in files:
        files[request] = read_data_file(request, folder)
    return {**entry, "data": files[request]}


def known_tasks(file: Path | None, absent: dict[str, str] | None = None) -> dict[str, Task]:
    """The catalogue and, if given, the tasks of the user's file, by name; `absent` as above."""
    return CATALOGUE | {it.name: it for it in (read_task_file(file, absent) if file else ())}
