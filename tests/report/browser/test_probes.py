"""What looks at the page does see: each fault, planted in a page of its own, is told."""

from __future__ import annotations

import pytest

from tests.report.browser.chromium import opened
from tests.report.browser.looking import look

FAULTS = {
    "overflowing": '<div style="width: 3000px">wide</div>',
    "clipped": '<div style="width: 40px; white-space: nowrap; overflow: clip">cut away</div>',
    "clipped by leaving": '<p style="width: 9px">abcdefghijklmnop</p>',
    "clipped in a figure": '<svg width="60" height="20"><text x="40" y="15">longer</text></svg>',
    "overlapping": '<p>one line</p><p style="margin-top: -30px">another</p>',
    "overlapping in a figure": '<svg><text y="20">one</text><text x="9" y="22">two</text></svg>',
    "crumbled": '<p style="width: 30px; overflow-wrap: anywhere">abcdefghijklmnop</p>',
    "faint": '<p style="background: #222; color: oklch(0.4 0 0)">dim</p>',
    "pale": '<svg><g class="mark" style="--c: #b5e0d0"></g></svg>',
    "faint in a figure": '<svg><text y="20" fill="#ccc">dim</text></svg>',
}
FINE = (
    '<p>a <b>word</b> and <code>another</code></p><p style="color: #666">soft</p>'
    '<div style="width: 90px; overflow: auto"><p style="width: 900px">to be scrolled</p></div>'
    '<details><summary>more</summary><p style="color: #eee">closed</p></details>'
    "<svg width=90 height=20><text y=15>one</text><text x=50 y=15>two</text></svg>"
)


def written(folder, body):
    path = folder / "page.html"
    path.write_text(f"<!DOCTYPE html><html data-ready><title>t</title><body>{body}")
    return path


@pytest.fixture(scope="module")
def window(browser, tmp_path_factory):
    with opened(browser, written(tmp_path_factory.mktemp("probes"), "")) as page:
        yield page


def findings(window, body):
    window.evaluate("(it) => { document.body.innerHTML = it; }", body)
    return look(window)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_seen(window, fault):
    found = findings(window, FAULTS[fault])
    assert found.pop(fault.split()[0])
    assert not any(found.values()), found


def test_a_page_without_faults_has_none(window):
    assert not any(findings(window, FINE).values())


def test_all_that_a_page_may_not_do_is_told(browser, tmp_path):
    scripts = {
        "console.error('so wrong')": "error: so wrong",
        "throw new TypeError('oh')": "thrown: oh",
        "new Image().src = 'http://127.0.0.1:9/x.png'": "asked for http:",
        "new Image().src = 'beside.png'": "asked for file:",
        "alert('now')": "dialog: now",
    }
    path = written(tmp_path, "".join(f"<script>{it}</script>" for it in scripts))
    with pytest.raises(AssertionError) as caught, opened(browser, path):
        pass
    assert not [it for it in scripts.values() if it not in str(caught.value)], caught.value
