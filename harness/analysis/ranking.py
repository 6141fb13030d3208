"""Which setups may be ranked, which one wins, and the sentence that says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from harness.analysis import contention
from harness.analysis.pairs import Entry, log_ratios, pair_of
from harness.analysis.sentences import DIRECTLY, doubt, listed, pair_sentence, ratio
from harness.analysis.settings import disagreements, setup_faults
from harness.analysis.stats import CONFIDENCE, Interval, percent, ratio_interval
from harness.analysis.verdicts import WHERE, Pair, judged
from harness.cells import Phase, Setup
from harness.certificates import Certificate

OVERHEAD = 2.0
"""From this ratio of the reference on, more than half of a framework's time is overhead."""


class Eligibility(NamedTuple):
    """Whether a setup may be ranked: its certificate, why it is unproven, and what else bars it."""

    certificate: Certificate | None
    proof: str
    faults: tuple[str, ...]

    @property
    def unranked(self) -> str:
        """Why it is not ranked; empty where it may be."""
        return self.proof or "; ".join(self.faults)


def eligibility(
    entries: Iterable[Entry], certificates: Iterable[Certificate], impossible: Mapping[Setup, str]
) -> dict[Setup, Eligibility]:
    """That of every entry; `impossible` says of some what they did that no device can do."""
    # The last one counts: a run's certificates stand in the order in which they were made.
    known = {_proved(it.setup): it for it in certificates}
    by_setup = {}
    for entry in entries:
        certificate = known.get(_proved(entry.setup))
        why = certificate.why if certificate else "no certificate"
        proof = "" if certificate and certificate.proven else f"not proven: {why}"
        faults = (impossible.get(entry.setup, ""), *setup_faults(entry.records))
        by_setup[entry.setup] = Eligibility(certificate, proof, tuple(filter(None, faults)))
    return by_setup


def _proved(setup: Setup) -> Setup:
    """What a certificate is of: neither a twin's name nor the task's changes what is computed."""
    return setup.model_copy(update={"task": "", "twin": False})


def barred(ours: Entry, theirs: Entry, unranked: Mapping[Setup, str]) -> str:
    """Why two entries are not ranked against each other; empty where they may be."""
    if reason := unranked[ours.setup]:
        return reason
    if other := unranked[theirs.setup]:
        why = other if other.startswith("not proven") else f"not ranked: {other}"
        return f"{theirs.setup.label} is {why}"
    return "; ".join(disagreements(ours.records, theirs.records))


def winner(labels: Sequence[str], pair: Callable[[str, str], Pair | None]) -> str | None:
    """The label that is faster than every other one, if there is one and another to beat.

    Every comparison must say "faster" by itself: an intersection of tests needs no correction.
    """

    for label in labels if len(labels) > 1 else ():
        pairs = (pair(label, other) for other in labels if other != label)
        if all(it is not None and it.verdict == "faster" for it in pairs):
            return label
    return None


def together(logs: Sequence[float], speeds: Sequence[Interval]) -> Interval:
    """The simultaneous interval of the closest rival: `logs` are of the first of the `speeds`.

    The data choose the closest, so that its own interval would miss too often. This one holds for
    it and for the truly closest, whichever that is. Its lower end is the least of all rivals': it
    errs only if that of the truly closest does, and needs no correction. Its upper end has a level
    that is divided by the number of rivals (Bonferroni).
    """
    wide = ratio_interval(logs, 1 - (1 - CONFIDENCE) / len(speeds))
    lows = [it.low for it in speeds if it.low is not None]
    return wide if wide.low is None else wide.model_copy(update={"low": min(lows)})


def taken_back(label: str, baseline: str, rows: Iterable[Pair]) -> Pair | None:
    """A row that takes back what its winner claims, where there is one.

    Rows are corrected for their number and the winner is not: it may beat every other and yet not
    be sure to beat the baseline in its own row. No table says both.
    """
    ranked = [it for it in rows if it.verdict != "not ranked"]
    if label == baseline:
        return next((it for it in ranked if it.verdict != "slower"), None)
    return next((it for it in ranked if it.label == label and it.verdict != "faster"), None)


