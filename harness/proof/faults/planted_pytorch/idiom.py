"""The idiom of PyTorch with the fault that the mode names."""

from harness.proof.faults.real import adapters

Idiom = adapters("pytorch", "Idiom")
