"""A trial: one execution of a setup in one process, and what has been measured of it so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.cells import Phase, Setup
from harness.certificates import Finding
from harness.privacy import clean, cleaned
from harness.records import Around, Epoch, PhaseRecord, Quality, Record, Sample, Status
from harness.runs.process import Worker
from harness.worker.messages import Finished, Loaded, Prepared


@dataclass
class Trial:
    name: str
    setup: Setup
    worker: Worker | None = None
    loaded: Loaded | None = None
    prepared: Prepared | None = None
    samples: dict[Phase, list[Sample]] = field(default_factory=dict)
    epochs: list[Epoch] = field(default_factory=list)
    finished: Finished | None = None

    def phases(self) -> tuple[PhaseRecord, ...]:
        """The phases as far as they came, with the samples taken so far.

        What a forked process shares with its parent is resident in both, or in neither until it is
        read again: such memory is no measure of a framework's.
        """
        known, forked = self.prepared or self.loaded, self.worker is not None and self.worker.forked
        return tuple(
            phase.model_copy(
                update={
                    "samples": tuple(self.samples.get(phase.phase, ())),
                    "memory": None if forked else phase.memory,
                }
            )
            for phase in (known.phases if known else ())
        )

    def phase(self, phase: Phase) -> PhaseRecord:
        """A prepared phase."""
        assert self.prepared is not None
        return next(it for it in self.prepared.phases if it.phase == phase)

    def slowest_step(self) -> float | None:
        """The longest reading of any warm-up in seconds; None without a phase."""
        phases = self.prepared.phases if self.prepared else ()
        return max((max(phase.warmup) for phase in phases), default=None)

    def record(
        self,
        status: Status,
        error: str | None,
        *,
        block: int,
        attempt: int,
        alone: bool,
        seed: int,
        around: Around | None = None,
    ) -> Record:
        """What is kept of it, with nothing private in its texts."""
        failed = status != "ok" and self.worker is not None
        return Record(
            trial=self.name,
            block=block,
            attempt=attempt,
            setup=self.setup,
            status=status,
            error=error and clean(error),
            stderr_tail=clean(self.worker.stderr_tail()) if self.worker and failed else "",
            alone=alone,
            cold=self.worker is not None and self.worker.cold,
            forked=self.worker is not None and self.worker.forked,
            import_seconds=self.loaded.import_seconds if self.loaded else None,
            build_seconds=self.loaded.build_seconds if self.loaded else None,
            phases=self.phases(),
            quality=Quality(seed=seed, epochs=tuple(self.epochs)) if self.epochs else None,
            settings=cleaned(self.finished.settings) if self.finished else {},
            settings_before=cleaned(self.prepared.settings) if self.prepared else {},
            limits=self.finished.limits if self.finished else None,
            checks=self._checks(),
            around=around,
            usage=self.finished.usage if self.finished else None,
        )

    def _checks(self) -> tuple[Finding, ...]:
        found = self.finished.checks if self.finished else ()
        return tuple(it.model_copy(update={"detail": clean(it.detail)}) for it in found)
