"""The table with every theme's faults in it."""

from harness.proof.planted import answers, conduct, formulas, numbers, training
from harness.proof.planted.fault import FAULTS, Planted

THEMES = (formulas, training, numbers, answers, conduct)

__all__ = ["FAULTS", "THEMES", "Planted"]
