"""The parts of the report that say how far to trust it: noise, settings, idiom, who is ranked."""

from __future__ import annotations

import pytest

from harness.adapter import FrameworkFacts
from harness.analysis.summary import summarise_run
from harness.records import Limits
from harness.report import noise_sections, sections
from harness.report.compose import Content
from tests.builders import LABELS, TASK, make_run, make_setup, measured

SAME = {"threads": 1, "dtype": "float32", "device": "cpu"}


def told(records, **more):
    limits = Limits(matmul_error=5e-7, flushes_denormals=False)
    update = {"settings": SAME | more, "settings_before": SAME | more, "limits": limits}
    return [it.model_copy(update=update) for it in records]


def with_twin(**fields):
    """Nine blocks of three setups, the first of them twice."""
    again = [
        it.model_copy(update={"setup": it.setup.model_copy(update={"twin": True})})
        for it in measured(labels=LABELS[:1], blocks=9, seed=5, **fields)
    ]
    return [*measured(blocks=9, **fields), *again]


def test_a_twin_makes_the_noise_floor_and_stands_in_no_table():
    summary = summarise_run(make_run(with_twin()))
    floors, *_ = noise_sections.sections(summary, "all blocks done")
    assert [row[0].text for row in floors.grid.rows] == ["train", "predict"]
    assert {row[1].text for row in floors.grid.rows} == {"pytorch:eager"}
    assert all(row[3].text.startswith("± ") for row in floors.grid.rows)
    assert floors.lead == "No setup differs from itself."
    assert "again" not in str([row.cell.setup.label for it in summary.tables for row in it.rows])
    assert "pytorch:eager against itself" in noise_sections.fact(summary.noise)


def test_a_table_says_of_which_ratios_only_the_direction_is_known():
    run = make_run(measured(noise=0.15, speed=2.0))
    first, *_ = Content(run, summarise_run(run)).speed
    (note,) = [it for it in first.notes if "target precision" in it]
    assert "× (" in note
    assert "(target precision ±3 % not reached: ±" in note
    wanted = {"preset": "quick", "blocks": 9, "precision": 0.5}
    run = make_run(run.records, config=wanted)
    first, *_ = Content(run, summarise_run(run)).speed
    assert not [it for it in first.notes if "target precision" in it]


def test_the_method_says_how_processes_began():
    run = make_run(measured())
    forked = tuple(it.model_copy(update={"forked": it.block > 0}) for it in run.records)
    told = [
        dict(Content(it, summarise_run(it)).method)["Block"]
        for it in (run, run.model_copy(update={"records": forked}))
    ]
    assert told[0].startswith("One fresh process for every framework")
    assert "forked from a process that had imported the framework" in told[1]


def test_without_a_twin_there_is_no_noise_floor():
    summary = summarise_run(make_run(measured()))
    assert noise_sections.fact(summary.noise) == ""
    facts = dict(Content(make_run(measured()), summary).facts)
    assert "Noise floor" not in facts
    assert facts["Sameness"] == "3 setups proven against the float64 reference"


def test_noisy_blocks_are_named():
    records = [
        it.model_copy(
            update={
                "phases": tuple(
                    phase.model_copy(
                        update={
                            "samples": tuple(
                                sample.model_copy(
                                    update={
                                        "pressure_seconds": sample.seconds * (it.block == 2),
                                        "steal_seconds": 0.0,
                                    }
                                )
                                for sample in phase.samples
                            )
                        }
                    )
                    for phase in it.phases
                )
            }
        )
        for it in measured()
    ]
    (blocks, *_) = noise_sections.sections(summarise_run(make_run(records)), "all blocks done")
    assert blocks.lead == "1 of 9 blocks was noisy."
    assert [row[0].text for row in blocks.grid.rows if row[-1].text] == ["2"]


CONFIG = {"preset": "standard", "precision": 0.02, "least_blocks": 8}


