"""The adapter of PyTorch with the fault that the mode names."""

from harness.proof.faults.real import adapters

Adapter = adapters("pytorch", "Adapter")
