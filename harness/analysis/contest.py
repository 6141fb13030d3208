"""Who is compared with whom in one table, whichever row the ratios are taken to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.analysis import words
from harness.analysis.compare import Entry, pair_of
from harness.analysis.ranking import Eligibility, taken_back, winner
from harness.analysis.verdicts import Pair, judged
from harness.cells import Phase
from harness.tasks.frozen import Frozen


class Outcome(Frozen):
    """The ratios of a table to one of its rows, corrected over its rows, and who wins."""

    baseline: str
    pairs: tuple[Pair, ...]
    winner: str | None
    sentence: str


class Contest:
    """The entries of one table by label; `labels` in their order, `ranked` those that may be."""

    def __init__(
        self,
        timed: Mapping[str, Entry],
        labels: Sequence[str],
        ranked: Sequence[str],
        phase: Phase,
        margin: float,
        eligibility: Eligibility,
    ) -> None:
        self._timed, self._labels, self._ranked = timed, labels, ranked
        self._phase, self._margin, self._eligibility = phase, margin, eligibility
        self._pairs: dict[tuple[str, str], Pair | None] = {}
        self._best = winner(ranked, self._pair)
        self._leader = self._best or next(iter(ranked), None)

    def against(self, baseline: str) -> Outcome:
        """The table's outcome with its ratios taken to `baseline`.

        Only a row that takes the win back can change who wins.
        """
        found = [
            it
            for label in self._labels
            if label != baseline and (it := self._pair(label, baseline))
        ]
        barred = {it.label: it.reason for it in found if it.verdict == "not ranked"}
        pairs = judged(found, barred)
        back = taken_back(self._best, baseline, pairs) if self._best else None
        leader = self._leader
        others_ranked = [it for it in self._ranked if it != leader]
        rivals = {it: self._pair(leader, it) for it in others_ranked} if leader else {}
        others = len(self._labels) - len(self._ranked)
        return Outcome(
            baseline=baseline,
            pairs=pairs,
            winner=None if back else self._best,
            sentence=words.ranking(leader, rivals, self._best is not None, back, others),
        )

    def _pair(self, label: str, other: str) -> Pair | None:
        """Of two setups, judged by itself."""
        if (label, other) not in self._pairs:
            ours, theirs = self._timed[label], self._timed[other]
            found = pair_of(ours, theirs, self._phase, self._margin)
            reason = self._eligibility.of_pair(ours, theirs)
            if found and reason:
                (found,) = judged([found], {label: reason})
            self._pairs[label, other] = found
        return self._pairs[label, other]
