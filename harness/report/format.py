"""Numbers as text, the same everywhere. Nothing else in the report formats a number.

Measured numbers have three significant digits; a bound has as many decimals as its estimate, so
that the two can be compared at a glance. `value` makes an entry of a table of anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from harness.analysis.sentences import DIGITS, UNKNOWN, bracket, ratio_texts, unknown, width
from harness.analysis.stats import Interval
from harness.report.safe_text import line
from harness.tasks.metrics import METRICS

NONE = "–"
"""Shown where there is no number; a zero is shown as zero."""
NOT_KNOWN = f"({UNKNOWN})"
"""In place of bounds between which the size counts as not known (`stats.WIDEST`)."""
SAME = "1 ×"
"""The ratio of the baseline: one by definition, so without digits."""
ONE = 0.9995
"""From here on a number is at least 1 in three digits."""

_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_SIZES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))

Unit = Literal[
    "name", "text", "flag", "count", "number", "examples/s", "seconds", "bytes", "accuracy",
    "error", "epoch", "step", "block", "setting", "relative difference", "ratio", "share",
    "change", "half width",
]  # fmt: skip
"""What a column holds or an axis counts; a `name` is set as code."""


@dataclass(frozen=True)
class Value:
    """One entry of a table; `detail` (an interval, a remark) is set smaller beside it.

    `raw` is the number that it stands for, by which rows are sorted, `ends` are its bounds where
    they are shown; `anchor` is where it leads.
    """

    text: str
    detail: str = ""
    raw: float | None = None
    ends: tuple[float, float] | None = None
    anchor: str = ""


def value(content: Any, unit: Unit, detail: str = "") -> Value:
    """A number, a text or an interval as an entry of a table. A Value stays what it is."""
    if isinstance(content, Value):
        return content
    if content is None:
        return Value(NONE, detail)
    if isinstance(content, Interval):
        shown, bounds = interval(content, unit)
        ends = None if unknown(content) else content.ends
        return Value(shown, detail or bounds, content.estimate, ends)
    if isinstance(content, str):
        return Value(line(content), detail)
    return Value(text(content, unit), detail, None if isinstance(content, bool) else content)


def interval(measured: Interval, unit: Unit = "number") -> tuple[str, str]:
    """An estimate and its bounds or range in brackets (empty without any), in one unit."""
    ends = [measured.low, measured.high]
    if measured.low is None:
        ends = [measured.least, measured.most]
    if unit == "ratio":
        text, low, high = ratio_texts(measured)
        text = f"{text} ×"
    elif unit == "share":
        text = of_peak(measured.estimate)
        low, high = (None if end is None else of_peak(end) for end in ends)
    else:
        units = {"seconds": _TIMES, "bytes": _SIZES}.get(unit)
        size, name = unit_of(measured.estimate, units) if units else (1.0, "")
        scale = measured.estimate / size
        text = f"{_fixed(scale, scale)} {name}".rstrip()
        low, high = (None if end is None else _fixed(end / size, scale) for end in ends)
        high = high and f"{high} {name}".rstrip()
    return text, NOT_KNOWN if unknown(measured) else bracket(measured, low, high)


def number(value: float | None) -> str:
    """Three significant digits with thousands separators, e.g. `0.0213`, `45.4`, `45,400`."""
    return NONE if value is None else _fixed(value, value)


def seconds(value: float | None) -> str:
    """A time in the unit that suits it, e.g. `754 µs`, `1.02 s`."""
    return NONE if value is None else _with_unit(value, _TIMES)


def duration(value: float) -> str:
    """A time to wait: in seconds below a hundred of them, then in minutes, then in hours."""
    if value < 100:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 6000 else f"{value / 3600:.3g} h"


def memory(value: float | None) -> str:
    """Bytes in decimal units (1 MB = 1,000,000 bytes), e.g. `12.3 MB`."""
    return NONE if value is None else _with_unit(value, _SIZES)


def percent(share: float | None) -> str:
    """A share of one, e.g. `97.42 %`."""
    return NONE if share is None else f"{100 * share:.2f} %"


def whole_percent(share: float | None) -> str:
    """A share in whole percent, e.g. `95 %`, or `200 %` of a core; below one with two digits."""
    if share is None:
        return NONE
    return f"{100 * share:.2g} %" if 0 < abs(share) < 0.00995 else f"{100 * share:.0f} %"


def of_peak(share: float | None) -> str:
    """A share of what a device reached at most; what is beyond it was measured too low."""
    return "over 100 %" if share is not None and share > 1.005 else whole_percent(share)


def quality(value: float | None, metric: str) -> str:
    """A metric's value: in percent, or a number with three digits."""
    return percent(value) if METRICS[metric].unit == "percent" else number(value)


