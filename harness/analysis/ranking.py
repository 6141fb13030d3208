"""Which setups may be ranked, and which one wins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from harness.analysis.pairs import Entry, log_ratios
from harness.analysis.settings import disqualified, setup_faults
from harness.analysis.stats import CONFIDENCE, Interval, ratio_interval
from harness.analysis.verdicts import Pair
from harness.cells import Phase, Setup
from harness.certificates import Certificate


class Eligibility:
    """Which entries of one run may be ranked: those that are proven and ran as they were asked."""

    def __init__(self, certificates: Iterable[Certificate]) -> None:
        # The last one counts: a run's certificates stand in the order in which they were made.
        self._certificates = {_proved(it.setup): it for it in certificates}
        self._faults: dict[Setup, tuple[str, ...]] = {}
        self._of_pairs: dict[tuple[Setup, Setup], str] = {}
        self._impossible: dict[Setup, str] = {}

    def bar(self, impossible: Mapping[Setup, str]) -> None:
        """These setups did what no device can do; see `efficiency.impossible`."""
        self._impossible.update(impossible)

    def certificate(self, setup: Setup) -> Certificate | None:
        """The setup's; a twin has its original's."""
        return self._certificates.get(_proved(setup))

    def proof(self, setup: Setup) -> str:
        """Why a setup counts as unproven; empty where its certificate says that it is the same."""
        certificate = self.certificate(setup)
        if certificate and certificate.proven:
            return ""
        return f"not proven: {certificate.why if certificate else 'no certificate'}"

    def faults(self, entry: Entry) -> tuple[str, ...]:
        """What bars it: settings, work that was not done or cannot have been, and what it uses
        outside its turns."""
        setup = entry.setup
        if setup not in self._faults:
            impossible = [self._impossible[setup]] if setup in self._impossible else []
            self._faults[setup] = (*impossible, *setup_faults(entry.records))
        return self._faults[setup]

    def of_setup(self, entry: Entry) -> str:
        """Why an entry is not ranked at all; empty where it may be."""
        return self.proof(entry.setup) or "; ".join(self.faults(entry))

    def of_pair(self, ours: Entry, theirs: Entry) -> str:
        """Why two entries are not ranked against each other; empty where they may be."""
        if reason := self.of_setup(ours):
            return reason
        if other := self.of_setup(theirs):
            barred = other if other.startswith("not proven") else f"not ranked: {other}"
            return f"{theirs.setup.label} is {barred}"
        pair = (ours.setup, theirs.setup)
        if pair not in self._of_pairs:
            self._of_pairs[pair] = "; ".join(disqualified(ours.records, theirs.records))
        return self._of_pairs[pair]


def _proved(setup: Setup) -> Setup:
    """What a certificate is of: neither a twin's name nor the task's changes what is computed."""
    return setup.model_copy(update={"task": "", "twin": False})


def winner(labels: Sequence[str], pair: Callable[[str, str], Pair | None]) -> str | None:
    """The label that is faster than every other one, if there is one and another to beat.

    Every comparison must say "faster" by itself: an intersection of tests needs no correction.
    """

    def beats(label: str, other: str) -> bool:
        compared = pair(label, other)
        return compared is not None and compared.verdict == "faster"

    for label in labels if len(labels) > 1 else ():
        if all(beats(label, other) for other in labels if other != label):
            return label
    return None


def closest_first(
    pairs: Iterable[Pair], timed: Mapping[str, Entry], phase: Phase
) -> tuple[Pair, ...]:
    """A leader's pairs with its rivals, by their ratios; the closest with a simultaneous interval.

    The data choose the closest, so that its own interval would miss too often. This one holds for
    it and for the truly closest, whichever that is. Its lower end is the least of all rivals': it
    errs only if that of the truly closest does, and needs no correction. Its upper end has a level
    that is divided by the number of rivals (Bonferroni).
    """
    rivals = sorted(pairs, key=lambda it: it.speed.estimate)
    if len(rivals) < 2:
        return tuple(rivals)
    closest = rivals[0]
    ours, theirs = (timed[it].steps[phase] for it in (closest.label, closest.baseline))
    logs = list(log_ratios(ours, theirs).values())
    speed = together(logs, [it.speed for it in rivals])
    return (closest.model_copy(update={"speed": speed}), *rivals[1:])


def together(logs: Sequence[float], speeds: Sequence[Interval]) -> Interval:
    """The interval of `closest_first`; `logs` are of the first of the `speeds`."""
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
