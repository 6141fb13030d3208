"""The adapter of TensorFlow with the fault that the mode names."""

from harness.proof.faults.real import adapters

Adapter = adapters("tensorflow", "Adapter")