def difference(value: float | None, metric: str) -> str:
    """A difference of two values of a metric, e.g. in percentage points."""
    if value is None or METRICS[metric].unit != "percent":
        return number(value)
    return f"{100 * value:.2f} points"


def change(share: float, places: int | None = 1) -> str:
    """A signed share in percent, e.g. `+1.2 %`, `−0.3 %`, `0 %`; in full without `places`."""
    text = f"{100 * share:.6g}" if places is None else f"{100 * share:.{places}f}"
    sign = "+" if float(text) > 0 else ""
    return f"{sign}{text.replace('-', '−') if float(text) else '0'} %"


def count(n: int, noun: str) -> str:
    """`1 block`, `6 blocks`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def span(low: int, high: int, noun: str) -> str:
    """`6 blocks`, `4–6 blocks`."""
    return count(low, noun) if low == high else f"{low:,}–{high:,} {noun}s"


def capital(text: str) -> str:
    """The first word of a sentence; the name of a setup keeps its spelling."""
    return text if ":" in text.split(" ", 1)[0] else text[:1].upper() + text[1:]


def tick(value: float, unit: Unit) -> str:
    """A round number on an axis, e.g. `20,000`, `10 ms`, `95 %`."""
    if unit == "relative difference":
        return f"{value:.0e}".replace("e-0", "e-")
    if value == 0 and unit not in ("accuracy", "change"):
        return "0"
    if unit == "seconds" or unit == "bytes":
        size, name = unit_of(value, _TIMES if unit == "seconds" else _SIZES)
        return f"{value / size:.6g} {name}"
    if unit == "accuracy" or unit == "share":
        return f"{100 * value:.6g} %"
    if unit == "change":
        return change(value, places=None)
    if unit == "examples/s" and value >= 1e6:
        return f"{value / 1e6:.6g} M"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}"


def text(value: float, unit: Unit) -> str:
    """A single value of a column or an axis."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _TEXTS.get(unit, number)(value)


def _fixed(value: float, scale: float) -> str:
    """`value` with as many decimals as `scale` has at three significant digits."""
    if scale == 0:
        return f"{value:g}"
    exponent = int(f"{scale:.{DIGITS - 1}e}".partition("e")[2])
    if exponent < -4:
        return f"{value:.{DIGITS - 1}e}"
    places = DIGITS - 1 - exponent
    return f"{round(value, places):,.{max(0, places)}f}"


def _with_unit(value: float, units: tuple[tuple[float, str], ...]) -> str:
    unit, name = unit_of(value, units)
    return f"{_fixed(value / unit, value / unit)} {name}"


def unit_of(value: float, units: tuple[tuple[float, str], ...] = _TIMES) -> tuple[float, str]:
    """Size and name of the largest unit that fits into a value; zero is in `s` or `B`."""
    if value == 0:
        return next(it for it in units if it[0] == 1)
    for unit in units:
        if abs(value / unit[0]) >= ONE:
            return unit
    return units[-1]


_TEXTS: dict[Unit, Callable[[float], str]] = {
    "count": "{:,}".format,
    "seconds": seconds,
    "bytes": memory,
    "accuracy": percent,
    "relative difference": lambda it: f"{it:.1e}" if it else "0",
    "ratio": lambda it: SAME if it == 1 else f"{number(it)} ×",
    "share": whole_percent,
    "change": change,
    "half width": lambda it: width(it).replace("±", "± "),
    "epoch": "{:g}".format,
    "step": "{:g}".format,
    "block": "{:g}".format,
    "setting": "{:g}".format,
}
