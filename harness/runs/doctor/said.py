"""What a check says, and the words and grades that all of them share.

*Unfit* is what would spoil a run: what would make each of its blocks noisy by the rule in
`harness.analysis.noise`, or end it. A *warning* widens intervals or shifts the figures of every
framework; a *note* is worth knowing and no fault.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

Level = Literal["ok", "note", "warning", "unfit"]
LEVELS: tuple[Level, ...] = ("unfit", "warning", "note", "ok")
"""Worst first."""


class Said(NamedTuple):
    level: Level
    found: str
    advice: str = ""


def graded(value: float, warning: float, unfit: float = math.inf) -> Level:
    return "unfit" if value >= unfit else "warning" if value >= warning else "ok"


def percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"


def size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"
