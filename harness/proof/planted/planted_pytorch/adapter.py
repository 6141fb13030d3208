"""A task in PyTorch with the fault that the mode names."""

from harness.proof.planted.planted_pytorch import seams
from harness.proof.planted.real import adapters

Adapter = adapters("pytorch", "Adapter", seams)
