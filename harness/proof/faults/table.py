"""The table with every theme's faults in it."""

from harness.proof.faults import answers, arithmetic, conduct, training
from harness.proof.faults import conduct as later
from harness.proof.faults.fault import FAULTS, Planted

THEMES = (arithmetic, training, arithmetic, answers, conduct, later)

__all__ = ["FAULTS", "THEMES", "Planted"]
