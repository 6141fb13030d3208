"""What a page looks like to its reader, as findings: empty lists where nothing is wrong."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

PROBES = Path(__file__).with_name("probes.js")
SEVERE = ("serious", "critical")


def look(page: Page, *names: str) -> dict[str, list[str]]:
    """The findings of these probes, or of all: overflowing, clipped, overlapping,
    crumbled, faint, pale."""
    return dict(
        page.evaluate(
            f"""(names) => {{
              const probes = {PROBES.read_text(encoding="utf-8")};
              const chosen = names.length ? names : Object.keys(probes);
              return Object.fromEntries(chosen.map((it) => [it, probes[it]()]));
            }}""",
            list(names),
        )
    )


def settle(page: Page) -> None:
    """Wait until the page has drawn itself for the size it has now."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")


def unfold(page: Page) -> None:
    page.evaluate("() => document.querySelectorAll('details').forEach((it) => (it.open = true))")


@cache
def _axe() -> str:
    return (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


def axe(page: Page, *rules: str) -> list[str]:
    """Serious and critical findings of axe-core, by these rules or by all that it has.

    Each finding comes with the first elements that have it.
    """
    page.evaluate(_axe())
    found: list[dict[str, Any]] = page.evaluate(
        """async (rules) => (await axe.run(document, {
          resultTypes: ["violations"], ...(rules.length && { runOnly: rules }),
        })).violations""",
        list(rules),
    )
    return [
        f"{it['id']}: {it['help']}: " + "; ".join(node["html"][:160] for node in it["nodes"][:3])
        for it in found
        if it["impact"] in SEVERE
    ]
