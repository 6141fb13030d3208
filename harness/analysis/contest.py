"""Who is compared with whom in one table, whichever row the ratios are taken to."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from harness.analysis import contention, words
from harness.analysis.compare import Entry, pair_of
from harness.analysis.ranking import Eligibility, closest_first, taken_back, winner
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
    """The entries of one table by label; `ranked` are those that may be.

    `labels` stand in the order of the table's rows: by their ratio to `baseline`, which is the
    ratio that the table shows, those that are not ranked after all others. `disturbed` says what
    others did in too many blocks for any verdict; it is empty where they did not.
    """

    def __init__(
        self,
        timed: Mapping[str, Entry],
        ranked: Collection[str],
        baseline: str,
        phase: Phase,
        margin: float,
        eligibility: Eligibility,
    ) -> None:
        self._timed, self._first = timed, baseline
        self._phase, self._margin, self._eligibility = phase, margin, eligibility
        self._pairs: dict[tuple[str, str], Pair | None] = {}
        self.disturbed = self._told = ""
        if len(ranked) > 1:
            of_ranked = [timed[it] for it in ranked]
            numbers = sorted({block for it in of_ranked for block in it.steps[phase]})
            self.disturbed = contention.reason(numbers, of_ranked[0].disturbed)
            self._told = contention.told(numbers, of_ranked[0].disturbed)
        speeds = {it: self._speed(it, baseline) for it in timed}
        self.labels = sorted(timed, key=lambda it: (it not in ranked, -speeds[it], it))
        self._ranked = [it for it in self.labels if it in ranked]
        self._best = winner(self._ranked, self._pair)
        self._leader = self._best or next(iter(self._ranked), None)

    def against(self, baseline: str) -> Outcome:
        """The table's outcome with its ratios taken to `baseline`.

        Only a row that takes the win back can change who wins.
        """
        found = [
            it for label in self.labels if label != baseline and (it := self._pair(label, baseline))
        ]
        barred = {it.label: it.reason for it in found if it.verdict == "not ranked"}
        pairs = judged(found, barred)
        back = taken_back(self._best, baseline, pairs) if self._best else None
        leader = self._leader
        others_ranked = [it for it in self._ranked if it != leader]
        rivals = {it: self._pair(leader, it) for it in others_ranked} if leader else {}
        pairs_of = closest_first(filter(None, rivals.values()), self._timed, self._phase)
        rivals |= {it.baseline: it for it in pairs_of}
        others = len(self.labels) - len(self._ranked)
        speeds = {it: self._speed(it, baseline) for it in self._ranked}
        return Outcome(
            baseline=baseline,
            pairs=pairs,
            winner=None if back else self._best,
            sentence=words.ranking(
                words.Order(self._first, baseline, speeds),
                leader,
                rivals,
                won=self._best is not None,
                back=back,
                others=others,
                disturbed=self.disturbed,
                told=self._told,
            ),
        )

    def _speed(self, label: str, baseline: str) -> float:
        """Its ratio to the baseline; 0 where the two share no block."""
        if label == baseline:
            return 1.0
        pair = self._pair(label, baseline)
        return pair.speed.estimate if pair else 0.0

    def _pair(self, label: str, other: str) -> Pair | None:
        """Of two setups, judged by itself."""
        if (label, other) not in self._pairs:
            ours, theirs = self._timed[label], self._timed[other]
            found = pair_of(ours, theirs, self._phase, self._margin, self.disturbed)
            reason = self._eligibility.of_pair(ours, theirs)
            if found and reason:
                (found,) = judged([found], {label: reason})
            self._pairs[label, other] = found
        return self._pairs[label, other]
