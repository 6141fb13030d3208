"""The table with every theme's faults in it."""

from harness.proof.planted import answers, conduct, formulas, later, numbers, training
from harness.proof.planted.fault import FAULTS, Planted

THEMES = (formulas, training, numbers, answers, conduct, later)

__all__ = ["FAULTS", "THEMES", "Planted"]
