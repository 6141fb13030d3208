"""One phase of one lane of one arena: rows that may be compared, their ratios, and who wins."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import model_validator

from harness.analysis.compare import Entry, baseline_of
from harness.analysis.contest import Contest
from harness.analysis.efficiency import Peak, device_peak
from harness.analysis.noise import Floor, margin
from harness.analysis.ranking import Eligibility
from harness.analysis.rows import CellRow, cell_row
from harness.analysis.startup import BreakEven, break_evens
from harness.analysis.verdicts import USUAL_PRECISION, Pair
from harness.cells import Lane, Phase
from harness.tasks.frozen import Frozen
from harness.tasks.spec import Task


class Table(Frozen):
    """One phase of one lane of one arena: the cells that may be compared, and who wins.

    Rows stand fastest first, by their ratio to the baseline; those that share no block with it come
    last, and those that are not ranked after all others. `pairs` are the ratios to
    the baseline, their verdicts corrected over the table's rows; a difference within `margin` (δ)
    is none, and one that is known no better than to ±`precision` is told in its direction only.
    `peak` is what the device reaches in a large product; `break_evens` say after how many steps a
    row overtakes the baseline, or is overtaken. `floors` are the A/A pairs of the arena in this
    phase. `winner` is the label of the setup that is faster than every other one that is ranked,
    or None; `sentence` says the same in words. `disturbed` says what others did in too many blocks
    for any verdict; it is empty where they did not.
    """

    task: Task
    phase: Phase
    lane: Lane
    device: str
    threads: int
    dtype: str
    baseline: str
    margin: float
    precision: float = USUAL_PRECISION
    floors: tuple[Floor, ...]
    rows: tuple[CellRow, ...]
    pairs: tuple[Pair, ...]
    peak: Peak | None
    break_evens: tuple[BreakEven, ...]
    winner: str | None
    sentence: str
    disturbed: str = ""

    @model_validator(mode="after")
    def _of_its_rows(self) -> Table:
        labels = {it.cell.setup.label for it in self.rows}
        named = {self.baseline, *(it.label for it in self.pairs)}
        if strange := sorted(named - labels):
            raise ValueError(f"the table has no row of {strange[0]!r}")
        return self


def make_table(
    task: Task,
    phase: Phase,
    entries: Iterable[Entry],
    eligibility: Eligibility,
    floors: tuple[Floor, ...] = (),
    precision: float | None = None,
) -> Table | None:
    """The table of one phase and lane; None where nothing was timed in it.

    `precision` is what the run asked for, if it did.
    """
    timed = {it.setup.label: it for it in entries if it.steps[phase]}
    if not timed:
        return None
    peak = device_peak({it.setup: it.blocks for it in timed.values()})
    rows = {
        label: cell_row(
            task,
            it,
            phase,
            peak=peak,
            certificate=eligibility.certificate(it.setup),
            proof=eligibility.proof(it.setup),
            faults=eligibility.faults(it),
        )
        for label, it in timed.items()
    }
    ranked = [label for label, it in rows.items() if not it.unranked]
    delta, baseline = margin(floors), baseline_of(ranked or rows)
    contest = Contest(timed, ranked, baseline, phase, delta, eligibility)
    outcome, labels = contest.against(baseline), contest.labels
    setup = timed[labels[0]].setup
    return Table(
        task=task,
        phase=phase,
        lane=setup.lane,
        device=setup.device,
        threads=setup.threads,
        dtype=setup.dtype,
        baseline=baseline,
        margin=delta,
        precision=precision or USUAL_PRECISION,
        floors=floors,
        rows=tuple(rows[label] for label in labels),
        pairs=outcome.pairs,
        peak=peak,
        break_evens=tuple(
            found
            for label in labels
            if label != baseline
            for found in break_evens(timed[label], timed[baseline], phase)
        ),
        winner=outcome.winner,
        sentence=outcome.sentence,
        disturbed=contest.disturbed,
    )