class Contest:
    """The entries of one table by label; `unranked` says why a setup is not ranked, or nothing.

    The winner is sought among the contestants: those that are ranked and no yardstick. `labels`
    stand in the order of the table's rows: by their ratio to `baseline`, those that are not ranked
    last. `disturbed` says what others did in too many blocks for any verdict.
    """

    def __init__(
        self,
        timed: Mapping[str, Entry],
        unranked: Mapping[Setup, str],
        baseline: str,
        phase: Phase,
        margin: float,
        yardsticks: Mapping[str, str],
    ) -> None:
        self.timed, self._unranked, self._first = timed, unranked, baseline
        self._phase, self._margin, self._yardsticks = phase, margin, yardsticks
        self._pairs: dict[tuple[str, str], Pair | None] = {}
        self.disturbed = self._disturbances = ""
        ranked = {label: it for label, it in timed.items() if not unranked[it.setup]}
        if len(ranked) > 1:
            entries = [*ranked.values()]
            blocks = sorted({block for entry in entries for block in entry.steps[phase]})
            self.disturbed = contention.reason(blocks, entries[0].disturbed)
            self._disturbances = contention.description(blocks, entries[0].disturbed)
        speeds = {label: self._speed(label, baseline) for label in timed}
        self.labels = sorted(timed, key=lambda it: (it not in ranked, -speeds[it], it))
        self._left_out = len(timed) - len(ranked)
        in_order = [label for label in self.labels if label in ranked]
        self._fastest_yardstick = next((it for it in in_order if it in yardsticks), "")
        self._contestants = [it for it in in_order if it not in yardsticks]
        self._best = winner(self._contestants, self._pair)
        self._leader = self._best or next(iter(self._contestants), None)

    def against(self, baseline: str) -> dict[str, Any]:
        """The fields of a table that follow its baseline. Only a row that takes the win back can
        change who wins."""
        labels = [label for label in self.labels if label != baseline]
        alone = [pair for label in labels if (pair := self._pair(label, baseline))]
        reasons = {pair.label: pair.reason for pair in alone if pair.verdict == "not ranked"}
        pairs = judged(alone, reasons)
        rows = [it for it in pairs if not {it.label, it.baseline} & set(self._yardsticks)]
        back = taken_back(self._best, baseline, rows) if self._best else None
        best, sentence = None if back else self._best, self._sentence(baseline, back)
        return {"baseline": baseline, "pairs": pairs, "winner": best, "sentence": sentence}

    def rivals(self, leader: str) -> tuple[Pair, ...]:
        """A contestant's pairs with the others, each judged by itself, by their ratios; that with
        the closest has the interval of `together`."""
        others = (self._pair(leader, it) for it in self._contestants if it != leader)
        pairs = sorted(filter(None, others), key=lambda it: it.speed.estimate)
        if len(pairs) > 1:
            ours, theirs = (self.timed[it].steps[self._phase] for it in (leader, pairs[0].baseline))
            logs = list(log_ratios(ours, theirs).values())
            speed = together(logs, [it.speed for it in pairs])
            pairs[0] = pairs[0].model_copy(update={"speed": speed})
        return tuple(pairs)

    def _speed(self, label: str, baseline: str) -> float:
        """Its ratio to the baseline; 0 where the two share no block."""
        if label == baseline:
            return 1.0
        pair = self._pair(label, baseline)
        return pair.speed.estimate if pair else 0.0

    def _pair(self, label: str, other: str) -> Pair | None:
        if (label, other) not in self._pairs:
            ours, theirs = self.timed[label], self.timed[other]
            pair = pair_of(ours, theirs, self._phase, self._margin, self.disturbed)
            if pair and (reason := barred(ours, theirs, self._unranked)):
                (pair,) = judged([pair], {label: reason})
            self._pairs[label, other] = pair
        return self._pairs[label, other]

    def _sentence(self, baseline: str, back: Pair | None) -> str:
        """Which contestant is the fastest, or why none is; `back` takes the win back."""
        leader, others = self._leader, self._left_out
        title = self._yardsticks.get(self._fastest_yardstick)
        if leader is None:
            return f"No winner: {f'only the {title}' if title else 'nothing here'} may be ranked."
        left_out = f" {others} setup{' is' if others == 1 else 's are'} not ranked." * (others > 0)
        if self.disturbed:
            return f"No winner, cannot tell: {self.disturbed}.{left_out}"
        if self._disturbances:
            left_out += f" Disturbed, yet few enough to count: {self._disturbances}."
        if back:
            return _taken_back(leader, back) + left_out
        if self._best:
            text = ("Of the frameworks, " if title else "") + self._won(leader, baseline)
        elif title and len(self._contestants) == 1:
            ranked = " that may be ranked" if others else ""
            text = f"{leader} is the only setup of a framework here{ranked}."
        else:
            text = self._not_won(leader)
        return text + self._overhead(leader) + left_out

    def _overhead(self, leader: str) -> str:
        """How much time the reference needs, if its verdict against the leader is sure."""
        yardstick = self._fastest_yardstick
        pair = self._pair(yardstick, leader) if yardstick else None
        if pair is None or pair.verdict not in ("faster", "slower"):
            return ""
        needs, speed = f" The {self._yardsticks[yardstick]} needs", pair.speed.estimate
        time = "its time" if self._best else f"the time of {leader}"
        if speed < 0.5:
            return f"{needs} {1 / speed:.2g} times {time}."
        if speed < OVERHEAD:
            return f"{needs} {percent(1 / speed)} of {time}."
        return f"{needs} 1/{speed:.0f} of {time}: overhead decides here."

    def _won(self, best: str, baseline: str) -> str:
        speeds = {label: self._speed(label, baseline) for label in self._contestants}
        closest = self.rivals(best)[0]
        name = closest.baseline
        if len(speeds) > 2:
            largest = max((it for it in speeds if it != best), key=speeds.__getitem__)
            name = f"{'the next' if name == largest else 'the closest'}, {name}"
        text = f"{best} is the fastest: {ratio(closest.speed)} as fast as {name}"
        above = [it for it in speeds if speeds[it] > speeds[best] > 0]
        if not above:
            return f"{text}."
        above.sort(key=lambda it: -speeds[it])
        larger = "has a larger ratio" if len(above) == 1 else "have larger ratios"
        return f"{text}, {DIRECTLY}; {listed(above)} {larger} to {baseline} all the same."

    def _not_won(self, leader: str) -> str:
        rivals = [label for label in self._contestants if label != leader]
        if not rivals:
            if self._left_out:
                return f"{leader} is the only setup here that may be ranked."
            return f"{leader} ran alone: there is nothing to compare it with."
        by_label = {it.baseline: it for it in self.rivals(leader)}
        if strangers := [label for label in rivals if label not in by_label]:
            return f"No winner: {leader} shares no block with {listed(strangers)}."
        pairs = [by_label[label] for label in rivals]
        if unranked := [it for it in pairs if it.verdict == "not ranked"]:
            return f"No winner: {pair_sentence(unranked[0])}."
        if all(it.speed.low is None for it in pairs):
            return "No winner: one block says nothing of the spread, so there is no interval."
        if contrary := [it for it in pairs if it.verdict == "slower"]:
            return (
                f"No winner: {leader} has the largest ratio to {self._first}, yet "
                f"{contrary[0].baseline} is {ratio(contrary[0].speed.inverted())} as fast, "
                f"{DIRECTLY}."
            )
        return _tied(leader, [it for it in pairs if it.verdict != "faster"])


