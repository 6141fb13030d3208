"""Tables are sorted, filtered and copied; the page is narrowed to a task, a device or a lane."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.browser.chromium import opened, unfold

ROWS = """(table) => [...table.tBodies[0].rows].filter((it) => it.checkVisibility())
  .map((row) => [...row.cells].map((it) => it.innerText.trim()))"""
VALUES = """(table, column) => [...table.tBodies[0].rows].filter((it) => it.checkVisibility())
  .map((row) => row.cells[column].dataset.value ?? null)"""


@pytest.fixture
def cells(page):
    return page.locator("#cells table")


def column(table, title):
    """The place of a column, and what sorts by it."""
    heads = table.locator("thead th")
    (place,) = [n for n, it in enumerate(heads.all_inner_texts()) if it.strip().startswith(title)]
    return place, heads.nth(place)


@pytest.mark.parametrize("how", ["mouse", "Enter", "Space"])
def test_a_column_sorts_up_then_down_then_as_it_was(cells, how):
    place, head = column(cells, "median step")
    button = head.locator("button")

    def sort():
        if how == "mouse":
            button.click()
        else:
            button.press(how)
        return [float(it) for it in cells.evaluate(VALUES, place)]

    before = cells.evaluate(ROWS)
    rising = sort()
    assert head.get_attribute("aria-sort") == "ascending"
    assert rising == sorted(rising)
    assert cells.locator("th[aria-sort]").count() == 1
    falling = sort()
    assert head.get_attribute("aria-sort") == "descending"
    assert falling == rising[::-1]
    sort()
    assert head.get_attribute("aria-sort") in (None, "none")
    assert cells.evaluate(ROWS) == before
    assert len(before) == 12


def test_what_has_no_number_stands_last_both_ways(cells):
    cells.evaluate(
        "(it) => it.tBodies[0].rows[0].querySelectorAll('[data-value]')"
        ".forEach((cell) => cell.removeAttribute('data-value'))"
    )
    place, head = column(cells, "median step")
    for _ in ("up", "down"):
        head.locator("button").click()
        assert [n for n, it in enumerate(cells.evaluate(VALUES, place)) if it is None] == [11]


def test_names_sort_as_words(cells):
    _, head = column(cells, "framework")
    head.locator("button").click()
    place = head.evaluate("(it) => it.cellIndex")
    names = [row[place] for row in cells.evaluate(ROWS)]
    assert names == sorted(names)


def test_rows_are_filtered_and_copied(browser, small):
    permissions = ["clipboard-read", "clipboard-write"]
    with opened(browser, small, permissions=permissions) as page:
        unfold(page)
        table = page.locator("#cells .table")
        table.get_by_label("Filter rows").fill("TensorFlow")
        rows = table.locator("table").evaluate(ROWS)
        assert len(rows) == 4
        assert all("tensorflow:graph" in " ".join(it) for it in rows)
        table.locator("button.copy").click()
        table.locator(".copied:not(:empty)").wait_for()  # the clipboard takes its time
        head, *copied = page.evaluate("navigator.clipboard.readText()").strip("\n").split("\n")
        assert "framework" in head
        assert [it.split("\t") for it in copied] == [
            [" ".join(it.split()) for it in row] for row in rows
        ]
        table.get_by_label("Filter rows").fill("no such thing")
        assert table.locator("table").evaluate(ROWS) == []
        table.get_by_label("Filter rows").fill("")
        assert len(table.locator("table").evaluate(ROWS)) == 12


def visible(page, name):
    """The values that visible elements have of one `data-` attribute."""
    return page.evaluate(
        """(name) => [...new Set([...document.querySelectorAll(`main [data-${name}]`)]
          .filter((it) => it.checkVisibility()).map((it) => it.dataset[name]))].sort()""",
        name,
    )


def test_one_task_alone(page):
    both = ["diabetes-regression", "digits-mlp"]
    assert visible(page, "task") == both
    assert not page.locator("#reset").is_visible()
    page.locator("#show-task").select_option("digits-mlp")
    assert visible(page, "task") == ["digits-mlp"]
    assert "digits-mlp" in page.locator("#shown").inner_text()
    tasks = page.locator("#cells table").evaluate(ROWS)
    assert len(tasks) == 6
    page.locator("#reset").click()
    assert visible(page, "task") == both
    assert page.locator("#shown").inner_text() == ""


@pytest.mark.parametrize(("name", "chosen"), [("device", "gpu:0"), ("lane", "idiomatic")])
def test_one_device_or_lane_alone(browser, crowded, name, chosen):
    with opened(browser, crowded) as page:
        unfold(page)
        assert len(visible(page, name)) == 2
        page.locator(f"#show-{name}").select_option(chosen)
        assert visible(page, name) == [chosen]
        assert page.locator("#cells table").evaluate(ROWS)
        page.locator(f"#show-{name}").select_option("")
        assert len(visible(page, name)) == 2


def test_what_one_task_leaves_empty_says_so(browser, crowded):
    with opened(browser, crowded) as page:
        page.locator("#show-task").select_option("task-03[batch_size=8]")
        assert not page.locator("#quality article:visible").count()
        assert page.locator("#quality .nothing").is_visible()


def test_samples_are_behind_each_cell(page):
    page.locator("#cells table tbody tr a[href^='#raw-']").first.click()
    opened_ones = page.locator("#samples details[open]")
    opened_ones.wait_for()  # the page hears of its new address a moment later
    assert opened_ones.count() == 1
    assert opened_ones.locator("table tbody tr").count() == 9


@pytest.mark.parametrize("name", ["results.csv", "trainings.csv", "run.json"])
def test_a_file_can_be_saved_from_the_page(page, small, name):
    with page.expect_download() as saved:
        page.locator(f"#downloads a[download='{name}']").click()
    assert saved.value.suggested_filename == name
    assert Path(saved.value.path()).read_bytes() == (small.parent / name).read_bytes()
