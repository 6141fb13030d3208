"""The content of a report → one HTML file that needs nothing else: no network, no script."""

from __future__ import annotations

import re
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.report.content import Content
from harness.report.figures import Drawing

_BODY = re.compile(r'<svg\b[^>]*viewBox="([^"]*)"[^>]*>(.*)</svg>', re.DOTALL)
_UNWANTED = re.compile(
    r"<!--.*?-->\s*|<metadata>.*?</metadata>\s*|<style\b.*?</style>\s*", re.DOTALL
)
_OWN = re.compile(r'(\bid="|\bhref="#|url\(#)')


def render_page(content: Content, drawings: Sequence[Drawing]) -> str:
    """The whole page. Everything in it is escaped but the figures, which hold no foreign markup."""
    environment = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("report.html.j2")
    return template.render(content=content, figures=drawings, inline=inline) + "\n"


def inline(drawing: Drawing) -> Markup:
    """A figure's SVG as a part of the page: scaled by it, its ids its own, its style left out.

    Text in figures is drawn as paths, so no name from outside is in them as text.
    """
    found = _BODY.search(drawing.svg)
    assert found is not None, "matplotlib writes one svg element with a viewBox"
    body = _UNWANTED.sub("", found[2]).replace("xlink:href", "href")
    # Element ids are the same in every file of matplotlib, but must be unique in a page.
    body = _OWN.sub(rf"\g<1>{drawing.name}-", body)
    tag = Markup('<svg viewBox="{}" role="img" aria-label="{}">').format(
        found[1], f"{drawing.title}. {drawing.alt}"
    )
    return tag + Markup(body) + Markup("</svg>")
