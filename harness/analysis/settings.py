"""Effective settings: whether cells ran as they were asked and alike, from their records alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from harness.adapter import Setting
from harness.analysis.usage import usage_faults
from harness.records import (
    DENORMALS,
    DEVICE,
    DTYPE,
    MUST_AGREE,
    PRECISION,
    PRECISIONS,
    SETTINGS,
    THREADS,
    WEIGHTS,
    Record,
    precision_class,
)
from harness.tasks.spec import Frozen

Values = Mapping[str, tuple[Setting, ...]]
"""Every value that a setting had in some records, by name; None is no value."""


class SettingRow(Frozen):
    """One setting in several cells, by label; None where a cell does not have it.

    `differs` compares the cells that have it. If it `must_agree`, cells that differ are not ranked.
    """

    name: str
    meaning: str
    values: dict[str, Setting]
    differs: bool
    must_agree: bool


def setup_faults(records: Iterable[Record]) -> tuple[str, ...]:
    """Why a setup may not be ranked at all, a sentence each; empty where it may.

    It ran otherwise than asked, a setting changed while it was timed, it did not do the work that
    was asked for, or it used more than its turns show.
    """
    records = list(records)
    faults = dict.fromkeys(text for record in records for text in _faults(record))
    unmet: dict[str, str] = {}
    for check in (check for record in records for check in record.checks):
        if not check.ok:  # its numbers differ from block to block: the first ones do
            unmet.setdefault(check.check, f"{check.check}: {check.detail}")
    return (*faults, *unmet.values(), *usage_faults(records))


def disagreements(ours: Sequence[Record], theirs: Sequence[Record]) -> tuple[str, ...]:
    """Settings in which two setups differ that all ranked cells must share, a sentence each."""
    one, other = _values(ours), _values(theirs)
    return tuple(
        f"{name}: {_text(one[name])} in {ours[0].setup.label}, "
        f"{_text(other[name])} in {theirs[0].setup.label}"
        for name in MUST_AGREE
        if name in one and name in other and one[name] != other[name]
    )


def side_by_side(records: Mapping[str, Sequence[Record]]) -> tuple[SettingRow, ...]:
    """Every setting of every label: the shared names in their order, then those of one framework.

    Values that changed from block to block stand together, as `1 / 2`.
    """
    by_label = {label: _values(of_label) for label, of_label in records.items()}
    names = dict.fromkeys(name for values in by_label.values() for name in values)
    rest = [name for name in names if name not in SETTINGS]
    rows = []
    for name in (*(it for it in SETTINGS if it in names), *rest):
        known = SETTINGS.get(name)
        given = {label: values[name] for label, values in by_label.items() if name in values}
        row = SettingRow(
            name=name,
            meaning=known.line if known else "",
            values={label: _one(given.get(label, (None,))) for label in by_label},
            differs=len(set(given.values())) > 1,
            must_agree=bool(known and known.must_agree),
        )
        rows.append(row)
    return tuple(rows)


def effective(record: Record) -> dict[str, Setting]:
    """What a record's worker ran with: what its framework reported and what was measured."""
    settings = dict(record.settings)
    if record.limits and record.limits.matmul_error is not None:
        settings[PRECISION] = precision_class(record.limits.matmul_error)
    if record.limits and record.limits.flushes_denormals is not None:
        settings[DENORMALS] = record.limits.flushes_denormals
    return settings


def _faults(record: Record) -> Iterator[str]:
    """The settings in which one record is at fault, a sentence each."""
    if not record.settings:
        return
    setup, settings = record.setup, effective(record)
    asked = {THREADS: setup.threads, DTYPE: setup.dtype, DEVICE: setup.processor}
    for name, wanted in (*asked.items(), (WEIGHTS, setup.processor)):
        if settings.get(name) not in (None, wanted):
            yield f"{setup.label} ran with {name} {settings[name]}, not {wanted} as asked"
    error = record.limits.matmul_error if record.limits else None
    bound = dict(PRECISIONS)[setup.dtype]
    # In the idiomatic lane less precision may be an expert's choice: cells need only agree in it.
    if setup.lane == "identical" and error is not None and error >= bound:
        yield (
            f"{setup.label} multiplies matrices with {settings[PRECISION]} precision (error "
            f"{error:.1e}), not {setup.dtype} as asked"
        )
    for name, before in record.settings_before.items():
        known, after = SETTINGS.get(name), record.settings.get(name)
        if known and known.constant and name in record.settings and after != before:
            yield (
                f"{setup.label} changed {name} while it was timed: {_text((before,))} before, "
                f"{_text((after,))} after"
            )


def _values(records: Iterable[Record]) -> Values:
    """Empty values are left out; one that differs from block to block has several."""
    values: dict[str, dict[Setting, None]] = {}
    for record in records:
        for name, value in effective(record).items():
            if value is not None:
                values.setdefault(name, {})[value] = None
    return {name: tuple(sorted(them, key=str)) for name, them in values.items()}


def _one(values: tuple[Setting, ...]) -> Setting:
    return values[0] if len(values) == 1 else _text(values)


def _text(values: Iterable[Setting]) -> str:
    return " / ".join("–" if value is None else str(value) for value in values)
