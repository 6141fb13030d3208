"""From setups to certificates: what the store has already, and proofs of all the rest."""

from __future__ import annotations

import itertools
import os
from collections import defaultdict
from collections.abc import Container, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from harness.cells import Setup
from harness.certificates import SUPPORTED, Certificate, Finding, LongProof
from harness.proof.certify import Claim, claim, key_of
from harness.proof.messages import Prove, Proved
from harness.proof.pool import Launch, prove_all
from harness.proof.process import Prover
from harness.proof.whole_training import CHECK, QUICK, WHOLE, Reach
from harness.runs.machine import cores
from harness.runs.store import Store
from harness.tasks.data import Data
from harness.tasks.spec import Task

Name = TypeVar("Name", bound=Hashable)
REACHES: tuple[Reach | None, ...] = (None, QUICK, WHOLE)
"""How far long proofs go, each further than the one before."""
LIMIT = 600.0
"""Seconds for the one proof: a deep network takes its time to be compiled, for several sizes of
batches, and others may use the cores."""


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
    reach: Reach | None = None,
) -> list[Need]:
    """One for every setup, twins aside, with what the store has.

    Memory is counted of the setups that `counted` holds, of all unless it is given. A failure is
    never taken from the store: it is tried again. Where a quick proof would do, a full one does
    too, and one that counted where none need, and one over a longer training.
    """
    found = []
    for task, setup in setups:
        if setup.twin:
            continue
        counts = counted is None or setup in counted
        claims = [
            claim(task, setup, quick=it, counted=count, reach=far)
            for it in dict.fromkeys((quick, False))
            for count in dict.fromkeys((counts, True))
            for far in REACHES[REACHES.index(reach) :]
        ]
        kept = (_kept(it, store) for it in dict.fromkeys(claims)) if store else ()
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

    claims = {it.key: it.claim for it in lacking}
    for key, proved in proved_claims(claims, data, LIMIT, launch, cores()):
        certificate = claims[key].certificate(key, proved)
        store.add_certificate(certificate)
        yield certificate


def proved_claims(
    claims: Mapping[Name, Claim],
    data: Mapping[Data, Path],
    limit: float,
    launch: Launch,
    provers: int,
) -> Iterator[tuple[Name, Proved]]:
    """The outcome of every claim, as they come. A long proof that several ask for is made once."""
    waiting: dict[Prove, list[Name]] = defaultdict(list)
    parts: dict[Name, list[Prove]] = {}
    for name, it in claims.items():
        place = data[it.task.data]
        long = it.long_request(place, limit)
        parts[name] = [it.request(place, limit), *([long] if long else [])]
        for request in parts[name]:
            waiting[request].append(name)
    done: dict[Prove, Proved] = {}
    for request, proved in prove_all(list(waiting), launch, provers):
        done[request] = proved
        for name in waiting[request]:
            if all(part in done for part in parts[name]):
                own, *longs = (done[part] for part in parts[name])
                yield name, _together(own, longs[0], claims[name]) if longs else own


def _together(own: Proved, long: Proved, claim: Claim) -> Proved:
    """A proof with what the long one found; where there is no float64, it says so."""
    whole, findings = long.whole, long.findings
    if whole is None:
        planned = claim.task.epochs * claim.task.steps_per_epoch
        why = next(it.detail for it in findings if not it.ok)
        whole = LongProof(steps=0, planned=planned, rows=0, why=why)
        absent = any(it.check == SUPPORTED for it in findings)
        findings = (Finding(check=CHECK, ok=absent, detail=why),)
    return own.model_copy(
        update={
            "findings": own.findings + findings,
            "seconds": own.seconds + long.seconds,
            "whole": whole,
        }
    )
