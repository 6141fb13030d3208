"""From setups to certificates: what the store has already, and proofs of all the rest."""

from __future__ import annotations

import itertools
import os
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.cells import Setup
from harness.certificates import Certificate
from harness.proof.certify import Claim, claim, key_of
from harness.proof.pool import prove_all
from harness.proof.process import Prover
from harness.runs.machine import cores
from harness.runs.store import Store
from harness.tasks.data import Data
from harness.tasks.spec import Task

LIMIT = 300.0
"""Seconds for the one proof; a deep network takes its time to be compiled."""


@dataclass(frozen=True)
class Need:
    """What is to be shown, and the certificate that shows it, if there is one."""

    claim: Claim
    key: str
    certificate: Certificate | None = None


def needs(
    setups: Iterable[tuple[Task, Setup]],
    store: Store | None,
    *,
    quick: bool,
    counted: Container[Setup] | None = None,
) -> list[Need]:
    """One for every setup, twins aside, with what the store has.

    Memory is counted of the setups that `counted` holds, of all unless it is given. A failure is
    never taken from the store: it is tried again. Where a quick proof would do, a full one does
    too, and one that counted where none need.
    """
    found = []
    for task, setup in setups:
        if setup.twin:
            continue
        counts = counted is None or setup in counted
        claims = [
            claim(task, setup, quick=it, counted=count)
            for it in dict.fromkeys((quick, False))
            for count in dict.fromkeys((counts, True))
        ]
        kept = (_kept(it, store) for it in claims) if store else ()
        proven = next((it for it in kept if it), None)
        found.append(Need(claims[0], key_of(claims[0]), proven))
    return found


def _kept(of: Claim, store: Store) -> Certificate | None:
    """What the store has that shows a claim."""
    found = store.certificate(key := key_of(of))
    return found if found and found.key == key and of.shown_by(found) else None


def one_of_each(setups: Iterable[tuple[Task, Setup]]) -> set[Setup]:
    """Of every framework and mode, in each lane and dtype and on each device, the setup of fewest
    weights.

    That a count of memory counts is shown once; what it comes to is for those to ask who report it.
    """
    fewest: dict[tuple[str, ...], tuple[Task, Setup]] = {}
    for task, setup in setups:
        kind = (setup.framework, setup.mode, setup.lane, setup.device, setup.dtype)
        if kind not in fewest or task.parameters < fewest[kind][0].parameters:
            fewest[kind] = (task, setup)
    return {setup for _, setup in fewest.values()}


def prove(
    lacking: Sequence[Need], store: Store, data: Mapping[Data, Path], logs: Path, caches: Path
) -> Iterator[Certificate]:
    """Prove what has no certificate and keep the outcome, as it comes.

    `data` are staged; provers write to `logs`, frameworks what they compile to `caches`.
    """
    logs.mkdir(parents=True, exist_ok=True)
    numbers = itertools.count()

    def launch(setup: Setup) -> Prover:
        return Prover(setup, logs / f"prover-{os.getpid()}-{next(numbers)}.log", caches)

    asked = {it.claim.request(data[it.claim.task.data], LIMIT): it for it in lacking}
    for request, proved in prove_all(list(asked), launch, cores()):
        need = asked[request]
        certificate = need.claim.certificate(need.key, proved)
        store.add_certificate(certificate)
        yield certificate