def _taken_back(best: str, row: Pair) -> str:
    other = row.baseline if row.label == best else row.label
    return (
        f"No winner: {best} is faster than each of the others by itself, but over {row.family} "
        f"rows that is not enough to tell it from {other}."
    )


def _tied(leader: str, tied: Sequence[Pair]) -> str:
    if denied := next((it for it in tied if it.denied_by), None):
        witness = denied.witnesses[denied.denied_by]
        return (
            f"No winner: {leader} against {denied.baseline} is {denied.reason} "
            f"({ratio(denied.speed)} as fast in the median, {ratio(witness)} "
            f"{WHERE[denied.denied_by]})."
        )
    names = listed([it.baseline for it in tied])
    if all(it.verdict == "equivalent" for it in tied):
        # The others may well differ from one another.
        within = percent(max(it.margin for it in tied))
        return f"No winner: between {leader} and {names} is no difference larger than {within}."
    blocks = f"{min(it.n for it in tied)} blocks"
    doubted = [it for it in tied if it.verdict != "equivalent"]
    closest = min(doubted, key=lambda it: it.speed.estimate)
    near = f"the first is {ratio(closest.speed)} as fast"
    if len(tied) > 1:
        near = f"it is {ratio(closest.speed)} as fast as {closest.baseline}"
    if closest.speed.estimate < 1:
        near += f", {DIRECTLY}"
    return f"No winner: {blocks} cannot tell {leader} from {names}; {near}, and {doubt(closest)}."
