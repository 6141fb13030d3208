"""The content of a report → one HTML file that needs nothing else and asks nothing of a network.

The page is whole without its script, which adds sorting, filters, other baselines and tooltips.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.report.chart import Chart, Dots
from harness.report.content import Content
from harness.report.svg import MARKERS, Plot, palette, picture, plot

Forests = Mapping[str, Mapping[str, Dots]]
"""The ratios of a section, by its anchor and the baseline that they are taken to."""

_SIGN = re.compile(r"(?<=\d) (?=[%×])")
DOWNLOADS = (
    ("results.csv", "every cell with its intervals, a row each"),
    ("trainings.csv", "every epoch of every training"),
    ("run.json", "all that is needed to repeat the run, and its summary"),
    ("report.md", "this report as Markdown"),
)


def render_page(content: Content, charts: Sequence[Chart], forests: Forests) -> str:
    """The whole page. Everything in it is escaped but style, script and what `svg` has drawn."""
    environment = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["unbroken"] = unbroken
    template = environment.get_template("report.html.j2")
    script = _own("report.js")
    return (
        template.render(
            content=content,
            pictures=[picture(it) for it in charts],
            forest=lambda it: _forest(forests[it.anchor].get(it.baseline)),
            forests=forests,
            markers=MARKERS,
            style=_own("report.css") + palette(charts),
            script=script,
            hash=_hash(script),
            downloads=DOWNLOADS,
        )
        + "\n"
    )


def _forest(panel: Dots | None) -> Plot | None:
    """By itself: its title is that of the table above which it stands."""
    return replace(plot(panel), title="") if panel else None


def unbroken(text: str) -> str:
    """A number and its sign stay on one line."""
    return _SIGN.sub("\N{NO-BREAK SPACE}", text)


def _own(name: str) -> Markup:
    return Markup(files("harness.report").joinpath("templates", name).read_text(encoding="utf-8"))


def _hash(script: str) -> str:
    """What the page's policy knows its one script by; no other can run."""
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
