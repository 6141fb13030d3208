"""Every number of the CSV is the one in the page, in Markdown and in the terminal."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from rich.console import Console

from harness.analysis.stats import Interval
from harness.report import format as fmt
from harness.report.terminal import render
from tests.report.reading import Page, markdown_tables, words


def interval(row, name):
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    has = pd.notna(low)
    return Interval(
        estimate=row[name],
        low=low if has else None,
        high=high if has else None,
        n=row["blocks"],
        method=row["interval_method"],
    )


def present(value):
    return None if pd.isna(value) else value


def expected_ratio(row):
    baseline = row["verdict"] == "baseline"
    return fmt.SAME if baseline else " ".join(fmt.interval(interval(row, "speed_ratio"), "ratio"))


def expected_speed(row):
    of_peak, products = present(row["of_device_peak"]), present(row["times_bare_products"])
    mark = " fastest" if row["fastest"] else ""
    if row["framework"] == "reference":
        mark = " yardstick"
    return [
        f"{row['framework']}:{row['mode']}{mark}",
        " ".join(fmt.interval(interval(row, "examples_per_second"))),
        " ".join(fmt.interval(interval(row, "step_seconds"), "seconds")),
        fmt.number(row["gflops"])
        + ("" if of_peak is None else f" ({fmt.whole_percent(of_peak)} of peak)"),
        fmt.NONE if products is None else f"{fmt.number(products)} ×",
        fmt.whole_percent(row["cpu_share"]),
        expected_ratio(row),
        row["verdict"],
        str(row["blocks"]),
    ]


def expected_phases(row):
    names = ("import_seconds", "build_seconds", "first_call_seconds", "second_call_seconds")
    label = f"{row['framework']}:{row['mode']}"
    return [label, *(fmt.seconds(present(row[it])) for it in names)]


def expected_memory(row):
    names = ("incremental_peak_rss", "total_peak_rss", "logical_peak", "least")
    label = f"{row['framework']}:{row['mode']}"
    peaks = [fmt.memory(present(row[f"{it}_bytes"])) for it in names]
    over = row["logical_peak_bytes"] / row["least_bytes"]
    if pd.notna(over):
        peaks[2] += f" ({over:.2f} × the least)"
    return [label, *peaks]


def shown_as(title, cells):
    """Phase times without their intervals, which only the page has, and without the last three."""
    texts = [words(it.replace("` **", " ")) for it in cells]
    return [it.split(" (")[0] for it in texts[:-3]] if title == "Phase times" else texts


EXPECTED = {"Speed": expected_speed, "Phase times": expected_phases, "Memory": expected_memory}


@pytest.fixture(scope="module")
def rows(written):
    table = pd.read_csv(written.directory / "results.csv")
    assert len(table) == 12
    return [row for _, row in table.iterrows()]


@pytest.mark.parametrize("title", EXPECTED)
def test_page_shows_the_numbers_of_the_csv(written, rows, title):
    tables = Page(written.text("report.html")).tables
    for row in rows:
        shown = tables[f"{title}: {row['task']}, {row['phase']}"]
        assert EXPECTED[title](row) in [shown_as(title, cells) for cells in shown]


@pytest.mark.parametrize("title", EXPECTED)
def test_markdown_shows_the_numbers_of_the_csv(written, rows, title):
    shown = [cells for table in markdown_tables(written.text("report.md")) for cells in table]
    for row in rows:
        # Asterisks and backquotes are taken away, between name and remark as well.
        assert EXPECTED[title](row) in [shown_as(title, cells) for cells in shown]


def test_terminal_shows_the_numbers_of_the_csv(written, rows):
    console = Console(file=io.StringIO(), width=80)
    render(written.run, written.summary, console)
    lines = [words(it) for it in console.file.getvalue().splitlines()]
    for row in rows:
        ratio = expected_ratio(row).replace(" ×", "")
        numbers = [
            f"{row['framework']}:{row['mode']}",
            fmt.number(row["examples_per_second"]),
            fmt.seconds(row["step_seconds"]),
            ratio,
            row["verdict"],
            fmt.memory(present(row["incremental_peak_rss_bytes"])),
        ]
        assert any(it.startswith(" ".join(numbers)) for it in lines), numbers


def test_final_qualities_agree(written):
    table = pd.read_csv(written.directory / "trainings.csv")
    last = table.groupby(["task", "framework", "mode", "seed"], sort=False).last().reset_index()
    assert len(last) == 2 * 3 * 9
    pages = Page(written.text("report.html")).tables
    shown_markdown = [it for grid in markdown_tables(written.text("report.md")) for it in grid]
    for (task, framework, mode), seeds in last.groupby(["task", "framework", "mode"]):
        metric = seeds["metric"].iloc[0]
        kind = "accuracy" if metric == "accuracy" else "error"
        values = [fmt.quality(it, metric) for it in seeds.sort_values("seed")["quality"]]
        expected = [f"{framework}:{mode}", *values, fmt.quality(seeds["quality"].median(), metric)]
        for found in (pages[f"Quality: {task}, {kind}"], shown_markdown):
            # The median has its interval beside it.
            assert expected in [[words(it).split(" (")[0] for it in cells[:11]] for cells in found]


def test_the_sentences_agree(written):
    page = words("".join(Page(written.text("report.html")).text))
    console = Console(file=io.StringIO(), width=400)
    render(written.run, written.summary, console)
    for table in written.summary.tables:
        assert page.count(table.sentence) >= 1
        assert table.sentence in console.file.getvalue()
        assert table.sentence in written.text("report.md").replace("\\", "")
