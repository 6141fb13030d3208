"""A task in PyTorch with the fault that the mode names."""

from harness.proof.faults.planted_pytorch import seams
from harness.proof.faults.real import adapters

Idiom = adapters("pytorch", "Idiom", seams)
