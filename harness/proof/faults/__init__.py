"""Planted faults: adapters with one thing wrong, to see whether the proof notices.

The modules of this package, one a theme, fill two tables. `FAULTS` are those of the reference; each
is a mode of a framework `planted`. `REAL` are those of real frameworks; each is a mode of the
frameworks `planted_<name>`. The folders of these frameworks lie inside this one and are added to
`impls` by the self-test only, so they go through the same processes and checks as any framework.
"""

from harness.proof.faults import arithmetic, conduct, real
from harness.proof.faults.fault import FAULTS, REAL

__all__ = ["FAULTS", "REAL", "arithmetic", "conduct", "real"]
