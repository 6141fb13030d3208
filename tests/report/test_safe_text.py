"""Foreign text cannot do anything, wherever it is shown."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from harness.report import safe_text

HOSTILE = (
    "<script>alert(1)</script>",
    "[click](javascript:alert(1))",
    "![x](http://evil.example/x.png)",
    "`code` ``and`` more",
    "` leading",
    "a | b | c",
    "**bold** _it_ ~~gone~~ # no heading",
    "http://evil.example www.evil.example <http://evil.example>",
    "&lt;b&gt; &#60;",
    "trailing backslash \\",
    "[red]text[/red]",
    "$x^2$",
    "- no list",
    "+ no list",
    "1. no list",
    "12) no list",
    "=== no heading",
    "--- no rule",
    "one\ntwo\r\n# three",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 bell\x07 \x9b2J",
    "\u202ereversed\u202c \u2066isolated\u2069 zero\u200bwidth",
    "日本語 עברית 👩‍🔬",
    "x" * 500,
)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_line_is_one_line_without_control_characters(text):
    shown = safe_text.line(text)
    assert "\n" not in shown
    assert not any(ord(it) < 32 or 0x7F <= ord(it) < 0xA0 for it in shown)
    assert not set(shown) & set("\u202e\u202c\u2066\u2069\u200b")


def test_terminal_sequences_vanish_and_other_characters_stay():
    assert safe_text.line("\x1b[31mred\x1b[0m") == "red"
    assert safe_text.line("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\") == "link"
    assert safe_text.line("a\u202eb") == "a\N{REPLACEMENT CHARACTER}b"
    assert safe_text.line("日本 עברית 👩‍🔬") == "日本 עברית 👩‍🔬"


def test_lines_keep_their_breaks_and_nothing_else():
    assert safe_text.lines("\n  a\tb\r\n\x1b[1mc\x1b[0m  \n\n") == "  a b\nc"


def rendered(markdown):
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown)


@pytest.mark.parametrize("text", HOSTILE)
def test_prose_is_literal_in_markdown(text):
    html = rendered(safe_text.prose(text))
    assert html.startswith("<p>")
    assert html.count("<") == 2, html


@pytest.mark.parametrize("text", HOSTILE)
def test_code_is_literal_in_markdown(text):
    html = rendered(f"- {safe_text.code(text)}")
    assert html.startswith("<ul>\n<li><code>")
    assert html.count("<") == 6, html


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("how", [safe_text.code, safe_text.prose])
def test_a_cell_stays_in_its_column(text, how):
    html = rendered(f"| a | b |\n| --- | --- |\n| {safe_text.cell(how(text))} | last |")
    assert html.count("<td") == 2
    assert "<td>last</td>" in html
    assert not any(tag in html for tag in ("<script", "<a ", "<img", "<strong", "<em", "<h1"))


@pytest.mark.parametrize("text", HOSTILE)
def test_no_address_becomes_a_link_on_a_code_host(text):
    assert not any(it in safe_text.prose(text) for it in ("http:", "https:", "www."))


@pytest.mark.parametrize("text", [*HOSTILE, "```\n</details>\n````\nx"])
def test_a_fence_is_longer_than_any_inside(text):
    html = rendered(safe_text.fenced(text))
    assert html.startswith('<pre><code class="language-text">')
    assert html.count("<") == 4


def test_code_of_nothing_is_nothing():
    assert safe_text.code("") == ""
