"""Reads tables back from what was written, and checks that HTML is well-formed."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "link", "br", "hr", "img", "input", "wbr"}


class Page(HTMLParser):
    """Tables as rows of cell texts, ids, attributes; raises AssertionError on bad nesting.

    What stands in a template is markup like any other, but no table of the page.
    """

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: dict[str, list[list[str]]] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self._caption = ""
        self._rows: list[list[str]] = []
        self.feed(html)
        self.close()
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag}: attribute given twice"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag, f"</{tag}> closes something else"
        if tag == "table":
            assert not self._caption or self._caption not in self.tables
            if "template" not in self._open:
                self.tables[self._caption] = self._rows
            self._caption = ""

    def handle_data(self, data: str) -> None:
        if {"style", "script"} & set(self._open):
            return
        self.text.append(data)
        if "caption" in self._open:
            self._caption += data
        elif {"td", "th"} & set(self._open):
            self._rows[-1][-1] += data

    @property
    def ids(self) -> list[str]:
        return [it["id"] or "" for _, it in self.tags if "id" in it]


def words(cell: str) -> str:
    return " ".join(cell.split())


def markdown_tables(markdown: str) -> list[list[list[str]]]:
    """Every table of a Markdown text as rows of cells, escapes taken away."""
    tables: list[list[list[str]]] = []
    before = ""
    for text in markdown.splitlines():
        if text.startswith("| "):
            if not before.startswith("| "):
                tables.append([])
            cells = [it.strip(" `*").replace("\\", "") for it in text.strip("| ").split(" | ")]
            tables[-1].append(cells)
        before = text
    return tables
