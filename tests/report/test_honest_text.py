"""No width, share or description that a reader could take for more than was measured."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from harness.analysis.noise import block_noise
from harness.analysis.stats import Interval
from harness.analysis.summary import summarise_run
from harness.records import Limits
from harness.report.compose import Content
from harness.report.markdown import render_markdown
from harness.report.proof_sections import _bounds
from harness.report.terminal import INCREMENTAL, render
from harness.tasks.spec import FileData
from tests.builders import LABELS, make_run, make_task, measured


def with_twin(**fields):
    again = [
        it.model_copy(update={"setup": it.setup.model_copy(update={"twin": True})})
        for it in measured(**fields | {"labels": LABELS[:1], "seed": 5})
    ]
    return [*measured(**fields), *again]


def texts(run):
    out = Console(file=io.StringIO(), width=300)
    summary = summarise_run(run)
    render(run, summary, out)
    return {
        "terminal": out.file.getvalue(),
        "markdown": render_markdown(Content(run, summary), []).replace("\\", ""),
    }


@pytest.mark.parametrize("blocks", [2, 4, 9])
@pytest.mark.parametrize("where", ["terminal", "markdown"])
def test_what_is_not_known_to_a_factor_of_two_has_no_bounds(blocks, where):
    run = make_run(with_twin(noise=1.2, drift=0.5, blocks=blocks, rounds=1))
    text = texts(run)[where]
    assert ("not known" if blocks >= 6 else f"(range of {blocks}: ") in text
    assert all(float(it) < 70 for it in re.findall(r"± ?([\d.]+) %", text))
    assert all(float(it) < 70 for it in re.findall(r"oise floor[:|] [a-z ]*([\d.]+) %", text))
    for low, high in re.findall(r"× ?\(([\d.,]+)–([\d.,]+)\)", text):
        assert float(high.replace(",", "")) < 4.2 * float(low.replace(",", ""))


def shaken(share):
    """Blocks in whose turns some task waited for so large a share of the time."""
    return [
        it.model_copy(
            update={
                "phases": tuple(
                    phase.model_copy(
                        update={
                            "samples": tuple(
                                sample.model_copy(
                                    update={"pressure_seconds": share * sample.seconds}
                                )
                                for sample in phase.samples
                            )
                        }
                    )
                    for phase in it.phases
                )
            }
        )
        for it in measured(blocks=1)
    ]


def test_a_share_of_the_time_ends_at_all_of_it():
    assert "100 % of the time" in block_noise(shaken(1.03)).reason
    assert "60 % of the time" in block_noise(shaken(0.6)).reason


def test_an_accuracy_has_bounds_that_an_accuracy_can_have():
    wide = Interval(estimate=0.99, low=0.95, high=1.03, n=2, method="student-t")
    assert _bounds(wide, "accuracy") == "(95.00 %–100.00 %)"
    below = Interval(estimate=0.2, low=-0.1, high=0.5, n=2, method="student-t")
    assert _bounds(below, "mse") == "(0–0.500)"


@pytest.mark.parametrize(
    ("config", "said", "unsaid"),
    [
        ({"repeat_noisy": True}, "one more block is made for it", "makes no other"),
        ({"repeat_noisy": False}, "makes no other for it", "one more block"),
    ],
)
def test_of_a_noisy_block_is_said_what_this_run_does(config, said, unsaid):
    run = make_run(shaken(0.6), config={"preset": "quick", "blocks": 1} | config)
    (blocks,) = [it for it in Content(run, summarise_run(run)).noise if it.phase == "blocks"]
    assert said in blocks.notes[0]
    assert unsaid not in blocks.notes[0]


def method(records, **config):
    run = make_run(records, config={"preset": "quick", "blocks": 9} | config)
    return dict(Content(run, summarise_run(run)).method)


def test_the_method_says_only_what_this_run_does():
    plain = method(measured(trains=False))
    assert "sits out" not in plain["Interval"]
    assert "itself" not in plain["Verdict"]
    assert "Quality" not in plain
    whole = method(with_twin(), precision=0.02)
    assert "sits out" in whole["Interval"]
    assert "a setup against itself" in whole["Verdict"]
    assert "Quality" in whole


def test_no_equality_where_a_setup_cannot_be_told_from_itself():
    loud = make_run(with_twin(noise=0.7, rounds=1, speed=1.0001, blocks=9))
    summary = summarise_run(loud)
    assert min(it.margin for it in summary.tables) > 0.1
    assert "equivalent" not in {it.verdict for table in summary.tables for it in table.pairs}


def test_incremental_memory_is_called_so():
    run = make_run(measured())
    told = texts(run)
    assert re.search(r"incre-\s", told["terminal"])
    assert INCREMENTAL in told["terminal"].replace("\n", " ")
    assert "| peak RSS, incremental |" in told["markdown"]
    assert "Peak RSS, incremental: What the phase’s first steps add" in told["markdown"]


def test_bare_products_are_a_time_and_explained():
    """A step that is compiled takes less than its products by themselves: 0.4 × would mislead."""
    limits = Limits(product_seconds={"train": 5e-4, "predict": 5e-4})
    run = make_run([it.model_copy(update={"limits": limits}) for it in measured()])
    summary = summarise_run(run)
    first, second, *_ = Content(run, summary).speed
    place = [it.title for it in first.grid.columns].index("bare products")
    assert {row[place].text for row in first.grid.rows} == {"500 µs"}
    assert summary.tables[0].rows[0].efficiency.over_products.estimate < 1
    (note,) = [it for it in first.notes if it.startswith("Bare products: ")]
    assert "one program where the mode compiles its" in note
    assert first.grid.columns[place].note in note
    assert not [it for it in second.notes if it.startswith("Bare products: ")]


def test_a_report_says_which_data_file_a_task_used():
    data = FileData(
        file="houses.csv",
        content="0123456789abcdef",
        kind="real",
        features=5,
        outputs=1,
        train=1400,
        test=100,
        seed=0,
        standardise=False,
    )
    task = make_task("houses", data=data, loss="mse", probes="")
    markdown = texts(make_run(measured([task], blocks=2), [task]))["markdown"]
    assert (
        "Data: houses.csv (content 0123456789abcdef), 1,400 training and 100 test rows, 5 inputs, "
        "1 output, targets of kind real, not standardised."
    ) in markdown
