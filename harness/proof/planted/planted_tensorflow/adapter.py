"""A task in TensorFlow with the fault that the mode names."""

from harness.proof.planted.planted_tensorflow import seams
from harness.proof.planted.real import adapters

Adapter = adapters("tensorflow", "Adapter", seams)
