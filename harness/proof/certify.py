"""Certificates and their keys: what is proved need not be proved again until anything changes."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import harness
from harness.adapter import Framework
from harness.cells import Setup
from harness.certificates import Certificate, LongProof, Tolerance
from harness.environment import only_known
from harness.frameworks import folder_of, frameworks, version
from harness.privacy import clean, cleaned
from harness.proof.examine import rows_compared, steps_compared
from harness.proof.messages import Prove, Proved
from harness.proof.rounding import fewest_compared
from harness.proof.whole_training import Length, Reach
from harness.runs import machine
from harness.runs.process import environment
from harness.tasks.costs import train_flops
from harness.tasks.spec import Task
from harness.tolerances import QUICK_STEPS, limits

KEY_VERSION = 2
"""Raised when the meaning of a certificate changes."""
RESTS_ON = (
    "proof",
    "tasks",
    "differences.py",
    "tolerances.py",
    "worker/feed.py",
    "worker/measure.py",
    "adapter.py",
    "certificates.py",
)
"""In `harness`: everything of ours that a proof's outcome rests on, beside the reference."""
EXACT = "reference"
SLOWEST_STEP, SLOWEST_FLOPS = 0.2, 5e8
"""Seconds of one step of a long proof, and operations a second: what is slower has hung."""


@dataclass(frozen=True)
class Claim:
    """What is to be shown of a setup: over so many steps from the shared start of a seed. Where it
    is `counted`, each phase's logical peak is told as well. With a `length` a training of the same
    mode in float64 is followed as far."""

    task: Task
    setup: Setup
    tolerance: Tolerance
    steps: int
    seed: int
    counted: bool = True
    length: Length | None = None

    def request(self, data: Path, limit: float) -> Prove:
        """The proof in the setup's own dtype."""
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
        flops = self.length.steps * self.length.rows * train_flops(self.task) / self.task.batch
        return Prove(
            task=self.task,
            setup=self.setup.model_copy(update={"dtype": "float64"}),
            seed=self.seed,
            steps=self.length.steps,
            rows=self.length.rows,
            tolerance=self.tolerance,
            data=str(data),
            limit=limit + self.length.steps * SLOWEST_STEP + flops / SLOWEST_FLOPS,
            counted=False,
        )

    def shown_by(self, certificate: Certificate) -> bool:
        """Whether a certificate shows what is claimed, by all that it says of itself.

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
            and certificate.framework_version == (version(frameworks()[setup.framework]) or "")
            and certificate.code == code_of(setup.framework)
            and certificate.machine == machine_of(setup.device)
            and (bool(certificate.logical_peak) or not self.counted)
            and self._long_enough(certificate.whole)
        )

    def _long_enough(self, proof: LongProof | None) -> bool:
        if self.length is None:
            return True
        if proof is None:
            return False
        return bool(proof.why) or (
            proof.steps >= self.length.steps and proof.rows >= self.length.rows
        )

    def certificate(self, key: str, proved: Proved) -> Certificate:
        framework, whole = frameworks()[self.setup.framework], proved.whole
        return Certificate(
            key=key,
            setup=self.setup,
            framework_version=version(framework) or "",
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
    """The claim for a setup; its twin is the same setup. A quick one takes fewer steps, and one
    with a `reach` follows a training as far."""
    tolerance = tolerance_of(setup)
    steps = limits(tolerance, setup.dtype).steps
    return Claim(
        task=task,
        setup=setup.model_copy(update={"twin": False}),
        tolerance=tolerance,
        steps=min(steps, QUICK_STEPS) if quick else steps_compared(task, steps),
        seed=seed,
        counted=counted,
        length=reach.of(task) if reach else None,
    )


def tolerance_of(setup: Setup) -> Tolerance:
    """`stock` for an idiomatic mode that says why its formula is another one."""
    if setup.lane == "identical":
        return "exact"
    return "stock" if frameworks()[setup.framework].idioms[setup.mode].stock else "exact"


def key_of(claim: Claim) -> str:
    """A hash over all that could change the outcome. Name and line of a task do not count."""
    setup = claim.setup
    framework = frameworks()[setup.framework]
    content = {
        "version": KEY_VERSION,
        "task": claim.task.digest,
        "setup": [
            setup.framework,
            setup.mode,
            setup.lane,
            setup.device,
            setup.threads,
            setup.dtype,
        ],
        "claim": [claim.tolerance, claim.steps, claim.seed, claim.counted, claim.length],
        "versions": versions_of(framework) | versions_of(frameworks()[EXACT]),
        "code": code_of(setup.framework),
        "machine": machine_of(setup.device),
        "environment": only_known(environment(setup)),
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def versions_of(framework: Framework) -> dict[str, str]:
    """Every distribution of a framework or beneath it that is installed, and what those need
    directly."""
    found: dict[str, str] = {}
    for name in (*framework.distributions, *framework.beneath):
        try:
            needed = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for it in (name, *(re.split(r"[^\w.-]", need, maxsplit=1)[0] for need in needed)):
            try:
                found[it] = importlib.metadata.version(it)
            except importlib.metadata.PackageNotFoundError:
                continue
    return found


def code_of(framework: str) -> str:
    """A hash over the adapter's files, the reference's, and what of ours the proof rests on."""
    home = Path(harness.__file__).parent
    roots = {f"harness/{name}": home / name for name in RESTS_ON}
    for name in (framework, EXACT):
        roots[f"impls/{name}"] = folder_of(name)
    digest = hashlib.sha256()
    for name, root in sorted(roots.items()):
        for path in _files(root):
            digest.update(f"{name}/{path.relative_to(root)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _files(root: Path) -> Iterable[Path]:
    if root.is_file():
        return [root]
    return sorted(it for it in root.rglob("*") if it.is_file() and "__pycache__" not in it.parts)


def machine_of(device: str) -> str:
    """The processor that computes: rounding differs between instruction sets."""
    if device == "cpu":
        return str(machine.fingerprint()["cpu"])
    return machine.gpus()[int(device.removeprefix("gpu:"))]
