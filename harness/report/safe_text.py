"""Foreign text made safe to show: names of tasks, error messages and stderr come from outside.

`line` and `lines` make text safe to show anywhere; `code`, `prose` and `fenced` make it literal in
Markdown, `sheet` in a spreadsheet. HTML is escaped by the template, the terminal is written without
markup, through the streams of `harness.cli.console`, which clean whatever is left.
"""

from __future__ import annotations

import functools
import re
import unicodedata

_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_PLAIN = re.compile(r"[\n\t\x20-\x7e]*")
_FORMULA = tuple(
    "=+-@\t\r\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}"
    "\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}"
)
"""What makes a spreadsheet compute the cell that begins with it."""
_MARKDOWN = re.compile(r"([\\`*_\[\]<>#!~&$])")
_LIST = re.compile(r"^(\d*)([-+=.)])")
_AUTOLINK = re.compile(r"\b(https?|ftp|mailto|xmpp)(?=:)|\b(www)(?=\.)", re.IGNORECASE)


@functools.lru_cache(maxsize=4096)
def line(text: str) -> str:
    """One line without terminal sequences, control, formatting or direction-changing characters."""
    return " ".join(shown(text).split())


def lines(text: str) -> str:
    """The same with line breaks kept, and tabs as spaces."""
    clean = (shown(it.expandtabs(4)) for it in text.replace("\r\n", "\n").split("\n"))
    return "\n".join(it.rstrip() for it in clean).strip("\n")


def shown(text: str) -> str:
    """Any text as it may reach a terminal: of what acts on it only line breaks and tabs stay."""
    if _PLAIN.fullmatch(text):
        return text
    return "".join(map(_shown, _ESCAPE_SEQUENCE.sub("", text)))


def _shown(character: str) -> str:
    if character in "\r\u2028\u2029":
        return " "
    # A zero-width joiner holds many an emoji together and can do no harm.
    if character in "\n\t\u200d" or unicodedata.category(character) not in _INVISIBLE:
        return character
    return "\N{REPLACEMENT CHARACTER}"


def sheet(text: str) -> str:
    """A text in CSV: a spreadsheet shows it and computes nothing; a leading quote says so."""
    clean = shown(text.replace("\r\n", "\n"))
    return f"'{clean}" if text.startswith(_FORMULA) or clean.startswith(_FORMULA) else clean


def code(text: str) -> str:
    """A code span of Markdown; nothing in it is interpreted."""
    text = line(text)
    if not text:
        return ""
    fence = _fence(text)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


@functools.lru_cache(maxsize=4096)
def prose(text: str) -> str:
    """Running text of Markdown: no markup, no HTML, no automatic link."""
    escaped = _LIST.sub(r"\1\\\2", _MARKDOWN.sub(r"\\\1", line(text)))
    return _AUTOLINK.sub(lambda it: f"{it.group(0)}\\", escaped)


def cell(markdown: str) -> str:
    """Markdown inside a table, which is cut at its pipes before anything else is looked for."""
    return markdown.replace("|", "\\|")


def fenced(text: str) -> str:
    """A fenced block of Markdown around several lines."""
    text = lines(text)
    fence = _fence(text, 3)
    return f"{fence}text\n{text}\n{fence}"


def _fence(text: str, least: int = 1) -> str:
    """More backquotes than stand together anywhere in the text."""
    return "`" * max([least, *(len(it) + 1 for it in re.findall("`+", text))])
