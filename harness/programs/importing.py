"""A user's model as a task. What an MLP task cannot express is refused by its name.

Where a task has the same mathematics in another form, a note says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn, get_args

from pydantic import ValidationError

from harness.adapter import Array
from harness.errors import UsageError, first_problem, unknown
from harness.programs.batches import DataSource
from harness.programs.initializers import initializer_of
from harness.tasks.programs import Description, LayerFacts, LossFacts, OptimizerFacts
from harness.tasks.spec import Activation, Task
from harness.tasks.variants import KEYS, OPTIMIZERS, parse_settings, variants

ACTIVATIONS = get_args(Activation)
ONE = "a task has dense layers with one activation between them"
BATCH_SIZE, EPOCHS = 32, 10
"""Where the program does not say."""


class ImportedTask(NamedTuple):
    """A task, with notes on what the program leaves open. `data` is the entry of a task file for
    the user's own file; None for a published data set."""

    task: Task
    notes: tuple[str, ...]
    data: dict[str, Any] | None = None


def imported(
    description: Description,
    weights: Mapping[str, Array],
    data: str,
    name: str,
    loss: str | None = None,
    optimizer: str | None = None,
    settings: Sequence[str] = (),
    target: str | None = None,
) -> ImportedTask:
    """The task that a program computes on a data set, or on the user's file with this `target`.
    `loss` and `optimizer` are for a program that does not define them. Raises UsageError."""
    notes: list[str] = []
    widths, activation, output = _layers(description)
    task_loss, output = _loss(description.loss, loss, output, notes)
    kind = LossFacts(name=task_loss, shown=task_loss).kind or "binary"
    source = DataSource(data, target)
    if (initializer := initializer_of(description, weights)) is None:
        initializer = "glorot-uniform"
        notes.append(f"the weights do not show which initializer drew them: {initializer}")
    content = {
        "name": name,
        "probes": f"imported from {description.framework}",
        "data": source.declared(widths[0], widths[-1], kind),
        "model": {
            "hidden": widths[1:-1],
            "activation": activation or "relu",
            "output": output,
            "initializer": initializer,
        },
        "loss": task_loss,
        "optimizer": _optimizer(description.optimizer, optimizer, notes),
        "batch_size": description.batch_size or BATCH_SIZE,
        "epochs": description.epochs or EPOCHS,
        "shuffle": True if description.shuffle is None else description.shuffle,
    }
    for field, usual in (("batch_size", BATCH_SIZE), ("epochs", EPOCHS)):
        if getattr(description, field) is None:
            notes.append(f"the program gives no {field}: {usual}")
    if description.frozen:
        raise UsageError(f"{description.frozen[0]} is not trained; a task trains every weight")
    try:
        task = Task.model_validate(content)
    except ValidationError as error:
        raise UsageError(f"the program is no task: {first_problem(error)}") from None
    # One after the other: a variant's name, which nobody sees, holds all its settings.
    for setting in sorted(parse_settings(settings), key=lambda it: KEYS.index(it[0])):
        several = variants(task.model_copy(update={"name": "imported"}), [setting])
        if len(several) != 1:
            raise UsageError("--set: one value each; an import makes one task")
        task = several[0].model_copy(update={"name": name})
    request = source.request(kind)
    entry = request.model_dump(exclude_unset=True) if request else None
    return ImportedTask(task, tuple(notes), entry)


Counted = tuple[int, LayerFacts]
"""A layer with its number, from 1."""


def _layers(description: Description) -> tuple[tuple[int, ...], str | None, str]:
    """Widths, the activation of the hidden layers (None without any), the output."""
    if not description.ordered:
        raise UsageError(
            "the model is no nn.Sequential or keras.Sequential: its own code decides what its "
            "layers do; write it as one to import it"
        )
    counted = enumerate(description.layers, start=1)
    layers = [it for it in counted if it[1].kind not in ("flatten", "identity")]
    takes_logs = description.loss is not None and description.loss.name == "nll"
    if takes_logs and layers and layers[-1][1].kind == "log-softmax":
        layers.pop()
    widths, activations = _stacked(layers)
    hidden, last = activations[: len(widths) - 2], activations[len(widths) - 2 :]
    for number, layer in hidden:
        if layer.kind not in ACTIVATIONS:
            _refuse(number, layer, f"activations are {', '.join(ACTIVATIONS)}; {ONE}")
        if layer.kind != hidden[0][1].kind:
            _refuse(number, layer, f"the first activation is {hidden[0][1].kind}; {ONE}")
    for number, layer in last:
        if layer.kind not in ("softmax", "sigmoid"):
            _refuse(number, layer, "after the last dense layer a task has nothing or a softmax")
    activation = hidden[0][1].kind if hidden else None
    return tuple(widths), activation, last[0][1].kind if last else "identity"


