"""Numbers as entries of a table: their text, their bounds, and the number that they stand for."""

from __future__ import annotations

from harness.analysis.stats import Interval
from harness.report import format as fmt
from harness.report.content import Value

NOTHING = Value(fmt.NONE)


def ratio(it: Interval) -> Value:
    return Value(*fmt.ratio_interval(it), raw=it.estimate)


def timed(it: Interval | None) -> Value:
    """Seconds with their bounds."""
    return Value(*fmt.seconds_interval(it), raw=it.estimate) if it else NOTHING


def measured(it: Interval) -> Value:
    """A plain number with its bounds."""
    return Value(*fmt.number_interval(it), raw=it.estimate)


def number(it: float | None, detail: str = "") -> Value:
    return Value(fmt.number(it), detail, raw=it)


def seconds(it: float | None) -> Value:
    return Value(fmt.seconds(it), raw=it)


def memory(it: float | None, detail: str = "") -> Value:
    return Value(fmt.memory(it), detail, raw=it)


def share(it: float | None) -> Value:
    """In whole percent."""
    return Value(fmt.whole_percent(it), raw=it)


def count(it: int) -> Value:
    return Value(f"{it:,}", raw=it)


def change(it: float) -> Value:
    """A signed share in percent."""
    return Value(fmt.change(it), raw=it)
