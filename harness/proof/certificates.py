"""From setups to certificates: a claim for each, certificates from the store, proofs of the rest.

A claim has a key over all that could change the outcome of its proof. A proof is not repeated until
the key changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import re
from collections import defaultdict
from collections.abc import Container, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import harness
from harness.adapter import Framework
from harness.cells import Setup
from harness.certificates import SUPPORTED, Certificate, Finding, LongProof, Tolerance
from harness.differences import LIMITS, QUICK_STEPS, tolerance_of
from harness.environment import only_known
from harness.frameworks import folder_of, frameworks, trains, version_of
from harness.privacy import clean, cleaned
from harness.proof.pool import Launch, Prove, Proved, launcher, prove_all
from harness.proof.prover import rows_compared, steps_compared
from harness.proof.rounding import fewest_compared
from harness.proof.whole_training import CHECK, QUICK, WHOLE, Length, Reach, planned_steps
from harness.runs import machine
from harness.runs.machine import cores
from harness.runs.process import environment
from harness.runs.store import Store
from harness.tasks.costs import flops
from harness.tasks.spec import Data, Task
from harness.venvs import venv_of

KEY_VERSION = 2
"""Raised when the meaning of a certificate changes."""
RESTS_ON = (
    "proof",
    "tasks",
    "differences.py",
    "worker/loops.py",
    "worker/measure.py",
    "adapter.py",
    "certificates.py",
)
"""The parts of `harness` that can change the outcome of a proof; the reference can too."""
REFERENCE = "reference"
SLOWEST_STEP, SLOWEST_FLOPS = 0.2, 5e8
"""Seconds of one step of a long proof, and operations a second: a slower one has hung."""


@dataclass(frozen=True)
class Claim:
    """What is to be shown of a setup, over so many steps from the shared start of a seed.

    With `counted` the certificate has each phase's logical peak too. With a `length` a training of
    the same mode in float64 is compared that far.
    """

    task: Task
    setup: Setup
    tolerance: Tolerance
    steps: int
    seed: int
    counted: bool = True
    length: Length | None = None

    def request(self, data: Path, limit: float) -> Prove:
        """The proof in the dtype of the setup."""
        return Prove(
            task=self.task,
            setup=self.setup,
            seed=self.seed,
            steps=self.steps,
            tolerance=self.tolerance,
            data=str(data),
            limit=limit,
            counted=self.counted,
        )

    def long_request(self, data: Path, limit: float) -> Prove | None:
        """The long proof; setups that differ only in their dtype have the same."""
        if self.length is None:
            return None
        steps, rows = self.length
        cost = steps * rows * flops(self.task, "train") / self.task.batch
        limit += steps * SLOWEST_STEP + cost / SLOWEST_FLOPS
        setup = self.setup.model_copy(update={"dtype": "float64"})
        return self.request(data, limit).model_copy(
            update={"setup": setup, "steps": steps, "rows": rows, "counted": False}
        )

    def shown_by(self, certificate: Certificate) -> bool:
        """Whether a certificate shows what is claimed, by its own content.

        A store may come from a stranger: the key alone shows nothing. The task's name does not
        count. In float32 the last steps may have no answer (`rounding.lost`).
        """
        setup = self.setup
        steps = fewest_compared(self.steps) if setup.dtype == "float32" else self.steps
        return (
            certificate.proven
            and certificate.setup.model_copy(update={"task": setup.task}) == setup
            and certificate.tolerance == self.tolerance
            and certificate.seed == self.seed
            and certificate.steps >= steps
            and certificate.rows == rows_compared(self.task)
            and certificate.framework_version == version_of(setup)
            and certificate.code == code_of(setup.framework)
            and certificate.machine == machine_of(setup.device)
            and (bool(certificate.logical_peak) or not self.counted)
            and self._long_enough(certificate.whole)
        )

    def _long_enough(self, proof: LongProof | None) -> bool:
        if self.length is None or proof is None:
            return self.length is None
        long_enough = proof.steps >= self.length.steps and proof.rows >= self.length.rows
        return bool(proof.why) or long_enough

    def certificate(self, key: str, proved: Proved) -> Certificate:
        whole = proved.whole
        return Certificate(
            key=key,
            setup=self.setup,
            framework_version=version_of(self.setup),
            code=code_of(self.setup.framework),
            machine=machine_of(self.setup.device),
            made=datetime.now().astimezone().isoformat(timespec="seconds"),
            tolerance=self.tolerance,
            seed=self.seed,
            steps=len(proved.divergence),
            rows=proved.rows,
            seconds=proved.seconds,
            findings=tuple(
                it.model_copy(update={"detail": clean(it.detail)}) for it in proved.findings
            ),
            divergence=proved.divergence,
            settings=cleaned(proved.settings),
            logical_peak=proved.logical_peak,
            whole=whole and whole.model_copy(update={"why": clean(whole.why)}),
        )


def claim(
    task: Task,
    setup: Setup,
    *,
    quick: bool,
    seed: int = 0,
    counted: bool = True,
    reach: Reach | None = None,
) -> Claim:
    """The claim for a setup; its A/A copy has the same one. A quick one takes fewer steps. With a
    `reach` a training is compared that far."""
    steps = LIMITS[setup.dtype].steps
    return Claim(
        task=task,
        setup=setup.original,
        tolerance=tolerance_of(setup),
        steps=min(steps, QUICK_STEPS) if quick else steps_compared(task, steps),
        seed=seed,
        counted=counted,
        length=reach.of(task) if reach and trains(setup.framework) else None,
    )


def key_of(claim: Claim) -> str:
    """A hash over all that could change the outcome. Name and line of a task do not count."""
    setup = claim.setup
    framework, venv = frameworks()[setup.framework], venv_of(setup)
    content = {
        "version": KEY_VERSION,
        "task": claim.task.digest,
        "setup": [setup.name, setup.mode, setup.lane, setup.device, setup.threads, setup.dtype],
        "claim": [claim.tolerance, claim.steps, claim.seed, claim.counted, claim.length],
        "versions": venv.packages()
        if venv
        else versions_of(framework) | versions_of(frameworks()[REFERENCE]),
        "code": code_of(setup.framework),
        "machine": machine_of(setup.device),
        "environment": only_known(environment(setup)),
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def versions_of(framework: Framework) -> dict[str, str]:
    """The versions of a framework's distributions, of those beneath it, and of their direct needs.

    What is not installed is left out.
    """
    versions: dict[str, str] = {}
    for name in (*framework.distributions, *framework.tuning.beneath):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            needs = importlib.metadata.requires(name) or []
            for need in (name, *(re.split(r"[^\w.-]", it, maxsplit=1)[0] for it in needs)):
                with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                    versions[need] = importlib.metadata.version(need)
    return versions


def code_of(framework: str) -> str:
    """A hash over the files of the adapter and of the reference, and over those of RESTS_ON."""
    home = Path(harness.__file__).parent
    roots = {f"harness/{name}": home / name for name in RESTS_ON}
    for name in (framework, REFERENCE):
        roots[f"impls/{name}"] = folder_of(name)
    digest = hashlib.sha256()
    for name, root in sorted(roots.items()):
        paths = [root] if root.is_file() else sorted(root.rglob("*"))
        for path in (it for it in paths if it.is_file() and "__pycache__" not in it.parts):
            digest.update(f"{name}/{path.relative_to(root)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def machine_of(device: str) -> str:
    """The processor that computes: rounding differs between instruction sets."""
    if device == "cpu":
        return str(machine.fingerprint()["cpu"])
    return machine.gpus()[int(device.removeprefix("gpu:"))]


Name = TypeVar("Name", bound=Hashable)
REACHES: tuple[Reach | None, ...] = (None, QUICK, WHOLE)
"""The reaches of long proofs, each further than the one before."""
LIMIT = 600.0
"""Seconds for one proof: a deep network is compiled for several sizes of batches, and other
processes may use the cores."""


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
    """One for every setup but A/A copies, with the certificate that the store has.

    Memory is counted of the setups in `counted`, of all unless it is given. A failure is never
    taken from the store: the proof is repeated. In the place of a quick proof a full one will do,
    and in that of any proof one that counted memory too, or one over a longer training.
    """
    result = []
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
        result.append(Need(claims[0], key_of(claims[0]), proven))
    return result


def _kept(of: Claim, store: Store) -> Certificate | None:
    kept = store.certificate(key := key_of(of))
    return kept if kept and kept.key == key and of.shown_by(kept) else None


def one_of_each(setups: Iterable[tuple[Task, Setup]]) -> set[Setup]:
    """The setup of fewest weights of every framework, version, mode, lane, device and dtype.

    One proof shows that memory can be counted. A report asks for every count that it prints.
    """
    fewest: dict[tuple[str, ...], tuple[Task, Setup]] = {}
    for task, setup in setups:
        kind = (setup.name, setup.mode, setup.lane, setup.device, setup.dtype)
        if kind not in fewest or task.parameters < fewest[kind][0].parameters:
            fewest[kind] = (task, setup)
    return {setup for _, setup in fewest.values()}


def prove(
    lacking: Sequence[Need], store: Store, data: Mapping[Data, Path], logs: Path, caches: Path
) -> Iterator[Certificate]:
    """Prove what has no certificate; yield each outcome and keep it in the store.

    `data` are staged; provers write to `logs`, frameworks what they compile to `caches`.
    """
    logs.mkdir(parents=True, exist_ok=True)
    claims = {it.key: it.claim for it in lacking}
    for key, proved in proved_claims(claims, data, LIMIT, launcher(logs, caches), cores()):
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
    for name, asked in claims.items():
        place = data[asked.task.data]
        long = asked.long_request(place, limit)
        parts[name] = [asked.request(place, limit), *([long] if long else [])]
        for request in parts[name]:
            waiting[request].append(name)
    done: dict[Prove, Proved] = {}
    for request, proved in prove_all(list(waiting), launch, provers):
        done[request] = proved
        for name in waiting[request]:
            if all(part in done for part in parts[name]):
                short, *longs = (done[part] for part in parts[name])
                yield name, _together(short, longs[0], claims[name]) if longs else short


def _together(short: Proved, long: Proved, claim: Claim) -> Proved:
    """A short proof together with the long one; if there is no float64, the certificate says so."""
    whole, findings = long.whole, long.findings
    if whole is None:
        why = next(it.detail for it in findings if not it.ok)
        whole = LongProof(steps=0, planned=planned_steps(claim.task), rows=0, why=why)
        absent = any(it.check == SUPPORTED for it in findings)
        findings = (Finding(check=CHECK, ok=absent, detail=why),)
    return short.model_copy(
        update={
            "findings": short.findings + findings,
            "seconds": short.seconds + long.seconds,
            "whole": whole,
        }
    )
