"""The part of the report that shows the proof."""

from __future__ import annotations

from harness.certificates import Certificate, Divergence, Finding, LongProof
from harness.report.charts import FLOOR, divergence
from harness.report.proof_sections import sections
from harness.report.write import write_report
from tests.builders import LABELS, TASK, make_run, make_setup, measured
from tests.report.reading import Page

DRIFT = {"pytorch:eager": 2e-8, "tensorflow:graph": 5e-8, "reference:eager": 0.0}


def made(label: str, *findings: Finding, **fields) -> Certificate:
    drift = DRIFT.get(label, 1e-3)
    steps = [
        Divergence(step=n, loss=drift, logits=drift, gradients=2 * drift, weights=n * drift)
        for n in range(1, 11)
    ]
    content = {
        "key": label,
        "setup": make_setup(TASK, label, threads=2),
        "framework_version": "1.0",
        "code": "abc",
        "machine": "a cpu",
        "made": "2026-01-02T03:04:05Z",
        "tolerance": "exact",
        "seed": 0,
        "steps": 10,
        "rows": 32,
        "seconds": 1.0,
        "findings": findings or (Finding(check="gradients", ok=True),),
        "divergence": tuple(steps),
    }
    return Certificate(**(content | fields))


def run_with(*certificates: Certificate):
    return make_run(measured()).model_copy(update={"certificates": certificates})


def test_every_certificate_has_a_row_with_the_largest_of_each_kind():
    whole = {"pytorch:eager": LongProof(steps=1000, planned=9375, rows=32)}
    made_of = (made(label, whole=whole.get(label)) for label in LABELS)
    (section,) = sections(run_with(*made_of))
    assert section.lead == (
        "All are proven over 10 steps, and no tensor of theirs left the reference by more than "
        "5.0e-07; trainings in float64 over 1,000 steps."
    )
    rows = {row[0].text: [it.text for it in row] for row in section.grid.rows}
    assert list(rows) == sorted(LABELS)
    assert rows["pytorch:eager"][1:] == [
        *("proven", "10", "32", "2.0e-08", "2.0e-08", "4.0e-08", "–", "2.0e-07", "exact"),
        "1,000 of 9,375",
    ]
    assert rows["reference:eager"][4:9] == ["0", "0", "0", "–", "0"]
    assert rows["reference:eager"][-1] == "–"
    assert not section.notes


def test_what_is_not_proven_is_named_with_its_first_difference():
    finding = Finding(check="gradients", ok=False, detail="step 1, layer0.bias: 3.1e-02")
    (section,) = sections(run_with(made("pytorch:eager"), made("other:eager", finding)))
    assert section.lead.startswith("1 of 2 are proven")
    assert section.notes == ("other:eager: gradients: step 1, layer0.bias: 3.1e-02.",)
    (section,) = sections(run_with(made("other:eager", finding)))
    assert "none is ranked" in section.lead
    (section,) = sections(run_with(made("other:eager", findings=())))
    assert section.notes == ("other:eager: nothing was checked.",)


def test_lanes_are_shown_apart():
    own = made("pytorch:eager", setup=make_setup(TASK, "pytorch:eager", lane="idiomatic"))
    shown = sections(run_with(made("pytorch:eager"), own))
    assert [it.phase for it in shown] == ["proof", "proof, idiomatic"]


def test_the_figure_has_the_largest_difference_of_every_step():
    (panel,) = divergence(made(label) for label in LABELS).panels
    curves = dict(zip(sorted(LABELS), panel.curves, strict=True))
    assert panel.y.log
    assert curves["pytorch:eager"].points[-1] == (10, 10 * 2e-8)
    assert {y for _, y in curves["reference:eager"].points} == {FLOOR}


def test_a_single_step_makes_no_curve():
    steps = (Divergence(step=1, loss=1e-9), Divergence(step=2))
    assert not divergence([made("pytorch:eager", divergence=steps)]).panels
    assert not divergence([]).panels


def test_the_report_shows_both(tmp_path):
    write_report(run_with(*(made(label) for label in LABELS)), tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert any(name.startswith("Sameness: digits-mlp") for name in page.tables)
    assert 'id="sameness"' in html
    assert (tmp_path / "figures" / "divergence.png").stat().st_size > 5000
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "## Sameness" in markdown
    assert "figures/divergence.png" in markdown