def test_each_ratio_says_whether_its_target_was_met_and_after_how_many_blocks():
    """One setup is known and rested from block 12 on, the other is not and went on."""
    loud = measured(blocks=16, labels=LABELS[:2], noise=0.2, seed=3)
    calm = measured(blocks=16, noise=0.003)
    kept = [it for it in calm if it.setup.label == LABELS[0]]
    kept += [it for it in loud if it.setup.label == LABELS[1]]
    kept += [it for it in calm if it.setup.label == LABELS[2] and it.block < 12]
    run = make_run(kept, stopped_by="budget spent", config=CONFIG)
    summary = summarise_run(run)
    found = {it.anchor: it for it in Content(run, summary).noise}["precision-1"]
    assert (
        found.lead == "2 of 4 ratios are known to ±2 %; the rest ended with the run: budget spent."
    )
    rows = {tuple(it.text for it in (*row[:2], row[3], row[5])) for row in found.grid.rows}
    assert rows == {
        (LABELS[1], LABELS[0], "16", "not met"),
        (LABELS[2], LABELS[0], "12", "met"),
    }
    assert "numbers of blocks differ" in found.notes[0]


def test_without_a_precision_there_is_no_target():
    run = make_run(measured())
    names = [it.anchor for it in Content(run, summarise_run(run)).noise]
    assert not any("precision" in it for it in names)


def test_an_unproven_setup_is_shown_unranked_with_its_reason():
    run = make_run(measured())
    kept = tuple(it for it in run.certificates if it.setup.framework != "reference")
    run = run.model_copy(update={"certificates": kept})
    content = Content(run, summarise_run(run))
    for section in content.speed:
        rows = {row[0].text: row for row in section.grid.rows}
        assert rows["reference:eager"][-2].text == "not ranked"
        assert list(rows)[-1] == "reference:eager"
        assert "reference:eager: not proven: no certificate." in section.notes
    assert dict(content.facts)["Sameness"] == "not proven, so not ranked: reference:eager"


def test_settings_stand_side_by_side_with_differences_marked():
    records = [
        *told(measured(labels=LABELS[:1]), onednn=True),
        *told(measured(labels=LABELS[1:2]), onednn=False),
    ]
    differing, alike = sections.settings_sections(make_run(records))
    shown, folded = (
        {row[0].text: [it.text for it in row[1:4]] for row in section.grid.rows}
        for section in (differing, alike)
    )
    assert shown == {"onednn": ["yes", "no", "differs"]}
    assert folded["threads"] == ["1", "1", "yes"]
    assert (bool(differing.folded), bool(alike.folded)) == (False, True)
    assert differing.lead == "All agree in what must agree."


@pytest.mark.parametrize("name", ["dtype", "threads"])
def test_settings_that_break_the_ranking_are_named(name):
    other = {"dtype": "float16", "threads": 7}[name]
    records = [
        *told(measured(labels=LABELS[:1])),
        *told(measured(labels=LABELS[1:2]), **{name: other}),
    ]
    run = make_run(records)
    section, _ = sections.settings_sections(run)
    assert section.lead == f"They differ in what must agree: {name}."
    assert {it.verdict for table in summarise_run(run).tables for it in table.pairs} == {
        "not ranked"
    }


def test_what_idiom_gains_is_a_ratio_of_its_own():
    own = [
        it.model_copy(update={"setup": make_setup(TASK, "pytorch:compile", lane="idiomatic")})
        for it in measured(labels=LABELS[:1], blocks=9, seed=3)
    ]
    summary = summarise_run(
        make_run([*measured(blocks=9), *own]), FrameworkFacts(defaults={"pytorch": "eager"})
    )
    shown = sections.gain_sections(summary.idioms)
    assert [it.phase for it in shown] == ["train", "predict"]
    assert [it.text for it in shown[0].grid.rows[0][:2]] == ["pytorch:compile", "pytorch:eager"]
    lanes = {(it.lane, len(it.rows)) for it in summary.tables}
    assert lanes == {("identical", 3), ("idiomatic", 1)}
