"""The content of a report → one HTML file that needs nothing else and asks nothing of a network.

The page is whole without its script, which adds sorting, filters, other baselines and tooltips.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files as resources
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.report.content import Column, Content, Value
from harness.report.figures import Drawing

_SIGN = re.compile(r"(?<=\d) (?=[%×])")
DOWNLOADS = (
    ("results.csv", "text/csv", "every cell with its intervals, a row each"),
    ("trainings.csv", "text/csv", "every epoch of every training"),
    ("run.json", "application/json", "all that is needed to repeat the run, and its summary"),
)
"""Files with their types and what is in them."""
CARRIED = 500_000
"""Bytes of one file that the page can carry; a larger one lies beside it only."""


class Download(NamedTuple):
    """`link` holds the whole file, or its name where it is too large to be carried."""

    name: str
    link: str
    what: str


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
    )
    environment.filters["unbroken"] = unbroken
    environment.filters["cells"] = cells
    environment.filters["markup"] = Markup
    template = environment.get_template("report.html.j2")
    script = _template("report.js")
    shapes = {name: it for drawing in drawings for name, it in drawing.shapes.items()}
    return (
        template.render(
            content=content,
            drawings=[it for it in drawings if it.chart.inline],
            shapes=Markup("".join(shapes.values())),
            style=_template("report.css"),
            script=script,
            hash=_hash(script),
            downloads=[
                Download(name, _link(name, kind, files[name], carry=carry), what)
                for name, kind, what in DOWNLOADS
            ],
        )
        + "\n"
    )


def _link(name: str, kind: str, text: str, *, carry: bool) -> str:
    data = text.encode("utf-8")
    if len(data) > CARRIED or not carry:
        return name
    return f"data:{kind};charset=utf-8;base64,{base64.b64encode(data).decode('ascii')}"


def cells(row: Sequence[Value], columns: Sequence[Column], moving: bool = False) -> Markup:
    """A table's row; with `moving` its name and what follows the choice of a baseline.

    Not by the template, which takes four times as long for 30,000 of them.
    """
    chosen = zip(row, columns, strict=True)
    return Markup(
        "".join(
            _cell(it, column)
            for it, column in chosen
            if not moving or column.role or column.kind == "name"
        )
    )


def _cell(it: Value, column: Column) -> str:
    text, detail = escape(it.text), escape(it.detail)
    if column.kind == "name":
        name = text.replace(":", ":<wbr>")
        tag = f' <span class="tag good">{detail}</span>' if detail else ""
        return f'<th scope="row" class="name"><code>{name}</code>{tag}</th>'
    if column.role == "verdict":
        text = f'<span class="verdict-word {text.partition(" ")[0]}">{text}</span>'
    elif it.text == "differs":
        text = f'<span class="verdict-word differs">{text}</span>'
    elif it.anchor:
        text = f'<a href="#{escape(it.anchor)}">{text}</a>'
    # Most cells are numbers: without a class for them a large page has a tenth less.
    kind = "" if column.kind == "number" else f' class="{column.kind}"'
    role = f' data-role="{column.role}"' if column.role else ""
    value = "" if it.raw is None else f' data-value="{it.raw:.13g}"'
    small = f" <small>{detail}</small>" if detail else ""
    return f"<td{kind}{role}{value}>{text}{small}</td>"


def unbroken(text: str) -> str:
    """A number and its sign stay on one line."""
    return _SIGN.sub("\N{NO-BREAK SPACE}", text)


def _template(name: str) -> Markup:
    template = resources("harness.report").joinpath("templates", name)
    return Markup(template.read_text(encoding="utf-8"))


def _hash(script: str) -> str:
    """What the page's policy knows its one script by; no other can run."""
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
