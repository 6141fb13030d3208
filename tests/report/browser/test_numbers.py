"""What the reader sees is what the CSV holds: the rendered page, with script and without."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.report.browser.chromium import opened, unfold
from tests.report.reading import words
from tests.report.test_agreement import EXPECTED, expected_ratio, shown_as

TABLES = """() => Object.fromEntries([...document.querySelectorAll("table")]
  .filter((it) => it.checkVisibility() && it.caption)
  .map((it) => [
    it.caption.textContent.trim(),
    [...it.rows].map((row) => [...row.cells].map((cell) => cell.innerText)),
  ]))"""
RAW = """() => [...document.querySelectorAll("#cells tbody tr")].map((row) => ({
  ...row.dataset,
  cells: [...row.cells].map((it) => it.innerText.trim()),
  values: [...row.cells].map((it) => it.dataset.value ?? null),
}))"""


@pytest.fixture(scope="module", params=[True, False], ids=["script", "no script"])
def window(request, browser, small):
    with opened(browser, small, java_script_enabled=request.param) as page:
        unfold(page)
        yield page


@pytest.fixture(scope="module")
def rows(written):
    return [row for _, row in pd.read_csv(written.directory / "results.csv").iterrows()]


@pytest.mark.parametrize("title", EXPECTED)
def test_tables_show_the_numbers_of_the_csv(window, rows, title):
    tables = window.evaluate(TABLES)
    assert len(rows) == 12
    for row in rows:
        shown = tables[f"{title}: {row['task']}, {row['phase']}"]
        assert EXPECTED[title](row) in [shown_as(title, cells) for cells in shown]


def test_the_table_of_all_cells_has_every_row_of_the_csv(window, rows):
    found = window.evaluate(RAW)
    assert len(found) == len(rows)
    for row, it in zip(rows, found, strict=True):
        text = words(" ".join(it["cells"]))
        for part in (
            row["task"],
            row["phase"],
            f"{row['framework']}:{row['mode']}",
            row["verdict"],
        ):
            assert part in text
        assert expected_ratio(row) in text
        values = [float(value) for value in it["values"] if value]
        for name in ("step_seconds", "examples_per_second", "speed_ratio"):
            assert any(value == pytest.approx(row[name], rel=1e-6) for value in values), name