def _stacked(layers: Sequence[Counted]) -> tuple[list[int], list[Counted]]:
    """The widths of dense layers, and what stands after each: one layer, or none after the last."""
    widths: list[int] = []
    activations: list[Counted] = []
    after_dense = False
    for number, layer in layers:
        dense = layer.kind == "dense"
        if not dense and not after_dense:
            _refuse(number, layer, ONE)
        if dense:
            _check_dense(number, layer, widths)
            if after_dense:
                _refuse(number, layer, "no activation stands before it")
            widths = widths or [int(layer.number("inputs"))]
            widths.append(int(layer.number("outputs")))
        else:
            activations.append((number, layer))
        after_dense = dense
    if not widths:
        raise UsageError("the model has no dense layer")
    return widths, activations


def _check_dense(number: int, layer: LayerFacts, widths: Sequence[int]) -> None:
    if not layer.options.get("bias"):
        _refuse(number, layer, "it has no bias; every layer of a task has one")
    extra = next((k for k in layer.options if k not in ("inputs", "outputs", "bias")), None)
    if extra:
        _refuse(number, layer, f"a task has no {extra.replace('_', ' ')}")
    if widths and layer.options["inputs"] != widths[-1]:
        _refuse(number, layer, f"it takes {layer.options['inputs']} inputs of {widths[-1]}")


def _refuse(number: int, layer: LayerFacts, why: str) -> NoReturn:
    raise UsageError(f"layer {number} is {layer.shown}; {why}")


def _loss(
    facts: LossFacts | None, named: str | None, output: str, notes: list[str]
) -> tuple[str, str]:
    """The task's loss and output."""
    if named is None and facts is None:
        raise UsageError("the program gives no loss; name one with --loss")
    if facts is not None and named is None:
        _check_loss(facts)
        if facts.name == "nll":
            notes.append("LogSoftmax and NLLLoss are cross-entropy, of logits")
            return "cross-entropy", "identity"
        if facts.name == "binary-cross-entropy-of-probabilities" and output == "sigmoid":
            notes.append(
                "sigmoid and its cross-entropy are one loss, of logits; nothing is clipped"
            )
            return "binary-cross-entropy", "identity"
        named = facts.name
    if output == "sigmoid":
        raise UsageError(
            f"the model ends in a sigmoid before loss {named}; a task's output is identity or "
            "softmax"
        )
    return str(named), output


def _check_loss(facts: LossFacts) -> None:
    if facts.reduction != "mean":
        raise UsageError(
            f"loss {facts.shown} has reduction {facts.reduction!r}; a task's is a mean"
        )
    if facts.smoothing:
        raise UsageError(f"loss {facts.shown} smooths labels; a task's does not")
    if facts.name == "other":
        raise UsageError(f"loss {facts.shown} is no task's; name one with --loss")


PLACES = {"before-correction": "before the bias correction", "inside": "inside the root"}
"""Where an optimizer adds epsilon, if not where the task's formula does."""


def _optimizer(facts: OptimizerFacts | None, named: str | None, notes: list[str]) -> dict[str, Any]:
    if named is not None:
        if named not in OPTIMIZERS:
            raise unknown("optimizer", named, OPTIMIZERS)
        return {"name": named}
    if facts is None:
        raise UsageError("the program gives no optimizer; name one with --optimizer")
    options, name = dict(facts.options), facts.name
    if name == "adam" and options.get("weight_decay") and options["decay"] == "decoupled":
        name = "adamw"
    _check_optimizer(facts, name)
    if name == "sgd" and not options.get("momentum"):
        options["nesterov"] = False
    if place := PLACES.get(str(options.get("epsilon_place"))):
        formula = "the task's formula outside the corrected root"
        notes.append(f"{facts.shown} adds epsilon {place}; {formula}")
    fields = OPTIMIZERS[name].model_fields
    return {"name": name, **{it: value for it, value in options.items() if it in fields}}


def _check_optimizer(facts: OptimizerFacts, name: str) -> None:
    """Refuse what no task's optimizer does."""
    if name == "other":
        raise UsageError(f"optimizer {facts.shown} is no task's: {', '.join(OPTIMIZERS)}")
    if facts.strange:
        raise UsageError(f"optimizer {facts.shown} has {facts.strange}; no task's has")
    for option in ("amsgrad", "dampening", "centered", "clip_norm", "clip_value"):
        if value := facts.options.get(option):
            raise UsageError(f"optimizer {facts.shown} has {option}={value}; no task's has")
    decay, form = facts.options.get("weight_decay"), facts.options.get("decay")
    if decay and (name != "adamw" or form != "decoupled"):
        raise UsageError(
            f"optimizer {facts.shown} has weight_decay={decay}, {form}; of a task's optimizers "
            "only adamw has one, decoupled"
        )


def task_file(made: ImportedTask) -> str:
    """A TOML file with the task, and the notes as comments."""
    content = made.task.model_dump(mode="json", exclude_none=True)
    content["data"] = made.data or content["data"]
    lines = [f"# {it}" for it in made.notes]
    lines += ["[[task]]", *(f"{name} = {_toml(it)}" for name, it in content.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{k} = {_toml(it)}" for k, it in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    text: str = json.dumps(value, ensure_ascii=False)
    return text
