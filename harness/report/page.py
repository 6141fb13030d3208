"""The content of a report → one HTML file that needs nothing else and asks nothing of a network.

The page is whole without its script, which adds sorting, filters, other baselines and tooltips.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files as resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.report.columns import Column, Grid
from harness.report.compose import Content
from harness.report.figures import Drawing
from harness.report.format import Value

_SIGN = re.compile(r"(?<=\d) (?=[%×])")
DOWNLOADS = (
    ("results.csv", "text/csv", "every cell with its intervals, a row each"),
    ("trainings.csv", "text/csv", "every epoch of every training"),
    ("run.json", "application/json", "all that is needed to repeat the run, and its summary"),
)
"""Files with their types and what is in them."""
CARRIED = 500_000
"""Bytes of one file that the page can carry; a larger one lies beside it only."""


def render_page(
    content: Content, drawings: Sequence[Drawing], files: Mapping[str, str], *, carry: bool = True
) -> str:
    """The whole page; with `carry` it contains the small ones of `files`, to be saved from it.

    Everything in it is escaped, except style, script and what `figures` has drawn.
    """
    environment = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"unbroken": unbroken, "cells": cells, "markup": Markup}
    templates = resources("harness.report") / "templates"
    script, style = (
        (templates / name).read_text(encoding="utf-8") for name in ("report.js", "report.css")
    )
    shapes = {name: it for drawing in drawings for name, it in drawing.shapes.items()}
    return environment.get_template("report.html.j2").render(
        content=content,
        drawings=[it for it in drawings if it.chart.inline],
        shapes=Markup("".join(shapes.values())),
        style=Markup(style),
        script=Markup(script),
        # The page's policy knows its one script by this; no other can run.
        hash=_base64(hashlib.sha256(script.encode("utf-8")).digest()),
        downloads=[
            (name, _link(name, kind, files[name], carry=carry), what)
            for name, kind, what in DOWNLOADS
        ],
    )


def _link(name: str, kind: str, text: str, *, carry: bool) -> str:
    """The whole file, or its name where it is too large for the page."""
    data = text.encode("utf-8")
    if len(data) > CARRIED or not carry:
        return name
    return f"data:{kind};charset=utf-8;base64,{_base64(data)}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def cells(row: Sequence[Value], grid: Grid) -> Markup:
    """A table's row. The template would take four times as long for 30,000 of them."""
    chosen = list(zip(row, grid.columns, strict=True))
    verdict = next((it.text for it, column in chosen if column.role == "verdict"), "")
    return Markup(
        "".join(
            _cell(it, column, _interval(it, grid.axis, verdict) if column.unit == "ratio" else "")
            for it, column in chosen
        )
    )


def _cell(entry: Value, column: Column[Any], drawn: str) -> str:
    text, detail = escape(entry.text), escape(entry.detail)
    if detail.startswith("(range of"):  # longer than an interval: in two lines
        detail = detail.replace(": ", ":<br>", 1)
    if column.side == "name":
        name = text.replace(":", ":<wbr>")
        tag = f' <span class="tag good">{detail}</span>' if detail else ""
        return f'<th scope="row" class="name"><code>{name}</code>{tag}</th>'
    if column.role == "verdict":
        text = f'<span class="verdict-word {text.partition(" ")[0]}">{text}</span>'
    elif entry.text == "differs":
        text = f'<span class="verdict-word differs">{text}</span>'
    elif entry.anchor:
        text = f'<a href="#{escape(entry.anchor)}">{text}</a>'
    # Most cells are numbers: without a class for them a large page has a tenth less.
    side = "drawn" if drawn else column.side
    usual = side == "number" or column.role == "verdict"
    kind = "" if usual else f' class="{side}"'
    role = f' data-role="{column.role}"' if column.role else ""
    value = "" if entry.raw is None else f' data-value="{entry.raw:.7g}"'
    small = f" <small>{detail}</small>" if detail else ""
    return f"<td{kind}{role}{value}>{text}{small}{drawn}</td>"


def _interval(entry: Value, axis: tuple[float, float], verdict: str) -> str:
    """A ratio with its bounds as a mark on the log axis that the rows of its table share."""
    least, most = axis
    if entry.raw is None or least == most:
        return ""
    low, high = entry.ends or (entry.raw, entry.raw)
    places = {
        name: f"{100 * math.log(ratio / least) / math.log(most / least):.3g}%"
        for name, ratio in (("one", 1.0), ("low", low), ("high", high), ("at", entry.raw))
    }
    style = ";".join(f"--{name}:{place}" for name, place in places.items())
    kind = escape(verdict.partition(" ")[0])
    return f'<span class="interval {kind}" style="{style}"></span>'


def unbroken(text: str) -> str:
    """A number and its sign stay on one line."""
    return _SIGN.sub("\N{NO-BREAK SPACE}", text)
