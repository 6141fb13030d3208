"""From setups to certificates: what the store has already, and proofs of all the rest."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
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


def needs(setups: Iterable[tuple[Task, Setup]], store: Store | None, *, quick: bool) -> list[Need]:
    """One for every setup, twins aside, with what the store has.

    A failure is never taken from the store: it is tried again. Where a quick proof would do, a
    full one does too.
    """
    found = []
    for task, setup in setups:
        if setup.twin:
            continue
        full, brief = claim(task, setup, quick=False), claim(task, setup, quick=True)
        wanted = brief if quick else full
        keys = dict.fromkeys((key_of(full), key_of(wanted)))
        kept = (store.certificate(key) for key in keys) if store else ()
        proven = next((it for it in kept if it and it.proven), None)
        found.append(Need(wanted, list(keys)[-1], proven))
    return found


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
