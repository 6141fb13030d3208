"""The same, for faults in a framework's own loop."""

from harness.proof.faults.planted.adapter import Adapter as Idiom

__all__ = ["Idiom"]
